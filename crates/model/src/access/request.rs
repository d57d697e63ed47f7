//! One request from outside, tested and taken apart once, before any number of lists decide on it.

use std::borrow::Cow;

use crate::grant::{Action, PatternError, RESOURCE_SEGMENTS_MAX, Resource, check_action, checked_resource};

/// An action and a resource that keep the rules of `api.md` §2, as [`CompiledGrants`](super::CompiledGrants) needs them.
#[derive(Clone, Debug)]
pub struct CheckedRequest<'a> {
    action: &'a str,
    /// Normalised; empty for the root.
    resource: Cow<'a, str>,
    /// Where each segment ends.
    ends: [u16; RESOURCE_SEGMENTS_MAX],
    segment_count: usize,
}

impl<'a> CheckedRequest<'a> {
    /// Tests both by the rules of `api.md` §2. No resource is the root (`api.md` §4).
    ///
    /// Allocates only for a resource that is not in normal form C.
    pub fn new(action: &'a str, resource: Option<&'a str>) -> Result<Self, PatternError> {
        check_action(action)?;
        Ok(Self::split(action, resource.map(checked_resource).transpose()?.unwrap_or_default()))
    }

    /// The same from what was parsed before.
    pub fn of(action: &'a Action, resource: &'a Resource) -> Self {
        Self::split(action.as_str(), Cow::Borrowed(resource.as_str()))
    }

    /// The action.
    pub fn action(&self) -> &str {
        self.action
    }

    /// The resource in normal form C; empty for the root.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The segment at `index`, counted from 0.
    pub(super) fn segment(&self, index: usize) -> Option<&str> {
        let end = self.ends.get(..self.segment_count)?.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |&end| usize::from(end) + 1);
        self.resource.get(start..usize::from(*end))
    }

    fn split(action: &'a str, resource: Cow<'a, str>) -> Self {
        let mut ends = [0; RESOURCE_SEGMENTS_MAX];
        let mut segment_count = 0;
        let slashes = resource.bytes().enumerate().filter(|&(_, byte)| byte == b'/').map(|(at, _)| at);
        let all = slashes.chain((!resource.is_empty()).then_some(resource.len()));
        for (end, at) in ends.iter_mut().zip(all) {
            // Invariant: a checked resource is at most 512 bytes long.
            *end = u16::try_from(at).unwrap_or(u16::MAX);
            segment_count += 1;
        }
        Self { action, resource, ends, segment_count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_normalised_and_refused_like_a_resource() {
        assert_eq!(CheckedRequest::new("get", Some("e\u{301}")).unwrap().resource(), "\u{e9}");
        assert_eq!(CheckedRequest::new("get", Some("*")).unwrap_err(), PatternError::WildcardInRequest);
        assert_eq!(CheckedRequest::new("get", Some("")).unwrap_err(), PatternError::EmptySegment);
        assert_eq!(CheckedRequest::new("", None).unwrap_err(), PatternError::InvalidAction);
    }

    #[test]
    fn a_request_has_its_segments_and_the_root_has_none() {
        let longest = ["\u{e9}\u{e9}aaaaaaaaaa"; 32].join("/");
        for resource in ["a", "a/b", "\u{e9}/x/\u{e9}", &longest] {
            let request = CheckedRequest::new("get", Some(resource)).unwrap();
            let segments: Vec<_> = (0..33).map_while(|index| request.segment(index)).collect();
            assert_eq!(segments.join("/"), resource);
        }
        assert_eq!(CheckedRequest::new("get", None).unwrap().segment(0), None);
    }
}

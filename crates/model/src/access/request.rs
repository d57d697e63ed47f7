//! One request from outside, tested once, before any number of lists decide on it.

use std::borrow::Cow;

use crate::grant::{
    Action, PatternError, RESOURCE_BYTES_MAX, RESOURCE_SEGMENTS_MAX, Resource, check_action, checked_resource,
};

/// An action and a resource that keep the rules of `api.md` §2, as [`CompiledGrants`](super::CompiledGrants) needs them.
#[derive(Clone, Debug)]
pub struct CheckedRequest<'a> {
    action: &'a str,
    /// Normalised; empty for the root.
    resource: Cow<'a, str>,
}

impl<'a> CheckedRequest<'a> {
    /// Tests both by the rules of `api.md` §2. No resource is the root (`api.md` §4).
    ///
    /// Allocates only for a resource that is not in normal form C.
    pub fn new(action: &'a str, resource: Option<&'a str>) -> Result<Self, PatternError> {
        check_action(action)?;
        let resource = match resource {
            None => Cow::Borrowed(""),
            Some(text) if is_plain(text) => Cow::Borrowed(text),
            Some(text) => checked_resource(text)?,
        };
        Ok(Self { action, resource })
    }

    /// The same from what was parsed before.
    pub fn of(action: &'a Action, resource: &'a Resource) -> Self {
        Self { action: action.as_str(), resource: Cow::Borrowed(resource.as_str()) }
    }

    /// The action.
    pub fn action(&self) -> &str {
        self.action
    }

    /// The resource in normal form C; empty for the root.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Its segments from the first on, not yet taken apart.
    pub(super) fn segments(&self) -> Segments<'_> {
        Segments((!self.resource.is_empty()).then_some(self.resource.as_bytes()))
    }
}

/// What is left of a resource on the way down a list of grants. Bytes, which sort and compare as their text does: each
/// list takes apart only as much as its patterns tell apart.
#[derive(Clone, Copy)]
pub(super) struct Segments<'a>(Option<&'a [u8]>);

impl<'a> Segments<'a> {
    /// The next segment, and what is left behind it.
    pub(super) fn split_first(self) -> Option<(&'a [u8], Self)> {
        let bytes = self.0?;
        match bytes.iter().position(|byte| *byte == b'/') {
            Some(slash) => Some((bytes.get(..slash)?, Self(bytes.get(slash + 1..)))),
            None => Some((bytes, Self(None))),
        }
    }
}

/// Whether a resource is in order as nearly all are: ASCII without `*`. One pass instead of one for each rule; what is
/// not plain may still be in order.
fn is_plain(text: &str) -> bool {
    let (mut slashes, mut before) = (0, b'/');
    for &byte in text.as_bytes() {
        if byte == b'/' {
            if before == b'/' {
                return false;
            }
            slashes += 1;
        } else if byte == b'*' || !matches!(byte, b' '..=b'~') {
            return false;
        }
        before = byte;
    }
    before != b'/' && slashes < RESOURCE_SEGMENTS_MAX && text.len() <= RESOURCE_BYTES_MAX
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
            let (mut left, mut segments) = (request.segments(), Vec::new());
            while let Some((segment, behind)) = left.split_first() {
                segments.push(segment);
                left = behind;
            }
            assert_eq!(segments.join(&b'/'), resource.as_bytes());
        }
        assert!(CheckedRequest::new("get", None).unwrap().segments().split_first().is_none());
    }

    #[test]
    fn what_is_plain_is_in_order_by_all_rules() {
        let most = ["a"; RESOURCE_SEGMENTS_MAX].join("/");
        let long = "a".repeat(RESOURCE_BYTES_MAX);
        for plain in ["a", "a/b", " /~", &most, &long] {
            assert!(is_plain(plain) && checked_resource(plain).is_ok(), "{plain}");
        }
        let (too_many, too_long) = (format!("{most}/a"), format!("{long}a"));
        for other in
            ["", "/", "/a", "a/", "a//b", "a*", "*", "a\u{1f}", "a\u{7f}", "\u{e9}", &too_many, &too_long]
        {
            assert!(!is_plain(other), "{other}");
        }
        for byte in 0..=0x7F_u8 {
            let text = format!("a{}b", char::from(byte));
            assert!(!is_plain(&text) || checked_resource(&text).is_ok(), "{text:?}");
        }
    }
}

//! Grants and the patterns in them: what one line of permission says, and how it is written.
//!
//! The rules are those of `api.md`, §2 "Grant". A pattern is parsed once, at the edge; what is in memory is valid and,
//! for resources, in Unicode's normal form C, so that matching is a comparison of bytes. What several grants mean
//! together is [`crate::access`]'s business.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest action or action pattern, in bytes.
pub const ACTION_BYTES_MAX: usize = 64;
/// The longest resource or resource pattern, in bytes, after normalisation.
pub const RESOURCE_BYTES_MAX: usize = 512;
/// The most segments of a resource or resource pattern.
pub const RESOURCE_SEGMENTS_MAX: usize = 32;
/// Normal form C shrinks UTF-8 by less than this factor: what is longer cannot fit and is not even normalised.
const NFC_SHRINKS_AT_MOST: usize = 4;

/// Why a text is not an action, a resource or a pattern of them (`api.md` §2, "Grant").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PatternError {
    /// `foo*`, `*.read`: a wildcard that is not whole.
    #[error(
        "a wildcard stands alone: `*` for any action or one segment, `orders.*` for an action and all below it"
    )]
    PartialWildcard,
    /// `a/**/b`: the rest in the middle.
    #[error("`**` is the rest of a resource and can only be its last segment")]
    MisplacedWildcard,
    /// A request for `*`: wildcards are for patterns.
    #[error("a request names one concrete resource: `*` and `**` are not segments of it")]
    WildcardInRequest,
    /// An action of other characters, or none.
    #[error("an action is made of 1 to 64 of the characters A-Z a-z 0-9 _ . : -")]
    InvalidAction,
    /// An empty segment: nothing at all, a slash at either end, or two in a row.
    #[error("a resource is 1 to 32 non-empty segments joined by `/`")]
    EmptySegment,
    /// A control character, NUL included.
    #[error("a resource has no control characters")]
    ControlCharacter,
    /// More than [`ACTION_BYTES_MAX`].
    #[error("an action is at most 64 bytes long")]
    ActionTooLong,
    /// More than [`RESOURCE_BYTES_MAX`].
    #[error("a resource is at most 512 bytes long")]
    ResourceTooLong,
    /// More than [`RESOURCE_SEGMENTS_MAX`].
    #[error("a resource has at most 32 segments")]
    TooManySegments,
}

impl PatternError {
    /// The stable `snake_case` code for the wire; the human detail is the `Display`.
    pub fn code(self) -> &'static str {
        match self {
            Self::PartialWildcard => "partial_wildcard",
            Self::MisplacedWildcard => "misplaced_wildcard",
            Self::WildcardInRequest => "wildcard_in_request",
            Self::InvalidAction => "invalid_action",
            Self::EmptySegment | Self::ControlCharacter => "invalid_resource",
            Self::ActionTooLong | Self::ResourceTooLong => "too_long",
            Self::TooManySegments => "too_many_segments",
        }
    }
}

/// What a request wants to do: one concrete action, `[A-Za-z0-9_.:-]{1,64}` (`api.md` §2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Action(Arc<str>);

/// Which actions a grant is about: one, `orders.*` (`orders` and all below it), or `*` (`api.md` §2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionPattern(Arc<str>);

/// What a request wants to touch: concrete segments joined by `/`, in normal form C (`api.md` §2).
///
/// The [root](Self::root) has no segments. No text is the root: it is what a request without a resource asks for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

/// Which resources a grant is about: segments, `*` for one, a final `**` for the rest (`api.md` §2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourcePattern(Arc<str>);

/// An [`ActionPattern`] taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actions<'a> {
    Any,
    /// This action and all below it.
    Tree(&'a str),
    One(&'a str),
}

/// One segment of a [`ResourcePattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    Name(&'a str),
    /// `*`: one segment, whatever it is.
    Any,
    /// `**`: all that follows, nothing included.
    Rest,
}

impl Action {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ActionPattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether this is `*` or `orders.*`, for a keyspace's `forbid_wildcards`.
    pub fn has_wildcard(&self) -> bool {
        !matches!(self.parts(), Actions::One(_))
    }

    /// Says whether this pattern is about `action`.
    pub fn covers(&self, action: &Action) -> bool {
        match self.parts() {
            Actions::Any => true,
            Actions::One(name) => name == action.as_str(),
            Actions::Tree(name) => is_at_or_below(action.as_str(), name),
        }
    }

    pub(crate) fn parts(&self) -> Actions<'_> {
        match self.0.strip_suffix(".*") {
            Some(name) => Actions::Tree(name),
            None if &*self.0 == "*" => Actions::Any,
            None => Actions::One(&self.0),
        }
    }

    /// Writes a pattern made of names that are known to be valid.
    pub(crate) fn from_parts(parts: Actions<'_>) -> Self {
        match parts {
            Actions::Any => Self("*".into()),
            Actions::One(name) => Self(name.into()),
            Actions::Tree(name) => Self(format!("{name}.*").into()),
        }
    }
}

impl Resource {
    /// The resource with no segments, which a request without a resource asks for and only `**` covers (`api.md` §4).
    pub fn root() -> Self {
        Self("".into())
    }

    /// As it is written, normalised; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }
}

impl ResourcePattern {
    /// As it is written, normalised.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether there is a `*` or `**` in it, for a keyspace's `forbid_wildcards`.
    pub fn has_wildcard(&self) -> bool {
        self.segments().any(|segment| !matches!(segment, Segment::Name(_)))
    }

    /// Says whether this pattern is about `resource`.
    pub fn covers(&self, resource: &Resource) -> bool {
        let mut wanted = resource.segments();
        for segment in self.segments() {
            let fits = match segment {
                Segment::Rest => return true,
                Segment::Any => wanted.next().is_some(),
                Segment::Name(name) => wanted.next() == Some(name),
            };
            if !fits {
                return false;
            }
        }
        wanted.next().is_none()
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0.split('/').map(|segment| match segment {
            "*" => Segment::Any,
            "**" => Segment::Rest,
            name => Segment::Name(name),
        })
    }

    /// Writes a pattern made of segments that are known to be valid.
    pub(crate) fn from_segments<'a>(segments: impl Iterator<Item = Segment<'a>>) -> Self {
        let mut text = String::new();
        for segment in segments {
            if !text.is_empty() {
                text.push('/');
            }
            text.push_str(match segment {
                Segment::Name(name) => name,
                Segment::Any => "*",
                Segment::Rest => "**",
            });
        }
        Self(text.into())
    }
}

/// Says whether `action` is `name` or lies below it at a dot.
pub(crate) fn is_at_or_below(action: &str, name: &str) -> bool {
    action.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Tests the text of a concrete action.
pub(crate) fn check_action(text: &str) -> Result<(), PatternError> {
    if text.len() > ACTION_BYTES_MAX {
        return Err(PatternError::ActionTooLong);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(PatternError::InvalidAction);
    }
    Ok(())
}

fn check_action_pattern(text: &str) -> Result<(), PatternError> {
    if text == "*" {
        return Ok(());
    }
    if text.len() > ACTION_BYTES_MAX {
        return Err(PatternError::ActionTooLong);
    }
    let name = text.strip_suffix(".*").unwrap_or(text);
    if name.contains('*') {
        return Err(PatternError::PartialWildcard);
    }
    check_action(name)
}

/// Normalises the text of a concrete resource and tests it. Borrows when nothing had to change.
pub(crate) fn checked_resource(text: &str) -> Result<Cow<'_, str>, PatternError> {
    let text = normalised(text)?;
    check_segments(&text)?;
    if text.contains('*') && text.split('/').any(|segment| matches!(segment, "*" | "**")) {
        return Err(PatternError::WildcardInRequest);
    }
    Ok(text)
}

fn checked_resource_pattern(text: &str) -> Result<Cow<'_, str>, PatternError> {
    let text = normalised(text)?;
    check_segments(&text)?;
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "**" if segments.peek().is_some() => return Err(PatternError::MisplacedWildcard),
            "*" | "**" => {}
            name if name.contains('*') => return Err(PatternError::PartialWildcard),
            _ => {}
        }
    }
    Ok(text)
}

fn normalised(text: &str) -> Result<Cow<'_, str>, PatternError> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    if text.len() > RESOURCE_BYTES_MAX * NFC_SHRINKS_AT_MOST {
        return Err(PatternError::ResourceTooLong);
    }
    Ok(if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) })
}

fn check_segments(text: &str) -> Result<(), PatternError> {
    if text.len() > RESOURCE_BYTES_MAX {
        return Err(PatternError::ResourceTooLong);
    }
    if text.bytes().any(|byte| byte.is_ascii_control())
        || !text.is_ascii() && text.chars().any(char::is_control)
    {
        return Err(PatternError::ControlCharacter);
    }
    let mut count = 0;
    for segment in text.split('/') {
        if segment.is_empty() {
            return Err(PatternError::EmptySegment);
        }
        count += 1;
    }
    if count > RESOURCE_SEGMENTS_MAX { Err(PatternError::TooManySegments) } else { Ok(()) }
}

impl FromStr for Action {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_action(text).map(|()| Self(text.into()))
    }
}

impl FromStr for ActionPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_action_pattern(text).map(|()| Self(text.into()))
    }
}

impl FromStr for Resource {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        checked_resource(text).map(|text| Self(text.into()))
    }
}

impl FromStr for ResourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        checked_resource_pattern(text).map(|text| Self(text.into()))
    }
}

/// Shows each of the four as its text, to people, to `{:?}` and in JSON.
macro_rules! is_its_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
is_its_text!(Action, ActionPattern, Resource, ResourcePattern);

/// Whether a grant gives or takes. Deny beats allow, wherever both are written (`api.md` §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Gives every one of the actions on every one of the resources.
    Allow,
    /// Takes them, whatever else allows them.
    Deny,
}

/// One line of permission: `{"effect":"allow","actions":["get"],"resources":["devices/7/**"]}` (`api.md` §2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Gives or takes.
    pub effect: Effect,
    /// Each of these actions,
    pub actions: Vec<ActionPattern>,
    /// on each of these resources.
    pub resources: Vec<ResourcePattern>,
}

impl Grant {
    /// How many patterns it holds; a key has at most 1,000 (`api.md` §2, "Sizes").
    pub fn pattern_count(&self) -> usize {
        self.actions.len() + self.resources.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_action_pattern(text: &str, expected: Result<(), PatternError>) {
        assert_eq!(text.parse::<ActionPattern>().map(drop), expected, "{text:?}");
    }

    #[track_caller]
    fn check_resource_pattern(text: &str, expected: Result<(), PatternError>) {
        assert_eq!(text.parse::<ResourcePattern>().map(drop), expected, "{text:?}");
    }

    #[track_caller]
    fn check_resource(text: &str, expected: Result<(), PatternError>) {
        assert_eq!(text.parse::<Resource>().map(drop), expected, "{text:?}");
    }

    #[test]
    fn an_action_pattern_is_a_name_a_tree_or_a_star() {
        for text in ["*", "get", "orders.*", "a:b-c_D.9", "."] {
            check_action_pattern(text, Ok(()));
        }
        for text in ["ord*", "*.read", "a.*.b", "**", "orders*", "a*.*"] {
            check_action_pattern(text, Err(PatternError::PartialWildcard));
        }
        for text in ["", ".*", "é", "a b", "a/b", "a\0"] {
            check_action_pattern(text, Err(PatternError::InvalidAction));
        }
    }

    #[test]
    fn an_action_has_at_most_64_bytes_and_no_wildcard() {
        assert!("a".repeat(64).parse::<Action>().is_ok());
        assert_eq!("a".repeat(65).parse::<Action>(), Err(PatternError::ActionTooLong));
        assert_eq!("*".parse::<Action>(), Err(PatternError::InvalidAction));
        check_action_pattern(&format!("{}.*", "a".repeat(62)), Ok(()));
        check_action_pattern(&format!("{}.*", "a".repeat(63)), Err(PatternError::ActionTooLong));
    }

    #[test]
    fn a_resource_pattern_has_whole_wildcards_and_the_rest_last() {
        for text in ["*", "**", "a/*/b", "a/**", "*/**", "foo/ü"] {
            check_resource_pattern(text, Ok(()));
        }
        for text in ["foo*", "a/*b", "a/***", "a/b*c/**"] {
            check_resource_pattern(text, Err(PatternError::PartialWildcard));
        }
        check_resource_pattern("a/**/b", Err(PatternError::MisplacedWildcard));
        check_resource_pattern("**/**", Err(PatternError::MisplacedWildcard));
        let empty = ["", "/", "/a", "a/", "a//b"].map(|text| (text, PatternError::EmptySegment));
        let control =
            ["a\0b", "a\n", "a/\u{7f}", "\u{85}"].map(|text| (text, PatternError::ControlCharacter));
        for (text, error) in empty.into_iter().chain(control) {
            check_resource_pattern(text, Err(error));
            check_resource(text, Err(error));
        }
    }

    #[test]
    fn a_resource_has_at_most_32_segments_and_512_bytes() {
        check_resource(&["a"; 32].join("/"), Ok(()));
        check_resource(&["a"; 33].join("/"), Err(PatternError::TooManySegments));
        check_resource(&"a".repeat(512), Ok(()));
        check_resource(&"a".repeat(513), Err(PatternError::ResourceTooLong));
        check_resource_pattern(&format!("{}/**", ["a"; 31].join("/")), Ok(()));
        check_resource_pattern(&format!("{}/**", ["a"; 32].join("/")), Err(PatternError::TooManySegments));
    }

    #[test]
    fn the_512_bytes_are_counted_after_normalisation() {
        check_resource(&"e\u{301}".repeat(256), Ok(()));
        check_resource(&"e\u{301}".repeat(257), Err(PatternError::ResourceTooLong));
        check_resource(&"e\u{301}".repeat(100_000), Err(PatternError::ResourceTooLong));
    }

    #[test]
    fn a_request_cannot_name_a_wildcard() {
        check_resource("devices/*", Err(PatternError::WildcardInRequest));
        check_resource("**", Err(PatternError::WildcardInRequest));
        check_resource("devices/a*", Ok(()));
    }

    #[test]
    fn composed_and_decomposed_spellings_are_one_resource() {
        let composed: Resource = "caf\u{e9}".parse().unwrap();
        let decomposed: ResourcePattern = "cafe\u{301}".parse().unwrap();
        assert!(decomposed.covers(&composed));
        assert_eq!(decomposed.as_str(), composed.as_str());
    }

    #[test]
    fn a_grant_is_the_json_of_the_api_and_is_checked_as_it_is_read() {
        let text = r#"{"effect":"allow","actions":["get"],"resources":["devices/7/**"]}"#;
        let grant: Grant = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&grant).unwrap(), text);
        let error = serde_json::from_str::<Grant>(&text.replace("/**", "/7*")).unwrap_err();
        assert!(error.to_string().contains("a wildcard stands alone"), "{error}");
        assert!(serde_json::from_str::<Grant>(&text.replace("effect", "affect")).is_err());
    }
}

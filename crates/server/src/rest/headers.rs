//! What a write's headers ask for: `If-Match`, `Idempotency-Key`, `Prefer`.

use std::time::Duration;

use http::header::{HeaderName, IF_MATCH};
use http::{HeaderMap, HeaderValue};
use keywright_model::revision::Version;

use super::problem::Problem;

/// Names a call, so that repeating it does nothing twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Whether an answer is that of an earlier call again.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The organization that a call acts in.
pub const KEYWRIGHT_ORG: HeaderName = HeaderName::from_static("keywright-org");
/// A write's place among all writes.
pub const KEYWRIGHT_REVISION: HeaderName = HeaderName::from_static("keywright-revision");
/// How far a write has come.
pub const KEYWRIGHT_ENFORCED: HeaderName = HeaderName::from_static("keywright-enforced");
/// The revision that an answer must have seen.
pub const KEYWRIGHT_AT_LEAST: HeaderName = HeaderName::from_static("keywright-at-least");
/// What the client would like (RFC 7240).
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What of it was done.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest wait that a client can ask for.
pub const WAIT_SECONDS_MAX: u64 = 30;
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// The versions that a client is content with (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any, as long as there is one.
    Any,
    /// One of these. Tags that no version has are left out, so the list may be empty and then matches nothing.
    OneOf(Vec<Version>),
}

/// Reads `If-Match`. A weak tag is a tag that never matches (RFC 9110 §8.8.3.2); what is no tag is a fault.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let fault =
        || Problem::header_fault("If-Match", "invalid_etag", "must be `*` or entity tags such as \"3\"");
    let mut versions = Vec::new();
    let mut any = false;
    let mut tags = 0_usize;
    for value in values {
        let mut rest = value.to_str().map_err(|_| fault())?.trim();
        while !rest.is_empty() {
            tags += 1;
            if let Some(after) = rest.strip_prefix('*') {
                any = true;
                rest = next_element(after).ok_or_else(fault)?;
                continue;
            }
            let (weak, strong) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
            let (tag, after) =
                strong.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(fault)?;
            versions.extend(version(tag).filter(|_| !weak));
            rest = next_element(after).ok_or_else(fault)?;
        }
    }
    match (any, tags) {
        (true, 1) => Ok(Some(IfMatch::Any)),
        (true, _) | (false, 0) => Err(fault()),
        (false, _) => Ok(Some(IfMatch::OneOf(versions))),
    }
}

/// What follows the comma, or nothing at the end.
fn next_element(after: &str) -> Option<&str> {
    let after = after.trim_start();
    if after.is_empty() { Some("") } else { after.strip_prefix(',').map(str::trim_start) }
}

/// A version has one spelling: `"03"` is another tag.
fn version(tag: &str) -> Option<Version> {
    tag.parse().ok().map(Version).filter(|version| version.to_string() == tag)
}

/// Reads `Idempotency-Key`: 1 to 255 printable ASCII characters, quoted (as the draft has it) or bare.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let printable = |text: &&str| {
        (1..=IDEMPOTENCY_KEY_MAX).contains(&text.len())
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let only = values.next().is_none().then(|| value.to_str().ok()).flatten();
    only.map(unquoted).filter(printable).map(Some).ok_or_else(|| {
        let detail =
            format!("must be given once and have 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters");
        Problem::header_fault("Idempotency-Key", "invalid_idempotency_key", detail)
    })
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(text)
}

/// How long the client would like to wait until its write is enforced. What is not understood is ignored (RFC 7240 §2).
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut wait = None;
    let mut respond_async = false;
    for preference in values.flat_map(|value| value.split(',')) {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), unquoted(value.trim()));
        match name.as_str() {
            // The first of its name counts.
            "wait" => wait = wait.or_else(|| value.parse::<u64>().ok()),
            "respond-async" => respond_async = true,
            _ => {}
        }
    }
    // `respond-async` alone asks for no wait at all; with `wait` it asks for that wait first (RFC 7240 §4.3).
    let seconds = wait.or(respond_async.then_some(0))?;
    Some(Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)))
}

/// Says which wait was kept to.
pub fn preference_applied(wait: Duration) -> HeaderValue {
    let text = if wait.is_zero() { "respond-async".to_owned() } else { format!("wait={}", wait.as_secs()) };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("wait"))
}

/// A header that is text and given once.
pub fn text<'h>(headers: &'h HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = values.next().is_none().then(|| value.to_str().ok()).flatten();
    text.map(Some)
        .ok_or_else(|| Problem::header_fault(shown, "invalid_header", "must be given once, in ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[track_caller]
    fn check_if_match(values: &[&str], expected: Option<&[u64]>) {
        let read = if_match(&headers(&IF_MATCH, values));
        match expected {
            None => assert_eq!(read.unwrap_err().items()[0].code, "invalid_etag", "{values:?}"),
            Some(versions) => {
                let versions = versions.iter().copied().map(Version).collect();
                assert_eq!(read.unwrap(), Some(IfMatch::OneOf(versions)), "{values:?}");
            }
        }
    }

    #[test]
    fn if_match_is_a_list_of_tags_or_a_star() {
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        assert_eq!(if_match(&headers(&IF_MATCH, &["*"])).unwrap(), Some(IfMatch::Any));
        check_if_match(&["\"3\""], Some(&[3]));
        check_if_match(&["\"3\", \"4\"", "\"9\""], Some(&[3, 4, 9]));
        check_if_match(&["\"3\" ,\"x,y\""], Some(&[3]));
        check_if_match(&["W/\"3\""], Some(&[]));
        check_if_match(&["\"03\""], Some(&[]));
        for wrong in ["3", "", "\"3", "*, \"3\"", "\"3\" \"4\"", "w/\"3\"", "**"] {
            check_if_match(&[wrong], None);
        }
    }

    #[track_caller]
    fn check_idempotency(values: &[&str], expected: Option<&str>) {
        let headers = headers(&IDEMPOTENCY_KEY, values);
        assert_eq!(idempotency_key(&headers).ok(), expected.map(Some), "{values:?}");
    }

    #[test]
    fn an_idempotency_key_has_1_to_255_printable_characters() {
        check_idempotency(&["a b~!"], Some("a b~!"));
        check_idempotency(&["\"8e03978e\""], Some("8e03978e"));
        check_idempotency(&[&"k".repeat(255)], Some(&"k".repeat(255)));
        check_idempotency(&[&"k".repeat(256)], None);
        check_idempotency(&[""], None);
        check_idempotency(&["\"\""], None);
        check_idempotency(&["a\tb"], None);
        check_idempotency(&["a", "a"], None);
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[track_caller]
    fn check_prefer(values: &[&str], seconds: Option<u64>) {
        assert_eq!(preferred_wait(&headers(&PREFER, values)), seconds.map(Duration::from_secs), "{values:?}");
    }

    #[test]
    fn prefer_says_how_long_to_wait() {
        check_prefer(&["wait=5"], Some(5));
        check_prefer(&["return=minimal", "respond-async, WAIT=\"10\""], Some(10));
        check_prefer(&["respond-async"], Some(0));
        check_prefer(&["wait=9999"], Some(WAIT_SECONDS_MAX));
        check_prefer(&["wait=soon"], None);
        check_prefer(&["wait=1, wait=2"], Some(1));
        check_prefer(&["handling=strict; wait=3"], None);
        check_prefer(&[], None);
    }
}

//! The request's identifier, in and out (`X-Request-Id`).

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LENGTH_MAX: usize = 64;

/// An identifier of `[A-Za-z0-9._-]{1,64}`, in place: every request has one.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; LENGTH_MAX],
    length: usize,
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

impl RequestId {
    /// Takes a client's identifier, unless it has other characters or a wrong length.
    pub fn new(text: impl AsRef<[u8]>) -> Option<Self> {
        let bytes = text.as_ref();
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let valid = (1..=LENGTH_MAX).contains(&bytes.len()) && bytes.iter().all(fits);
        valid.then(|| Self::holding(&[bytes]))
    }

    fn holding(parts: &[&[u8]]) -> Self {
        let mut bytes = [0; LENGTH_MAX];
        let mut rest = bytes.as_mut_slice();
        for part in parts {
            // More than there is room for is never given.
            let _ = rest.write_all(part);
        }
        let length = LENGTH_MAX - rest.len();
        Self { bytes, length }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("-")
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// As a header's value.
    pub fn into_header(self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// Makes identifiers for requests that come without: a random text of this boot and a count.
#[derive(Debug)]
pub struct RequestIds {
    boot: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Identifiers that begin with the hexadecimal digits of `boot`.
    pub fn new(boot: [u8; 8]) -> Self {
        Self { boot: hex::encode(boot), next: AtomicU64::new(1) }
    }

    /// The client's identifier, or a new one.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get(X_REQUEST_ID).and_then(|value| RequestId::new(value.as_bytes()));
        given.unwrap_or_else(|| self.fresh())
    }

    fn fresh(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut digits = [0; 16];
        let _ = hex::encode_to_slice(number.to_be_bytes(), &mut digits);
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        RequestId::holding(&[self.boot.as_bytes(), b"-", digits.get(zeros..).unwrap_or_default()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[u8], kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        let id = RequestIds::new([7; 8]).of(&headers);
        assert_eq!(id.as_str().as_bytes() == given, kept, "{given:?} became {id:?}");
    }

    #[test]
    fn a_clients_identifier_is_kept_when_it_has_the_form() {
        check(b"abc.DEF_0-9", true);
        check(&[b'a'; 64], true);
        check(&[b'a'; 65], false);
        check(b"", false);
        check(b"a b", false);
        check("ä".as_bytes(), false);
        check(b"a\tb", false);
    }

    #[test]
    fn made_ones_differ() {
        let ids = RequestIds::new([0xab; 8]);
        let (one, two) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(one, two);
        assert_eq!((one.as_str(), two.as_str()), ("abababababababab-1", "abababababababab-2"));
        ids.next.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(ids.of(&HeaderMap::new()).into_header(), "abababababababab-ffffffffffffffff");
    }
}

//! The order of writes: a noun's version and the installation's revision.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How often a noun's writable state changed: 1 at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a noun that was just made.
    pub const FIRST: Self = Self(1);

    /// The version after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The strong entity tag of RFC 9110 §8.8.3, quotes included.
    pub fn etag(self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The place of a write among all writes of the installation: gapless, in commit order, 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that the next write takes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One life of an installation's data: changed by `restore`, so that revisions from before it mean nothing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// A revision as clients see it: opaque, and void in another incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevisionToken {
    /// The life of the data that it belongs to.
    pub incarnation: Incarnation,
    /// The revision itself.
    pub revision: Revision,
}

/// A text that is no revision token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a revision that this installation gave out")]
pub struct RevisionTokenError;

impl fmt::Display for RevisionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        let (incarnation, revision) = bytes.split_at_mut(8);
        incarnation.copy_from_slice(&self.incarnation.0.to_be_bytes());
        revision.copy_from_slice(&self.revision.0.to_be_bytes());
        // 16 bytes are 22 characters; every verification's answer carries one, so nothing is allocated for it.
        let mut text = [0; 22];
        let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).map_err(|_| fmt::Error)?;
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        f.write_str(text.ok_or(fmt::Error)?)
    }
}

impl FromStr for RevisionToken {
    type Err = RevisionTokenError;

    fn from_str(text: &str) -> Result<Self, RevisionTokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| RevisionTokenError)?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| RevisionTokenError)?;
        let both = u128::from_be_bytes(bytes);
        let low = u64::try_from(both & u128::from(u64::MAX)).map_err(|_| RevisionTokenError)?;
        let high = u64::try_from(both >> 64).map_err(|_| RevisionTokenError)?;
        Ok(Self { incarnation: Incarnation(high), revision: Revision(low) })
    }
}

impl Serialize for RevisionToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RevisionToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_garbage_does_not() {
        let token = RevisionToken { incarnation: Incarnation(u64::MAX - 3), revision: Revision(42) };
        assert_eq!(token.to_string().parse(), Ok(token));
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<RevisionToken>(&json).unwrap(), token);
        for text in ["", "42", "AAAA", "????????????????????????"] {
            assert_eq!(text.parse::<RevisionToken>(), Err(RevisionTokenError), "{text}");
        }
    }
}

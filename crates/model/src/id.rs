//! Typed identifiers: a noun's prefix and a ULID (26 characters of Crockford's base 32, sortable by creation).

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

/// Why a text is not an identifier of the expected noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of this noun: expected `{prefix}` and 26 characters")]
pub struct IdError {
    /// The prefix that was expected, underscore included.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// What every identifier of this noun begins with.
            pub const PREFIX: &'static str = $prefix;

            /// An identifier from the milliseconds since 1970 and 80 random bits (the low 80 of `random`).
            pub fn new(unix_ms: i64, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(unix_ms).unwrap_or(0), random).0)
            }

            /// The identifier's 128 bits, for indexes and hashes.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The identifier with these 128 bits, as [`Self::bits`] gave them.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; ulid::ULID_LEN];
                f.write_str($prefix)?;
                f.write_str(Ulid(self.0).array_to_str(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { prefix: $prefix };
                let bits = text.strip_prefix($prefix).ok_or(error)?;
                let id = Ulid::from_string(bits).map_err(|_| error)?;
                // One spelling a identifier: lower case and overflowing first characters are other texts.
                let same = Self(id.0).to_string() == text;
                same.then_some(Self(id.0)).ok_or(error)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Names an organization.
    OrgId = "org_";
    /// Names a keyspace.
    KeyspaceId = "ks_";
    /// Names a key.
    KeyId = "key_";
    /// Names one of a key's secrets.
    SecretId = "sec_";
    /// Names a principal.
    PrincipalId = "prn_";
    /// Names a role.
    RoleId = "role_";
    /// Names a plan.
    PlanId = "plan_";
    /// Names one life of a verifier: a node's or a follower's, from its registration to its end. Never used again.
    NodeId = "node_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_as_it_was_written() {
        let id = KeyId::new(1_700_000_000_000, 7);
        assert!(id.to_string().starts_with("key_01"), "{id}");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn another_nouns_identifier_is_refused() {
        let id = KeyId::new(1, 7).to_string();
        assert_eq!(id.parse::<RoleId>(), Err(IdError { prefix: "role_" }));
    }

    #[test]
    fn an_identifier_has_one_spelling() {
        let id = KeyId::new(1_700_000_000_000, u128::MAX).to_string();
        assert!(id.to_lowercase().parse::<KeyId>().is_err());
        assert!(format!("{id} ").parse::<KeyId>().is_err());
    }
}

//! Sealing: XChaCha20-Poly1305 with what it belongs to as associated data, so that a sealed value moved to another
//! row, version or purpose does not open.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::Entropy;

/// What a sealed value is, as part of its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `SHA-256(secret)`, so that digests can be made anew under another pepper.
    SecretHash,
    /// A secret that must be shown or used again.
    Secret,
    /// A secret in an answer kept for its idempotent replay.
    Replay,
    /// A pepper, data key or audit key, under the master key.
    Keyring,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::SecretHash => "secret-hash",
            Self::Secret => "secret",
            Self::Replay => "replay",
            Self::Keyring => "keyring",
        }
    }
}

/// What a sealed value belongs to. It opens only when all of this is the same again.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// What kind of value it is.
    pub purpose: Purpose,
    /// The noun that it belongs to, such as a keyspace's id.
    pub scope: &'a str,
    /// The row that it belongs to, such as a secret's id.
    pub id: &'a str,
    /// The version of the sealing key.
    pub key_version: u32,
}

impl SealContext<'_> {
    fn associated_data(&self) -> Vec<u8> {
        // Each part is preceded by its length, so that no two contexts give the same bytes.
        let version = self.key_version.to_string();
        let parts = [self.purpose.label(), self.scope, self.id, &version];
        parts
            .iter()
            .flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat())
            .collect()
    }
}

/// A value that only the holder of its sealing key can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The version of the sealing key.
    pub key_version: u32,
    /// Nonce (24 bytes), ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.key_version, STANDARD_NO_PAD.encode(&self.bytes)))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let (version, body) = text.split_once('.')?;
            Some(Self { key_version: version.parse().ok()?, bytes: STANDARD_NO_PAD.decode(body).ok()? })
        };
        parse().ok_or_else(|| serde::de::Error::custom("not a sealed value"))
    }
}

/// A value did not open: another key, another place, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open with this key in this place")]
pub struct SealError;

/// A 256-bit key that seals: the master key, or a keyspace's data key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

const NONCE_BYTES: usize = 24;

impl SealingKey {
    /// Takes 32 secret bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Makes a new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes, for wrapping under the master key and for export.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plain` for `context` under a random nonce (192 bits: no counter is needed).
    pub fn seal(&self, context: &SealContext<'_>, plain: &[u8], entropy: &dyn Entropy) -> Sealed {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let associated = context.associated_data();
        let payload = Payload { msg: plain, aad: &associated };
        // Encryption fails only past 256 GiB; an empty value would then not open, which is safe.
        let body = self.cipher().encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        Sealed { key_version: context.key_version, bytes: [&nonce[..], &body].concat() }
    }

    /// Opens what [`Self::seal`] made for the same context.
    pub fn open(&self, context: &SealContext<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.bytes.split_at_checked(NONCE_BYTES).ok_or(SealError)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealError)?;
        let associated = context.associated_data();
        let payload = Payload { msg: body, aad: &associated };
        let plain = self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        Ok(Zeroizing::new(plain))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    const HERE: SealContext<'_> =
        SealContext { purpose: Purpose::Secret, scope: "ks_1", id: "sec_1", key_version: 1 };

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal(&HERE, b"hello", &Fixed);
        assert_eq!(key.open(&HERE, &sealed).unwrap().as_slice(), b"hello");
        let elsewhere = [
            SealContext { purpose: Purpose::Replay, ..HERE },
            SealContext { scope: "ks_2", ..HERE },
            SealContext { id: "sec_2", ..HERE },
            SealContext { key_version: 2, ..HERE },
            SealContext { scope: "ks_1sec", id: "_1", ..HERE },
        ];
        for context in elsewhere {
            assert_eq!(key.open(&context, &sealed), Err(SealError), "{context:?}");
        }
        assert_eq!(SealingKey::from_bytes([2; 32]).open(&HERE, &sealed), Err(SealError));
    }

    #[test]
    fn one_changed_byte_is_refused_and_the_text_form_reads_back() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal(&HERE, b"hello", &Fixed);
        let text = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed);
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(key.open(&HERE, &changed), Err(SealError), "byte {at}");
        }
    }
}

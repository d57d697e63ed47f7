//! What is kept of a secret: `h = SHA-256(secret)`, indexed by `HMAC-SHA-256(pepper, h)`.
//!
//! 190 random bits need no slow hash (NIST SP 800-63B-4 §3.1.2.2 asks for one below 112 bits). The pepper, which is
//! never in the database in clear, means that whoever can write to the database still cannot mint a key.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::Secret;

/// `SHA-256(secret)`. As good as the secret to whoever has the pepper, so it is kept only sealed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret in clear.
    pub fn of(secret: &Secret) -> Self {
        Self::of_text(secret.expose())
    }

    /// Hashes a presented text without taking ownership of it.
    pub fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The hash from its bytes, after unsealing.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for sealing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// `HMAC-SHA-256(pepper, h)`: what the index and the database look secrets up by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// The keyed hash with its key prepared, so that a digest costs two compressions.
#[derive(Clone)]
pub struct Pepper {
    prepared: Hmac<Sha256>,
}

impl Pepper {
    /// Prepares 32 secret bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        // HMAC pads a key shorter than its block with zeros (RFC 2104 §2).
        let mut block = [0; 64];
        block.split_at_mut(32).0.copy_from_slice(bytes);
        let pepper = Self { prepared: Hmac::new(&block.into()) };
        block.zeroize();
        pepper
    }

    /// The digest that a secret's hash is found by. Allocates nothing.
    pub fn digest(&self, hash: &SecretHash) -> Digest {
        let mut mac = self.prepared.clone();
        mac.update(hash.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_hmac_over_sha256() {
        // Python: hmac.new(bytes(32), hashlib.sha256(b"abc").digest(), "sha256").hexdigest()
        let digest = Pepper::new(&[0; 32]).digest(&SecretHash::of_text("abc"));
        assert_eq!(hex::encode(digest.0), "0b18f2bc0fb546053597876e4b0fbe81378ec3ebeb5f811cec8fbba0b66497fa");
    }

    #[test]
    fn nothing_kept_of_a_secret_can_be_printed() {
        let hash = SecretHash::of_text("abc");
        assert_eq!(
            format!("{hash:?} {:?}", Pepper::new(&[1; 32]).digest(&hash)),
            "SecretHash(..) Digest(..)"
        );
    }
}

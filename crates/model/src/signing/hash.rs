//! The hashes under the schemes.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Algorithm, SignatureError};

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// HMAC-SHA256. It takes a key of any length, so the error never comes.
pub(super) fn hmac_sha256(key: &[u8], data: &[u8]) -> Result<[u8; 32], SignatureError> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).map_err(|_| SignatureError::Invalid)?;
    mac.update(data);
    Ok(mac.finalize().into_bytes().into())
}

/// The base64 text of an HMAC of the client's choice.
pub(super) fn hmac_base64(algorithm: Algorithm, key: &[u8], data: &[u8]) -> Result<String, SignatureError> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match algorithm {
        Algorithm::HmacSha256 => Ok(STANDARD.encode(hmac_sha256(key, data)?)),
        Algorithm::HmacSha1 => {
            let mut mac =
                <Hmac<Sha1> as KeyInit>::new_from_slice(key).map_err(|_| SignatureError::Invalid)?;
            mac.update(data);
            Ok(STANDARD.encode(mac.finalize().into_bytes()))
        }
    }
}

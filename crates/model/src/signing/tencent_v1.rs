//! `HmacSHA1` and `HmacSHA256`, "Signature v1" of Tencent Cloud.
//!
//! Source `T-sig` (`https://www.tencentcloud.com/zh/document/product/228/31724`), and the clients `py-common` and
//! `go-intl`. What it covers: the method, the host, the path and every parameter but `Signature`.

use super::{Algorithm, Parsed, SignatureError, SignedRequest, access_id, hash, same, unix_seconds};

/// How far `Timestamp` may be from now, in seconds (source `T-err`, `AuthFailure.SignatureExpire`).
pub const TOLERANCE: u64 = 300;

/// What the signature says besides who and when.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    algorithm: Algorithm,
}

/// Reads the signature among the parameters.
pub(super) fn parse<'a>(request: &SignedRequest<'a>) -> Result<Parsed<'a>, SignatureError> {
    let signature = parameter(request, "Signature")?.ok_or(SignatureError::Unsigned)?;
    let id = parameter(request, "SecretId")?.ok_or(SignatureError::Missing("SecretId"))?;
    let timestamp = parameter(request, "Timestamp")?.ok_or(SignatureError::Missing("Timestamp"))?;
    if parameter(request, "Nonce")?.is_none() {
        return Err(SignatureError::Missing("Nonce"));
    }
    Ok(Parsed {
        access_id: access_id(id)?,
        timestamp: unix_seconds(timestamp)?,
        signature,
        proof: super::Proof::TencentV1(Proof { algorithm: algorithm(request)? }),
    })
}

/// Makes the `Signature` of a request that has all its other parameters: `SecretId`, `Timestamp`, `Nonce`,
/// `SignatureMethod`, and what it asks for.
pub fn sign_tencent_v1(request: &SignedRequest<'_>, secret: &[u8]) -> Result<String, SignatureError> {
    hash::hmac_base64(algorithm(request)?, secret, string_to_sign(request)?.as_bytes())
}

/// Decodes a raw query or an urlencoded form, in its order. `+` is a space; a pair without `=` is refused, as the
/// vendor does (source `T-curl`).
pub fn decode_parameters(raw: &str) -> Result<Vec<(String, String)>, SignatureError> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(decode_pair).collect()
}

impl Proof {
    pub(super) fn check(
        self,
        request: &SignedRequest<'_>,
        signature: &str,
        secret: &[u8],
    ) -> Result<(), SignatureError> {
        if request.method == "GET" && request.has_body() {
            return Err(SignatureError::Malformed("the body of a GET is not signed"));
        }
        let computed = hash::hmac_base64(self.algorithm, secret, string_to_sign(request)?.as_bytes())?;
        if same(signature, &computed) { Ok(()) } else { Err(SignatureError::Invalid) }
    }
}

fn parameter<'a>(request: &SignedRequest<'a>, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = request.parameters.iter().filter(|(n, _)| *n == name).map(|(_, value)| *value);
    let value = values.next();
    match values.next() {
        None => Ok(value),
        Some(_) => Err(SignatureError::Malformed("a parameter occurs twice")),
    }
}

/// Absent or anything else means HMAC-SHA1 (source `go-intl`, which decides the same way when it signs).
fn algorithm(request: &SignedRequest<'_>) -> Result<Algorithm, SignatureError> {
    match parameter(request, "SignatureMethod")? {
        Some("HmacSHA256") => Ok(Algorithm::HmacSha256),
        Some(_) | None => Ok(Algorithm::HmacSha1),
    }
}

fn string_to_sign(request: &SignedRequest<'_>) -> Result<String, SignatureError> {
    let mut parameters: Vec<(&str, &str)> =
        request.parameters.iter().copied().filter(|(name, _)| *name != "Signature").collect();
    parameters.sort_unstable();
    if parameters.is_sorted_by(|(a, _), (b, _)| a < b) {
        let mut text = format!("{}{}{}?", request.method, request.host, request.path());
        for (position, (name, value)) in parameters.into_iter().enumerate() {
            check_unambiguous(name, value)?;
            text.push_str(if position == 0 { "" } else { "&" });
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        Ok(text)
    } else {
        Err(SignatureError::Malformed("a parameter occurs twice"))
    }
}

/// Values are signed without being encoded, so `a=1&b=2` could be two parameters or one.
///
/// Whoever sees a signed request could send it again divided otherwise, hence only what divides in one way is read.
fn check_unambiguous(name: &str, value: &str) -> Result<(), SignatureError> {
    let divides = value.split_once('&').is_some_and(|(_, rest)| rest.contains('='));
    if divides || name.contains(['=', '&']) {
        return Err(SignatureError::Malformed(
            "a parameter that could be read as two; sign with TC3-HMAC-SHA256",
        ));
    }
    Ok(())
}

fn decode_pair(pair: &str) -> Result<(String, String), SignatureError> {
    let (name, value) = pair.split_once('=').ok_or(SignatureError::Malformed("a parameter without ="))?;
    Ok((decode(name)?, decode(value)?))
}

fn decode(text: &str) -> Result<String, SignatureError> {
    const BAD: SignatureError = SignatureError::Malformed("the encoding of a parameter");
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (bytes.next().ok_or(BAD)?, bytes.next().ok_or(BAD)?);
                let mut decoded = [0];
                hex::decode_to_slice([high, low], &mut decoded).map_err(|_| BAD)?;
                let [decoded] = decoded;
                decoded
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| BAD)
}

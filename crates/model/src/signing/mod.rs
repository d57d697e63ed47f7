//! Requests that are signed with a key pair (an access id and a secret) instead of carrying a secret.
//!
//! Checking has two phases, because the secret is found by the access id: [`parse`] reads who claims to have signed,
//! and [`Parsed::check`] decides with that key's secret whether they did. Three schemes are known:
//!
//! - [`tc3`]: TC3-HMAC-SHA256 of Tencent Cloud (source `T-sig`, "Signature v3");
//! - [`tencent_v1`]: the older `HmacSHA1` and `HmacSHA256` of Tencent Cloud (source `T-sig`, "Signature v1");
//! - [`hmac_header`]: key pair authentication of calls behind Tencent's API Gateway.
//!
//! [`onenet_token`] is a fourth, of another kind: a token that covers nothing of a request, read by its own function.
//!
//! The sources' ids are those of `contracts/vendors.md`. This module must not know a clock or where secrets are kept.
//! A signature proves nothing about what its scheme leaves out, and nothing against a second delivery of the same
//! request: [`Parsed::signature`] is what a caller remembers to refuse that.

mod hash;
pub mod hmac_header;
pub mod onenet_token;
pub mod tc3;
pub mod tencent_v1;
#[cfg(test)]
mod tests;

use std::fmt;

use subtle::ConstantTimeEq;

/// The longest `Authorization` that is read, in bytes.
pub const AUTHORIZATION_MAX: usize = 8 * 1024;
/// The most headers one signature may cover.
pub const SIGNED_HEADERS_MAX: usize = 64;
/// The longest access id, in bytes.
pub const ACCESS_ID_MAX: usize = 256;

/// A request as it came, borrowed from whoever received it.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The raw text of `Host`: one client sends `http://127.0.0.1:8080` there, and signs that.
    pub host: &'a str,
    /// Path and raw query, as on the wire.
    pub target: &'a str,
    /// Every header field; names in any case. A `Host` among them is not read.
    pub headers: &'a [(&'a str, &'a str)],
    /// The decoded parameters of the query or the form, for [`tencent_v1`]; the other schemes do not read them.
    /// [`tencent_v1::decode_parameters`] makes them.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The SHA-256 of the body; `None` when there is no body.
    pub body_sha256: Option<[u8; 32]>,
}

/// How a request was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TC3-HMAC-SHA256 in `Authorization`.
    Tc3,
    /// `Signature` among the parameters.
    TencentV1,
    /// `Authorization: hmac id="…"`.
    HmacHeader,
}

/// The hash under an HMAC, where a scheme leaves the choice to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    HmacSha1,
    HmacSha256,
}

/// Why a signed request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature at all.
    #[error("the request is not signed")]
    Unsigned,
    /// `Authorization: SKIP`, which Tencent's clients send when told not to sign (source `py-common`).
    #[error("the request says that it skips signing")]
    Skipped,
    /// The signature or what it covers cannot be read in one way only. Tencent: `AuthFailure.InvalidAuthorization`.
    #[error("the signature cannot be read: {0}")]
    Malformed(&'static str),
    /// A header or parameter that the scheme or the signature needs is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// Signed too long ago, or in the future. Tencent: `AuthFailure.SignatureExpire`.
    #[error("the signature is expired")]
    Expired,
    /// Signed with another secret, or something else was signed. Tencent: `AuthFailure.SignatureFailure`.
    #[error("the signature is not right")]
    Invalid,
}

/// An access id and its secret, for making a signature.
#[derive(Clone, Copy)]
pub struct KeyPair<'a> {
    pub access_id: &'a str,
    pub secret: &'a [u8],
}

impl fmt::Debug for KeyPair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_id", &self.access_id).finish_non_exhaustive()
    }
}

/// Who claims to have signed a request, and when. Nothing of it is proven before [`Parsed::check`].
#[derive(Clone, Copy)]
pub struct Parsed<'a> {
    access_id: &'a str,
    timestamp: i64,
    signature: &'a str,
    proof: Proof<'a>,
}

#[derive(Clone, Copy)]
enum Proof<'a> {
    Tc3(tc3::Proof<'a>),
    TencentV1(tencent_v1::Proof),
    HmacHeader(hmac_header::Proof<'a>),
}

impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("scheme", &self.scheme())
            .field("access_id", &self.access_id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Reads the signature of a request: from `Authorization`, or else from the parameters.
pub fn parse<'a>(request: &SignedRequest<'a>) -> Result<Parsed<'a>, SignatureError> {
    if [request.method, request.host, request.target].into_iter().any(has_control) {
        return Err(SignatureError::Malformed("a control character in the method, the host or the target"));
    }
    let Some(authorization) = request.header("authorization")? else {
        return tencent_v1::parse(request);
    };
    if authorization.len() > AUTHORIZATION_MAX {
        return Err(SignatureError::Malformed("Authorization is too long"));
    }
    if authorization.eq_ignore_ascii_case("SKIP") {
        return Err(SignatureError::Skipped);
    }
    let (scheme, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if scheme.eq_ignore_ascii_case(tc3::SCHEME) {
        tc3::parse(request, fields)
    } else if scheme.eq_ignore_ascii_case(hmac_header::SCHEME) {
        hmac_header::parse(request, fields)
    } else {
        Err(SignatureError::Malformed("Authorization names no known scheme"))
    }
}

impl<'a> Parsed<'a> {
    pub fn scheme(&self) -> Scheme {
        match self.proof {
            Proof::Tc3(_) => Scheme::Tc3,
            Proof::TencentV1(_) => Scheme::TencentV1,
            Proof::HmacHeader(_) => Scheme::HmacHeader,
        }
    }

    /// The id under which to look the secret up.
    pub fn access_id(&self) -> &'a str {
        self.access_id
    }

    /// When it says it was signed, in unix seconds.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The signature as text: the same for the same request, so a caller can refuse to see it twice.
    pub fn signature(&self) -> &'a str {
        self.signature
    }

    /// How far the timestamp may be from now, in seconds, before or after.
    pub fn tolerance(&self) -> u64 {
        match self.proof {
            Proof::Tc3(_) => tc3::TOLERANCE,
            Proof::TencentV1(_) => tencent_v1::TOLERANCE,
            Proof::HmacHeader(_) => hmac_header::TOLERANCE,
        }
    }

    /// Decides whether `secret` signed `request`, the one this was parsed from, close enough to `now` (unix seconds).
    pub fn check(&self, request: &SignedRequest<'a>, secret: &[u8], now: i64) -> Result<(), SignatureError> {
        if now.abs_diff(self.timestamp) > self.tolerance() {
            return Err(SignatureError::Expired);
        }
        match self.proof {
            Proof::Tc3(proof) => proof.check(request, self.signature, secret),
            Proof::TencentV1(proof) => proof.check(request, self.signature, secret),
            Proof::HmacHeader(proof) => proof.check(request, self.signature, secret),
        }
    }
}

impl<'a> SignedRequest<'a> {
    /// The path of the target, `/` when there is none.
    fn path(&self) -> &'a str {
        let path = self.target.split_once('?').map_or(self.target, |(path, _)| path);
        if path.is_empty() { "/" } else { path }
    }

    /// The raw query of the target, without its question mark.
    fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    fn has_body(&self) -> bool {
        self.body_sha256.is_some_and(|digest| digest != hash::sha256(b""))
    }

    /// The value of a header without the white space around it.
    ///
    /// Sent twice it is refused: who signed and who acts on it could each mean another one.
    fn header(&self, name: &str) -> Result<Option<&'a str>, SignatureError> {
        let mut values =
            self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(SignatureError::Malformed("a header that is signed or signs occurs twice"));
        }
        let value = value.trim_matches([' ', '\t']);
        if has_control(value) {
            return Err(SignatureError::Malformed("a control character in a header"));
        }
        Ok(Some(value))
    }

    /// What a signature covers under `name`.
    fn signed_header(&self, name: &str) -> Result<&'a str, SignatureError> {
        if name.eq_ignore_ascii_case("host") {
            return Ok(self.host);
        }
        self.header(name)?.ok_or(SignatureError::Missing("a header that the signature covers"))
    }
}

/// The schemes join header values by line feeds, so none may bring its own.
fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
}

fn access_id(text: &str) -> Result<&str, SignatureError> {
    let fits = (1..=ACCESS_ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text) } else { Err(SignatureError::Malformed("the access id")) }
}

/// Unix seconds as the vendors' clients write them: digits only.
fn unix_seconds(text: &str) -> Result<i64, SignatureError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse().ok() } else { None };
    seconds.ok_or(SignatureError::Malformed("the timestamp"))
}

/// Puts a value where there must be none yet.
fn set_once<'a>(slot: &mut Option<&'a str>, value: &'a str) -> Result<(), SignatureError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(SignatureError::Malformed("a field occurs twice in Authorization")),
    }
}

/// Refuses a list of header names that is too long, names one twice or has something else than a name in it.
fn check_names<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), SignatureError> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(SignatureError::Malformed("the list of signed headers"));
        }
        if seen.len() == SIGNED_HEADERS_MAX {
            return Err(SignatureError::Malformed("too many signed headers"));
        }
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(SignatureError::Malformed("a signed header is listed twice"));
        }
        seen.push(name);
    }
    Ok(())
}

/// Compares signatures as text, so that only one spelling of a signature is ever right.
fn same(given: &str, computed: &str) -> bool {
    given.as_bytes().ct_eq(computed.as_bytes()).into()
}

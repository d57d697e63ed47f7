//! TC3-HMAC-SHA256, "Signature v3" of Tencent Cloud.
//!
//! Source `T-sig` (`https://tencentcloud.com/document/api/614/42761`), and the clients `py-common`, `go-intl` and
//! `node-common`, whose signatures are the vectors below.
//!
//! What it covers: the method, the path, the listed headers, the query of a GET and the body of a POST. The clients list
//! `content-type` and `host` only, so `X-TC-Action` and the rest are not covered unless a client lists them.

use jiff::{Timestamp, tz::Offset};
use zeroize::Zeroizing;

use super::{
    KeyPair, Parsed, SignatureError, SignedRequest, access_id, check_names, hash, same, set_once,
    unix_seconds,
};

/// The scheme's name in `Authorization`.
pub const SCHEME: &str = "TC3-HMAC-SHA256";
/// How far `X-TC-Timestamp` may be from now, in seconds (source `T-err`, `AuthFailure.SignatureExpire`).
pub const TOLERANCE: u64 = 300;
/// The value of `X-TC-Content-SHA256` that leaves the body out of the signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const TERMINATOR: &str = "tc3_request";
const DEFAULT_SIGNED_HEADERS: &str = "content-type;host";

/// What the signature says besides who and when.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    date: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    timestamp: &'a str,
}

/// How a client may have spelt header values when it signed them.
#[derive(Clone, Copy)]
enum Spelling {
    /// All in lower case, as the vendor says.
    Lower,
    /// `content-type` and `host` as sent, which is what its own clients do.
    Verbatim,
}

/// Reads what follows the scheme's name.
pub(super) fn parse<'a>(request: &SignedRequest<'a>, fields: &'a str) -> Result<Parsed<'a>, SignatureError> {
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => (&mut credential, value),
            Some(("SignedHeaders", value)) => (&mut signed_headers, value),
            Some(("Signature", value)) => (&mut signature, value),
            _ => return Err(SignatureError::Malformed("a field of Authorization")),
        };
        set_once(slot.0, slot.1)?;
    }
    let credential = credential.ok_or(SignatureError::Malformed("Authorization has no Credential"))?;
    let signed_headers =
        signed_headers.ok_or(SignatureError::Malformed("Authorization has no SignedHeaders"))?;
    let signature = signature.ok_or(SignatureError::Malformed("Authorization has no Signature"))?;

    let (id, date, service) = split_credential(credential)?;
    check_signed_headers(signed_headers)?;
    let timestamp = request.header("x-tc-timestamp")?.ok_or(SignatureError::Missing("X-TC-Timestamp"))?;
    Ok(Parsed {
        access_id: access_id(id)?,
        timestamp: unix_seconds(timestamp)?,
        signature,
        proof: super::Proof::Tc3(Proof { date, service, signed_headers, timestamp }),
    })
}

/// Makes the `Authorization` of a request that is sent with `X-TC-Timestamp: {timestamp}`.
///
/// The request needs its `Content-Type`, and `X-TC-Content-SHA256` if its body is to be left out. `service` is the
/// first label of the host, `apigateway`.
pub fn sign_tc3(
    request: &SignedRequest<'_>,
    pair: KeyPair<'_>,
    service: &str,
    timestamp: i64,
) -> Result<String, SignatureError> {
    let date = utc_date(timestamp)?;
    let text = timestamp.to_string();
    let proof = Proof { date: &date, service, signed_headers: DEFAULT_SIGNED_HEADERS, timestamp: &text };
    let key = proof.signing_key(pair.secret)?;
    let canonical = proof.canonical_request(request, request.host, Spelling::Lower)?;
    let signature = proof.signature(&key, &canonical)?;
    let id = pair.access_id;
    Ok(format!(
        "{SCHEME} Credential={id}/{date}/{service}/{TERMINATOR}, \
         SignedHeaders={DEFAULT_SIGNED_HEADERS}, Signature={signature}"
    ))
}

impl Proof<'_> {
    pub(super) fn check(
        &self,
        request: &SignedRequest<'_>,
        signature: &str,
        secret: &[u8],
    ) -> Result<(), SignatureError> {
        if utc_date(unix_seconds(self.timestamp)?)? != self.date {
            return Err(SignatureError::Invalid);
        }
        let key = self.signing_key(secret)?;
        let mut tried: Vec<String> = Vec::new();
        // The vendor's Node clients sign the host without its port.
        for host in [Some(request.host), without_port(request.host)].into_iter().flatten() {
            for spelling in [Spelling::Lower, Spelling::Verbatim] {
                let canonical = self.canonical_request(request, host, spelling)?;
                if tried.contains(&canonical) {
                    continue;
                }
                if same(signature, &self.signature(&key, &canonical)?) {
                    return Ok(());
                }
                tried.push(canonical);
            }
        }
        Err(SignatureError::Invalid)
    }

    fn canonical_request(
        &self,
        request: &SignedRequest<'_>,
        host: &str,
        spelling: Spelling,
    ) -> Result<String, SignatureError> {
        let mut text = format!("{}\n{}\n{}\n", request.method, request.path(), covered_query(request)?);
        for name in self.signed_headers.split(';') {
            let value = if name == "host" { host } else { request.signed_header(name)? };
            text.push_str(name);
            text.push(':');
            match (spelling, name) {
                (Spelling::Verbatim, "content-type" | "host") => text.push_str(value),
                (Spelling::Verbatim | Spelling::Lower, _) => text.push_str(&value.to_ascii_lowercase()),
            }
            text.push('\n');
        }
        text.push('\n');
        text.push_str(self.signed_headers);
        text.push('\n');
        text.push_str(&hex::encode(covered_body(request)?));
        Ok(text)
    }

    fn signature(&self, key: &[u8; 32], canonical_request: &str) -> Result<String, SignatureError> {
        let Proof { date, service, timestamp, .. } = self;
        let digest = hex::encode(hash::sha256(canonical_request.as_bytes()));
        let string_to_sign = format!("{SCHEME}\n{timestamp}\n{date}/{service}/{TERMINATOR}\n{digest}");
        Ok(hex::encode(hash::hmac_sha256(key, string_to_sign.as_bytes())?))
    }

    fn signing_key(&self, secret: &[u8]) -> Result<Zeroizing<[u8; 32]>, SignatureError> {
        let mut root = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(3)));
        root.extend_from_slice(b"TC3");
        root.extend_from_slice(secret);
        let date = Zeroizing::new(hash::hmac_sha256(&root, self.date.as_bytes())?);
        let service = Zeroizing::new(hash::hmac_sha256(&*date, self.service.as_bytes())?);
        Ok(Zeroizing::new(hash::hmac_sha256(&*service, TERMINATOR.as_bytes())?))
    }
}

/// `{access id}/{date}/{service}/tc3_request`. The service is whatever the client made of its endpoint: `127` or
/// `localhost:8080` for some, so it is not compared with anything.
fn split_credential(credential: &str) -> Result<(&str, &str, &str), SignatureError> {
    let mut parts = credential.rsplitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        // An access id with a slash in it means that there were more than four parts.
        (Some(TERMINATOR), Some(service), Some(date), Some(id)) if !id.contains('/') => {
            Ok((id, date, service))
        }
        _ => Err(SignatureError::Malformed("the Credential")),
    }
}

fn check_signed_headers(list: &str) -> Result<(), SignatureError> {
    check_names(list.split(';'))?;
    if list.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(SignatureError::Malformed("SignedHeaders is not in lower case"));
    }
    if !["content-type", "host"].into_iter().all(|needed| list.split(';').any(|name| name == needed)) {
        return Err(SignatureError::Malformed("SignedHeaders lacks content-type or host"));
    }
    Ok(())
}

/// The query that is signed. That of a POST never is, and none of the clients sends one: anyone could have added it.
fn covered_query<'a>(request: &SignedRequest<'a>) -> Result<&'a str, SignatureError> {
    let query = request.query();
    if request.method == "POST" && !query.is_empty() {
        return Err(SignatureError::Malformed("the query of a POST is not signed"));
    }
    Ok(query)
}

/// The digest of the body that is signed. That of a GET is signed as empty, so it must be.
fn covered_body(request: &SignedRequest<'_>) -> Result<[u8; 32], SignatureError> {
    if request.header("x-tc-content-sha256")? == Some(UNSIGNED_PAYLOAD) {
        return Ok(hash::sha256(UNSIGNED_PAYLOAD.as_bytes()));
    }
    if request.method == "GET" && request.has_body() {
        return Err(SignatureError::Malformed("the body of a GET is not signed"));
    }
    Ok(request.body_sha256.unwrap_or_else(|| hash::sha256(b"")))
}

fn utc_date(unix: i64) -> Result<String, SignatureError> {
    let at = Timestamp::from_second(unix).map_err(|_| SignatureError::Malformed("the timestamp"))?;
    Ok(Offset::UTC.to_datetime(at).date().to_string())
}

/// The host without its port, or `None` when it has none. An address in brackets keeps them.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !name.is_empty() && (!name.starts_with('[') || name.ends_with(']'));
    (is_port && is_name).then_some(name)
}

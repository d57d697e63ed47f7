//! Key pair authentication of calls to an API behind Tencent's API Gateway.
//!
//! Source: `https://www.tencentcloud.com/document/product/628/11819` ("Key Pair Authentication"), with the samples of
//! `…/628/11782` and `…/628/38376`. What it covers: the listed headers. The method, the path, the query and the body are
//! **not** covered, so for fifteen minutes such a signature is good for any call that its key may make.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::Offset};

use super::{
    Algorithm, KeyPair, Parsed, SignatureError, SignedRequest, access_id, check_names, hash, same, set_once,
};

/// The scheme's name in `Authorization`.
pub const SCHEME: &str = "hmac";
/// How far `Date` or `X-Date` may be from now, in seconds.
pub const TOLERANCE: u64 = 900;

/// What the signature says besides who and when.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    algorithm: Algorithm,
    /// The names of the signed headers, in their order, divided by spaces.
    headers: &'a str,
}

/// Reads what follows the scheme's name.
pub(super) fn parse<'a>(request: &SignedRequest<'a>, fields: &'a str) -> Result<Parsed<'a>, SignatureError> {
    let (mut id, mut algorithm, mut headers, mut signature) = (None, None, None, None);
    let mut rest = fields.trim();
    while !rest.is_empty() {
        let (name, value, after) = next_field(rest)?;
        let slot = match name {
            "id" => &mut id,
            "algorithm" => &mut algorithm,
            "headers" => &mut headers,
            "signature" => &mut signature,
            _ => return Err(SignatureError::Malformed("a field of Authorization")),
        };
        set_once(slot, value)?;
        rest = after;
    }
    let algorithm = match algorithm.ok_or(SignatureError::Malformed("Authorization has no algorithm"))? {
        "hmac-sha1" => Algorithm::HmacSha1,
        "hmac-sha256" => Algorithm::HmacSha256,
        _ => return Err(SignatureError::Malformed("algorithm is neither hmac-sha1 nor hmac-sha256")),
    };
    let headers = headers.ok_or(SignatureError::Malformed("Authorization has no headers"))?;
    check_names(headers.split_ascii_whitespace())?;
    Ok(Parsed {
        access_id: access_id(id.ok_or(SignatureError::Malformed("Authorization has no id"))?)?,
        timestamp: signed_at(request, headers)?,
        signature: signature.ok_or(SignatureError::Malformed("Authorization has no signature"))?,
        proof: super::Proof::HmacHeader(Proof { algorithm, headers }),
    })
}

/// Makes the `Authorization` of a request that has the listed headers, a `Date` or `X-Date` (see [`http_date`]) among
/// them: `"x-date source"` lists what the vendor's samples sign.
pub fn sign_hmac_header(
    request: &SignedRequest<'_>,
    pair: KeyPair<'_>,
    algorithm: Algorithm,
    headers: &str,
) -> Result<String, SignatureError> {
    check_names(headers.split_ascii_whitespace())?;
    signed_at(request, headers)?;
    let signature = Proof { algorithm, headers }.signature(request, pair.secret)?;
    let name = match algorithm {
        Algorithm::HmacSha1 => "hmac-sha1",
        Algorithm::HmacSha256 => "hmac-sha256",
    };
    let id = pair.access_id;
    Ok(format!(r#"{SCHEME} id="{id}", algorithm="{name}", headers="{headers}", signature="{signature}""#))
}

/// Writes unix seconds as HTTP does: `Mon, 19 Mar 2018 12:08:40 GMT`.
pub fn http_date(unix: i64) -> Result<String, SignatureError> {
    let at = Timestamp::from_second(unix).map_err(|_| SignatureError::Malformed("the timestamp"))?;
    Ok(Offset::UTC.to_datetime(at).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

impl Proof<'_> {
    pub(super) fn check(
        &self,
        request: &SignedRequest<'_>,
        signature: &str,
        secret: &[u8],
    ) -> Result<(), SignatureError> {
        if same(signature, &self.signature(request, secret)?) { Ok(()) } else { Err(SignatureError::Invalid) }
    }

    /// One `name: value` a header, joined by line feeds.
    fn signature(&self, request: &SignedRequest<'_>, secret: &[u8]) -> Result<String, SignatureError> {
        let mut text = String::new();
        for name in self.headers.split_ascii_whitespace() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&name.to_ascii_lowercase());
            text.push_str(": ");
            text.push_str(request.signed_header(name)?);
        }
        hash::hmac_base64(self.algorithm, secret, text.as_bytes())
    }
}

/// Takes `name="value"` and the comma after it off the front.
fn next_field(text: &str) -> Result<(&str, &str, &str), SignatureError> {
    const BAD: SignatureError = SignatureError::Malformed("a field of Authorization is not name=\"value\"");
    let (name, quoted) = text.split_once('=').ok_or(BAD)?;
    let (value, after) = quoted.strip_prefix('"').and_then(|quoted| quoted.split_once('"')).ok_or(BAD)?;
    let after = after.trim_start();
    let after = if after.is_empty() { after } else { after.strip_prefix(',').ok_or(BAD)?.trim_start() };
    Ok((name.trim(), value, after))
}

/// When the request was signed, by a header that the signature covers. `X-Date` says it where both do, since clients use
/// it when something on the way rewrites `Date`.
fn signed_at(request: &SignedRequest<'_>, headers: &str) -> Result<i64, SignatureError> {
    for name in ["x-date", "date"] {
        if headers.split_ascii_whitespace().any(|header| header.eq_ignore_ascii_case(name)) {
            return parse_http_date(request.signed_header(name)?);
        }
    }
    Err(SignatureError::Malformed("the signature covers neither date nor x-date"))
}

/// The weekday is not compared with the date: the vendor's own sample says `Sun, 21 Sep 2017`, a Thursday.
fn parse_http_date(text: &str) -> Result<i64, SignatureError> {
    const BAD: SignatureError =
        SignatureError::Malformed("the date is not like Mon, 19 Mar 2018 12:08:40 GMT");
    let (weekday, date) = text.split_once(", ").ok_or(BAD)?;
    if weekday.len() != 3 || date.len() != "19 Mar 2018 12:08:40 GMT".len() {
        return Err(BAD);
    }
    let date: DateTime = strtime::parse("%d %b %Y %H:%M:%S GMT", date)
        .and_then(|parsed| parsed.to_datetime())
        .map_err(|_| BAD)?;
    Ok(Offset::UTC.to_timestamp(date).map_err(|_| BAD)?.as_second())
}

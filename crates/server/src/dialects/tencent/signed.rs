//! Who asks: TC3-HMAC-SHA256 or signature v1, made with a management key's access id and secret.
//!
//! A signed write is not done twice: its signature names it, whatever it says it is and whatever body it brings, because
//! TC3 need not cover either. The name is kept in the write's own transaction.

use std::sync::atomic::{AtomicBool, Ordering};

use http::header::HOST;
use keywright_control::{Answer, Caller, Error, Idempotency, WriteOptions};
use keywright_model::denial::Denial;
use keywright_model::signing::{self, Parsed, Scheme, SignatureError, SignedRequest};
use sha2::{Digest as _, Sha256};

use super::WIRE;
use super::action::Action;
use super::error::{Code, Refusal};
use super::request::Asked;
use crate::dialects::Wire;
use crate::dialects::exchange::{Incoming, log, patient, settled};

/// A call whose signature is right.
pub(super) struct Call {
    pub(super) caller: Caller,
    /// With the call's name, so that it is done once.
    pub(super) options: WriteOptions,
}

pub(super) async fn authenticate(
    wire: &Wire,
    incoming: &Incoming,
    asked: &Asked,
    action: Action,
) -> Result<Call, Refusal> {
    let parts = &incoming.parts;
    let header = |(name, value): (&'_ http::HeaderName, &'_ http::HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    let headers: Vec<(String, String)> = parts.headers.iter().filter_map(header).collect();
    let headers: Vec<(&str, &str)> = borrowed(&headers);
    let pairs: Vec<(&str, &str)> = borrowed(&asked.pairs);
    let target = parts.uri.query().map_or_else(|| "/".to_owned(), |query| format!("/?{query}"));
    // In HTTP/2 the authority stands where HTTP/1 has `Host`.
    let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let request = SignedRequest {
        method: parts.method.as_str(),
        host,
        target: &target,
        headers: &headers,
        parameters: &pairs,
        body_sha256: (!incoming.body.is_empty()).then(|| Sha256::digest(&incoming.body).into()),
    };
    check_types(asked)?;
    let parsed = signing::parse(&request).map_err(|error| unsigned(incoming, error))?;
    if parsed.scheme() == Scheme::HmacHeader {
        // That scheme is for calls to an API behind the gateway, and covers nothing of this one.
        return Err(Code::InvalidAuthorization.into());
    }
    let caller = caller(wire, incoming, &request, &parsed).await?;
    let mut hash = Sha256::new_with_prefix(action.as_str());
    hash.update([0]);
    hash.update(target.as_bytes());
    hash.update([0]);
    hash.update(&incoming.body);
    let idempotency = Idempotency {
        key: parsed.signature().to_owned(),
        route: WIRE.to_owned(),
        request: hash.finalize().into(),
    };
    Ok(Call { caller, options: WriteOptions { idempotency: Some(idempotency), ..patient() } })
}

async fn caller<'a>(
    wire: &Wire,
    incoming: &Incoming,
    request: &SignedRequest<'a>,
    parsed: &Parsed<'a>,
) -> Result<Caller, Refusal> {
    let now = wire.now().unix_seconds();
    let expired = AtomicBool::new(false);
    let check = |secret: &[u8]| match parsed.check(request, secret, now) {
        Ok(()) => true,
        Err(error) => {
            expired.fetch_or(error == SignatureError::Expired, Ordering::Relaxed);
            false
        }
    };
    let caller = wire.authenticate_signed(incoming, parsed.access_id(), &check).await;
    caller.map_err(|error| match error {
        Error::NotFound(_) | Error::Unauthenticated { denial: None } => Code::SecretIdNotFound.into(),
        Error::Unauthenticated { denial: Some(denial) } => {
            refused(denial, expired.load(Ordering::Relaxed)).into()
        }
        error => {
            log(WIRE, &error);
            Refusal::from(error)
        }
    })
}

/// The vendor deletes what Keywright ends: it knows no other state of a key that may not sign.
fn refused(denial: Denial, expired: bool) -> Code {
    match denial {
        Denial::SignatureInvalid if expired => Code::SignatureExpire,
        Denial::SignatureInvalid => Code::SignatureFailure,
        Denial::SignatureExpired => Code::SignatureExpire,
        Denial::IpNotAllowed => Code::IpNotInWhitelist,
        Denial::RateLimited | Denial::QuotaExceeded => Code::RequestLimitExceeded,
        Denial::InsufficientPermission => Code::UnauthorizedOperation,
        Denial::Malformed
        | Denial::NotFound
        | Denial::Revoked
        | Denial::Superseded
        | Denial::Disabled
        | Denial::OwnerDisabled
        | Denial::Expired
        | Denial::NotYetValid => Code::SecretIdNotFound,
    }
}

fn unsigned(incoming: &Incoming, error: SignatureError) -> Refusal {
    let in_header = incoming.parts.headers.contains_key("authorization");
    match error {
        // Without any signature it is one of v1 that lacks it, unless the rest of the call is in headers.
        SignatureError::Unsigned if incoming.parts.headers.contains_key("x-tc-action") => {
            Code::InvalidAuthorization.into()
        }
        SignatureError::Unsigned => Refusal::missing("Signature"),
        SignatureError::Missing(name) => Refusal::missing(name),
        SignatureError::Malformed(_) if !in_header => Code::SignatureFailure.into(),
        SignatureError::Malformed(_) | SignatureError::Skipped => Code::InvalidAuthorization.into(),
        SignatureError::Expired => Code::SignatureExpire.into(),
        SignatureError::Invalid => Code::SignatureFailure.into(),
    }
}

/// A write that is done now: not the answer of an earlier call with the same signature.
pub(super) fn once<T>(answer: Answer<T>) -> Result<T, Refusal> {
    let done = settled(answer)?;
    if done.replayed { Err(Code::RequestLimitExceeded.into()) } else { Ok(done.value) }
}

/// `Nonce` is a positive integer, `Timestamp` one, too.
fn check_types(asked: &Asked) -> Result<(), Refusal> {
    for name in ["Nonce", "Timestamp"] {
        let given = asked.pairs.iter().find(|(given, _)| given == name);
        if given.is_some_and(|(_, value)| value.parse::<u64>().is_err()) {
            return Err(Refusal::type_error(name));
        }
    }
    Ok(())
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

//! What a gateway is told: 200 with who it is, or why not. nginx passes 401 and 403 on and takes any other status for an
//! error, so whatever the client did wrong is one of these two, but for too many calls.

use axum::response::{IntoResponse as _, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keywright_model::denial::Denial;
use keywright_model::time::Timestamp;
use keywright_verifier::{Check, FoundKey, Verdict};

use super::target::Ambiguous;
use crate::rest::problem::{
    AMBIGUOUS_REQUEST, FORBIDDEN, INVALID_HEADER, Problem, QUOTA_EXCEEDED, RATE_LIMITED, UNAUTHENTICATED,
};
use crate::rest::verify::detail;

const KEY_ID: HeaderName = HeaderName::from_static("keywright-key-id");
const OWNER: HeaderName = HeaderName::from_static("keywright-owner");
const ORG: HeaderName = HeaderName::from_static("keywright-org");

/// What a limit that never has room asks a client to wait.
const NEVER_SECONDS: u64 = 24 * 60 * 60;

/// The answer to a decided question.
pub(super) fn answer(
    verdict: &Verdict,
    failed: Option<Check<'_>>,
    now: Timestamp,
) -> Result<Response, Problem> {
    match (verdict.denial, &verdict.key) {
        (None, Some(key)) => Ok((StatusCode::OK, identity(key)).into_response()),
        (None, None) => Err(unknown(Denial::NotFound)),
        (Some(denial), _) => Err(refused(denial, verdict, failed, now)),
    }
}

/// Who calls. All three are always there, so that a gateway that copies them overwrites what a client has forged.
fn identity(key: &FoundKey) -> HeaderMap {
    let shown = |text: String| HeaderValue::from_str(&text).ok();
    // A name may have letters that no header has; the identifier says the same.
    let name =
        Some(key.org_name()).filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    let org = name.map_or_else(|| key.org_id().to_string(), str::to_owned);
    let owner = key.owner_id().map(|id| id.to_string()).unwrap_or_default();
    [(KEY_ID, key.id().to_string()), (OWNER, owner), (ORG, org)]
        .into_iter()
        .filter_map(|(header, text)| Some((header, shown(text)?)))
        .collect()
}

fn refused(denial: Denial, verdict: &Verdict, failed: Option<Check<'_>>, now: Timestamp) -> Problem {
    let detail = || detail(denial, failed, verdict.retry_ms);
    match denial {
        Denial::Malformed
        | Denial::NotFound
        | Denial::SignatureInvalid
        | Denial::SignatureExpired
        | Denial::Revoked
        | Denial::Superseded
        | Denial::Disabled
        | Denial::OwnerDisabled
        | Denial::Expired
        | Denial::NotYetValid => unknown(denial),
        Denial::IpNotAllowed | Denial::InsufficientPermission => {
            Problem::with_code(FORBIDDEN, denial.code()).detail(detail())
        }
        Denial::RateLimited => {
            let wait = verdict.retry_ms.map_or(NEVER_SECONDS, |wait| wait.div_ceil(1000).max(1));
            Problem::new(RATE_LIMITED).detail(detail()).retry_after(wait)
        }
        Denial::QuotaExceeded => {
            let resets_at = verdict.quota.and_then(|quota| quota.resets_at);
            let wait = resets_at.map(|at| at.unix_ms().saturating_sub(now.unix_ms()));
            let wait = wait
                .and_then(|wait| u64::try_from(wait).ok())
                .map_or(NEVER_SECONDS, |wait| wait.div_ceil(1000).max(1));
            Problem::new(QUOTA_EXCEEDED).detail(detail()).retry_after(wait)
        }
    }
}

/// A key that is not known, or no longer or not yet good.
pub(super) fn unknown(denial: Denial) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"keywright\", error=\"invalid_token\"");
    Problem::with_code(UNAUTHENTICATED, denial.code())
        .detail(detail(denial, None, None))
        .header(WWW_AUTHENTICATE, challenge)
}

/// A request without a key.
pub(super) fn no_credential() -> Problem {
    Problem::unauthenticated(None, "send a key as `Authorization: Bearer`, or in `X-Api-Key`")
}

/// A request that could be read in two ways.
pub(super) fn ambiguous(why: Ambiguous) -> Problem {
    Problem::new(AMBIGUOUS_REQUEST).detail(why.to_string())
}

/// A gateway that does not say what it was asked. No client can cause this.
pub(super) fn misconfigured() -> Problem {
    let detail = "the gateway must say both, as X-Original-Method and X-Original-URI or as X-Forwarded-Method and X-Forwarded-Uri";
    Problem::new(INVALID_HEADER).detail(detail)
}

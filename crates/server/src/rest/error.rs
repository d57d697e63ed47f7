//! What the use cases' errors are in REST. Every variant is decided on here.

use keywright_control::Error;
use keywright_model::denial::Denial;

use super::problem::{
    BEYOND_GRANTABLE, CONFLICT, FORBIDDEN, GRANTS_TOO_COMPLEX, IDEMPOTENCY_IN_PROGRESS, IDEMPOTENCY_MISMATCH,
    IN_USE, INTERNAL, KEY_REVOKED, NOT_FOUND, PRECONDITION_FAILED, PRECONDITION_REQUIRED, Place, Problem,
    STORE_UNAVAILABLE, TAKEN, TOO_MANY_REQUESTS,
};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Unauthenticated { denial } => {
                Self::unauthenticated(Some("invalid_token"), refused(denial))
            }
            Error::Forbidden { action: _ } => Self::new(FORBIDDEN).detail(words),
            Error::BeyondGrantable { gained } => {
                let gained = serde_json::to_value(gained).unwrap_or_default();
                Self::new(BEYOND_GRANTABLE).detail(words).extension("gained", gained)
            }
            Error::NotFound(_) => Self::new(NOT_FOUND).detail(words),
            Error::Invalid(faults) => Self::invalid_body(&faults),
            Error::PreconditionFailed { current } => {
                let etag = http::HeaderValue::from_str(&current.etag());
                let problem = Self::new(PRECONDITION_FAILED).detail(words);
                etag.into_iter().fold(problem, |problem, etag| problem.header(http::header::ETAG, etag))
            }
            Error::PreconditionRequired => Self::new(PRECONDITION_REQUIRED).detail(words),
            Error::Conflict => Self::new(CONFLICT).detail(words),
            Error::KeyRevoked => Self::new(KEY_REVOKED).detail(words),
            Error::WrongState { code, detail } => Self::with_code(CONFLICT, code).detail(detail),
            Error::Taken { field } => {
                Self::new(TAKEN).error(Place::Pointer(format!("/{field}")), TAKEN.code, words)
            }
            Error::InUse => Self::new(IN_USE).detail(words),
            Error::IdempotencyMismatch => Self::new(IDEMPOTENCY_MISMATCH).detail(words),
            Error::IdempotencyInProgress => Self::new(IDEMPOTENCY_IN_PROGRESS).detail(words).retry_after(1),
            Error::TooComplex => Self::new(GRANTS_TOO_COMPLEX).detail(words),
            Error::Throttled { retry_after_seconds } => {
                Self::new(TOO_MANY_REQUESTS).detail(words).retry_after(retry_after_seconds)
            }
            Error::Unavailable(source) => {
                log(&*source, "the store is unavailable");
                Self::new(STORE_UNAVAILABLE).retry_after(1)
            }
            Error::OutcomeUnknown(source) => {
                log(&*source, "nobody knows whether a write was made");
                // No `Retry-After`: whoever makes it again without an `Idempotency-Key` may make it twice.
                Self::new(STORE_UNAVAILABLE).detail(words).extension("outcome", "unknown".into())
            }
            Error::Internal(source) => {
                log(&*source, "a call failed inside");
                Self::new(INTERNAL)
            }
        }
    }
}

/// Whether a credential was refused for itself, which throttling counts.
pub fn is_failed_authentication(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated { .. })
}

/// Says why a credential that was good once no longer is; whoever guesses learns nothing.
fn refused(denial: Option<Denial>) -> String {
    match denial {
        None => "the key is unknown".to_owned(),
        Some(denial) => format!("the key cannot be used: {}", denial.code()),
    }
}

/// Walks the chain of an error, once, where it is handled.
fn log(error: &(dyn std::error::Error + 'static), what: &str) {
    let mut chain = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        chain.push_str(": ");
        chain.push_str(&source.to_string());
        next = source.source();
    }
    tracing::error!(error = chain, "{what}");
}

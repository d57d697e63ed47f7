//! How Gjirafa says no: the statuses that its pages list, each with the envelope of every answer (vendors.md §2.4; that
//! errors have the envelope, too, is inferred).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keywright_control::Error;
use keywright_model::fault::Faults;
use serde_json::Value;

use super::{WIRE, wire};
use crate::dialects::exchange::{Failed, Unread, log};
use crate::dialects::fields::renamed;

/// Keywright's fields and what an update calls them.
const NAMES: &[(&str, &str)] =
    &[("expires_at", "expireDate"), ("not_before", "startDate"), ("roles", "roleId")];

/// Keywright's fields and what a create calls them.
const NAMES_OF_CREATE: &[(&str, &str)] = &[
    ("expires_at", "userApiKey/expireDateTime"),
    ("not_before", "userApiKey/startDateTime"),
    ("name", "userApiKey/apiName"),
    ("roles", "roleId"),
    ("scope", "listProjectsId"),
];

/// A create's faults in the words of its body.
pub(super) fn of_create(error: Error) -> Error {
    match error {
        Error::Invalid(faults) => Error::Invalid(renamed(&faults, NAMES_OF_CREATE)),
        other => other,
    }
}

/// An answer that says no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) errors: Vec<String>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, errors: vec![error.into()] }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Result Not Found")
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    pub(super) fn into_answer(self) -> Response {
        wire::envelope(self.status, &self.errors, &Value::Null)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into_answer()
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::bad_request("the body is too large"),
            Unread::Broken => Self::bad_request("the body ended before its end"),
        }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        let place = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
        let line =
            |fault: &keywright_model::fault::Fault| format!("{}: {}", place(&fault.pointer), fault.detail);
        Self { status: StatusCode::BAD_REQUEST, errors: faults.as_slice().iter().map(line).collect() }
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(error) => error.into(),
            Failed::NotYetEnforced => Self::internal(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        log(WIRE, &error);
        match error {
            Error::Unauthenticated { .. } => Self::unauthorized(),
            Error::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "Forbidden"),
            Error::BeyondGrantable { .. } => {
                Self::new(StatusCode::FORBIDDEN, "Forbidden: beyond what this key may grant")
            }
            Error::NotFound(_) => Self::not_found(),
            Error::Invalid(faults) => renamed(&faults, NAMES).into(),
            Error::PreconditionFailed { .. } | Error::PreconditionRequired => {
                Self::bad_request("changes here must name a version, which this API cannot")
            }
            Error::KeyRevoked => Self::bad_request("the key is revoked"),
            Error::WrongState { detail, .. } => Self::bad_request(detail),
            Error::Taken { field } => Self::bad_request(format!("{field}: is taken")),
            Error::InUse => Self::bad_request("it is still in use"),
            Error::TooComplex => Self::bad_request("the key's rights are too complex to compare"),
            // Of the statuses that the pages list, the one that says "again, later".
            Error::Throttled { .. } | Error::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            Error::Conflict
            | Error::IdempotencyMismatch
            | Error::IdempotencyInProgress
            | Error::OutcomeUnknown(_)
            | Error::Internal(_) => Self::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keywright_model::admin::AdminAction;

    #[track_caller]
    fn check(error: Error, status: u16) {
        assert_eq!(Refusal::from(error).status.as_u16(), status);
    }

    #[test]
    fn every_refusal_has_one_of_the_statuses_that_the_pages_list() {
        check(Error::Unauthenticated { denial: None }, 401);
        check(Error::Forbidden { action: AdminAction::KeysUpdate }, 403);
        check(Error::BeyondGrantable { gained: Vec::new() }, 403);
        check(Error::NotFound("key"), 404);
        check(Error::KeyRevoked, 400);
        check(Error::Throttled { retry_after_seconds: 1 }, 503);
        check(Error::Conflict, 500);
    }

    #[test]
    fn every_fault_is_a_line_that_names_the_vendors_field() {
        let mut faults = Faults::one("/expires_at", "x", "must lie ahead");
        faults.add("/name", "y", "is too long");
        let refusal = Refusal::from(Error::Invalid(faults));
        assert_eq!(refusal.errors, ["expireDate: must lie ahead", "name: is too long"]);
    }
}

//! How Partoo says no: `{"errors":{…}}`, as its OpenAPI fragment and the 415 of its guide have it. The guide's other
//! examples say `error`; see `docs/dialects/partoo.md` (vendors.md §4.7).

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use keywright_control::Error;
use keywright_model::fault::Faults;
use serde_json::{Map, Value, json};

use super::{WIRE, wire};
use crate::dialects::exchange::{Failed, Unread, log};
use crate::dialects::fields::renamed;

/// Keywright's fields and what they are called here.
const NAMES: &[(&str, &str)] = &[
    ("name", "label"),
    ("expires_at", "expiration_date"),
    ("ip_allowlist", "ip_whitelist"),
    ("grants", "permissions"),
];

/// Where a fault stands that no field has.
const WHOLE: &str = "_schema";

/// An answer that says no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, errors: &Value) -> Self {
        Self { status, body: json!({"errors": errors}), retry_after: None }
    }

    fn json(status: StatusCode, text: &str) -> Self {
        Self::new(status, &json!({"json": text}))
    }

    /// 400, whose `json` is an object of lists, as its schema and the vendor's framework have it.
    pub(super) fn invalid_body(text: impl Into<String>) -> Self {
        Faults::one(format!("/{WHOLE}"), "invalid_body", text).into()
    }

    pub(super) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, &json!({"authentication": "User not authenticated"}))
    }

    pub(super) fn not_found() -> Self {
        Self::json(StatusCode::NOT_FOUND, "Resource not found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::json(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
    }

    pub(super) fn unsupported_media_type() -> Self {
        let text = "Unsupported media type. Please use application/json";
        Self::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    pub(super) fn too_many(retry_after_seconds: u64) -> Self {
        let refusal = Self::json(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
        Self { retry_after: Some(retry_after_seconds), ..refusal }
    }

    pub(super) fn not_allowed() -> Self {
        Self::new(StatusCode::FORBIDDEN, &json!({"authorization": "Operation not allowed"}))
    }

    pub(super) fn internal() -> Self {
        Self::json(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    pub(super) fn into_answer(self) -> Response {
        let mut response = wire::json_answer(self.status, self.body.to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
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
            Unread::TooLarge => Self::invalid_body("The document is too large."),
            Unread::Broken => Self::invalid_body("The document ended before its end."),
        }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        let mut fields: Map<String, Value> = Map::new();
        for fault in faults.as_slice() {
            let field = fault.pointer.split('/').nth(1).filter(|name| !name.is_empty()).unwrap_or(WHOLE);
            let list = fields.entry(field).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(fault.detail));
            }
        }
        Self::new(StatusCode::BAD_REQUEST, &json!({"json": fields}))
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
            Error::Unauthenticated { .. } => Self::unauthenticated(),
            Error::Forbidden { .. } | Error::BeyondGrantable { .. } => Self::not_allowed(),
            Error::NotFound(_) => Self::not_found(),
            Error::Invalid(faults) => renamed(&faults, NAMES).into(),
            Error::PreconditionFailed { .. } | Error::PreconditionRequired => {
                Self::invalid_body("Changes here must name a version, which this API cannot.")
            }
            Error::KeyRevoked => Self::invalid_body("The API key is revoked."),
            Error::WrongState { detail, .. } => Self::invalid_body(detail),
            Error::Taken { field } => Self::invalid_body(format!("This {field} is taken.")),
            Error::InUse => Self::invalid_body("It is still in use."),
            Error::TooComplex => Self::invalid_body("The permissions are too complex to compare."),
            Error::Throttled { retry_after_seconds } => Self::too_many(retry_after_seconds),
            Error::Unavailable(_) => Self::json(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
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

    #[track_caller]
    fn check(error: Error, status: u16, errors: &Value) {
        let refusal = Refusal::from(error);
        assert_eq!((refusal.status.as_u16(), &refusal.body["errors"]), (status, errors));
    }

    #[test]
    fn refusals_have_the_bodies_of_the_vendors_page() {
        check(
            Error::Unauthenticated { denial: None },
            401,
            &json!({"authentication": "User not authenticated"}),
        );
        check(
            Error::BeyondGrantable { gained: Vec::new() },
            403,
            &json!({"authorization": "Operation not allowed"}),
        );
        check(Error::NotFound("key"), 404, &json!({"json": "Resource not found"}));
        let faults = Faults::one("/ip_allowlist/2", "invalid_cidr", "not an address");
        check(Error::Invalid(faults), 400, &json!({"json": {"ip_whitelist": ["not an address"]}}));
    }

    #[test]
    fn too_many_requests_say_when_to_come_back() {
        let response = Refusal::from(Error::Throttled { retry_after_seconds: 60 }).into_answer();
        assert_eq!(response.headers()[RETRY_AFTER], "60");
    }
}

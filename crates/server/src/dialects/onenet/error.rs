//! How OneNET says no: always HTTP 200, with `errno` (vendors.md §1.5).
//!
//! 3 and 4 were seen on its server. For what nobody has recorded, the numbers are those of the vendor's only published
//! table, that of its NB-IoT product in the same envelope, where they do not contradict what was seen.

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use keywright_control::Error;
use keywright_model::fault::Faults;

use super::{WIRE, wire};
use crate::dialects::exchange::{Failed, Unread, log};
use crate::dialects::fields::renamed;

/// Missing or wrong key, or one that may not do this (seen: `AndroidSDK#14`, `#18`).
const AUTH_FAILED: u16 = 3;
/// A body that is no JSON (seen in a client's log).
const INVALID_JSON: u16 = 4;
/// "Retry after an interval is recommended" (NB-IoT table).
const SERVICE_INTERNAL_ERROR: u16 = 7;
/// "Platform restriction" (NB-IoT table).
const SYSTEM_LOGIC_LIMIT: u16 = 5006;
/// `NOT_FOUND` and `METHOD_NOT_ALLOWED` are words of this one (NB-IoT table).
const UNSUCCESS: u16 = 5106;
/// NB-IoT table.
const INVALID_PARAMETER: u16 = 5108;

/// Keywright's fields and what they are called here.
const NAMES: &[(&str, &str)] = &[("name", "title"), ("grants", "permissions")];

/// An answer that says no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errno: u16,
    pub(super) error: String,
}

impl Refusal {
    fn new(errno: u16, error: impl Into<String>) -> Self {
        Self { errno, error: error.into() }
    }

    pub(super) fn auth_failed() -> Self {
        Self::new(AUTH_FAILED, "auth failed")
    }

    pub(super) fn invalid_json() -> Self {
        Self::new(INVALID_JSON, "invalid JSON")
    }

    pub(super) fn internal() -> Self {
        Self::new(SERVICE_INTERNAL_ERROR, "service internal error")
    }

    pub(super) fn no_such_key() -> Self {
        Self::new(UNSUCCESS, "unsuccess: NOT_FOUND")
    }

    pub(super) fn unknown_call() -> Self {
        Self::new(UNSUCCESS, "unsuccess: METHOD_NOT_ALLOWED")
    }

    pub(super) fn into_answer(self) -> Response {
        wire::envelope(self.errno, &self.error, None)
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
            Unread::TooLarge => Self::new(INVALID_PARAMETER, "invalid parameter: the body is too large"),
            Unread::Broken => Self::invalid_json(),
        }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        let first = faults.as_slice().first();
        let (place, rule) =
            first.map_or(("", "body"), |fault| (fault.pointer.as_str(), fault.detail.as_str()));
        Self::new(INVALID_PARAMETER, format!("invalid parameter: {} {rule}", dotted(place)))
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
            Error::Unauthenticated { .. } | Error::Forbidden { .. } => Self::auth_failed(),
            Error::BeyondGrantable { .. } => {
                Self::new(AUTH_FAILED, "auth failed: beyond what this key may grant")
            }
            Error::NotFound(_) => Self::no_such_key(),
            Error::Invalid(faults) => renamed(&faults, NAMES).into(),
            Error::PreconditionFailed { .. } | Error::PreconditionRequired => Self::new(
                SYSTEM_LOGIC_LIMIT,
                "system logic limit: changes here must name a version, which this API cannot",
            ),
            Error::KeyRevoked => Self::new(SYSTEM_LOGIC_LIMIT, "system logic limit: the key is revoked"),
            Error::WrongState { detail, .. } => {
                Self::new(SYSTEM_LOGIC_LIMIT, format!("system logic limit: {detail}"))
            }
            Error::Taken { field } => {
                Self::new(SYSTEM_LOGIC_LIMIT, format!("system logic limit: this {field} is taken"))
            }
            Error::InUse => Self::new(SYSTEM_LOGIC_LIMIT, "system logic limit: in use"),
            Error::TooComplex => Self::new(SYSTEM_LOGIC_LIMIT, "system logic limit: permissions too complex"),
            Error::Throttled { .. } => Self::new(SYSTEM_LOGIC_LIMIT, "system logic limit: too many requests"),
            Error::Conflict
            | Error::IdempotencyMismatch
            | Error::IdempotencyInProgress
            | Error::OutcomeUnknown(_)
            | Error::Unavailable(_)
            | Error::Internal(_) => Self::internal(),
        }
    }
}

/// A place as a person writes it: `permissions[0].resources[1].dev_id`.
fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for step in pointer.split('/').skip(1) {
        let is_index = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        let dot = if is_index || text.is_empty() { "" } else { "." };
        let _ = if is_index { write!(text, "[{step}]") } else { write!(text, "{dot}{step}") };
    }
    if text.is_empty() { "the body".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keywright_model::admin::AdminAction;

    #[track_caller]
    fn check(error: Error, errno: u16) {
        assert_eq!(Refusal::from(error).errno, errno);
    }

    #[test]
    fn a_key_that_may_not_do_it_fails_to_authenticate() {
        check(Error::Unauthenticated { denial: None }, 3);
        check(Error::Forbidden { action: AdminAction::KeysUpdate }, 3);
        check(Error::BeyondGrantable { gained: Vec::new() }, 3);
    }

    #[test]
    fn a_fault_names_the_vendors_field() {
        let error = Error::Invalid(Faults::one("/grants/0/resources/1", "x", "is wrong"));
        assert_eq!(Refusal::from(error).error, "invalid parameter: permissions is wrong");
        check(Error::Invalid(Faults::new()), 5108);
    }

    #[test]
    fn what_may_have_been_done_is_an_internal_error() {
        assert_eq!(Refusal::from(Failed::NotYetEnforced), Refusal::internal());
    }
}

//! The one error of every use case. A denial of a verification is an answer, not an error.

use keywright_model::access::AccessRegion;
use keywright_model::admin::AdminAction;
use keywright_model::denial::Denial;
use keywright_model::fault::Faults;
use keywright_model::revision::Version;
use keywright_store::{CommitError, StoreError};

/// Why a use case did not do what was asked. Every wire matches it without `_`, so that a new variant stops the build
/// until each has decided.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's credential is none, or no longer good.
    #[error("the credential is missing, unknown or no longer good")]
    Unauthenticated {
        /// What is wrong with a credential that was good once.
        denial: Option<Denial>,
    },
    /// The caller may see it, but not do this.
    #[error("this key may not do that: it lacks `{action}`")]
    Forbidden {
        /// The action that the caller lacks.
        action: AdminAction,
    },
    /// The caller would hand out more than it may.
    #[error("this gives access beyond what the caller may hand out")]
    BeyondGrantable {
        /// What would be gained beyond it; empty where it is about Keywright's own API.
        gained: Vec<AccessRegion>,
    },
    /// It does not exist, or the caller may not see it.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The input parses but breaks rules: all of them.
    #[error("{0}")]
    Invalid(Faults),
    /// `If-Match` names another version.
    #[error("the current version is {current}")]
    PreconditionFailed {
        /// The version that it has.
        current: Version,
    },
    /// This keyspace wants `If-Match` on every write.
    #[error("this keyspace wants If-Match on every write")]
    PreconditionRequired,
    /// Others kept changing the same thing.
    #[error("the same things were changed by others at the same time; try again")]
    Conflict,
    /// A revoked key is final.
    #[error("the key is revoked, which is final")]
    KeyRevoked,
    /// The noun's state does not allow it.
    #[error("{detail}")]
    WrongState {
        /// The rule, stable, in `snake_case`.
        code: &'static str,
        /// The rule in words.
        detail: &'static str,
    },
    /// Another noun has this name or id.
    #[error("another one has this {field} already")]
    Taken {
        /// The field.
        field: &'static str,
    },
    /// Something still refers to it.
    #[error("it is still referred to")]
    InUse,
    /// The `Idempotency-Key` was used with another body.
    #[error("this Idempotency-Key was used with another request")]
    IdempotencyMismatch,
    /// The first call with this `Idempotency-Key` is not answered yet.
    #[error("the first call with this Idempotency-Key is still in progress")]
    IdempotencyInProgress,
    /// The grants cannot be compared within bounds.
    #[error("these grants are too complex to compare: use fewer patterns with `*` in the middle")]
    TooComplex,
    /// Too many of these at once.
    #[error("too many requests")]
    Throttled {
        /// After how many seconds to try again.
        retry_after_seconds: u64,
    },
    /// The store cannot be reached or cannot write. Nothing was written.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store went away while it was writing: nobody knows whether it was done.
    #[error(
        "the write may have been made: look before making it again, or repeat it with the same Idempotency-Key"
    )]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A defect of ours, or a damaged row. The log has the source.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A defect, in words for the log.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal(what.into().into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(source) => Self::Unavailable(source),
            StoreError::Corrupt(what) => Self::internal(what),
        }
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::Invalid(faults)
    }
}

impl From<keywright_model::access::TooComplex> for Error {
    fn from(_: keywright_model::access::TooComplex) -> Self {
        Self::TooComplex
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) | CommitError::DanglingReference(_) => Self::Conflict,
            CommitError::RootChanged => Self::Unauthenticated { denial: None },
            CommitError::Taken(field) => Self::Taken { field },
            CommitError::InUse(_) => Self::InUse,
            CommitError::Repeated => Self::IdempotencyInProgress,
            CommitError::NumbersExhausted => Self::WrongState {
                code: "numbers_exhausted",
                detail: "the organization has used up its numbers",
            },
            CommitError::Unknown(source) => Self::OutcomeUnknown(source),
            CommitError::Store(source) => source.into(),
        }
    }
}

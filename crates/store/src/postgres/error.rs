//! What the server's errors mean to us. Their details can hold names and digests, so only the message is kept.

use std::error::Error;

use tokio_postgres::error::SqlState;

use super::open::OpenError;
use crate::{CommitError, StoreError};

type Source = Box<dyn Error + Send + Sync>;

/// Why something did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused a statement.
    Refused(Refusal),
    /// The connection is gone, or nobody answers on it.
    Lost(Source),
    /// What was read is not so any more: the same again may work.
    Outdated,
    /// A stored value does not read back, or one to be stored cannot be.
    Damaged(StoreError),
    /// It was lost while it was being made durable, or is durable on the primary alone: it may have been done.
    Doubtful(Source),
}

/// A statement that the server refused.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL: {message} ({})", code.code())]
pub(crate) struct Refusal {
    pub(super) code: SqlState,
    message: String,
    pub(super) constraint: Option<String>,
}

/// A connection that is gone, in words.
pub(super) fn lost(what: &'static str) -> Failure {
    Failure::Lost(what.into())
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // The server ends this connection: what it was doing is over, or will be.
            Some(refused) if ends_connection(refused.code()) => Self::Lost(refusal(refused).into()),
            Some(refused) => Self::Refused(refusal(refused)),
            None => Self::Lost(Box::new(error)),
        }
    }
}

fn refusal(error: &tokio_postgres::error::DbError) -> Refusal {
    Refusal {
        code: error.code().clone(),
        message: error.message().to_owned(),
        constraint: error.constraint().map(str::to_owned),
    }
}

fn ends_connection(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("57P") || code.starts_with("08") || code == "25P03"
}

impl Refusal {
    /// The server broke off what would otherwise have waited in a circle or on an outdated state: the same again may work.
    pub(super) fn is_again(&self) -> bool {
        self.code == SqlState::T_R_DEADLOCK_DETECTED || self.code == SqlState::T_R_SERIALIZATION_FAILURE
    }

    /// A row has what only one may have.
    pub(super) fn is_unique(&self) -> bool {
        self.code == SqlState::UNIQUE_VIOLATION
    }

    /// A row refers to one that is not there, or is referred to.
    pub(super) fn is_foreign_key(&self) -> bool {
        self.code == SqlState::FOREIGN_KEY_VIOLATION
    }

    /// The server is no primary any more.
    pub(super) fn is_read_only(&self) -> bool {
        self.code == SqlState::READ_ONLY_SQL_TRANSACTION
    }

    /// The value itself is not one that a column takes.
    fn is_data(&self) -> bool {
        let code = self.code.code();
        code.starts_with("22") || code.starts_with("23")
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) if refusal.is_data() => Self::Corrupt(refusal.to_string()),
            Failure::Refused(refusal) => Self::Unavailable(Box::new(refusal)),
            Failure::Lost(source) | Failure::Doubtful(source) => Self::Unavailable(source),
            Failure::Outdated => Self::Unavailable("another node was quicker each time".into()),
            Failure::Damaged(error) => error,
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(source) => Self::Unavailable(source),
            OpenError::Store(error) => error,
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Doubtful(source) => Self::Unknown(source),
            other => Self::Store(other.into()),
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(source) => Self::Unreachable(source),
            other => Self::Store(other.into()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into()
    }
}

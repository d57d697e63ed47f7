//! What can go wrong with durable state.

use keywright_model::change::NounRef;

/// A read, or bookkeeping, did not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or cannot write now: trying again later may work.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored value does not read back: edited by hand, or written by a newer version.
    #[error("a stored value is damaged: {0}")]
    Corrupt(String),
}

/// A write was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A noun that the write relied on has changed since, or is gone.
    #[error("{0} has changed meanwhile")]
    Conflict(NounRef),
    /// The root key that the write relied on is not the installation's any more.
    #[error("the root key has changed meanwhile")]
    RootChanged,
    /// Another noun has this name, external id or access id already.
    #[error("another one has this {0} already")]
    Taken(&'static str),
    /// Something still refers to the noun.
    #[error("{0} is still referred to")]
    InUse(NounRef),
    /// A noun that the change refers to does not exist (any more).
    #[error("{0} does not exist")]
    DanglingReference(NounRef),
    /// The same call was already answered: ask [`crate::Store::idempotent_answer`].
    #[error("this call was already answered")]
    Repeated,
    /// The organization has used up its numbers.
    #[error("no number is left in this organization")]
    NumbersExhausted,
    /// Nobody knows whether the write was made: the database went away while it was, or it may be lost with its primary.
    #[error("the write may have been made: look before trying again")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store itself failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

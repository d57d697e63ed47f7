//! The use cases on a real store and index.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helper may fail the test, as the test may"
)]
#![expect(clippy::needless_pass_by_value, reason = "a helper takes an answer as a call gives it")]

mod callers;
mod enforced;
mod escalation;
mod escalation_random;
mod idempotency;
mod judge;
mod keys;
mod lists;
mod nouns;
mod policies;
mod quotas;
mod reach;
mod reveals;
mod secrets;
mod setup;
mod tenants;
mod vault;
mod versions;
mod world;

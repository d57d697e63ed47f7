//! The use cases on a real store and index.
#![expect(clippy::panic, reason = "a test's helper may fail the test")]

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
mod secrets;
mod setup;
mod tenants;
mod vault;
mod versions;
mod world;

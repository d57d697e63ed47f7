//! Limiters with a real Redis server between them, as Debian has it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "../../../verifier/tests/fixture/mod.rs"]
#[expect(dead_code, reason = "each user takes its part")]
mod fixture;

mod away;
mod redis;
mod server;

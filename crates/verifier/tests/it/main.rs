//! The index as its users see it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "../fixture/mod.rs"]
mod fixture;

mod access;
mod allowances;
mod credentials;
mod feed;
mod order;
mod quotas;
mod readers;
mod spending;

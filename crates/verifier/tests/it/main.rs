//! The index as its users see it.

#[path = "../fixture/mod.rs"]
mod fixture;

mod access;
mod credentials;
mod feed;
mod order;
mod quotas;
mod readers;
mod spending;

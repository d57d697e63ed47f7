//! Nouns and rules: organizations, keyspaces, keys, secrets' format, grants, effective access, limits, changes and
//! the difference of two keys.
//!
//! This crate must not know I/O, a clock, a source of randomness or async: times and random bytes are arguments,
//! so that one test can stand at any moment.

pub mod access;
pub mod address;
pub mod admin;
pub mod change;
pub mod denial;
pub mod digest;
pub mod document;
pub mod fault;
pub mod feed;
pub mod grant;
pub mod id;
pub mod key;
pub mod limit;
pub mod noun;
pub mod revision;
pub mod seal;
pub mod secret;
pub mod signing;
pub mod text;
pub mod time;
pub mod view;

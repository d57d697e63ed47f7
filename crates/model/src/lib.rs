//! Nouns and rules: organizations, keyspaces, keys, secrets' format, grants, effective access, limits, changes and
//! the difference of two keys.
//!
//! This crate must not know I/O, a clock, a source of randomness or async: times and random bytes are arguments,
//! so that one test can stand at any moment.

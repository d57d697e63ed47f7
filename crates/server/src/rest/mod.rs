//! REST under `/v1` (api.md §3 and §4), from the one table of [`crate::routes`].

mod answer;
mod audit;
pub mod body;
pub mod call;
pub mod cursor;
pub mod error;
pub mod headers;
pub mod json;
mod keys;
mod nouns;
pub mod problem;
pub mod query;
pub mod request_id;
mod revisions;
pub mod verify;
mod whoami;

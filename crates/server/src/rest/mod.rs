//! REST under `/v1` (api.md §3 and §4), from the one table of [`crate::routes`].

pub mod answer;
pub mod audit;
pub mod body;
pub mod call;
pub mod cursor;
pub mod error;
pub mod feed;
pub mod headers;
pub mod json;
pub mod keys;
pub mod leases;
pub mod nouns;
pub mod problem;
pub mod query;
pub mod request_id;
pub mod revisions;
pub mod verify;
pub mod whoami;

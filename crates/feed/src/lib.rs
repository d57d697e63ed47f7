//! Keeps an index current: load a snapshot, follow the batches, resume after what was seen, reload on a gap, and tell
//! whoever waits for a revision.
//!
//! This crate must not know SQL, or what a batch means. A wake is a hint: losing every one costs [`POLL`], never
//! correctness.

mod follower;
mod source;

pub use follower::{Applied, Follower, NotApplied, POLL};
pub use source::{Hint, Snapshot, Source, SourceError};

//! Keeps an index current: load a snapshot, follow the batches, resume after what was seen, reload on a gap, and tell
//! whoever waits for a revision. In a cluster it keeps this node's lease too: see [`keeper`].
//!
//! This crate must not know SQL, or what a batch means. A wake is a hint: losing every one costs [`POLL`], never
//! correctness.

mod drift;
mod follower;
pub mod keeper;
mod membership;
mod source;

pub use drift::Clocks;
pub use follower::{Applied, Follower, NotApplied, POLL};
pub use keeper::Keeper;
pub use membership::{Membership, Renewal, Reports};
pub use source::{Hint, Snapshot, Source, SourceError};

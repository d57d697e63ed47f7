//! What tests share: a node with a clock that they set and randomness that repeats, the leak sweep's notes, and the naive
//! evaluator of access. For tests only.

mod ambient;
#[cfg(feature = "server")]
mod app;
pub mod canary;
pub mod link;
mod node;
pub mod postgres;
mod watched;

pub use ambient::{ManualClock, START_MS, SeededEntropy};
#[cfg(feature = "server")]
pub use app::{Reply, TestApp};
pub use keywright_model::access::naive;
pub use node::{HISTORY, ROOT, TestNode, origin};
pub use watched::Watched;

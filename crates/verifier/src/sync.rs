//! What verifications and whoever publishes share. `tests/memory.rs` puts loom's in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use arc_swap::{ArcSwap, Guard};

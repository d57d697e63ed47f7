//! Time as an argument: the binary reads the clocks, tests stand where they like.

use keywright_model::time::Timestamp;

/// The two clocks that use cases ask.
pub trait Clock: Send + Sync {
    /// The wall clock: for what people see and for expiry.
    fn now(&self) -> Timestamp;
    /// `CLOCK_BOOTTIME` in nanoseconds: never set back, and it runs while the machine sleeps.
    fn boot_ns(&self) -> u64;
}

//! Whether the clock that leases are counted by runs at the rate of the machine's hardware.
//!
//! A writer waits for a lease by its own clock with a margin of ρ = 10 % on either side. A clock that is steered by more
//! breaks that, so a node whose `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC_RAW` part by half of it holds no lease.

use std::fmt;
use std::sync::Arc;

/// The two clocks of a node's lease, in nanoseconds.
pub trait Clocks: Send + Sync + 'static {
    /// `CLOCK_BOOTTIME`: never set back, and it runs while the machine sleeps.
    fn boot_ns(&self) -> u64;
    /// `CLOCK_MONOTONIC_RAW`: what the hardware counts, steered by nobody.
    fn raw_ns(&self) -> u64;
}

/// Over how long the rates are compared: short stretches are all noise.
const WINDOW_NS: u64 = 10_000_000_000;

/// The clocks may part by one in this many: half of ρ.
const PARTS: u64 = 20;

/// Compares the clocks' rates, a window at a time.
pub(crate) struct Drift {
    clocks: Arc<dyn Clocks>,
    begun: (u64, u64),
    small: bool,
}

impl fmt::Debug for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drift").field("small", &self.small).finish_non_exhaustive()
    }
}

impl Drift {
    pub(crate) fn new(clocks: Arc<dyn Clocks>) -> Self {
        let begun = (clocks.boot_ns(), clocks.raw_ns());
        Self { clocks, begun, small: true }
    }

    /// Whether the clocks have kept together. After they have not, a whole window of keeping together is wanted.
    ///
    /// A machine that slept parts them too; its lease ran out meanwhile, or a new one is soon there.
    pub(crate) fn is_small(&mut self) -> bool {
        let now = (self.clocks.boot_ns(), self.clocks.raw_ns());
        let (boot, raw) = (now.0.saturating_sub(self.begun.0), now.1.saturating_sub(self.begun.1));
        let parted = boot.abs_diff(raw);
        let most = raw.max(WINDOW_NS) / PARTS;
        if parted > most {
            (self.begun, self.small) = (now, false);
        } else if raw >= WINDOW_NS {
            (self.begun, self.small) = (now, true);
        }
        self.small
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Set(AtomicU64, AtomicU64);

    impl Clocks for Set {
        fn boot_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn raw_ns(&self) -> u64 {
            self.1.load(Ordering::Relaxed)
        }
    }

    fn pass(clocks: &Set, boot: u64, raw: u64) {
        clocks.0.fetch_add(boot, Ordering::Relaxed);
        clocks.1.fetch_add(raw, Ordering::Relaxed);
    }

    #[test]
    fn a_clock_that_runs_away_holds_no_lease_until_it_has_kept_time_for_a_window() {
        let clocks = Arc::new(Set::default());
        let shared: Arc<dyn Clocks> = Arc::<Set>::clone(&clocks);
        let mut drift = Drift::new(shared);
        pass(&clocks, WINDOW_NS + WINDOW_NS / PARTS, WINDOW_NS);
        assert!(drift.is_small(), "just as much as is let pass");
        pass(&clocks, WINDOW_NS + WINDOW_NS / PARTS + 1, WINDOW_NS);
        assert!(!drift.is_small());
        pass(&clocks, WINDOW_NS / 2, WINDOW_NS / 2);
        assert!(!drift.is_small(), "half a window proves nothing");
        pass(&clocks, WINDOW_NS / 2, WINDOW_NS / 2);
        assert!(drift.is_small());
        pass(&clocks, WINDOW_NS, WINDOW_NS / 2);
        assert!(!drift.is_small(), "as after a sleep");
    }
}

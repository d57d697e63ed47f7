//! A clock that tests set and randomness that repeats.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keywright_control::Clock;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use sha2::{Digest as _, Sha256};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    boot_ns: AtomicU64,
}

/// The moment at which every test begins: 2026-11-22T12:00:00Z.
pub const START_MS: i64 = 1_795_348_800_000;

impl Default for ManualClock {
    fn default() -> Self {
        Self { wall_ms: AtomicI64::new(START_MS), boot_ns: AtomicU64::new(1_000_000_000) }
    }
}

impl ManualClock {
    /// Lets this many milliseconds pass on both clocks.
    pub fn advance_ms(&self, ms: u32) {
        self.wall_ms.fetch_add(i64::from(ms), Ordering::SeqCst);
        self.boot_ns.fetch_add(u64::from(ms) * 1_000_000, Ordering::SeqCst);
    }

    /// Lets this many seconds pass on both clocks.
    pub fn advance_seconds(&self, seconds: u32) {
        for _ in 0..seconds {
            self.advance_ms(1_000);
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.wall_ms.load(Ordering::SeqCst))
    }

    fn boot_ns(&self) -> u64 {
        self.boot_ns.load(Ordering::SeqCst)
    }
}

/// Bytes that look random and are the same for the same seed.
#[derive(Debug)]
pub struct SeededEntropy {
    state: Mutex<[u8; 32]>,
}

impl SeededEntropy {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(Sha256::digest(seed.to_le_bytes()).into()) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock().expect("no test panics while it draws");
        for chunk in bytes.chunks_mut(32) {
            *state = Sha256::digest(*state).into();
            let block = Sha256::new().chain_update(b"out").chain_update(*state).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

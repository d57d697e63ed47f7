//! What was asked and answered, and when: the record that a run is judged by.
//!
//! One clock for all, in microseconds since the run began. A moment is noted before a call is sent and after its answer
//! has come, so that what happened lies between.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::keys::{Probe, State, Verdict};

/// A write that was done.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Which key, as the run counts them.
    pub(super) key: usize,
    /// Its place among all writes.
    pub(super) revision: u64,
    /// Before it was sent for the first time.
    pub(super) invoked_us: u64,
    /// After an answer said that it is committed.
    pub(super) answered_us: u64,
    /// After an answer said that it is enforced.
    pub(super) enforced_us: Option<u64>,
    /// The key from then on.
    pub(super) state: State,
}

/// A verification that was decided.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) key: usize,
    /// Who answered: nodes come first, then followers.
    pub(super) verifier: usize,
    pub(super) probe: Probe,
    pub(super) begun_us: u64,
    pub(super) ended_us: u64,
    /// The revision that it says it answers by.
    pub(super) revision: u64,
    /// `Keywright-At-Least`, when it was sent; 0 is below every revision.
    pub(super) at_least: u64,
    pub(super) verdict: Verdict,
}

/// Everything of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// What was there before the first write of the run.
    pub(super) before: u64,
    pub(super) writes: Vec<Write>,
    pub(super) reads: Vec<Read>,
}

/// A history that many write at once.
#[derive(Debug)]
pub(super) struct Recorder {
    begun: Instant,
    history: Mutex<History>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), history: Mutex::default() }
    }

    /// Microseconds since the run began.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn set_before(&self, revision: u64) {
        self.with(|history| history.before = revision);
    }

    pub(super) fn wrote(&self, write: Write) {
        self.with(|history| history.writes.push(write));
    }

    /// An answer has said that the write of that revision is enforced.
    pub(super) fn enforced(&self, revision: u64) {
        let now_us = self.now_us();
        self.with(|history| {
            let found = history.writes.iter_mut().rev().find(|write| write.revision == revision);
            if let Some(write) = found {
                write.enforced_us.get_or_insert(now_us);
            }
        });
    }

    pub(super) fn read(&self, read: Read) {
        self.with(|history| history.reads.push(read));
    }

    /// Everything so far.
    pub(super) fn take(&self) -> History {
        self.with(std::mem::take)
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut History) -> T) -> T {
        use_it(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

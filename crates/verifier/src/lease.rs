//! Until when this node may answer. The embedded store is always in reach; in a cluster the feeder renews.

use super::sync::{AtomicU64, Ordering};

/// Without contact for longer than this, answers say that they are not current.
const CURRENT_NS: u64 = 3_000_000_000;

/// The right to answer, and how long ago the store was last heard of. All times are nanoseconds since boot.
#[derive(Debug)]
pub struct Lease {
    deadline: AtomicU64,
    last_contact: AtomicU64,
}

impl Lease {
    /// For a node whose store is in its own process: always current.
    pub fn embedded() -> Self {
        Self { deadline: AtomicU64::new(u64::MAX), last_contact: AtomicU64::new(u64::MAX) }
    }

    /// For a node of a cluster: no right to answer until the first renewal.
    pub fn none() -> Self {
        Self { deadline: AtomicU64::new(0), last_contact: AtomicU64::new(0) }
    }

    /// Extends the right to answer. Never shortens it: an answer to an older renewal may come late.
    pub fn renew(&self, deadline_ns: u64, contact_ns: u64) {
        self.last_contact.fetch_max(contact_ns, Ordering::AcqRel);
        self.deadline.fetch_max(deadline_ns, Ordering::AcqRel);
    }

    /// Ends the right to answer now: on shutdown, on a fence, when applying falls behind.
    pub fn drop_now(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    /// Until when this node may answer, in nanoseconds since boot: 0 is not at all.
    pub fn until_ns(&self) -> u64 {
        self.deadline.load(Ordering::Acquire)
    }

    /// How long ago the store was last heard of, in nanoseconds; `None` when answers would be refused, or say that they are
    /// not current.
    pub fn current_age_ns(&self, now_ns: u64) -> Option<u64> {
        let read = self.read();
        (now_ns < read.deadline && read.is_current(now_ns)).then(|| read.age_ns(now_ns))
    }

    /// Reads both. `Published::read` does it before the state is read.
    pub(crate) fn read(&self) -> LeaseRead {
        let deadline = self.deadline.load(Ordering::Acquire);
        LeaseRead { deadline, last_contact: self.last_contact.load(Ordering::Acquire) }
    }
}

/// A lease as one verification read it, before everything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseRead {
    deadline: u64,
    last_contact: u64,
}

impl LeaseRead {
    /// Until when an answer by it counts, where a keyspace may ask for less.
    pub(crate) fn valid_until(self, max_staleness_ns: Option<u64>) -> u64 {
        let by_keyspace = max_staleness_ns.map_or(u64::MAX, |most| self.last_contact.saturating_add(most));
        self.deadline.min(by_keyspace)
    }

    /// How long ago the store was last heard of, in nanoseconds; 0 when it is embedded.
    pub(crate) const fn age_ns(self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.last_contact)
    }

    pub(crate) const fn is_current(self, now_ns: u64) -> bool {
        self.age_ns(now_ns) < CURRENT_NS
    }
}

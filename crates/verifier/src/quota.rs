//! Quotas: units reserved durably in blocks by the store, spent here from memory.
//!
//! **The bound.** Never more than `max` units are admitted in a period: only units that the store has reserved are
//! spent, on however many nodes. `kill -9` loses what was reserved and not yet spent, at most one block for each quota on each node, as long
//! as the server fetches only where [`QuotaBlock::lead`] says so; an orderly shutdown gives it back through
//! [`crate::Verifier::unspent_quota`].

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keywright_model::id::{KeyId, PlanId, PrincipalId};
use keywright_model::limit::{PeriodBounds, Quota};
use keywright_model::time::Timestamp;

use crate::ask::Now;

/// Whose quota, or limit, it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaSubject {
    /// A key's own quota.
    Key(KeyId),
    /// A plan's quota, counted for one key.
    PlanOfKey(PlanId, KeyId),
    /// A principal's quota, shared by its keys.
    Principal(PrincipalId),
}

/// The most units in a block.
const BLOCK_MAX: u64 = 1_000;

/// How long whoever leads a fetch is waited for before another one may.
const FETCH_NS: u64 = 5_000_000_000;

/// How long a quota is believed to be used up before the store is asked again: other nodes give back what they did not
/// spend.
const USED_UP_NS: u64 = 1_000_000_000;

/// How many units to reserve at once: a hundredth of the quota, 1 to 1,000, and at least what is needed now.
pub fn block_units(max: u64, needed: u64) -> u64 {
    (max / 100).clamp(1, BLOCK_MAX).max(needed).min(max)
}

/// Units to be reserved in the store, then handed to [`crate::Verifier::credit_quota`], before the question is asked
/// again.
#[derive(Clone, Debug)]
pub struct QuotaBlock {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// The period that the units count in.
    pub period: PeriodBounds,
    /// How many the call lacks.
    pub needed: u64,
    /// How many to reserve, as far as others are left enough.
    pub units: u64,
    /// The quota's size.
    pub max: u64,
    /// Whether it is this caller's part to fetch. Others ask again in a few milliseconds.
    pub lead: bool,
    pub(crate) cell: Arc<QuotaCell>,
    pub(crate) tag: u64,
    pub(crate) asked_ns: u64,
}

/// Units that were reserved and not spent, to be given back to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unspent {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// The start of the period that they were reserved in.
    pub period_start: Timestamp,
    /// How many.
    pub units: u64,
}

/// A quota ready to be tested.
#[derive(Clone, Debug)]
pub(crate) struct CompiledQuota {
    pub(crate) quota: Quota,
    /// Tells calendars apart: a cell that was credited under another one counts for nothing.
    tag: u64,
}

impl CompiledQuota {
    pub(crate) fn new(quota: &Quota) -> Self {
        let mut hasher = DefaultHasher::new();
        (quota.period, &quota.time_zone).hash(&mut hasher);
        // 0 is a cell that was never credited.
        Self { quota: quota.clone(), tag: hasher.finish() | 1 }
    }
}

/// Reserved units. Lives outside the published state, so that it survives every publication.
#[derive(Debug)]
pub(crate) struct QuotaCell {
    subject: QuotaSubject,
    tag: AtomicU64,
    start: AtomicI64,
    end: AtomicI64,
    unspent: AtomicU64,
    reserved: AtomicU64,
    /// When the store was asked for what `reserved` says, in nanoseconds since boot.
    reserved_at: AtomicU64,
    fetching_until: AtomicU64,
    /// Crediting is rare and takes turns; spending never takes this.
    crediting: Mutex<()>,
}

/// What a quota says about a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// A block may have them.
    Unknown,
    Exceeded,
}

impl QuotaCell {
    pub(crate) const fn new(subject: QuotaSubject) -> Self {
        Self {
            subject,
            tag: AtomicU64::new(0),
            start: AtomicI64::new(i64::MIN),
            end: AtomicI64::new(i64::MIN),
            unspent: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            reserved_at: AtomicU64::new(0),
            fetching_until: AtomicU64::new(0),
            crediting: Mutex::new(()),
        }
    }

    /// Whose it is.
    pub(crate) const fn subject(&self) -> QuotaSubject {
        self.subject
    }

    /// Whether what the cell holds was reserved in the period of `now`.
    fn is_of_period(&self, quota: &CompiledQuota, now: Timestamp) -> bool {
        self.tag.load(Ordering::Acquire) == quota.tag && now.unix_ms() < self.end.load(Ordering::Acquire)
    }

    pub(crate) fn room(&self, quota: &CompiledQuota, cost: u64, now: Now) -> Room {
        if cost > quota.quota.max {
            return Room::Exceeded;
        }
        if cost == 0 {
            return Room::Enough;
        }
        if !self.is_of_period(quota, now.wall) {
            return Room::Unknown;
        }
        // `unspent` is read last and credited first: it may seem too large for a moment, never too small.
        let reserved = self.reserved.load(Ordering::Acquire);
        let unspent = self.unspent.load(Ordering::Acquire);
        let left = quota.quota.max.saturating_add(unspent).saturating_sub(reserved);
        match (cost <= left, cost <= unspent) {
            (false, _)
                if self.reserved_at.load(Ordering::Acquire).saturating_add(USED_UP_NS) <= now.boot_ns =>
            {
                Room::Unknown
            }
            (false, _) => Room::Exceeded,
            (true, true) => Room::Enough,
            (true, false) => Room::Unknown,
        }
    }

    /// Spends units, if the cell has them.
    pub(crate) fn take(&self, cost: u64) -> bool {
        let less = |unspent: u64| unspent.checked_sub(cost);
        cost == 0 || self.unspent.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    /// Gives back units that were spent a moment ago.
    pub(crate) fn give_back(&self, cost: u64) {
        self.unspent.fetch_add(cost, Ordering::AcqRel);
    }

    /// Units left in the period, and when it ends. All of them before the first block of a period.
    pub(crate) fn left(&self, quota: &CompiledQuota, now: Timestamp) -> (u64, Option<Timestamp>) {
        if !self.is_of_period(quota, now) {
            return (quota.quota.max, None);
        }
        let reserved = self.reserved.load(Ordering::Acquire);
        let unspent = self.unspent.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        let left = quota.quota.max.saturating_add(unspent).saturating_sub(reserved);
        (left.min(quota.quota.max), (end != i64::MAX).then(|| Timestamp::from_unix_ms(end)))
    }

    /// What to fetch so that `cost` fits.
    pub(crate) fn block(self: &Arc<Self>, quota: &CompiledQuota, cost: u64, now: Now) -> QuotaBlock {
        let max = quota.quota.max;
        let free = |until: u64| (until <= now.boot_ns).then(|| now.boot_ns.saturating_add(FETCH_NS));
        let lead = self.fetching_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).is_ok();
        let missing = if self.is_of_period(quota, now.wall) {
            cost.saturating_sub(self.unspent.load(Ordering::Acquire)).max(1)
        } else {
            cost
        };
        let (period, units) = (quota.quota.bounds_at(now.wall), block_units(max, missing));
        let (cell, tag, asked_ns) = (Arc::clone(self), quota.tag, now.boot_ns);
        QuotaBlock { subject: self.subject, period, needed: missing, units, max, lead, cell, tag, asked_ns }
    }

    pub(crate) fn credit(&self, block: &QuotaBlock, granted: u64, reserved: u64) {
        let _turn = self.crediting.lock().unwrap_or_else(PoisonError::into_inner);
        let start = block.period.start.unix_ms();
        let end = block.period.end.map_or(i64::MAX, Timestamp::unix_ms);
        let same =
            self.tag.load(Ordering::Acquire) == block.tag && self.start.load(Ordering::Acquire) == start;
        if !same {
            if self.tag.load(Ordering::Acquire) == block.tag && start < self.start.load(Ordering::Acquire) {
                // It came after its period: what it granted is lost with that period.
                return;
            }
            // The end goes first and comes back last: in between nobody takes the new units for old ones.
            self.end.store(i64::MIN, Ordering::Release);
            self.unspent.store(0, Ordering::Release);
            self.reserved.store(0, Ordering::Release);
            self.start.store(start, Ordering::Release);
            self.tag.store(block.tag, Ordering::Release);
        }
        self.unspent.fetch_add(granted, Ordering::AcqRel);
        self.reserved.store(reserved, Ordering::Release);
        self.reserved_at.store(block.asked_ns, Ordering::Release);
        self.end.store(end, Ordering::Release);
        self.fetching_until.store(0, Ordering::Release);
    }

    /// Lets another one fetch, because this fetch came to nothing.
    pub(crate) fn release(&self) {
        self.fetching_until.store(0, Ordering::Release);
    }

    /// Takes out what is left, for giving it back to the store.
    pub(crate) fn drain(&self) -> Option<Unspent> {
        let _turn = self.crediting.lock().unwrap_or_else(PoisonError::into_inner);
        let units = self.unspent.swap(0, Ordering::AcqRel);
        self.reserved.fetch_sub(units.min(self.reserved.load(Ordering::Acquire)), Ordering::AcqRel);
        let period_start = Timestamp::from_unix_ms(self.start.load(Ordering::Acquire));
        (units > 0).then_some(Unspent { subject: self.subject, period_start, units })
    }
}

//! A limit that several nodes share: units that this node was given ahead of use, on the same atomic word that a limit
//! of one node is counted on.
//!
//! Whoever gives them, the `limiter`, sees to the bound; here a unit is spent once at most. The word holds
//!
//! - 31 bits: the units that are left, and 32 bits: when the whole bucket is full again, in milliseconds since boot,
//!   wrapped, for showing what is left; or
//! - with the highest bit set, a refusal: 31 bits, the smallest cost that was refused, and 32 bits, until when.
//!
//! 0 is nothing known: the limiter is asked. Counts beyond 2³⁰ are kept in grains, which round a cost up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::Verifier;
use crate::limits::{CellRef, CompiledLimit, TICKS_PER_MS};
use crate::meters::{Meters, PlanCells};
use crate::quota::QuotaSubject;

const REFUSAL: u64 = 1 << 63;
const UNITS: u64 = (1 << 31) - 1;
/// What is further ahead than the longest window is a moment long past: the milliseconds are wrapped.
const AHEAD_MS_MAX: u32 = 31 * 86_400_000;
/// The most grains in a limit; a word has room for twice as many.
pub(crate) const GRAINS_MAX: u64 = 1 << 30;
/// When to try again where limits cannot be counted.
const UNAVAILABLE_RETRY_MS: u64 = 1_000;

/// Who counts the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// All nodes of the installation together; where there is one node, that node.
    #[default]
    Installation,
    /// Each node alone, its share: what the nodes share cannot be reached.
    Node,
    /// Nobody: what was not given ahead of use is admitted without being counted.
    Nobody,
    /// Nobody: what was not given ahead of use is refused.
    Refusing,
}

/// One limit of one noun: what all nodes count together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
    /// Whose limit it is.
    pub subject: QuotaSubject,
    /// The limit's name.
    pub name: Arc<str>,
}

/// Units that a call needs and this node does not have.
#[derive(Clone, Debug)]
pub struct AllowanceNeed {
    /// Of which limit.
    pub meter: Meter,
    /// The limit's size, in grains.
    pub max: u64,
    /// Its window.
    pub per_seconds: u32,
    /// What the call costs, in grains: 1 to `max`.
    pub cost: u64,
    /// Where to put them.
    pub cell: AllowanceCell,
}

/// Where a limit is counted. It may have been replaced meanwhile; then what is put there is taken back later.
#[derive(Clone, Debug)]
pub struct AllowanceCell(Home);

#[derive(Clone, Debug)]
pub(crate) enum Home {
    Seat(u32),
    Meters(Weak<Meters>, usize),
    Plan(Weak<PlanCells>, usize),
}

impl From<Home> for AllowanceCell {
    fn from(home: Home) -> Self {
        Self(home)
    }
}

/// What a word says about a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// The limiter may have it.
    Unknown,
    /// Not for so many milliseconds.
    Refused(u64),
}

/// The moment and the mode that a call is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) by: Counting,
    pub(crate) now_ms: u64,
}

const fn packed(units: u64, full_at_ms: u64) -> u64 {
    let units = if units < UNITS { units } else { UNITS };
    units << 32 | full_at_ms & 0xFFFF_FFFF
}

const fn refusal(cost: u64, until_ms: u64) -> u64 {
    REFUSAL | packed(cost, until_ms)
}

const fn number(word: u64) -> u64 {
    word >> 32 & UNITS
}

const fn units(word: u64) -> u64 {
    if word & REFUSAL == 0 { number(word) } else { 0 }
}

/// How far a word's moment is ahead.
fn ahead_ms(word: u64, now_ms: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "moments are wrapped to 32 bits")]
    let ahead = (word as u32).wrapping_sub(now_ms as u32);
    if ahead > AHEAD_MS_MAX { 0 } else { u64::from(ahead) }
}

impl CellRef<'_> {
    fn known(word: u64, cost: u64, now_ms: u64) -> Room {
        if word & REFUSAL == 0 {
            return if cost <= number(word) { Room::Enough } else { Room::Unknown };
        }
        match ahead_ms(word, now_ms) {
            ahead if ahead > 0 && cost >= number(word) => Room::Refused(ahead),
            _ => Room::Unknown,
        }
    }

    fn by_mode(room: Room, by: Counting) -> Room {
        match (room, by) {
            (_, Counting::Nobody) => Room::Enough,
            (Room::Unknown, Counting::Refusing) => Room::Refused(UNAVAILABLE_RETRY_MS),
            (room, _) => room,
        }
    }

    /// Whether a cost fits. Consumes nothing.
    pub(crate) fn allowance_room(self, cost: u64, at: Counted) -> Room {
        if cost == 0 {
            return Room::Enough;
        }
        Self::by_mode(Self::known(self.word().load(Ordering::Acquire), cost, at.now_ms), at.by)
    }

    /// Spends units, if they are there. Where nobody counts, what is not there is no hindrance.
    pub(crate) fn spend(self, cost: u64, at: Counted) -> Room {
        if cost == 0 {
            return Room::Enough;
        }
        let mut seen = self.word().load(Ordering::Acquire);
        loop {
            let room = Self::known(seen, cost, at.now_ms);
            if room != Room::Enough {
                return Self::by_mode(room, at.by);
            }
            let less = seen - (cost << 32);
            match self.word().compare_exchange_weak(seen, less, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Room::Enough,
                Err(others) => seen = others,
            }
        }
    }

    /// Gives back what was spent a moment ago, or credits what was given, saying when the bucket is full again.
    pub(crate) fn add_units(self, more: u64, full_at_ms: Option<u64>) {
        let add = |word: u64| {
            let full_at = full_at_ms.unwrap_or(word);
            Some(packed(units(word).saturating_add(more), full_at))
        };
        let _ = self.word().fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }

    /// Units left and milliseconds until the bucket is full again, as far as this node knows.
    pub(crate) fn allowance_left(self, limit: &CompiledLimit, now_ms: u64) -> (u64, u64) {
        let word = self.word().load(Ordering::Acquire);
        let ahead = ahead_ms(word, now_ms);
        if word & REFUSAL == 0 {
            let used = ahead.saturating_mul(TICKS_PER_MS);
            let left = limit.units_free(used).saturating_add(number(word).saturating_mul(limit.grain));
            return (left.min(limit.max), ahead);
        }
        if ahead == 0 {
            return (limit.max, 0);
        }
        // Just enough for the refused cost will be there when the refusal ends.
        let missing = limit.max.saturating_sub(number(word).saturating_mul(limit.grain));
        let missing_ms = limit.charge(missing).unwrap_or(0).div_ceil(TICKS_PER_MS);
        (0, ahead.saturating_add(missing_ms))
    }
}

/// Takes a cell's word over into another one, so that no unit can be spent from both.
pub(crate) fn moved(word: &AtomicU64) -> u64 {
    word.swap(0, Ordering::AcqRel)
}

impl Verifier {
    fn at_home<T>(&self, cell: &AllowanceCell, act: impl FnOnce(CellRef<'_>) -> T) -> Option<T> {
        match &cell.0 {
            Home::Seat(place) => self.seats.at(*place).map(|seat| act(seat.limit())),
            Home::Meters(meters, place) => meters.upgrade()?.limits.at(*place).map(act),
            Home::Plan(cells, place) => cells.upgrade()?.limits.at(*place).map(act),
        }
    }

    /// Adds units of a limit that may be spent from now on; `full_at_ms` is when, in milliseconds since boot, the
    /// whole bucket is full again. Whether anybody can spend them: the limit may be gone.
    pub fn credit_allowance(&self, cell: &AllowanceCell, units: u64, full_at_ms: u64) -> bool {
        self.at_home(cell, |cell| cell.add_units(units, Some(full_at_ms))).is_some()
    }

    /// Refuses this cost and larger ones until a moment in milliseconds since boot. Answers the units that were left,
    /// which are spent no more.
    pub fn refuse_allowance(&self, cell: &AllowanceCell, cost: u64, until_ms: u64) -> u64 {
        let refuse = |cell: CellRef<'_>| units(cell.word().swap(refusal(cost, until_ms), Ordering::AcqRel));
        self.at_home(cell, refuse).unwrap_or(0)
    }

    /// Takes out all units beyond `keep`.
    pub fn take_allowance(&self, cell: &AllowanceCell, keep: u64) -> u64 {
        let take = |cell: CellRef<'_>| {
            let mut taken = 0;
            let less = |word: u64| {
                taken = units(word).saturating_sub(keep);
                (taken > 0).then(|| packed(keep, word))
            };
            let took = cell.word().fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
            if took.is_ok() { taken } else { 0 }
        };
        self.at_home(cell, take).unwrap_or(0)
    }

    /// The units that are left.
    pub fn allowance(&self, cell: &AllowanceCell) -> u64 {
        self.at_home(cell, |cell| units(cell.word().load(Ordering::Acquire))).unwrap_or(0)
    }

    /// Ends a refusal, so that the next call asks again.
    pub fn forget_refusal(&self, cell: &AllowanceCell) {
        let forget = |cell: CellRef<'_>| {
            let refused = |word: u64| (word & REFUSAL != 0).then_some(0);
            let _ = cell.word().fetch_update(Ordering::AcqRel, Ordering::Acquire, refused);
        };
        let _ = self.at_home(cell, forget);
    }
}

#[cfg(test)]
mod tests;

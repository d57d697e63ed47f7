//! A limit on one atomic word: GCRA, whose bound is stated in `keywright_model::limit`.
//!
//! The word is the moment at which the bucket is full again, in ticks of an eighth of a nanosecond since boot (a word
//! lasts 73 years). A unit costs `ceil(per / max)` ticks and the bucket holds `max` of them, so that
//!
//! - a full bucket admits exactly `max` units at once, and
//! - in any stretch of `t` seconds at most `max × (1 + t / per_seconds)` units are admitted: rounding up only slows.
//!
//! What rounding costs: the sustained rate is below `max / per_seconds` by less than one part in `8·10⁹ × per_seconds /
//! max` (0.0125 % at a million a second). Above eight units a nanosecond the charge of a call, not of a unit, is
//! rounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keywright_model::limit::Limit;

use crate::allowance::{self, GRAINS_MAX};

const TICKS_PER_NS: u64 = 8;
const TICKS_PER_SECOND: u64 = 1_000_000_000 * TICKS_PER_NS;
pub(crate) const TICKS_PER_MS: u64 = 1_000_000 * TICKS_PER_NS;

/// A limit ready to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompiledLimit {
    pub(crate) name: Arc<str>,
    pub(crate) max: u64,
    per_ticks: u64,
    /// Ticks a unit; 0 when a tick is worth more than a unit.
    unit: u64,
    /// What a full bucket holds, in ticks.
    capacity: u64,
    /// Units in a grain, which is what nodes share limits in.
    pub(crate) grain: u64,
}

impl CompiledLimit {
    pub(crate) fn new(limit: &Limit) -> Self {
        let per_ticks = u64::from(limit.per_seconds.max(1)) * TICKS_PER_SECOND;
        let max = limit.max.max(1);
        let (unit, capacity) = if max > per_ticks {
            (0, per_ticks)
        } else {
            (per_ticks.div_ceil(max), per_ticks.div_ceil(max) * max)
        };
        let grain = max.div_ceil(GRAINS_MAX);
        Self { name: limit.name.as_str().into(), max, per_ticks, unit, capacity, grain }
    }

    /// What `cost` units cost; `None` when not even a full bucket has them.
    pub(crate) fn charge(&self, cost: u64) -> Option<u64> {
        if cost > self.max {
            return None;
        }
        if self.unit > 0 {
            return Some(cost * self.unit);
        }
        let ticks = (u128::from(cost) * u128::from(self.per_ticks)).div_ceil(u128::from(self.max));
        u64::try_from(ticks).ok()
    }

    /// What `cost` units are in grains; `None` when not even a full bucket has them.
    pub(crate) const fn grains(&self, cost: u64) -> Option<u64> {
        if cost > self.max {
            return None;
        }
        if self.grain == 1 {
            return Some(cost);
        }
        let (cost, most) = (cost.div_ceil(self.grain), self.max / self.grain);
        Some(if cost < most { cost } else { most })
    }

    /// The whole window.
    pub(crate) fn per_seconds(&self) -> u32 {
        u32::try_from(self.per_ticks / TICKS_PER_SECOND).unwrap_or(u32::MAX)
    }

    /// Whole units that are left when so many ticks are used.
    pub(crate) fn units_free(&self, used: u64) -> u64 {
        self.units(self.capacity.saturating_sub(used))
    }

    /// Whole units in so many ticks.
    fn units(&self, ticks: u64) -> u64 {
        if let Some(units) = ticks.checked_div(self.unit) {
            return units;
        }
        u64::try_from(u128::from(ticks) * u128::from(self.max) / u128::from(self.per_ticks))
            .unwrap_or(self.max)
    }

    /// The same use of another limit, in ticks of this one.
    fn converted(&self, ticks: u64, from: &Self) -> u64 {
        let scaled = u128::from(ticks) * u128::from(self.capacity) * u128::from(from.max);
        let used = scaled.div_ceil(u128::from(from.capacity) * u128::from(self.max));
        u64::try_from(used).unwrap_or(self.capacity).min(self.capacity)
    }
}

/// Who counts limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// This node alone, by time: what this file says.
    #[default]
    OneNode,
    /// Several nodes, each with units given ahead of use: `allowance.rs`.
    Nodes,
}

/// Ticks since boot.
pub(crate) const fn ticks(boot_ns: u64) -> u64 {
    boot_ns.saturating_mul(TICKS_PER_NS)
}

/// How much of a limit is used. Lives outside the published state, so that it survives every publication.
#[derive(Debug, Default)]
pub(crate) struct LimitCell {
    /// When the bucket is full again; [`INHERITS`] until the first use after the limit's numbers have changed.
    full_at: AtomicU64,
    inherited: Option<Box<Inherited>>,
}

const INHERITS: u64 = u64::MAX;

/// What was used under the numbers before.
#[derive(Debug)]
struct Inherited {
    full_at: u64,
    limit: CompiledLimit,
}

/// Charges that did not fit.
pub(crate) struct NoRoom;

/// A cell, wherever its word is: in a list of cells, or in the seat of a secret.
#[derive(Clone, Copy)]
pub(crate) struct CellRef<'a> {
    full_at: &'a AtomicU64,
    inherited: Option<&'a Inherited>,
}

impl<'a> CellRef<'a> {
    /// The word itself, for those who count otherwise.
    pub(crate) const fn word(self) -> &'a AtomicU64 {
        self.full_at
    }

    /// A cell in a word of somebody else's, which never inherits.
    pub(crate) const fn in_word(full_at: &'a AtomicU64) -> Self {
        Self { full_at, inherited: None }
    }
}

impl LimitCell {
    pub(crate) fn cell(&self) -> CellRef<'_> {
        CellRef { full_at: &self.full_at, inherited: self.inherited.as_deref() }
    }

    /// A cell that goes on from another one whose units are shared by nodes. What was given of other numbers is let
    /// go: whoever gave it knows what was used.
    fn taking_over(cell: CellRef<'_>, from: &CompiledLimit, to: &CompiledLimit) -> Self {
        let same = from.max == to.max && from.per_ticks == to.per_ticks;
        let word = if same { allowance::moved(cell.word()) } else { 0 };
        Self { full_at: AtomicU64::new(word), inherited: None }
    }

    /// A cell that goes on from another one.
    pub(crate) fn inheriting(cell: CellRef<'_>, from: &CompiledLimit, to: &CompiledLimit) -> Self {
        let full_at = cell.full_at.load(Ordering::Acquire);
        match cell.inherited {
            // Not used since the last change either: go on from what was before that.
            Some(older) if full_at == INHERITS => {
                let inherited = Inherited { full_at: older.full_at, limit: older.limit.clone() };
                Self { full_at: AtomicU64::new(INHERITS), inherited: Some(Box::new(inherited)) }
            }
            _ if from.max == to.max && from.per_ticks == to.per_ticks => {
                Self { full_at: AtomicU64::new(full_at), inherited: None }
            }
            _ => Self {
                full_at: AtomicU64::new(INHERITS),
                inherited: Some(Box::new(Inherited { full_at, limit: from.clone() })),
            },
        }
    }
}

impl CellRef<'_> {
    fn full_at(self, limit: &CompiledLimit, now: u64) -> u64 {
        let full_at = self.full_at.load(Ordering::Acquire);
        if full_at != INHERITS {
            return full_at;
        }
        self.take_over(limit, now)
    }

    #[cold]
    fn take_over(self, limit: &CompiledLimit, now: u64) -> u64 {
        let Some(before) = self.inherited else { return 0 };
        let used = limit.converted(before.full_at.saturating_sub(now), &before.limit);
        let full_at = now.saturating_add(used);
        // Whoever is first decides: all compute from the same numbers.
        match self.full_at.compare_exchange(INHERITS, full_at, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => full_at,
            Err(others) => others,
        }
    }

    /// Whether a charge fits now. Consumes nothing.
    pub(crate) fn has_room(self, limit: &CompiledLimit, charge: u64, now: u64) -> bool {
        fits(self.full_at(limit, now), limit, charge, now).is_some()
    }

    /// Consumes a charge, if it fits.
    pub(crate) fn take(self, limit: &CompiledLimit, charge: u64, now: u64) -> Result<(), NoRoom> {
        let mut seen = self.full_at(limit, now);
        loop {
            let next = fits(seen, limit, charge, now).ok_or(NoRoom)?;
            match self.full_at.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(others) => seen = others,
            }
        }
    }

    /// Gives back a charge that was consumed a moment ago.
    pub(crate) fn give_back(self, charge: u64) {
        self.full_at.fetch_sub(charge, Ordering::AcqRel);
    }

    /// Units left now, and milliseconds until the bucket is full again.
    pub(crate) fn left(self, limit: &CompiledLimit, now: u64) -> (u64, u64) {
        let used = self.full_at(limit, now).saturating_sub(now);
        (limit.units(limit.capacity.saturating_sub(used)), used.div_ceil(TICKS_PER_MS))
    }

    /// Milliseconds until a charge fits.
    pub(crate) fn wait_ms(self, limit: &CompiledLimit, charge: u64, now: u64) -> u64 {
        let used = self.full_at(limit, now).saturating_sub(now);
        used.saturating_add(charge).saturating_sub(limit.capacity).div_ceil(TICKS_PER_MS)
    }
}

fn fits(full_at: u64, limit: &CompiledLimit, charge: u64, now: u64) -> Option<u64> {
    let next = full_at.max(now).saturating_add(charge);
    (charge == 0 || next - now <= limit.capacity).then_some(next)
}

/// Cells in place for as many limits as lists usually have.
const IN_PLACE: usize = 2;
/// A list has 16 limits at most (api.md §2).
const LIMITS_MAX: usize = 16;

/// The cells of one list of limits.
#[derive(Debug, Default)]
pub(crate) struct LimitCells {
    in_place: [LimitCell; IN_PLACE],
    /// Made when the index is changed; on a verification only in the first one after a plan has grown beyond
    /// [`IN_PLACE`] limits.
    more: std::sync::OnceLock<Box<[LimitCell]>>,
}

impl LimitCells {
    /// Cells for a new list.
    pub(crate) fn with_room_for(count: usize) -> Self {
        let cells = Self::default();
        if count > IN_PLACE {
            cells.more();
        }
        cells
    }

    /// Cells for `new` that go on from those for `old` wherever a name is the same.
    pub(crate) fn inheriting(
        cells: &[CellRef<'_>],
        old: &[CompiledLimit],
        new: &[CompiledLimit],
        sharing: Sharing,
    ) -> Self {
        let goes_on = match sharing {
            Sharing::OneNode => LimitCell::inheriting,
            Sharing::Nodes => LimitCell::taking_over,
        };
        let mut made = new.iter().map(|to| {
            let before = old.iter().zip(cells).find(|(from, _)| from.name == to.name);
            before.map_or_else(LimitCell::default, |(from, cell)| goes_on(*cell, from, to))
        });
        let in_place = std::array::from_fn(|_| made.next().unwrap_or_default());
        let more: Box<[LimitCell]> = made.collect();
        let more = if more.is_empty() { std::sync::OnceLock::new() } else { more.into() };
        Self { in_place, more }
    }

    fn more(&self) -> &[LimitCell] {
        self.more.get_or_init(|| (IN_PLACE..LIMITS_MAX).map(|_| LimitCell::default()).collect())
    }

    /// The cell at a place; `None` beyond the 16th.
    pub(crate) fn at(&self, place: usize) -> Option<CellRef<'_>> {
        self.in_place.get(place).or_else(|| self.more().get(place - IN_PLACE)).map(LimitCell::cell)
    }

    /// All of them in their order.
    pub(crate) fn all(&self) -> Vec<CellRef<'_>> {
        self.in_place.iter().chain(self.more.get().into_iter().flatten()).map(LimitCell::cell).collect()
    }
}

#[cfg(test)]
mod tests;

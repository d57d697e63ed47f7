//! What a key or a principal has used up, and how a call is charged to all that applies to it, or to nothing.

use std::sync::Arc;

use keywright_model::denial::Denial;
use keywright_model::time::Timestamp;

use crate::allowance::Counting;
use crate::ask::Now;
use crate::directory::PlanRow;
use crate::inline::Inline;
use crate::limits::{CellRef, CompiledLimit, LimitCells, ticks};
use crate::quota::{CompiledQuota, QuotaBlock, QuotaCell, Room};
use crate::verdict::{LimitState, QuotaState};

/// The counters of one key or principal. Lives outside the published state.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// One for each limit of its own, in their order.
    pub(crate) limits: LimitCells,
    pub(crate) quota: Option<Arc<QuotaCell>>,
    /// One for each plan that it is bound to.
    pub(crate) plans: Box<[PlanMeters]>,
}

/// What one key has used of one plan.
#[derive(Debug)]
pub(crate) struct PlanMeters {
    /// The plan's place in the directory.
    pub(crate) plan: u32,
    pub(crate) cells: Arc<PlanCells>,
}

/// Shared by the versions of a key's meters, so that binding another plan loses nothing.
#[derive(Debug)]
pub(crate) struct PlanCells {
    pub(crate) limits: LimitCells,
    pub(crate) quota: Arc<QuotaCell>,
}

/// Everything that one call is charged to.
#[derive(Default)]
pub(crate) struct Charges<'a> {
    pub(crate) limits: Inline<(&'a CompiledLimit, CellRef<'a>), 8>,
    pub(crate) quotas: Inline<(&'a CompiledQuota, &'a Arc<QuotaCell>), 4>,
}

/// What charging came to.
pub(crate) enum Charged {
    Yes,
    No(Denial, Option<u64>),
    Needs(QuotaBlock),
    /// Units of limits that nodes share: see [`crate::spending::needs`].
    NeedsAllowances,
}

impl<'a> Charges<'a> {
    /// Adds a list of limits and a quota with their counters.
    pub(crate) fn add(
        &mut self,
        limits: &'a [CompiledLimit],
        quota: Option<&'a CompiledQuota>,
        meters: &'a Meters,
    ) {
        for (place, limit) in limits.iter().enumerate() {
            if let Some(cell) = meters.limits.at(place) {
                self.limits.push((limit, cell));
            }
        }
        if let Some((quota, cell)) = quota.zip(meters.quota.as_ref()) {
            self.quotas.push((quota, cell));
        }
    }

    /// Adds the one limit of a key that is counted in its secret's seat.
    pub(crate) fn add_one(&mut self, limit: &'a CompiledLimit, cell: CellRef<'a>) {
        self.limits.push((limit, cell));
    }

    /// Adds a plan with what one key has used of it.
    pub(crate) fn add_plan(&mut self, plan: &'a PlanRow, cells: &'a PlanCells) {
        for (limit, place) in &plan.limits {
            if let Some(cell) = cells.limits.at(*place) {
                self.limits.push((limit, cell));
            }
        }
        if let Some(quota) = &plan.quota {
            self.quotas.push((quota, &cells.quota));
        }
    }

    /// Charges `cost` to all of them or to none: first each is asked, then each is charged, and what was charged is
    /// given back when a concurrent call has taken the room meanwhile. Such a concurrent call may be refused for room
    /// that is given back a moment later; none is ever admitted beyond a bound.
    pub(crate) fn charge(&self, cost: u64, now: Now) -> Charged {
        let at = ticks(now.boot_ns);
        if self.limits.len() <= 1 && self.quotas.is_empty() {
            // Nothing can be charged in part.
            return self.take(cost, now, at);
        }
        for (limit, cell) in self.limits.iter() {
            if limit.charge(cost).is_none_or(|charge| !cell.has_room(limit, charge, at)) {
                return limited(limit, *cell, cost, at);
            }
        }
        let mut missing = None;
        for (quota, cell) in self.quotas.iter() {
            match cell.room(quota, cost, now) {
                Room::Enough => {}
                Room::Exceeded => return Charged::No(Denial::QuotaExceeded, None),
                Room::Unknown => missing = missing.or(Some((*quota, *cell))),
            }
        }
        if let Some((quota, cell)) = missing {
            return Charged::Needs(cell.block(quota, cost, now));
        }
        self.take(cost, now, at)
    }

    fn take(&self, cost: u64, now: Now, at: u64) -> Charged {
        if let Some(refused) = self.take_quotas(cost, now) {
            return refused;
        }
        for (taken, (limit, cell)) in self.limits.iter().enumerate() {
            let taken_now = limit.charge(cost).is_some_and(|charge| cell.take(limit, charge, at).is_ok());
            if !taken_now {
                self.give_back_quotas(cost, self.quotas.len());
                for (limit, cell) in self.limits.iter().take(taken) {
                    cell.give_back(limit.charge(cost).unwrap_or(0));
                }
                return limited(limit, *cell, cost, at);
            }
        }
        Charged::Yes
    }

    /// Charges every quota; or none, and says why.
    pub(crate) fn take_quotas(&self, cost: u64, now: Now) -> Option<Charged> {
        for (taken, (quota, cell)) in self.quotas.iter().enumerate() {
            if !cell.take(cost) {
                self.give_back_quotas(cost, taken);
                return Some(match cell.room(quota, cost, now) {
                    Room::Exceeded => Charged::No(Denial::QuotaExceeded, None),
                    Room::Enough | Room::Unknown => Charged::Needs(cell.block(quota, cost, now)),
                });
            }
        }
        None
    }

    pub(crate) fn give_back_quotas(&self, cost: u64, count: usize) {
        self.quotas.iter().take(count).for_each(|(_, cell)| cell.give_back(cost));
    }

    /// Writes down what is left of each limit now; `shared` says how they are counted where nodes share them.
    pub(crate) fn limit_states(
        &self,
        now: Now,
        shared: Option<Counting>,
        states: &mut Inline<LimitState, 4>,
    ) {
        let at = ticks(now.boot_ns);
        for (limit, cell) in self.limits.iter() {
            let (remaining, reset_ms) = match shared {
                None => cell.left(limit, at),
                Some(_) => cell.allowance_left(limit, now.boot_ns / 1_000_000),
            };
            let (name, counting) = (Arc::clone(&limit.name), shared.unwrap_or_default());
            states.push(LimitState { name, max: limit.max, remaining, reset_ms, counting });
        }
    }

    /// What is left of the quota that has least left.
    pub(crate) fn quota_state(&self, now: Timestamp) -> Option<QuotaState> {
        let states = self.quotas.iter().map(|(quota, cell)| {
            let (remaining, resets_at) = cell.left(quota, now);
            QuotaState { max: quota.quota.max, period: quota.quota.period, remaining, resets_at }
        });
        states.min_by_key(|state| state.remaining)
    }
}

#[cold]
fn limited(limit: &CompiledLimit, cell: CellRef<'_>, cost: u64, at: u64) -> Charged {
    let retry_ms = limit.charge(cost).map(|charge| cell.wait_ms(limit, charge, at));
    Charged::No(Denial::RateLimited, retry_ms)
}

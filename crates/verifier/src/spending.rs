//! Charging a call to limits that nodes share: the same order as `Charges::charge`, with units instead of time.

use std::sync::Arc;

use keywright_model::denial::Denial;

use crate::allowance::{AllowanceNeed, Counted, Counting, Home, Meter, Room};
use crate::ask::Now;
use crate::directory::{Directory, OwnerRow};
use crate::limits::{CellRef, CompiledLimit};
use crate::meters::{Charged, Charges, Meters};
use crate::quota::{QuotaSubject, Room as QuotaRoom};
use crate::seats::Seat;
use crate::table::Record;

impl Counted {
    pub(crate) const fn new(by: Counting, now: Now) -> Self {
        Self { by, now_ms: now.boot_ns / 1_000_000 }
    }
}

const fn refused(retry_ms: Option<u64>) -> Charged {
    Charged::No(Denial::RateLimited, retry_ms)
}

impl Charges<'_> {
    /// Charges `cost` to everything or to nothing. Limits come before quotas, so that a call that a limit may refuse
    /// is not said to exceed a quota.
    pub(crate) fn charge_shared(&self, cost: u64, now: Now, by: Counting) -> Charged {
        let at = Counted::new(by, now);
        let mut is_unknown = false;
        for (limit, cell) in self.limits.iter() {
            let Some(grains) = limit.grains(cost) else { return refused(None) };
            match cell.allowance_room(grains, at) {
                Room::Enough => {}
                Room::Unknown => is_unknown = true,
                Room::Refused(wait) => return refused(Some(wait)),
            }
        }
        if is_unknown {
            return Charged::NeedsAllowances;
        }
        let mut missing = None;
        for (quota, cell) in self.quotas.iter() {
            match cell.room(quota, cost, now) {
                QuotaRoom::Enough => {}
                QuotaRoom::Exceeded => return Charged::No(Denial::QuotaExceeded, None),
                QuotaRoom::Unknown => missing = missing.or(Some((*quota, *cell))),
            }
        }
        if let Some((quota, cell)) = missing {
            return Charged::Needs(cell.block(quota, cost, now));
        }
        if let Some(refused) = self.take_quotas(cost, now) {
            return refused;
        }
        self.spend_all(cost, at)
    }

    fn spend_all(&self, cost: u64, at: Counted) -> Charged {
        for (spent, (limit, cell)) in self.limits.iter().enumerate() {
            let room = limit.grains(cost).map(|grains| cell.spend(grains, at));
            if room == Some(Room::Enough) {
                continue;
            }
            // Where nobody counts, every cost fits, so that nothing that was not spent is ever given back.
            for (limit, cell) in self.limits.iter().take(spent) {
                cell.add_units(limit.grains(cost).unwrap_or(0), None);
            }
            self.give_back_quotas(cost, self.quotas.len());
            return match room {
                Some(Room::Refused(wait)) => refused(Some(wait)),
                Some(Room::Unknown | Room::Enough) => Charged::NeedsAllowances,
                None => refused(None),
            };
        }
        Charged::Yes
    }
}

/// Collects what a call needs of limits that this node has too little of.
pub(crate) struct Needs {
    cost: u64,
    at: Counted,
    found: Vec<AllowanceNeed>,
}

impl Needs {
    fn look(&mut self, limit: &CompiledLimit, cell: CellRef<'_>, subject: QuotaSubject, home: Home) {
        let Some(cost) = limit.grains(self.cost) else { return };
        if cell.allowance_room(cost, self.at) != Room::Unknown {
            return;
        }
        self.found.push(AllowanceNeed {
            meter: Meter { subject, name: Arc::clone(&limit.name) },
            max: limit.max / limit.grain,
            per_seconds: limit.per_seconds(),
            cost,
            cell: home.into(),
        });
    }

    fn look_at(&mut self, limits: &[CompiledLimit], meters: &Arc<Meters>, subject: QuotaSubject) {
        for (place, limit) in limits.iter().enumerate() {
            if let Some(cell) = meters.limits.at(place) {
                self.look(limit, cell, subject, Home::Meters(Arc::downgrade(meters), place));
            }
        }
    }
}

/// What a call with this secret lacks: the same limits that it is charged to.
#[cold]
pub(crate) fn needs(
    (record, seat): (&Record, &Seat),
    owner: Option<&OwnerRow>,
    directory: &Directory,
    (cost, at): (u64, Counted),
) -> Vec<AllowanceNeed> {
    let mut needs = Needs { cost, at, found: Vec::new() };
    let own = &record.terms.limits.limits;
    if let Some(meters) = &record.meters {
        needs.look_at(own, meters, QuotaSubject::Key(seat.key()));
        for plan in &meters.plans {
            let row = directory.plans.at(plan.plan);
            for (limit, place) in row.iter().flat_map(|row| &row.limits) {
                if let Some(cell) = plan.cells.limits.at(*place) {
                    let home = Home::Plan(Arc::downgrade(&plan.cells), *place);
                    needs.look(limit, cell, plan.cells.quota.subject(), home);
                }
            }
        }
    } else if let Some(limit) = own.first() {
        needs.look(limit, seat.limit(), QuotaSubject::Key(seat.key()), Home::Seat(record.seat));
    }
    if let Some((owner, meters)) = owner.and_then(|owner| Some((owner, owner.meters.as_ref()?))) {
        needs.look_at(&owner.limits, meters, QuotaSubject::Principal(owner.id));
    }
    needs.found
}

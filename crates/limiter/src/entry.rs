//! One limit that this node has been asked about lately: who waits for it, how fast it is used, what is held.

use keywright_verifier::{AllowanceCell, AllowanceNeed, Verifier};
use tokio::sync::oneshot;

use crate::TICKS_AHEAD;
use crate::rate::{Bucket, Rate, WHOLE};

/// The shortest refusal: what fits sooner is gathered meanwhile, so that a limit at its end is not asked about a
/// thousand times a second.
const REFUSED_MS_MIN: u64 = 10;
/// Ticks without use after which what is held goes back.
pub(crate) const IDLE_TICKS: u32 = 40;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) cell: AllowanceCell,
    pub(crate) rate: Rate,
    /// The smallest cost that is waited for; 0 is none.
    least: u64,
    /// All that is waited for.
    wanted: u64,
    callers: Vec<oneshot::Sender<()>>,
    /// Whether it is in the queue.
    pub(crate) is_queued: bool,
    /// What was held at the last tick, what came since, and how much was used in a tick lately.
    left: u64,
    came: u64,
    pace: u64,
    idle_ticks: u32,
    /// What goes back with the next asking.
    pub(crate) back: u64,
    pub(crate) refused_at_us: Option<u64>,
    /// Until when the bucket has nothing worth asking for: the server gave less than was wanted.
    bare_until_us: u64,
    /// All that this node ever admits, whatever it is told: twice the limit's burst, at the limit's pace.
    guard: Bucket,
    /// What this node counts by itself.
    pub(crate) local: Bucket,
    /// The part that was taken from the store, until when, and what the others said that they would use.
    pub(crate) leased: u32,
    pub(crate) leased_until_us: u64,
    pub(crate) others_demand: u32,
    /// Units asked for since the last exchange.
    asked: u64,
}

/// What is asked of a server for one limit, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The smallest cost that waits; 0 when nobody does.
    pub(crate) least: u64,
    pub(crate) need: u64,
    pub(crate) want: u64,
    pub(crate) back: u64,
}

impl Entry {
    pub(crate) fn new(need: &AllowanceNeed, share: u32) -> Self {
        Self {
            cell: need.cell.clone(),
            rate: Rate { max: need.max, per_seconds: need.per_seconds },
            least: 0,
            wanted: 0,
            callers: Vec::new(),
            is_queued: false,
            left: 0,
            came: 0,
            pace: 0,
            idle_ticks: 0,
            back: 0,
            refused_at_us: None,
            bare_until_us: 0,
            guard: Bucket::new(WHOLE),
            local: Bucket::new(share),
            leased: 0,
            leased_until_us: 0,
            others_demand: 0,
            asked: 0,
        }
    }

    /// Takes over what the newest call says: a limit's numbers and place may have changed.
    pub(crate) fn refresh(&mut self, need: &AllowanceNeed) {
        self.cell = need.cell.clone();
        self.rate = Rate { max: need.max, per_seconds: need.per_seconds };
        self.asked = self.asked.saturating_add(need.cost);
        self.idle_ticks = 0;
    }

    /// For how long it is of no use to ask.
    pub(crate) const fn bare_us(&self, now_us: u64) -> u64 {
        self.bare_until_us.saturating_sub(now_us)
    }

    /// Waits for units.
    pub(crate) fn wait(&mut self, cost: u64) -> oneshot::Receiver<()> {
        let (caller, answer) = oneshot::channel();
        self.least = if self.least == 0 { cost } else { self.least.min(cost) };
        self.wanted = self.wanted.saturating_add(cost);
        self.callers.push(caller);
        answer
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.callers.len()
    }

    /// Lets those who wait ask again.
    pub(crate) fn wake(&mut self) {
        (self.least, self.wanted) = (0, 0);
        for caller in self.callers.drain(..) {
            // Whoever has gone away needs no answer.
            let _ = caller.send(());
        }
    }

    /// What to hold ahead of use: as much as is used in a few ticks, at most a block.
    fn target(&self, nodes: u32) -> u64 {
        self.rate.block(nodes).min(self.pace.saturating_mul(TICKS_AHEAD))
    }

    /// What to ask for.
    ///
    /// Invariant: what is held afterwards is at most a block, or the one call that is waited for.
    pub(crate) fn ask(&self, verifier: &Verifier, nodes: u32) -> Asked {
        let (left, block) = (verifier.allowance(&self.cell), self.rate.block(nodes));
        let need = self.least.saturating_sub(left);
        let all = self.wanted.saturating_add(self.target(nodes));
        let most = block.max(self.least);
        let want = all.min(most).saturating_sub(left).max(need);
        let need = if want > 0 { need.max(1) } else { 0 };
        Asked { least: self.least, need, want, back: self.back }
    }

    /// Hands over units that the server gave, as far as they can be right; says how many.
    pub(crate) fn credit(
        &mut self,
        verifier: &Verifier,
        (units, most): (u64, u64),
        used_us: u64,
        now_us: u64,
    ) -> u64 {
        // Invariant: no answer of a server gives more than was asked for, or than the guard admits.
        let doubled = Rate { max: self.rate.max * 2, per_seconds: self.rate.per_seconds.saturating_mul(2) };
        let units = self.guard.take_up_to(doubled, units.min(most), now_us);
        if units < most {
            self.bare_until_us = now_us.saturating_add(REFUSED_MS_MIN * 1_000);
        }
        let full_at_us = now_us.saturating_add(used_us.min(self.rate.capacity_us()));
        self.local.learn(full_at_us);
        self.hand_over(verifier, units, full_at_us);
        units
    }

    fn hand_over(&mut self, verifier: &Verifier, units: u64, full_at_us: u64) {
        if units > 0 && verifier.credit_allowance(&self.cell, units, full_at_us / 1_000) {
            self.came = self.came.saturating_add(units);
            self.refused_at_us = None;
        }
    }

    /// Refuses what waits for so long.
    pub(crate) fn refuse(&mut self, verifier: &Verifier, cost: u64, wait_us: u64, now_us: u64) -> u64 {
        let longest = self.rate.capacity_us();
        let lasting = wait_us.min(longest).div_ceil(1_000).max(REFUSED_MS_MIN);
        self.refused_at_us = Some(now_us);
        verifier.refuse_allowance(&self.cell, cost, (now_us / 1_000).saturating_add(lasting))
    }

    /// Grants from what this node counts by itself, or refuses.
    pub(crate) fn grant_locally(&mut self, verifier: &Verifier, cost: u64, nodes: u32, now_us: u64) {
        let left = verifier.allowance(&self.cell);
        let Some(need) = cost.checked_sub(left).filter(|need| *need > 0) else { return };
        let want = self.target(nodes).saturating_sub(left).max(need);
        let mut units = 0;
        if want > need {
            units = self.local.take_up_to(self.rate, want, now_us);
        }
        if units < need {
            self.local.give_back(self.rate, units);
            units = 0;
        }
        let taken = if units > 0 { Ok(()) } else { self.local.take(self.rate, need, now_us) };
        match taken {
            Ok(()) => {
                let full_at_us = self.local.full_at_us().min(now_us + self.rate.capacity_us());
                self.hand_over(verifier, units.max(need), full_at_us);
            }
            Err(wait_us) => {
                let unspent = self.refuse(verifier, cost, wait_us, now_us);
                self.local.give_back(self.rate, unspent);
            }
        }
    }

    /// Looks at what was used since the last tick. Answers whether to ask for more now.
    pub(crate) fn tick(&mut self, verifier: &Verifier, nodes: u32) -> bool {
        let left = verifier.allowance(&self.cell);
        let used = self.left.saturating_add(self.came).saturating_sub(left);
        self.pace = used.max(self.pace - self.pace.div_ceil(4));
        self.idle_ticks = if used > 0 || self.waiting() > 0 { 0 } else { self.idle_ticks.saturating_add(1) };
        (self.left, self.came) = (left, 0);
        left.saturating_mul(2) <= self.target(nodes) && self.target(nodes) > 0
    }

    /// Takes out what is held and not used, and what is more than a block.
    pub(crate) fn take_unused(&mut self, verifier: &Verifier, nodes: u32) -> u64 {
        let keep = if self.idle_ticks >= IDLE_TICKS { 0 } else { self.rate.block(nodes) };
        if self.idle_ticks == 0 {
            return 0;
        }
        let taken = verifier.take_allowance(&self.cell, keep);
        self.left = self.left.saturating_sub(taken);
        taken
    }

    /// Whether nothing is left to remember: also its bucket is full again.
    pub(crate) fn is_over(&self, verifier: &Verifier, now_us: u64) -> bool {
        self.idle_ticks > IDLE_TICKS
            && self.waiting() == 0
            && self.back == 0
            && self.refused_at_us.is_none()
            && self.local.full_at_us() <= now_us
            && self.guard.full_at_us() <= now_us
            && self.leased == 0
            && verifier.allowance(&self.cell) == 0
    }

    /// What it would use, in millionths of the limit, judged by what was asked for in a stretch of time. Whoever was
    /// refused would use all.
    pub(crate) fn demand(&mut self, stretch_us: u64) -> u32 {
        let units = std::mem::take(&mut self.asked);
        if self.refused_at_us.is_some() {
            return WHOLE;
        }
        let admits = u128::from(self.rate.capacity_us());
        let used = u128::from(self.rate.charge_us(units.saturating_add(self.pace))) * u128::from(WHOLE);
        let stretch = u128::from(stretch_us.max(1)).min(admits.max(1));
        u32::try_from((used / stretch).min(u128::from(WHOLE))).unwrap_or(WHOLE)
    }
}

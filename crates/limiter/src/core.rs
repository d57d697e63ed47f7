//! What a limiter decides, without waiting for anything: tests drive it step by step, `run.rs` by the clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use keywright_verifier::{AllowanceNeed, Counting, Meter, Verifier};
use tokio::sync::oneshot;

use crate::entry::{Asked, Entry};
use crate::figures::Figures;
use crate::port::{Granted, Shares, Usage, Wish, name_of};
use crate::rate::WHOLE;
use crate::{METERS_MAX, Policy, SHARED_MAX, USES_MAX, WAITING_MAX, WISHES_MAX};

/// How long a refusal is believed: units may be given back, and limits edited.
const REFUSAL_BELIEVED_US: u64 = 1_000_000;
/// For how long a call is refused that there is no room to remember.
const FULL_REFUSED_MS: u64 = 1_000;

/// How a limit is counted for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By a server that is asked for units.
    Server,
    /// By this node, which takes its share from the store.
    Share,
}

pub(crate) struct Core {
    verifier: Arc<Verifier>,
    by: By,
    policy: Policy,
    nodes: u32,
    /// Whether what counts for all nodes was reached when it was tried last.
    is_reached: bool,
    entries: HashMap<Meter, Entry>,
    queue: VecDeque<Meter>,
    figures: Arc<Figures>,
}

/// What one call to the server asks, and for whom.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    meters: Vec<(Meter, Asked)>,
    pub(crate) wishes: Vec<Wish>,
}

/// What one exchange says, and for whom.
#[derive(Debug, Default)]
pub(crate) struct Exchanging {
    meters: Vec<Meter>,
    pub(crate) usage: Vec<Usage>,
}

impl Core {
    pub(crate) fn new(verifier: Arc<Verifier>, by: By, policy: Policy, figures: Arc<Figures>) -> Self {
        // Until it was reached the policy is in force: a node that cannot reach it starts like one that has lost it.
        verifier.set_counting(policy.counting());
        let (entries, queue) = (HashMap::new(), VecDeque::new());
        Self { verifier, by, policy, nodes: 1, is_reached: false, entries, queue, figures }
    }

    pub(crate) const fn is_reached(&self) -> bool {
        self.is_reached
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The share that this node may count by itself.
    fn share(&self, entry: &Entry, now_us: u64) -> u32 {
        let even = WHOLE / self.nodes.max(1);
        match self.by {
            By::Server => even,
            By::Share if self.nodes == 1 && self.is_reached => WHOLE,
            // Half of a limit is divided evenly, for ever; half goes where it is used.
            By::Share if entry.leased_until_us > now_us => even / 2 + entry.leased,
            By::Share => even / 2,
        }
    }

    /// Sees to what a call lacks. Answers what to wait for, if that cannot be decided here.
    pub(crate) fn ask(&mut self, need: &AllowanceNeed, now_us: u64) -> Option<oneshot::Receiver<()>> {
        if !self.entries.contains_key(&need.meter) && self.entries.len() >= METERS_MAX {
            self.figures.refused_full();
            let until_ms = (now_us / 1_000).saturating_add(FULL_REFUSED_MS);
            self.verifier.refuse_allowance(&need.cell, need.cost, until_ms);
            return None;
        }
        let share = WHOLE / self.nodes.max(1);
        let mut entry = self.entries.remove(&need.meter).unwrap_or_else(|| Entry::new(need, share));
        entry.refresh(need);
        let asks = self.by == By::Server && self.is_reached;
        let counts = self.by == By::Share || self.policy == Policy::Local;
        let mut answer = None;
        let bare_us = entry.bare_us(now_us);
        if asks && (bare_us > 0 || entry.waiting() >= WAITING_MAX) {
            let unspent = entry.refuse(&self.verifier, need.cost, bare_us, now_us);
            entry.back = entry.back.saturating_add(unspent);
        } else if asks {
            answer = Some(entry.wait(need.cost));
            if !entry.is_queued {
                entry.is_queued = true;
                self.queue.push_back(need.meter.clone());
            }
        } else if counts {
            let share = self.share(&entry, now_us);
            entry.local.reshare(entry.rate, share, now_us);
            entry.grant_locally(&self.verifier, need.cost, self.nodes, now_us);
        }
        self.entries.insert(need.meter.clone(), entry);
        answer
    }

    /// What to ask the server next, at most [`WISHES_MAX`] limits.
    pub(crate) fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        while batch.wishes.len() < WISHES_MAX {
            let Some(meter) = self.queue.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&meter) else { continue };
            entry.is_queued = false;
            let asked = entry.ask(&self.verifier, self.nodes);
            entry.back = 0;
            if asked.want == 0 && asked.back == 0 {
                entry.wake();
                continue;
            }
            let rate = entry.rate;
            batch.wishes.push(Wish {
                name: name_of(&meter),
                capacity_us: rate.capacity_us(),
                unit_us: rate.unit_us(),
                need_us: rate.charge_us(asked.need),
                want_us: rate.charge_us(asked.want),
                back_us: rate.charge_us(asked.back),
            });
            batch.meters.push((meter, asked));
        }
        batch
    }

    /// Takes over what the server gave.
    pub(crate) fn granted(&mut self, batch: &Batch, granted: &Granted, now_us: u64) {
        self.reached(granted.nodes);
        let mut grants = granted.grants.iter();
        for ((meter, asked), wish) in batch.meters.iter().zip(&batch.wishes) {
            let grant = grants.next().copied().unwrap_or_default();
            let Some(entry) = self.entries.get_mut(meter) else { continue };
            let units = entry.rate.units(grant.granted_us.min(wish.want_us));
            let units = entry.credit(&self.verifier, (units, asked.want), grant.used_us, now_us);
            self.figures.leased(units);
            if units == 0 && asked.least > 0 {
                let missing = grant.used_us.saturating_add(wish.need_us).saturating_sub(wish.capacity_us);
                let unspent = entry.refuse(&self.verifier, asked.least, missing, now_us);
                entry.back = entry.back.saturating_add(unspent);
            }
            entry.wake();
        }
    }

    fn reached(&mut self, nodes: u32) {
        self.nodes = nodes.max(1);
        self.figures.reached(self.nodes);
        if !self.is_reached {
            self.is_reached = true;
            self.verifier.set_counting(Counting::Installation);
        }
    }

    /// Nothing came back: whoever waits is answered by the policy. What was to go back is lost, which only slows.
    pub(crate) fn failed(&mut self, batch: &Batch) {
        self.figures.failed();
        if self.is_reached {
            self.is_reached = false;
            self.verifier.set_counting(self.policy.counting());
        }
        for (meter, _) in &batch.meters {
            if let Some(entry) = self.entries.get_mut(meter) {
                entry.wake();
            }
        }
        for meter in std::mem::take(&mut self.queue) {
            if let Some(entry) = self.entries.get_mut(&meter) {
                entry.is_queued = false;
                entry.wake();
            }
        }
    }

    /// Looks at every limit: asks for more of what is used fast, takes out what is not used, forgets what is over.
    pub(crate) fn tick(&mut self, now_us: u64) {
        let (verifier, nodes, by) = (&self.verifier, self.nodes, self.by);
        let asks = by == By::Server && self.is_reached;
        for (meter, entry) in &mut self.entries {
            let mut wants = entry.tick(verifier, nodes) && asks;
            let unused = entry.take_unused(verifier, nodes);
            if unused > 0 && asks {
                entry.back = entry.back.saturating_add(unused);
                wants = true;
            } else if unused > 0 {
                entry.local.give_back(entry.rate, unused);
            }
            if entry.refused_at_us.is_some_and(|at| at.saturating_add(REFUSAL_BELIEVED_US) <= now_us) {
                entry.refused_at_us = None;
                verifier.forget_refusal(&entry.cell);
            }
            if wants && !entry.is_queued {
                entry.is_queued = true;
                self.queue.push_back(meter.clone());
            }
        }
        self.entries.retain(|_, entry| entry.is_queued || !entry.is_over(verifier, now_us));
        self.figures.holds(self.entries.len());
    }

    /// What to tell the store: how much of each limit was used in a stretch of time, and what share is wished for.
    pub(crate) fn usage(&mut self, stretch_us: u64) -> Exchanging {
        let mut used = Vec::new();
        for (meter, entry) in &mut self.entries {
            let demand = entry.demand(stretch_us);
            if demand == 0 && entry.leased == 0 {
                continue;
            }
            let wish = fair(demand, entry.others_demand);
            // Invariant: a share is let go of here before the store gives it to another, whether or not its answer comes.
            entry.leased = entry.leased.min(wish);
            used.push((meter, demand, wish));
        }
        if used.len() > USES_MAX {
            used.select_nth_unstable_by_key(USES_MAX, |(_, demand, _)| std::cmp::Reverse(*demand));
            used.truncate(USES_MAX);
        }
        let usage = used.iter().map(|(meter, demand, wish)| Usage {
            name: name_of(meter),
            demand: *demand,
            wish: *wish,
        });
        let usage = usage.collect();
        Exchanging { usage, meters: used.into_iter().map(|(meter, ..)| meter.clone()).collect() }
    }

    /// Takes over the shares that the store gave, which count from when they were asked for.
    pub(crate) fn shared(&mut self, exchanging: &Exchanging, shares: &Shares, until_us: u64, now_us: u64) {
        self.reached(shares.nodes);
        for ((meter, usage), share) in exchanging.meters.iter().zip(&exchanging.usage).zip(&shares.shares) {
            if let Some(entry) = self.entries.get_mut(meter) {
                // Invariant: no answer of a store gives more than was wished for, or than it may divide.
                entry.leased = share.granted.min(usage.wish).min(SHARED_MAX);
                entry.leased_until_us = until_us;
                entry.others_demand = share.others_demand;
            }
        }
        let mut entries = std::mem::take(&mut self.entries);
        for entry in entries.values_mut() {
            let share = self.share(entry, now_us);
            entry.local.reshare(entry.rate, share, now_us);
            if entry.refused_at_us.take().is_some() {
                self.verifier.forget_refusal(&entry.cell);
            }
        }
        self.entries = entries;
    }
}

/// What to wish for of the part that is divided by use: as much as would be used, and not more than a fair part of it
/// where others would use it too.
fn fair(demand: u32, others: u32) -> u32 {
    let (mine, all) = (u64::from(demand), u64::from(demand) + u64::from(others));
    let most = u64::from(SHARED_MAX);
    let wish = if all <= most { mine + mine / 4 } else { most * mine / all };
    u32::try_from(wish.min(most)).unwrap_or(SHARED_MAX)
}

//! Simulated nodes and clocks, step by step: everything but the tasks and the network is the real thing.

#[path = "../../../verifier/tests/fixture/mod.rs"]
#[expect(dead_code, reason = "each user takes its part")]
mod fixture;

mod server;
mod shares;

use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::denial::Denial;
use keywright_model::limit::Limit;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::{Counting, Credential, Decided, Deferred, Lease, Now, Request, Verifier};

use self::fixture::{at, key_with, limit, plain, secret_of, tenancy, verifier_with};
use crate::Policy;
use crate::core::{Batch, By, Core};
use crate::figures::Figures;
use crate::port::Granted;

/// Where time begins: a day after the boot.
const START_US: u64 = 86_400_000_000;

/// What was admitted: when, at what cost.
type Admitted = Vec<(u64, u64)>;

struct Node {
    verifier: Arc<Verifier>,
    core: Core,
    /// How far its clock is ahead, and what it runs faster, in millionths.
    ahead_us: u64,
    faster: u64,
    on_the_way: Option<(Batch, Granted)>,
    waiting: Vec<u64>,
    calls: u64,
}

/// One key with these limits.
fn world(limits: &[Limit]) -> Vec<Change> {
    let key = key_with(1, |key| key.spec.limits = limits.to_vec());
    tenancy().into_iter().chain([key]).collect()
}

fn verifier(limits: &[Limit]) -> Arc<Verifier> {
    let verifier = verifier_with(Lease::embedded()).share_limits();
    verifier.load(world(limits), Revision(1), Incarnation(1));
    Arc::new(verifier)
}

impl Node {
    fn new(limits: &[Limit], by: By, policy: Policy) -> Self {
        let verifier = verifier(limits);
        let core = Core::new(Arc::clone(&verifier), by, policy, Arc::new(Figures::default()));
        let (ahead_us, faster, waiting) = (0, 0, Vec::new());
        Self { verifier, core, ahead_us, faster, on_the_way: None, waiting, calls: 0 }
    }

    /// What its clock says at a true time.
    fn clock(&self, now_us: u64) -> u64 {
        now_us + self.ahead_us + (now_us - START_US) * self.faster / 1_000_000
    }

    fn decide(&self, cost: u64, now_us: u64) -> Decided {
        let now = Now { wall: at(1_795_348_800_000), boot_ns: self.clock(now_us) * 1_000 };
        self.verifier.verify(&Credential::Bearer(&secret_of(1, 1)), &Request { cost, ..plain() }, now)
    }

    /// Asks; what the node cannot decide is left with its limiter. `None` when it has to wait for that.
    fn ask(&mut self, cost: u64, now_us: u64) -> Option<bool> {
        for _ in 0..3 {
            match self.decide(cost, now_us) {
                Decided::Verdict(verdict) => {
                    assert!(verdict.allowed || verdict.denial == Some(Denial::RateLimited));
                    return Some(verdict.allowed);
                }
                Decided::Deferred(Deferred::Allowances(needs)) => {
                    let now = self.clock(now_us);
                    if needs.iter().filter_map(|need| self.core.ask(need, now)).count() > 0 {
                        return None;
                    }
                }
                other => panic!("neither an answer nor a question: {other:?}"),
            }
        }
        panic!("what was granted is not there")
    }

    /// Asks, and waits in line if it must.
    fn call(&mut self, cost: u64, now_us: u64, admitted: &mut Admitted) -> Option<bool> {
        let answer = self.ask(cost, now_us);
        match answer {
            Some(true) => admitted.push((now_us, cost)),
            Some(false) => {}
            None => self.waiting.push(cost),
        }
        answer
    }

    fn ask_again(&mut self, now_us: u64, admitted: &mut Admitted) {
        for cost in std::mem::take(&mut self.waiting) {
            self.call(cost, now_us, admitted);
        }
    }
}

/// Every stretch between two admitted calls, against a bucket of `max` in `per` seconds and so many units more.
#[track_caller]
fn assert_within(admitted: &[(u64, u64)], (max, per): (u64, u32), more: u64) {
    let per_us = u128::from(per) * 1_000_000;
    for from in 0..admitted.len() {
        let mut units = 0_u128;
        for (at, cost) in &admitted[from..] {
            units += u128::from(*cost);
            let stretch = u128::from(at - admitted[from].0);
            let bound = u128::from(max) * (per_us + stretch) + u128::from(more) * per_us;
            assert!(units * per_us <= bound, "{units} in {stretch} µs of {max} in {per} s and {more} more");
        }
    }
}

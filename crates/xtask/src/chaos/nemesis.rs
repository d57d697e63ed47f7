//! Faults at random: one or more at a time, each healed after a while.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::campaign::Campaign;
use crate::cluster::{Dice, Flow, Node};

/// Clocks as wrong as the protocol allows: a lease and the wait for it may differ by ρ = 10 % each.
const RATES: &[f64] = &[1.0, 1.05, 0.95, 1.09, 0.92];

/// What can happen to a node or a follower.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Hold,
    Kill,
    Clock,
    Cut,
    CutForth,
    CutBack,
    Slow,
    Reset,
    /// A follower is led to another node, as its balancer also does. To a node nothing happens.
    Lead,
}

/// Links are cut and processes held most: these are what leases are for.
const FAULTS: &[Fault] = &[
    Fault::Hold,
    Fault::Hold,
    Fault::Hold,
    Fault::Cut,
    Fault::Cut,
    Fault::Cut,
    Fault::CutForth,
    Fault::CutBack,
    Fault::Kill,
    Fault::Clock,
    Fault::Slow,
    Fault::Reset,
    Fault::Lead,
];

/// Harms the cluster for so long, then heals everything.
pub(super) async fn harm(run: &Arc<Campaign>, mut dice: Dice, time: Duration) -> anyhow::Result<()> {
    let busy = Arc::new(Busy::default());
    let end = tokio::time::Instant::now() + time;
    let mut database_in = dice.millis(8_000, 15_000);
    let mut begun = tokio::time::Instant::now();
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(dice.millis(100, 1_200)).await;
        if begun.elapsed() > database_in {
            kill_database(run, &mut dice).await?;
            (begun, database_in) = (tokio::time::Instant::now(), dice.millis(10_000, 25_000));
        } else if let (Some(fault), Some(node)) = (dice.pick(FAULTS), busy.take(run, &mut dice)) {
            let (beside, busy, mut dice, fault) = (Arc::clone(run), Arc::clone(&busy), dice.split(), *fault);
            run.beside(async move {
                harm_node(&beside, &node, fault, &mut dice).await;
                busy.give_back(node.index());
            });
        }
    }
    while !busy.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The nodes and followers that something happens to. At least one node is left alone.
#[derive(Default)]
struct Busy(Mutex<BTreeSet<usize>>);

impl Busy {
    fn take(&self, run: &Campaign, dice: &mut Dice) -> Option<Arc<Node>> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = run.cluster.nodes.len();
        let verifiers: Vec<_> = run.cluster.verifiers().collect();
        let verifier = *dice.pick(&verifiers)?;
        let may_be_harmed = verifier.is_follower() || busy.range(..nodes).count() + 1 < nodes;
        let free = may_be_harmed && busy.insert(verifier.index());
        free.then(|| Arc::clone(verifier))
    }

    fn give_back(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// From a hiccup to longer than patience and lease together.
fn how_long(dice: &mut Dice) -> Duration {
    match dice.below(10) {
        0..=2 => dice.millis(50, 500),
        3..=5 => dice.millis(500, 3_000),
        _ => dice.millis(4_500, 8_000),
    }
}

async fn harm_node(run: &Campaign, node: &Node, fault: Fault, dice: &mut Dice) {
    let time = how_long(dice);
    let (kind, to, from) = match fault {
        Fault::Hold => return hold(run, node, time).await,
        Fault::Kill => return kill(run, node, 1.0, "kill", time).await,
        Fault::Clock => {
            let rate = dice.pick(RATES).copied().unwrap_or(1.0);
            return kill(run, node, rate, "clock", Duration::ZERO).await;
        }
        Fault::Lead => return super::followers::lead_elsewhere(run, node, dice),
        Fault::Cut => ("cut", Flow::Hold, Flow::Hold),
        Fault::CutForth => ("cut_forth", Flow::Hold, Flow::Pass),
        Fault::CutBack => ("cut_back", Flow::Pass, Flow::Hold),
        Fault::Slow => {
            let by = Flow::Slow(dice.millis(20, 400));
            ("slow", by, by)
        }
        Fault::Reset => {
            run.note_fault_of(node, "reset");
            return node.link().reset();
        }
    };
    run.note_fault_of(node, kind);
    node.link().set(to, from);
    tokio::time::sleep(time).await;
    // What was held arrives late, or never.
    if dice.percent(50) {
        node.link().reset();
    }
    node.link().set(Flow::Pass, Flow::Pass);
}

async fn hold(run: &Campaign, node: &Node, time: Duration) {
    run.note_fault_of(node, "stop");
    node.signal(Signal::SIGSTOP).await;
    tokio::time::sleep(time).await;
    node.signal(Signal::SIGCONT).await;
}

/// Kills it and starts it again with clocks of that rate, which stay until the next time.
async fn kill(run: &Campaign, node: &Node, rate: f64, kind: &'static str, time: Duration) {
    run.note_fault_of(node, kind);
    node.kill().await;
    tokio::time::sleep(time).await;
    start(run, node, rate).await;
}

/// A node that the database was away from ends, and a follower whose node is away: whoever supervises it starts it again.
pub(super) async fn start(run: &Campaign, node: &Node, rate: f64) {
    while let Err(error) = node.start(rate).await {
        if run.is_given_up() {
            run.note_unexpected(format!("a process did not start again: {error:#}"));
            return;
        }
        node.kill().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn kill_database(run: &Campaign, dice: &mut Dice) -> anyhow::Result<()> {
    run.note_fault("database_kill");
    let database = run.cluster.database();
    database.kill().await?;
    tokio::time::sleep(dice.millis(0, 3_000)).await;
    database.start().await
}

/// Starts processes that ended by themselves, as a supervisor does, until the run is over.
pub(super) async fn supervise(run: Arc<Campaign>, watched: Vec<Arc<Node>>) {
    while !run.has_ended() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for node in &watched {
            if node.has_ended_by_itself().await {
                run.note_fault_of(node, "ended_by_itself");
                start(&run, node, 1.0).await;
            }
        }
    }
}

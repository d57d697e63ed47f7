//! The tasks that ask, and the one thing that verifications wait for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keywright_verifier::{AllowanceNeed, Verifier};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::core::{Batch, By, Core};
use crate::figures::Figures;
use crate::port::{Allowances, Exchange, Unreachable};
use crate::{EXCHANGE, Policy, SHARE_HELD, TICK};

/// How often a server hears of a node that asks for nothing.
const HEARTBEAT_US: u64 = 1_000_000;
/// How often a server that was out of reach is tried.
const PROBE_US: u64 = 500_000;

/// How often it is looked whether the first answer has come.
const LOOK: Duration = Duration::from_millis(2);

/// Nanoseconds since boot, on a clock that never steps.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What gives.
#[derive(Debug)]
pub enum Source {
    /// A server that counts for all nodes.
    Server(Arc<dyn Allowances>),
    /// A store that divides limits among nodes.
    Store(Arc<dyn Exchange>),
}

/// What a limiter is made of.
pub struct Parts {
    /// The index whose limits it is asked about, which shares them.
    pub verifier: Arc<Verifier>,
    /// What gives.
    pub source: Source,
    /// What to do while that is out of reach.
    pub policy: Policy,
    /// How long one call to it may take.
    pub timeout: Duration,
    /// The clock.
    pub clock: Clock,
}

/// Gives verifications the units that they lack. Its tasks end with it.
pub struct Limiter {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    core: Mutex<Core>,
    wake: Notify,
    clock: Clock,
    figures: Arc<Figures>,
    timeout: Duration,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter(..)")
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Limiter {
    /// Starts asking. Until the first answer the policy is in force.
    pub fn start(parts: Parts) -> Self {
        let Parts { verifier, source, policy, timeout, clock } = parts;
        let by = match source {
            Source::Server(_) => By::Server,
            Source::Store(_) => By::Share,
        };
        let figures = Arc::new(Figures::default());
        let core = Mutex::new(Core::new(verifier, by, policy, Arc::clone(&figures)));
        let shared = Arc::new(Shared { core, wake: Notify::new(), clock, figures, timeout });
        let tasks = Arc::clone(&shared);
        let task = match source {
            Source::Server(server) => tokio::spawn(async move { tasks.ask(&*server).await }),
            Source::Store(store) => tokio::spawn(async move { tasks.exchange(&*store).await }),
        };
        Self { shared, task }
    }

    /// Sees to what a call lacks; then its question can be asked again. Waits for at most two calls to the server,
    /// the one under way and its own; where nodes count by themselves, not at all.
    pub async fn allow(&self, needs: &[AllowanceNeed]) {
        let now_us = self.shared.now_us();
        let waits: Vec<_> = {
            let mut core = self.shared.core();
            needs.iter().filter_map(|need| core.ask(need, now_us)).collect()
        };
        if waits.is_empty() {
            return;
        }
        self.shared.figures.waited();
        self.shared.wake.notify_one();
        for answer in waits {
            // An end without an answer is one too: the question is asked again.
            let _ = answer.await;
        }
    }

    /// Waits until what gives has answered once, but not for longer: until then a node knows nothing of the others.
    pub async fn first_answer(&self, most: Duration) {
        let answered = async {
            while !self.shared.core().is_reached() {
                tokio::time::sleep(LOOK).await;
            }
        };
        // The policy is in force where nothing comes.
        let _ = timeout(most, answered).await;
    }

    pub(crate) fn figures_in(&self) -> &Figures {
        &self.shared.figures
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        // Whatever a panic left undone is only units that nobody was given.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        (self.clock)() / 1_000
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Unreachable>>) -> Result<T, Unreachable> {
        self.figures.called();
        let late = |error| Unreachable::new("no answer in time", error);
        timeout(self.timeout, call).await.map_err(late).and_then(|answer| answer)
    }

    /// One call at a time: what is asked for meanwhile goes with the next one.
    async fn ask(&self, server: &dyn Allowances) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut called_at_us = None;
        loop {
            tokio::select! {
                () = self.wake.notified() => {}
                _ = ticks.tick() => self.core().tick(self.now_us()),
            }
            let mut is_due = {
                let pause = if self.core().is_reached() { HEARTBEAT_US } else { PROBE_US };
                called_at_us.is_none_or(|at: u64| at.saturating_add(pause) <= self.now_us())
            };
            while is_due || self.core().has_queued() {
                is_due = false;
                let batch = self.core().next_batch();
                called_at_us = Some(self.now_us());
                self.call(server, batch).await;
            }
        }
    }

    async fn call(&self, server: &dyn Allowances, batch: Batch) {
        let answer = self.bounded(server.lease(&batch.wishes)).await;
        let now_us = self.now_us();
        let mut core = self.core();
        let was_reached = core.is_reached();
        match answer {
            Ok(granted) => core.granted(&batch, &granted, now_us),
            Err(error) => {
                core.failed(&batch);
                tell_lost(was_reached, &error);
            }
        }
        tell_found(was_reached, core.is_reached());
    }

    async fn exchange(&self, store: &dyn Exchange) {
        let (mut ticks, mut exchanges) = (interval(TICK), interval(EXCHANGE));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        exchanges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before_us = self.now_us().saturating_sub(1_000_000);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.core().tick(self.now_us()),
                _ = exchanges.tick() => {
                    let now_us = self.now_us();
                    self.exchange_once(store, now_us, now_us.saturating_sub(before_us)).await;
                    before_us = now_us;
                }
            }
        }
    }

    async fn exchange_once(&self, store: &dyn Exchange, now_us: u64, stretch_us: u64) {
        let exchanging = self.core().usage(stretch_us);
        // It counts for less here than there: a share is never two nodes' at once.
        let held = u64::try_from(SHARE_HELD.as_micros()).unwrap_or(u64::MAX);
        let answer = self.bounded(store.exchange(&exchanging.usage, SHARE_HELD * 2)).await;
        let after_us = self.now_us();
        let mut core = self.core();
        let was_reached = core.is_reached();
        match answer {
            Ok(shares) => core.shared(&exchanging, &shares, now_us.saturating_add(held), after_us),
            Err(error) => {
                core.failed(&Batch::default());
                tell_lost(was_reached, &error);
            }
        }
        tell_found(was_reached, core.is_reached());
    }
}

fn tell_lost(was_reached: bool, error: &Unreachable) {
    let error = error as &dyn std::error::Error;
    if was_reached {
        tracing::warn!(error, "what counts limits for all nodes is out of reach: the policy is in force");
    } else {
        tracing::debug!(error, "what counts limits for all nodes is still out of reach");
    }
}

fn tell_found(was_reached: bool, is_reached: bool) {
    if is_reached && !was_reached {
        tracing::info!("limits are counted for all nodes");
    }
}

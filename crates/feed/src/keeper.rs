//! Keeps a node's lease: joins, renews, joins anew after a fence, leaves. The protocol is `ARCHITECTURE.md`'s, the
//! argument for it `protocol`'s model; the names of its steps are the model's actions.
//!
//! It runs on a thread and a connection of its own, so that a stuck feed cannot starve the lease, nor the reverse.

mod reporting;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keywright_model::id::NodeId;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::Verifier;
use tokio::sync::watch;

use crate::drift::{Clocks, Drift};
use crate::follower::Applied;
use crate::membership::{Membership, Renewal, Reports};
use crate::source::SourceError;

/// How often the lease is renewed at the least: answers say that they are not current after 3 s without contact.
const RENEWAL_MAX: Duration = Duration::from_millis(500);

/// How long after a failed call the next one is tried.
const RETRY: Duration = Duration::from_millis(100);

/// A node that renews but does not apply taxes every write: after so long it gives up its lease and joins anew.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// How long a call to the store may take before it is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether the first lease was given.
const LOOK: Duration = Duration::from_millis(5);

/// What a lease is kept with.
pub struct Options {
    /// The node's row, over a connection of its own. Used on the keeper's thread only.
    pub membership: Box<dyn Membership>,
    /// Where it says how far it has come.
    pub reports: Arc<dyn Reports>,
    /// The index whose lease it is.
    pub verifier: Arc<Verifier>,
    /// The clocks.
    pub clocks: Arc<dyn Clocks>,
    /// Makes identifiers that were never used.
    pub fresh_id: Box<dyn FnMut() -> NodeId + Send>,
    /// How long one renewal is trusted (`max_staleness`).
    pub lease: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// What has happened to a lease, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Renewals that were granted.
    pub renewals: AtomicU64,
    /// Renewals that failed: the store was away or slow.
    pub failures: AtomicU64,
    /// Lives begun, the first included.
    pub joins: AtomicU64,
    /// Revisions that the last renewal saw and that were not applied then.
    pub lag: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Keep,
    /// No renewal any more; what was given runs on while open requests are answered.
    Drain,
    Leave,
}

/// The handle of a lease that is kept.
#[derive(Debug)]
pub struct Keeper {
    verifier: Arc<Verifier>,
    phase: watch::Sender<Phase>,
    loaded: watch::Sender<Option<Applied>>,
    life: watch::Receiver<Option<NodeId>>,
    figures: Arc<Figures>,
    ended: watch::Receiver<Option<Ended>>,
    thread: Option<std::thread::JoinHandle<()>>,
    reporter: tokio::task::JoinHandle<()>,
}

/// Why a keeper keeps no lease any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It left, as it was told to.
    Left,
    /// The store holds another life of the data: everything in memory belongs to one that is over.
    OtherIncarnation,
}

impl Keeper {
    /// Begins to register. The first lease comes after [`Self::loaded`].
    pub fn start(options: Options) -> Result<Self, SourceError> {
        let (phase, phases) = watch::channel(Phase::Keep);
        let (loaded, loads) = watch::channel(None);
        let (lives, life) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let figures = Arc::new(Figures::default());
        let reporter =
            tokio::spawn(reporting::report(Arc::clone(&options.reports), life.clone(), loads.clone()));
        let drift = Drift::new(Arc::clone(&options.clocks));
        let verifier = Arc::clone(&options.verifier);
        let keeping = Keeping {
            options,
            phases,
            loads,
            lives,
            figures: Arc::clone(&figures),
            drift,
            incarnation: None,
            seen: Revision::default(),
            last: None,
        };
        let named = std::thread::Builder::new().name("keywright-lease".to_owned());
        let thread =
            named.spawn(move || run_thread(keeping, &end)).map_err(|error| SourceError(error.into()))?;
        Ok(Self { verifier, phase, loaded, life, figures, ended, thread: Some(thread), reporter })
    }

    /// The index has loaded and follows: the node may go live.
    pub fn loaded(&self, applied: Applied) {
        self.loaded.send_replace(Some(applied));
    }

    /// This life's identifier; `None` before the first is registered.
    pub fn life(&self) -> watch::Receiver<Option<NodeId>> {
        self.life.clone()
    }

    /// Waits until there is a lease, but not for longer. Whether there is.
    pub async fn first_lease(&self, most: Duration) -> bool {
        let given = async {
            while self.verifier.lease().until_ns() == 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(most, given).await.is_ok()
    }

    /// What has happened so far.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Turns to a reason when no lease is kept any more.
    pub fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.ended.clone()
    }

    /// Renews no more; what was given runs on while open requests are answered.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            *phase == Phase::Keep && {
                *phase = Phase::Drain;
                true
            }
        });
    }

    /// Ends the lease at once, then says so: this process answers nothing any more, and no writer waits for it. A store that
    /// cannot be told is waited for a moment only.
    pub async fn give_up(&self) {
        self.phase.send_replace(Phase::Leave);
        let mut ended = self.ended.clone();
        let said = tokio::time::timeout(2 * CALL_TIMEOUT, ended.wait_for(Option::is_some)).await;
        if said.is_err() {
            tracing::warn!("could not say in time that this life is over");
        }
    }

    /// Ends the lease, then says so: no writer waits for this node any more. Call it when nothing is answered any more.
    pub async fn leave(mut self) {
        self.phase.send_replace(Phase::Leave);
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the lease's thread ended in a panic");
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Without an orderly leave the lease runs out by itself.
        self.phase.send_replace(Phase::Leave);
        self.reporter.abort();
    }
}

fn run_thread(keeping: Keeping, end: &watch::Sender<Option<Ended>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the lease's thread cannot run");
            return;
        }
    };
    let ended = runtime.block_on(keeping.run());
    end.send_replace(Some(ended));
}

/// How one life of the node ended.
enum LifeEnd {
    Told,
    Again,
    OtherIncarnation,
}

struct Keeping {
    options: Options,
    phases: watch::Receiver<Phase>,
    loads: watch::Receiver<Option<Applied>>,
    lives: watch::Sender<Option<NodeId>>,
    figures: Arc<Figures>,
    drift: Drift,
    /// The life of the data that this process has loaded.
    incarnation: Option<Incarnation>,
    /// The life before this one, until its row is gone.
    last: Option<NodeId>,
    /// The newest revision that a renewal has told of.
    seen: Revision,
}

impl Keeping {
    async fn run(mut self) -> Ended {
        loop {
            // Invariant: the old deadline is 0 before the old row is gone, and before a new life begins.
            self.options.verifier.lease().drop_now();
            self.bury_last().await;
            match self.live().await {
                LifeEnd::Again if self.phase() == Phase::Keep => {}
                LifeEnd::OtherIncarnation => {
                    self.options.verifier.lease().drop_now();
                    self.bury_last().await;
                    return Ended::OtherIncarnation;
                }
                LifeEnd::Told | LifeEnd::Again => break,
            }
        }
        let _ = self.phases.wait_for(|phase| *phase == Phase::Leave).await;
        self.options.verifier.lease().drop_now();
        self.bury_last().await;
        Ended::Left
    }

    fn phase(&self) -> Phase {
        *self.phases.borrow()
    }

    /// Says that the last life is over. A store that is away is not waited for: its writers find out by the lease.
    async fn bury_last(&mut self) {
        let Some(last) = self.last else { return };
        match timed(self.options.membership.leave(last)).await {
            Ok(()) => self.last = None,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, node.id = %last, "could not say that this life is over");
            }
        }
    }

    async fn live(&mut self) -> LifeEnd {
        let Some(id) = self.register().await else { return LifeEnd::Told };
        let mut loads = self.loads.clone();
        let applied = tokio::select! {
            loaded = loads.wait_for(Option::is_some) => loaded.ok().and_then(|loaded| loaded.clone()),
            () = told(self.phases.clone()) => None,
        };
        let Some(applied) = applied else { return LifeEnd::Told };
        // Invariant: one process is of one life of the data. That of what it loaded counts, not that of its first renewal:
        // a restore may lie between the two.
        let loaded = self.options.verifier.position().map(|at| at.incarnation);
        self.incarnation = self.incarnation.or(loaded);
        if !self.drift_is_small().await {
            return LifeEnd::Told;
        }
        // A life that has to catch up holds up writers from when it is live: one that did not apply waits outside.
        while applied.wait_for(self.seen, RENEWAL_MAX).await.is_err() {
            if self.phase() != Phase::Keep {
                return LifeEnd::Told;
            }
            // The index may follow no more, and then answers at once.
            self.pause(RETRY).await;
        }
        match self.catch_up(id, &applied).await {
            None => LifeEnd::Again,
            Some(()) => self.keep(id, &applied).await,
        }
    }

    /// Registers a life that nobody waits for. `None` when told to stop meanwhile.
    async fn register(&mut self) -> Option<NodeId> {
        while self.phase() == Phase::Keep {
            // Invariant: an identifier is one life's. Under an old one a writer that fenced it would bury this life.
            let id = (self.options.fresh_id)();
            self.last = Some(id);
            match timed(self.options.membership.join(id)).await {
                Ok(()) => {
                    self.figures.joins.fetch_add(1, Ordering::Relaxed);
                    self.lives.send_replace(Some(id));
                    tracing::info!(node.id = %id, "registered");
                    return Some(id);
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "could not register");
                    self.pause(RETRY).await;
                }
            }
        }
        None
    }

    /// A lease on a clock that runs too fast or too slow is worth nothing: waits until it is not.
    async fn drift_is_small(&mut self) -> bool {
        while !self.drift.is_small() {
            if self.phase() != Phase::Keep {
                return false;
            }
            self.pause(RETRY).await;
        }
        true
    }

    /// Goes live, and applies everything that was committed before: no writer has waited for this life yet.
    async fn catch_up(&mut self, id: NodeId, applied: &Applied) -> Option<()> {
        let head = match timed(self.options.membership.go_live(id, applied.revision())).await {
            Ok(Some(head)) => head,
            Ok(None) => {
                tracing::warn!(node.id = %id, "was ended before it was live: joins anew");
                // Each life is two durable writes: a store that ends each one is not asked without a pause.
                self.pause(RETRY).await;
                return None;
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, node.id = %id, "could not go live");
                self.pause(RETRY).await;
                return None;
            }
        };
        // Invariant: the first deadline comes after the newest revision read after `live` was committed is applied.
        while applied.wait_for(head, RENEWAL_MAX).await.is_err() {
            if self.phase() != Phase::Keep {
                return None;
            }
            self.pause(RETRY).await;
        }
        Some(())
    }

    /// Renews until told to stop, fenced, behind or unable to trust its clock.
    async fn keep(&mut self, id: NodeId, applied: &Applied) -> LifeEnd {
        let lease_ns = nanos(self.options.lease);
        let period = (self.options.lease / 5).min(RENEWAL_MAX);
        let mut behind = Behind::default();
        while self.phase() == Phase::Keep {
            // Invariant: the deadline counts from before the renewal was sent.
            let sent_ns = self.options.clocks.boot_ns();
            let renewed = timed(self.options.membership.renew(id)).await;
            match renewed {
                Ok(Renewal::Renewed { head, incarnation }) => {
                    let have = applied.revision();
                    self.seen = self.seen.max(head);
                    self.figures.lag.store(head.0.saturating_sub(have.0), Ordering::Relaxed);
                    if *self.incarnation.get_or_insert(incarnation) != incarnation {
                        tracing::error!("the store holds another life of the data");
                        return LifeEnd::OtherIncarnation;
                    }
                    if !self.drift.is_small() || behind.too_long(head, have, sent_ns) {
                        tracing::warn!(node.id = %id, "gives up its lease and joins anew");
                        return LifeEnd::Again;
                    }
                    self.figures.renewals.fetch_add(1, Ordering::Relaxed);
                    self.options.verifier.lease().renew(sent_ns.saturating_add(lease_ns), sent_ns);
                }
                Ok(Renewal::Refused) => {
                    tracing::warn!(node.id = %id, "was fenced: joins anew");
                    return LifeEnd::Again;
                }
                Err(error) => {
                    self.figures.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = &error as &dyn std::error::Error, node.id = %id, "the lease was not renewed");
                    self.pause(RETRY).await;
                    continue;
                }
            }
            self.pause(period).await;
        }
        LifeEnd::Told
    }

    /// Waits, but not for longer than until it is told to stop.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = told(self.phases.clone()) => {}
        }
    }
}

async fn told(mut phases: watch::Receiver<Phase>) {
    let _ = phases.wait_for(|phase| *phase != Phase::Keep).await;
}

async fn timed<T>(call: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(late) => Err(SourceError(late.into())),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Since when a revision that was there has not been applied.
#[derive(Debug, Default)]
struct Behind(Option<(Revision, u64)>);

impl Behind {
    fn too_long(&mut self, head: Revision, applied: Revision, now_ns: u64) -> bool {
        match self.0 {
            Some((wanted, since)) if applied < wanted => now_ns.saturating_sub(since) > nanos(BEHIND_MAX),
            _ => {
                self.0 = (applied < head).then_some((head, now_ns));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Waiting until every verifier answers by a write: fence before wait, and a bound on how long a lost one can hold it up.
//!
//! One task a process reads who verifies, hears their reports, fences those that a write has waited too long for, and
//! buries those whose last lease has run out. A write only watches what that task knows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use keywright_feed::Applied;
use keywright_model::id::NodeId;
use keywright_model::revision::Revision;
use keywright_store::{Member, MemberStatus, Members, StoreError, Touched};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use crate::Clock;

/// How long a write waits for a verifier before it takes away its right to a lease.
const PATIENCE: Duration = Duration::from_secs(2);
/// And how much longer for each noun that it changes.
const PATIENCE_PER_CHANGE: Duration = Duration::from_micros(20);
/// How often the rows are read when nobody asks.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a look the next one comes while a write waits: at first, for so many looks before it is twice as long, and
/// at most. Reports that are heard are sooner, where a store tells of them.
const LOOK_SOON: Duration = Duration::from_millis(1);
const LOOKS_ALIKE: u32 = 8;
const LOOK_WAITING: Duration = Duration::from_millis(100);
/// How many writes are followed until they are enforced; of more, the older ones are let go: what holds up the newest
/// holds them up too.
const OWED_MAX: usize = 10_000;
/// Added to each wait for a lease, for a clock that is read a moment late.
const LEASE_SLACK: Duration = Duration::from_millis(50);

/// How long after a fence the last lease of a verifier is over on this node's clock, whichever way the two clocks are
/// off by ρ = 10 %: L·(1+ρ)/(1−ρ).
const fn lease_over_after(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms.saturating_mul(11).div_ceil(9)).saturating_add(LEASE_SLACK)
}

/// What is known of who verifies.
#[derive(Clone, Debug, Default)]
struct View {
    /// Grows with each look at the rows.
    generation: u64,
    rows: HashMap<NodeId, Row>,
}

#[derive(Clone, Debug)]
struct Row {
    member: Member,
    /// When this process first saw it fenced, on its own clock. Another writer's clock started earlier or later.
    fenced_at_ns: Option<u64>,
}

impl Row {
    const fn is_node(&self) -> bool {
        self.member.scope.is_none()
    }
}

impl View {
    /// Whoever may still answer by the state before a revision.
    fn missing<'v>(&'v self, revision: Revision, touched: &'v Touched) -> impl Iterator<Item = &'v Row> {
        let behind = move |row: &&Row| {
            row.member.status.may_answer() && row.member.applied < revision && row.member.answers_for(touched)
        };
        self.rows.values().filter(behind)
    }
}

/// A write that takes access away and is not enforced yet.
#[derive(Clone, Debug)]
struct Owed {
    revision: Revision,
    touched: Touched,
    overdue_at_ns: u64,
    /// Whom it has fenced.
    fenced: Vec<NodeId>,
    alarmed: bool,
}

/// What has happened, for metrics.
#[derive(Debug, Default)]
pub struct BarrierFigures {
    /// Writes that were answered before they were enforced.
    pub pending: AtomicU64,
    /// Verifiers that were fenced by this process.
    pub fences: AtomicU64,
}

/// What holds up a write, and until when at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How many verifiers may answer by the state before it.
    pub verifiers: u64,
    /// How long until it is enforced at the latest; `None` while more are missing than one write may fence.
    pub at_most: Option<Duration>,
}

/// The wait of every write. Cheap to clone.
#[derive(Clone)]
pub struct Barrier(Arc<Shared>);

struct Shared {
    members: Arc<dyn Members>,
    applied: Applied,
    clock: Arc<dyn Clock>,
    view: watch::Sender<View>,
    /// The generation that somebody waits for.
    wanted: AtomicU64,
    look: Notify,
    owed: Mutex<Vec<Owed>>,
    figures: BarrierFigures,
    observer: OnceLock<Observer>,
}

/// Told how many nanoseconds each write waited.
type Observer = Box<dyn Fn(u64) + Send + Sync>;

impl std::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Barrier(..)")
    }
}

impl Barrier {
    /// Between the rows of who verifies and this process's own index. [`Self::run`] must run for it to know anything.
    pub fn new(members: Arc<dyn Members>, applied: Applied, clock: Arc<dyn Clock>) -> Self {
        let (view, _) = watch::channel(View::default());
        Self(Arc::new(Shared {
            members,
            applied,
            clock,
            view,
            wanted: AtomicU64::new(1),
            look: Notify::new(),
            owed: Mutex::default(),
            figures: BarrierFigures::default(),
            observer: OnceLock::new(),
        }))
    }

    /// Has somebody told how many nanoseconds each write waits. Only the first who asks is.
    pub fn observe(&self, observer: impl Fn(u64) + Send + Sync + 'static) {
        let _first = self.0.observer.set(Box::new(observer));
    }

    /// What has happened so far.
    pub fn figures(&self) -> &BarrierFigures {
        &self.0.figures
    }

    /// How far this process's own index has come.
    pub fn applied(&self) -> &Applied {
        &self.0.applied
    }

    /// The rows of who verifies.
    pub(crate) fn members(&self) -> &dyn Members {
        &*self.0.members
    }

    /// How many followers have registered and are not gone, as far as this process knows.
    pub fn followers(&self) -> usize {
        self.0.view.borrow().rows.values().filter(|row| !row.is_node()).count()
    }

    /// How many writes are known not to be enforced yet.
    pub fn owed(&self) -> usize {
        self.0.owed().len()
    }

    /// Waits until every verifier answers by a revision; false when the time is up before.
    ///
    /// Call it only after the revision is committed: who verifies is read anew, in a snapshot that begins after this call.
    pub(crate) async fn wait_for(&self, revision: Revision, touched: &Touched, wait: Duration) -> bool {
        let begun = self.0.clock.boot_ns();
        let enforced = self.enforced(revision, touched);
        let all = tokio::time::timeout(wait, enforced).await.is_ok();
        if let Some(observe) = self.0.observer.get() {
            observe(self.0.clock.boot_ns().saturating_sub(begun));
        }
        if !all {
            self.0.figures.pending.fetch_add(1, Ordering::Relaxed);
        }
        all
    }

    async fn enforced(&self, revision: Revision, touched: &Touched) {
        let shared = &self.0;
        // Invariant: the rows are read after the commit. Either this read shows a verifier, or it went live after the
        // read and so catches up to this revision before its first lease.
        if shared.members.is_alone() {
            shared.own_index(revision).await;
            return;
        }
        // Watched before it asks: whoever reads the rows goes on soon only while somebody watches.
        let mut view = shared.view.subscribe();
        let generation = shared.ask_to_look();
        shared.own_index(revision).await;
        let there =
            |view: &View| view.generation >= generation && view.missing(revision, touched).next().is_none();
        // The view lives as long as this does, so that waiting for it cannot fail.
        let lost = view.wait_for(there).await.is_err();
        if lost {
            std::future::pending::<()>().await;
        }
    }

    /// Has a write that takes access away followed until it is enforced, whether or not anybody waits for it.
    pub(crate) fn owe(&self, revision: Revision, touched: Touched, changes: usize) {
        if self.0.members.is_alone() {
            return;
        }
        let more = PATIENCE_PER_CHANGE.saturating_mul(u32::try_from(changes).unwrap_or(u32::MAX));
        let overdue_at_ns = self.0.clock.boot_ns().saturating_add(nanos(PATIENCE.saturating_add(more)));
        let mut owed = self.0.owed();
        if owed.iter().any(|known| known.revision == revision) {
            return;
        }
        if owed.len() >= OWED_MAX {
            owed.remove(0);
        }
        owed.push(Owed { revision, touched, overdue_at_ns, fenced: Vec::new(), alarmed: false });
    }

    /// What holds up a revision; `None` when every verifier answers by it. Reads who verifies anew.
    pub(crate) async fn missing(
        &self,
        revision: Revision,
        touched: &Touched,
    ) -> Result<Option<Missing>, StoreError> {
        let shared = &self.0;
        let own = shared.applied.revision() >= revision;
        if shared.members.is_alone() {
            return Ok((!own).then_some(Missing { verifiers: 1, at_most: None }));
        }
        let mut view = shared.view.subscribe();
        let generation = shared.ask_to_look();
        let late = |_| StoreError::Unavailable("who verifies could not be read in time".into());
        let fresh = view.wait_for(|view| view.generation >= generation);
        let view = tokio::time::timeout(PATIENCE, fresh).await.map_err(late)?;
        let view = view.map_err(|error| StoreError::Unavailable(error.into()))?;
        let now_ns = shared.clock.boot_ns();
        let (mut verifiers, mut unfenced, mut longest) = (0, 0, Duration::ZERO);
        for row in view.missing(revision, touched) {
            verifiers += 1;
            unfenced += usize::from(row.fenced_at_ns.is_none() && row.is_node());
            longest = longest.max(over_in(row, now_ns));
        }
        let bounded = unfenced <= fences_max(&view);
        let none = verifiers == 0;
        Ok((!none).then_some(Missing { verifiers, at_most: bounded.then_some(longest) }))
    }

    /// Reads, fences and buries until it is dropped.
    pub async fn run(self) {
        let mut reports = self.0.members.reports();
        let mut open = true;
        let (mut looks, mut looked) = (0, Instant::now());
        loop {
            let soon = LOOK_SOON.saturating_mul(1 << (looks / LOOKS_ALIKE).min(10)).min(LOOK_WAITING);
            let pause = if self.0.owed().is_empty() && !self.0.is_watched() { LOOK } else { soon };
            let heard = tokio::select! {
                biased;
                () = self.0.look.notified() => {
                    looks = 0;
                    None
                }
                report = reports.recv(), if open => match report {
                    Ok(report) => report,
                    // What was missed is found by the next look.
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => {
                        open = false;
                        None
                    }
                },
                // From the last look, so that reports of some, however many, keep nobody else's from being found.
                () = tokio::time::sleep_until(looked + pause) => {
                    looks += 1;
                    None
                }
            };
            if let Some((id, applied)) = heard {
                self.0.note(id, applied);
            } else {
                self.0.look_and_tend().await;
                looked = Instant::now();
            }
        }
    }
}

/// When at the latest a verifier's last lease is over, if it is fenced as soon as patience allows.
fn over_in(row: &Row, now_ns: u64) -> Duration {
    let over = lease_over_after(row.member.lease_ms);
    match row.fenced_at_ns {
        None => PATIENCE.saturating_add(over),
        Some(at) => over.saturating_sub(Duration::from_nanos(now_ns.saturating_sub(at))),
    }
}

/// How many nodes one write may fence: a fifth of those that live, and one at least. Followers are no part of it: what a
/// fenced one refuses, a node answers.
fn fences_max(view: &View) -> usize {
    let is_live_node = |row: &&Row| row.member.status == MemberStatus::Live && row.is_node();
    (view.rows.values().filter(is_live_node).count() / 5).max(1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Shared {
    fn owed(&self) -> std::sync::MutexGuard<'_, Vec<Owed>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_watched(&self) -> bool {
        self.view.receiver_count() > 0
    }

    async fn own_index(&self, revision: Revision) {
        while self.applied.wait_for(revision, LOOK).await.is_err() {
            if !self.applied.is_followed() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Wants the rows to be read in a snapshot that begins after this. Many that ask at once share one read.
    fn ask_to_look(&self) -> u64 {
        let generation = self.view.borrow().generation;
        // A look may be under way whose snapshot began before: the one after it counts.
        let wanted = self.wanted.fetch_max(generation + 1, Ordering::SeqCst).max(generation + 1);
        self.look.notify_one();
        wanted
    }

    fn note(&self, id: NodeId, applied: Revision) {
        let newer = self.view.send_if_modified(|view| {
            let Some(row) = view.rows.get_mut(&id) else { return false };
            let newer = row.member.applied < applied;
            row.member.applied = row.member.applied.max(applied);
            newer
        });
        if newer {
            self.settle();
        }
    }

    async fn look_and_tend(&self) {
        // Whoever asks from here on needs the look after this one.
        let satisfied = self.wanted.fetch_add(1, Ordering::SeqCst);
        if self.members.is_alone() {
            // Writes may wait for whoever was there at the last look and has just left.
            self.seen(Vec::new(), satisfied);
            self.settle();
            return;
        }
        match self.members.members().await {
            Ok(members) => {
                self.seen(members, satisfied);
                self.settle();
                self.bury_the_dead().await;
                self.fence_the_late().await;
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "who verifies could not be read");
                tokio::time::sleep(LOOK_WAITING).await;
            }
        }
    }

    fn seen(&self, members: Vec<Member>, generation: u64) {
        let now_ns = self.clock.boot_ns();
        self.view.send_modify(|view| {
            let mut before = std::mem::take(&mut view.rows);
            for mut member in members {
                let known = before.remove(&member.id);
                // Invariant: a fence is waited out from when this process first saw it, whoever set it. One that is gone again,
                // because a server without it took over, was none: leases may have been given since.
                let fenced_at_ns = (member.status == MemberStatus::Fenced)
                    .then(|| known.as_ref().and_then(|row| row.fenced_at_ns).unwrap_or(now_ns));
                // A report may have overtaken this read.
                member.applied = known.map_or(member.applied, |row| row.member.applied.max(member.applied));
                view.rows.insert(member.id, Row { member, fenced_at_ns });
            }
            view.generation = view.generation.max(generation);
        });
    }

    /// Lets go of what is enforced.
    fn settle(&self) {
        let view = self.view.borrow();
        self.owed().retain(|owed| view.missing(owed.revision, &owed.touched).next().is_some());
    }

    /// Says of those whose last lease is over that they are gone.
    async fn bury_the_dead(&self) {
        // Invariant: nobody is buried before its last lease is over, however far the two clocks are apart within ρ.
        let now_ns = self.clock.boot_ns();
        let over = |row: &Row| {
            let waited = row.fenced_at_ns.map(|at| now_ns.saturating_sub(at));
            waited.is_some_and(|waited| waited >= nanos(lease_over_after(row.member.lease_ms)))
        };
        let dead: Vec<NodeId> =
            self.view.borrow().rows.values().filter(|row| over(row)).map(|row| row.member.id).collect();
        for id in dead {
            match self.members.bury_fenced(id).await {
                // Invariant: what is not fenced any more, because a server without the fence took over, may hold a newer
                // lease. The next look waits its new fence out anew.
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(node.id = %id, "its last lease has run out: it is gone");
                    self.view.send_modify(|view| _ = view.rows.remove(&id));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, node.id = %id, "could not be marked gone");
                }
            }
        }
        self.settle();
    }

    /// Gives no lease any more to those that a write has waited for too long.
    async fn fence_the_late(&self) {
        let now_ns = self.clock.boot_ns();
        let overdue: Vec<Owed> =
            self.owed().iter().filter(|owed| owed.overdue_at_ns <= now_ns).cloned().collect();
        for owed in overdue {
            let (freely, late, allowed): (Vec<NodeId>, Vec<NodeId>, usize) = {
                let view = self.view.borrow();
                let late = view.missing(owed.revision, &owed.touched);
                let late = late.filter(|row| row.member.status == MemberStatus::Live);
                let (freely, late): (Vec<&Row>, Vec<&Row>) =
                    late.partition(|row| !row.is_node() || owed.fenced.contains(&row.member.id));
                let ids = |rows: Vec<&Row>| rows.into_iter().map(|row| row.member.id).collect();
                (ids(freely), ids(late), fences_max(&view).saturating_sub(owed.fenced.len()))
            };
            if late.len() > allowed && !owed.alarmed {
                tracing::error!(
                    revision = owed.revision.0,
                    missing = late.len(),
                    "more verifiers are missing than one write may fence: see `keywright nodes list` and `nodes forget`"
                );
            }
            let alarmed = owed.alarmed || late.len() > allowed;
            for id in freely {
                self.fence(id, owed.revision).await;
            }
            let mut fenced = owed.fenced;
            for id in late.into_iter().take(allowed) {
                if self.fence(id, owed.revision).await {
                    fenced.push(id);
                }
            }
            let mut all = self.owed();
            if let Some(known) = all.iter_mut().find(|known| known.revision == owed.revision) {
                (known.fenced, known.alarmed) = (fenced, alarmed);
            }
        }
    }

    async fn fence(&self, id: NodeId, revision: Revision) -> bool {
        match self.members.fence(id).await {
            Ok(()) => {
                // Invariant: the wait for the lease begins only once the fence is durable.
                let now_ns = self.clock.boot_ns();
                self.figures.fences.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(node.id = %id, revision = revision.0, "does not answer by this write: fenced");
                self.view.send_modify(|view| {
                    if let Some(row) = view.rows.get_mut(&id) {
                        row.member.status = MemberStatus::Fenced;
                        row.fenced_at_ns = row.fenced_at_ns.or(Some(now_ns));
                    }
                });
                true
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, node.id = %id, "could not be fenced");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use keywright_model::change::{Batch, Change};
use keywright_model::id::OrgId;
use keywright_model::noun::{Actor, Meta, Org, OrgSpec};
use keywright_model::revision::Incarnation;
use keywright_model::time::Timestamp;
use keywright_verifier::{Lease, Options};
use zeroize::Zeroizing;

use super::*;
use crate::source::Snapshot;

/// How a source treats its hints.
#[derive(Clone, Copy)]
enum Hints {
    Faithful,
    Lost,
    /// Some lost, some twice, some late, some without their batch.
    Wild,
}

/// A log in memory.
struct Log {
    batches: Mutex<Vec<Arc<Batch>>>,
    /// Batches up to here are forgotten.
    forgotten: AtomicUsize,
    hints: broadcast::Sender<Hint>,
    mode: Hints,
    fails: AtomicBool,
    snapshots: AtomicUsize,
}

impl Log {
    fn new(mode: Hints) -> Arc<Self> {
        let (hints, _) = broadcast::channel(16);
        let (batches, forgotten, snapshots) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { batches, forgotten, hints, mode, fails: AtomicBool::new(false), snapshots })
    }

    fn commit(&self) -> Revision {
        let mut batches = self.batches.lock().unwrap();
        let revision = Revision(batches.len() as u64 + 1);
        let org = Org {
            id: OrgId::from_bits(u128::from(revision.0)),
            spec: OrgSpec { name: "o".to_owned() },
            meta: Meta::new(Timestamp::from_unix_ms(0), Actor::Root),
        };
        let at = Timestamp::from_unix_ms(0);
        let batch = Arc::new(Batch { revision, at, changes: vec![Change::OrgChanged(Arc::new(org))] });
        batches.push(Arc::clone(&batch));
        let earlier = batches.get(batches.len() / 2).cloned();
        drop(batches);
        // Nobody may be listening: that is a lost hint.
        match (self.mode, revision.0 % 4) {
            (Hints::Lost, _) | (Hints::Wild, 0) => {}
            (Hints::Faithful, _) => drop(self.hints.send(Some(batch))),
            (Hints::Wild, 1) => drop(self.hints.send(None)),
            (Hints::Wild, _) => {
                for hint in [Some(Arc::clone(&batch)), earlier, Some(batch)] {
                    drop(self.hints.send(hint));
                }
            }
        }
        revision
    }

    fn commit_many(&self, count: usize) -> Revision {
        for _ in 0..count {
            self.commit();
        }
        self.head()
    }

    fn head(&self) -> Revision {
        Revision(self.batches.lock().unwrap().len() as u64)
    }
}

#[async_trait]
impl Source for Log {
    async fn snapshot(&self) -> Result<Snapshot, SourceError> {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        Ok(Snapshot { incarnation: Incarnation(1), revision: self.head(), changes: vec![] })
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, SourceError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(SourceError("unplugged".into()));
        }
        let after = usize::try_from(revision.0).unwrap();
        if after < self.forgotten.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batches = self.batches.lock().unwrap();
        Ok(Some(batches.iter().skip(after).take(limit).map(|batch| Batch::clone(batch)).collect()))
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

pub(crate) fn verifier(lease: Lease) -> Verifier {
    Verifier::new(Options {
        peppers: vec![],
        boot_key: Zeroizing::new([0; 32]),
        dummy_argon2: "".into(),
        unseal: Box::new(|_, _| None),
        lease,
    })
}

async fn follow(log: &Arc<Log>) -> (Follower, Arc<Verifier>) {
    let verifier = Arc::new(verifier(Lease::embedded()));
    let source: Arc<dyn Source> = Arc::clone(log) as _;
    (Follower::start(source, Arc::clone(&verifier)).await.unwrap(), verifier)
}

#[tokio::test]
async fn a_commit_is_applied_without_waiting_for_the_poll() {
    let log = Log::new(Hints::Faithful);
    log.commit();
    let (follower, verifier) = follow(&log).await;
    assert_eq!(follower.applied().revision(), Revision(1));
    for _ in 0..100 {
        let revision = log.commit();
        let applied = follower.applied().wait_for(revision, POLL / 4).await;
        assert_eq!(applied, Ok(revision));
        assert_eq!(verifier.revision(), revision);
    }
    assert_eq!(log.snapshots.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn losing_every_hint_costs_time_and_nothing_else() {
    let log = Log::new(Hints::Lost);
    let (follower, _verifier) = follow(&log).await;
    let revision = log.commit_many(50);
    let applied = follower.applied().wait_for(revision, POLL * 3).await;
    assert_eq!(applied, Ok(revision));
}

#[tokio::test(start_paused = true)]
async fn hints_that_are_lost_repeated_late_or_empty_end_in_the_same_index() {
    let log = Log::new(Hints::Wild);
    let (follower, verifier) = follow(&log).await;
    for burst in 1..60 {
        let revision = log.commit_many(burst);
        if burst % 7 == 0 {
            assert_eq!(follower.applied().wait_for(revision, POLL * 3).await, Ok(revision));
        }
    }
    let head = log.head();
    assert_eq!(follower.applied().wait_for(head, POLL * 3).await, Ok(head));
    assert_eq!((verifier.revision(), log.snapshots.load(Ordering::Relaxed)), (head, 1));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_does_not_reach_back_is_loaded_anew() {
    let log = Log::new(Hints::Lost);
    let (follower, _verifier) = follow(&log).await;
    let revision = log.commit_many(10);
    log.forgotten.store(5, Ordering::Relaxed);
    assert_eq!(follower.applied().wait_for(revision, POLL * 3).await, Ok(revision));
    assert_eq!(log.snapshots.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_for_a_while_is_resumed() {
    let log = Log::new(Hints::Lost);
    let (follower, _verifier) = follow(&log).await;
    log.fails.store(true, Ordering::Relaxed);
    let revision = log.commit();
    let applied = follower.applied().wait_for(revision, POLL * 5).await;
    assert_eq!(applied, Err(NotApplied { wanted: revision, have: Revision(0) }));
    log.fails.store(false, Ordering::Relaxed);
    assert_eq!(follower.applied().wait_for(revision, POLL * 3).await, Ok(revision));
    assert!(follower.is_running());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_what_never_comes_ends_in_time_and_with_the_follower() {
    let log = Log::new(Hints::Faithful);
    let (follower, _verifier) = follow(&log).await;
    let applied = follower.applied();
    let wanted = Revision(9);
    assert_eq!(applied.wait_for(wanted, POLL).await, Err(NotApplied { wanted, have: Revision(0) }));
    drop(follower);
    assert_eq!(
        applied.wait_for(wanted, POLL * 1_000_000).await,
        Err(NotApplied { wanted, have: Revision(0) })
    );
}

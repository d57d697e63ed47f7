//! What writers, readers and faults of one run share: the cluster, the keys, the record, the counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::history::Recorder;
use super::keys::{Acts, State};
use crate::cluster::{Cluster, Dice, Node};

/// How long after the end a write may still be asked for: by then everything is healed.
const SETTLE_MAX_US: u64 = 90_000_000;
/// Readers ask about these keys, the newest.
const KNOWN_MAX: usize = 400;

/// So many writes' secrets are looked for by the leak sweep afterwards.
const SECRETS_NOTED_MAX: usize = 500;

/// A key of the run; whoever holds it is its only writer.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As the run counts keys.
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) secrets: Vec<String>,
    pub(super) state: State,
    pub(super) version: u64,
}

/// A key as readers know it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) number: usize,
    pub(super) secrets: Vec<String>,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) acts: Acts,
    /// Milliseconds from the call to an answer with `all`, of writes that were sent once.
    pub(super) waits_ms: Vec<f64>,
    pub(super) acknowledged: u64,
    pub(super) pending: u64,
    pub(super) pending_enforced: u64,
    /// Writes that were sent more than once, since no answer or a refusal came.
    pub(super) repeated: u64,
    /// Of these, those that had been done already.
    pub(super) replayed: u64,
    /// Writes whose end was never known.
    pub(super) unknown: u64,
    pub(super) writes_refused: u64,
    pub(super) after: Asked,
    pub(super) readers: Asked,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// The same of followers.
    pub(super) followers: FollowersCounts,
    /// Answers that nothing explains, in words.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// The receipts of all writes: revision and token.
    pub(super) receipts: Vec<(u64, String)>,
}

/// What was counted of followers.
#[derive(Clone, Debug, Default)]
pub(super) struct FollowersCounts {
    pub(super) after: Asked,
    pub(super) readers: Asked,
    pub(super) faults: BTreeMap<&'static str, u64>,
}

/// How verifications ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Asked {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    /// 503: the verifier knew that it must not answer.
    pub(super) refused: u64,
    /// Dead, held or too slow.
    pub(super) unreachable: u64,
}

/// One run.
pub(super) struct Campaign {
    pub(super) cluster: Cluster,
    pub(super) recorder: Recorder,
    name: String,
    counts: Mutex<Counts>,
    pool: Mutex<Vec<Key>>,
    known: Mutex<VecDeque<Known>>,
    newest: Mutex<Option<(u64, String)>>,
    keys_made: AtomicUsize,
    calls_made: AtomicU64,
    /// Tasks that still ask or follow something.
    open: AtomicUsize,
    /// Whether a primary that was replaced may still be read through some node.
    replaced: AtomicBool,
    /// When the run ended, 0 before.
    ended_us: AtomicU64,
}

impl Campaign {
    pub(super) fn new(cluster: Cluster, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            recorder: Recorder::new(),
            name: format!("chaos-{seed}-{}", Dice::fresh_seed()),
            counts: Mutex::default(),
            pool: Mutex::default(),
            known: Mutex::default(),
            newest: Mutex::default(),
            keys_made: AtomicUsize::new(0),
            calls_made: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            replaced: AtomicBool::new(false),
            ended_us: AtomicU64::new(0),
        })
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_fault(&self, kind: &'static str) {
        *self.counts().faults.entry(kind).or_default() += 1;
    }

    /// A fault of a node or of a follower.
    pub(super) fn note_fault_of(&self, verifier: &Node, kind: &'static str) {
        let mut counts = self.counts();
        let faults = if verifier.is_follower() { &mut counts.followers.faults } else { &mut counts.faults };
        *faults.entry(kind).or_default() += 1;
    }

    pub(super) fn note_unexpected(&self, words: String) {
        *self.counts().unexpected.entry(words).or_default() += 1;
    }

    /// Takes a key that nobody writes to.
    pub(super) fn take_key(&self, dice: &mut Dice) -> Option<Key> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = dice.below(pool.len());
        (place < pool.len()).then(|| pool.swap_remove(place))
    }

    pub(super) fn put_back(&self, key: Key) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    /// Every key that nobody writes to.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn next_key_number(&self) -> usize {
        self.keys_made.fetch_add(1, Ordering::Relaxed)
    }

    /// An `Idempotency-Key` that was never used.
    pub(super) fn next_call_name(&self) -> String {
        format!("{}-{}", self.name, self.calls_made.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets readers ask about a key, or about its new secret.
    pub(super) fn make_known(&self, key: &Key) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = key.secrets.last().filter(|_| self.counts().receipts.len() < SECRETS_NOTED_MAX)
        {
            self.cluster.note_secret(newest);
        }
        let secrets = key.secrets.clone();
        match known.iter_mut().find(|known| known.number == key.number) {
            Some(known) => known.secrets = secrets,
            None => known.push_back(Known { number: key.number, secrets }),
        }
        if known.len() > KNOWN_MAX {
            known.pop_front();
        }
    }

    pub(super) fn any_known(&self, dice: &mut Dice) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(dice.below(known.len())).cloned()
    }

    /// The newest revision that a write has answered with.
    pub(super) fn newest(&self) -> Option<(u64, String)> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_newest(&self, revision: u64, token: &str) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|(known, _)| *known < revision) {
            *newest = Some((revision, token.to_owned()));
        }
    }

    /// Runs something beside the writers, and is not ended before it.
    pub(super) fn beside(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            work.await;
            this.open.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// From now on a node may be left with a primary that was replaced. Such a node verifies nothing and writes nothing,
    /// but what it reads for a management call is old: a key that was made since is not there.
    pub(super) fn primary_is_replaced(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    pub(super) fn may_read_a_replaced_primary(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Tells writers and readers to begin nothing new.
    pub(super) fn end(&self) {
        self.ended_us.store(self.recorder.now_us().max(1), Ordering::Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended_us.load(Ordering::Relaxed) > 0
    }

    /// Whether what is not known by now will never be.
    pub(super) fn is_given_up(&self) -> bool {
        let ended_us = self.ended_us.load(Ordering::Relaxed);
        ended_us > 0 && self.recorder.now_us().saturating_sub(ended_us) > SETTLE_MAX_US
    }

    /// Waits for everything that is open. It ends: each has its own bound.
    pub(super) async fn settle(&self) {
        while self.open.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

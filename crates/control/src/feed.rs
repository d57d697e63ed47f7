//! Tell followers what changes: everything at one revision, then each write, or that it was nothing of theirs.
//!
//! It is read from the store each time, never from this node's index, so that a follower is as current as its last answer
//! says, whatever may be wrong with this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keywright_feed::{Source as _, SourceError};
use keywright_model::admin::{AdminAction, Reach};
use keywright_model::change::Change;
use keywright_model::digest::Pepper;
use keywright_model::feed::{Line, OwnDigest, Scope, Told};
use keywright_model::id::OrgId;
use keywright_model::revision::RevisionToken;
use keywright_model::time::Timestamp;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::source::StoreSource;
use crate::{Caller, Contact, Control, Error, Vault};

/// How many snapshots are told at once, and one of an organization: each is in memory until it was taken.
const SNAPSHOTS_MAX: usize = 4;
/// How long a follower waits for its turn before it is told to come back.
const SNAPSHOT_TURN: Duration = Duration::from_secs(5);
/// After how many seconds.
const SNAPSHOT_RETRY_SECONDS: u64 = 5;
/// How many calls of an organization's followers wait for what comes next, or read it, at once.
const CALLS_MAX: usize = 256;
/// After how many seconds the others come back.
const CALL_RETRY_SECONDS: u64 = 1;
/// How many writes one answer tells of.
const WRITES_MAX: usize = 100;
/// How many nouns one line of a snapshot holds. Each comes of a body of 256 KiB at most, and a follower takes 64 MiB.
const NOUNS_MAX: usize = 64;

/// The places of calls that are under way.
pub(crate) struct Turns {
    snapshots: Arc<Semaphore>,
    of_org: Mutex<BTreeMap<OrgId, TurnsOfOrg>>,
}

/// An organization's own.
#[derive(Clone)]
struct TurnsOfOrg {
    snapshots: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)), of_org: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a snapshot's place. Who waits for one of its own organization takes none of the others'.
    async fn snapshot(&self, org: OrgId) -> Result<Turn, AcquireError> {
        let own = self.of(org).snapshots.acquire_owned().await?;
        Ok((own, Arc::clone(&self.snapshots).acquire_owned().await?))
    }

    /// A call's place, if there is one.
    fn call(&self, org: OrgId) -> Result<OwnedSemaphorePermit, Error> {
        let place = self.of(org).calls.try_acquire_owned();
        place.map_err(|_| Error::Throttled { retry_after_seconds: CALL_RETRY_SECONDS })
    }

    fn of(&self, org: OrgId) -> TurnsOfOrg {
        let turns = |max| Arc::new(Semaphore::new(max));
        let mut of_org = self.of_org.lock().unwrap_or_else(PoisonError::into_inner);
        let own = of_org.entry(org);
        own.or_insert_with(|| TurnsOfOrg { snapshots: turns(1), calls: turns(CALLS_MAX) }).clone()
    }
}

/// Given back when it is dropped.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What a follower asks for.
#[derive(Clone, Debug)]
pub struct FeedQuery {
    /// Keyspaces by name or id; empty is every one that the caller reaches.
    pub keyspaces: Vec<String>,
    /// What its digests are made under.
    pub digest_key: Pepper,
}

/// What a follower has in memory.
#[derive(Clone, Debug)]
pub struct Position {
    /// The newest revision that it has applied.
    pub revision: RevisionToken,
    /// Which history of the database that is of, as it was told with its snapshot.
    pub history: String,
}

/// Everything at one revision, a line at a time. Each line takes a moment: make them off the runtime's threads.
pub struct FeedSnapshot {
    teller: Teller,
    next: Next,
    changes: std::vec::IntoIter<Change>,
    revision: RevisionToken,
    history: String,
    contact: Contact,
    /// Given back when the last line was taken, or nobody wants more.
    _turn: Turn,
}

enum Next {
    Start,
    Nouns,
    Nothing,
}

impl std::fmt::Debug for FeedSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedSnapshot(..)")
    }
}

impl Iterator for FeedSnapshot {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let revision = self.revision;
        match self.next {
            Next::Start => {
                self.next = Next::Nouns;
                let (scope, history) = (self.teller.scope.clone(), self.history.clone());
                Some(Line::Snapshot { revision, scope, history })
            }
            Next::Nouns => {
                let some: Vec<Change> = self.changes.by_ref().take(NOUNS_MAX).collect();
                if some.is_empty() {
                    self.next = Next::Nothing;
                    // Without an end it was cut off.
                    let age_ms = (self.contact)()?;
                    return Some(Line::End { revision, more: false, age_ms });
                }
                Some(Line::Nouns(self.teller.tell(&some)))
            }
            Next::Nothing => None,
        }
    }
}

/// Says to one follower what is its own, under its own key.
struct Teller {
    vault: Arc<Vault>,
    digest_key: Pepper,
    scope: Scope,
}

impl Teller {
    fn tell(&self, changes: &[Change]) -> Told {
        let mut told = Told::default();
        for change in changes {
            let Some(shown) = self.scope.tell(change) else { continue };
            if let Change::KeyChanged(key) = change {
                let digests = key.secrets.iter().filter_map(|secret| {
                    let digest = self.vault.digest_under(&self.digest_key, key, secret)?;
                    Some((secret.id, OwnDigest(digest)))
                });
                told.digests.extend(digests);
            }
            told.changes.push(shown);
        }
        told
    }
}

impl Control {
    /// Everything that a follower answers by, at one revision.
    pub async fn feed_snapshot(&self, caller: &Caller, query: &FeedQuery) -> Result<FeedSnapshot, Error> {
        let scope = self.feed_scope(caller, &query.keyspaces).await?;
        let turn = tokio::time::timeout(SNAPSHOT_TURN, self.feed_turns.snapshot(scope.org)).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Error::Throttled { retry_after_seconds: SNAPSHOT_RETRY_SECONDS });
        };
        let snapshot = self.feed_source().snapshot().await.map_err(unread)?;
        let mut changes = snapshot.changes;
        changes.retain(|change| scope.shows(change));
        let revision = RevisionToken { incarnation: snapshot.incarnation, revision: snapshot.revision };
        let teller = self.teller(query, scope);
        self.contact_age_ms()?;
        let (next, changes) = (Next::Start, changes.into_iter());
        let (history, contact) = (self.history.clone(), Arc::clone(&self.contact));
        Ok(FeedSnapshot { teller, next, changes, revision, history, contact, _turn: turn })
    }

    /// Whether a caller may still hear all of a snapshot that is being told.
    pub async fn may_go_on(&self, caller: &Caller, query: &FeedQuery, snapshot: &FeedSnapshot) -> bool {
        let Ok(caller) = self.refreshed(caller).await else { return false };
        let scope = self.feed_scope(&caller, &query.keyspaces).await;
        scope.is_ok_and(|scope| scope == snapshot.teller.scope)
    }

    /// The writes after a revision, waiting for the first for a while. `None` when the feed does not reach back to it, or
    /// it is another life of the data's or another history's: then only a snapshot helps.
    pub async fn feed_after(
        &self,
        caller: &Caller,
        query: &FeedQuery,
        after: &Position,
        wait: Duration,
    ) -> Result<Option<Vec<Line>>, Error> {
        self.feed_scope_left(caller, &query.keyspaces).await?;
        let _place = self.feed_turns.call(caller.org)?;
        // Invariant: in another history the same revisions are other writes, so nothing goes on from them.
        if !self.is_of(after).await? {
            return Ok(None);
        }
        let (after, history) = (after.revision, self.history.clone());
        let source = self.feed_source();
        let read = async || source.batches_after(after.revision, WRITES_MAX).await.map_err(unread);
        let mut batches = read().await?;
        if batches.as_ref().is_some_and(Vec::is_empty) && !wait.is_zero() {
            let _newer = self.barrier.applied().wait_for(after.revision.next(), wait).await;
            batches = read().await?;
        }
        // Invariant: tested after they are read, since they may be what ended the caller's right to hear of them.
        let caller = self.refreshed(caller).await?;
        // A keyspace that is gone makes the scope another one: the follower goes on without it.
        let (scope, _) = self.feed_scope_left(&caller, &query.keyspaces).await?;
        let Some(batches) = batches else { return Ok(None) };
        let age_ms = self.contact_age_ms()?;
        let teller = self.teller(query, scope);
        let told = tokio::task::spawn_blocking(move || {
            let token = |revision| RevisionToken { revision, ..after };
            let newest = batches.last().map_or(after, |batch| token(batch.revision));
            let end = Line::End { revision: newest, more: batches.len() == WRITES_MAX, age_ms };
            let writes = batches.iter().map(|batch| {
                let told = teller.tell(&batch.changes);
                // When somebody else wrote something is not a follower's business either.
                let at = if told.changes.is_empty() { Timestamp::from_unix_ms(0) } else { batch.at };
                Line::Write { revision: token(batch.revision), at, told }
            });
            let since = Line::Since { scope: teller.scope.clone(), history };
            std::iter::once(since).chain(writes).chain(std::iter::once(end)).collect()
        });
        told.await.map(Some).map_err(|error| Error::Internal(error.into()))
    }

    /// What a caller may follow of what it names. A keyspace that it does not reach does not exist.
    pub(crate) async fn feed_scope(&self, caller: &Caller, named: &[String]) -> Result<Scope, Error> {
        let (scope, missing) = self.feed_scope_left(caller, named).await?;
        if missing { Err(Error::NotFound("keyspace")) } else { Ok(scope) }
    }

    /// What is left of what a caller names, and whether some of it is missing.
    async fn feed_scope_left(&self, caller: &Caller, named: &[String]) -> Result<(Scope, bool), Error> {
        caller.require(AdminAction::FeedRead)?;
        let reached = caller.reached();
        if named.is_empty() {
            return Ok((Scope { org: caller.org, keyspaces: reached.clone() }, false));
        }
        let mut missing = false;
        let mut keyspaces = BTreeSet::new();
        for name in named {
            let found = self.keyspace_named(caller.org, name).await?;
            let found = found.filter(|keyspace| reached.includes(keyspace.id));
            missing |= found.is_none();
            keyspaces.extend(found.map(|keyspace| keyspace.id));
        }
        Ok((Scope { org: caller.org, keyspaces: Reach::Only(keyspaces) }, missing))
    }

    /// Whether a position is of this life of the data and of this history of it.
    pub(crate) async fn is_of(&self, position: &Position) -> Result<bool, Error> {
        let same = self.history == position.history;
        Ok(same && self.incarnation().await? == position.revision.incarnation)
    }

    /// Invariant: what a store tells that another one took over from is not called the newest. It renews no lease.
    fn contact_age_ms(&self) -> Result<u64, Error> {
        (self.contact)().ok_or_else(|| Error::Unavailable("this node's lease was not renewed lately".into()))
    }

    fn feed_source(&self) -> StoreSource {
        StoreSource::new(Arc::clone(&self.store), Arc::clone(&self.vault))
    }

    fn teller(&self, query: &FeedQuery, scope: Scope) -> Teller {
        Teller { vault: Arc::clone(&self.vault), digest_key: query.digest_key.clone(), scope }
    }
}

fn unread(SourceError(error): SourceError) -> Error {
    Error::Unavailable(error)
}

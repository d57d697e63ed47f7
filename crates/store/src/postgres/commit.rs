//! A group of commits inside one transaction: lock and read, decide in memory, write, lock the head last, note.
//!
//! Three exchanges with the server, whatever the group's size; only the third, which holds the head, keeps other nodes
//! waiting, and it ends with `COMMIT`.

use std::collections::BTreeSet;
use std::future::Future;

use keywright_model::change::{Batch, Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use tokio::time::{Instant, timeout_at};

use super::audit_log::{AuditLog, Ends, Proof, ask_ends};
use super::error::{Failure, Refusal, lost};
use super::link::{Answer, Ask, Link};
use super::state::{self, Draft, State};
use super::value::{Id, count, has_nul, owned, sealed_blob};
use super::write_nouns::{self, Meaning, Obstacle, Op, taken, unheld};
use crate::audit::entry::{Spelled, feed_text, spell_ahead};
use crate::writing::rank;
use crate::{AuditContext, Commit, CommitError, Expect, IdempotentWrite, StoreError, WrappedKey};

/// How a group's transaction begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    /// It is the group's own: begun, told to the other nodes and committed with it.
    Own(Bounds),
    /// The caller has begun it and commits it.
    Callers,
}

/// Until when a group's transaction is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Until `COMMIT` is sent. What is given up before was not written, and never will be.
    pub(super) prepared: Instant,
    /// Until it is answered.
    pub(super) committed: Instant,
}

impl Transaction {
    /// Waits for a part of it until a moment that its bounds name.
    async fn within<T>(
        self,
        until: fn(Bounds) -> Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self {
            Self::Callers => work.await,
            Self::Own(bounds) => match timeout_at(until(bounds), work).await {
                Ok(done) => done,
                Err(_) => Err(lost("PostgreSQL did not answer in time")),
            },
        }
    }
}

/// A commit that will be part of the group.
pub(super) struct Planned {
    pub(super) context: AuditContext,
    pub(super) changes: Vec<Change>,
    pub(super) revision: Revision,
    /// The nouns of its changes, spelled before the head is locked.
    pub(super) spelled: Vec<Option<Spelled>>,
    /// Those of its entries, for the feed.
    pub(super) nouns: Vec<Option<String>>,
    ops: Vec<Op>,
    scope: Option<[u8; 32]>,
}

/// What became of a group.
pub(super) enum Written {
    /// Each commit's batch, or why it was refused, in their order.
    Done(Vec<Result<Batch, CommitError>>),
    /// The server refused this commit, so none was written. By itself it says why.
    Spoiled(usize, CommitError),
}

/// Why a group was not written, or is not known to be.
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// What tells whether it was, once `COMMIT` had been sent, and what it then came to.
    pub(super) doubt: Option<(Proof, Vec<Result<Batch, CommitError>>)>,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, doubt: None }
    }
}

/// Writes a group. On [`Written::Spoiled`] and on a failure the transaction must be rolled back, if the link still lives.
pub(super) async fn write(
    link: &Link,
    log: &AuditLog,
    commits: &[&Commit],
    transaction: Transaction,
) -> Result<Written, Broken> {
    let prepared = transaction.within(|bounds| bounds.prepared, prepare(link, commits, transaction)).await?;
    let (mut planned, refused, mut ends) = match prepared {
        Prepared::Settled(written) => return Ok(written),
        Prepared::Ready(planned, refused, ends) => (planned, refused, ends),
    };
    let entries = ends.link(log, &mut planned).map_err(Failure::Damaged)?;
    let proof = entries.proof();
    let mut asks = vec![entries.store()];
    store_feed(&mut asks, &planned).map_err(Failure::Damaged)?;
    ends.store(&mut asks, log);
    if matches!(transaction, Transaction::Own(_)) {
        if planned.iter().any(|commit| !commit.changes.is_empty()) {
            let sql = "SELECT pg_notify('keywright_rev', $1::bigint::text)";
            asks.push(Ask::rows(sql, owned![count(ends.revision.0)]));
        }
        asks.push(Ask::run("COMMIT"));
    }
    finish(link, &asks, transaction, proof, move || put_together(commits.len(), planned, refused)).await
}

/// What a group is before the last exchange.
enum Prepared {
    /// There is nothing to commit.
    Settled(Written),
    /// What is written, what was refused, and the ends of the chains, locked.
    Ready(Vec<Planned>, Vec<(usize, CommitError)>, Ends),
}

/// Locks, reads, decides and writes the rows.
async fn prepare(link: &Link, commits: &[&Commit], transaction: Transaction) -> Result<Prepared, Failure> {
    let own = matches!(transaction, Transaction::Own(_));
    let mut state = state::load(link, commits, own).await?;
    let plans = plan_all(link, &mut state, commits).await?;
    let (mut planned, refused): (Vec<Planned>, Vec<(usize, CommitError)>) = split(plans);
    if planned.is_empty() {
        if own {
            link.run("ROLLBACK").await?;
        }
        return Ok(Prepared::Settled(Written::Done(put_together(commits.len(), Vec::new(), refused))));
    }
    let places: Vec<usize> =
        (0..commits.len()).filter(|at| !refused.iter().any(|(other, _)| other == at)).collect();
    match send(link, &state, &mut planned).await? {
        Sent::Through(ends) => Ok(Prepared::Ready(planned, refused, ends)),
        Sent::Refused(at, why) => {
            Ok(Prepared::Settled(Written::Spoiled(places.get(at).copied().unwrap_or(0), why)))
        }
    }
}

/// Sends the last statements. Everything in them but `COMMIT` can only fail with the transaction.
async fn finish(
    link: &Link,
    asks: &[Ask],
    transaction: Transaction,
    proof: Option<Proof>,
    outcome: impl FnOnce() -> Vec<Result<Batch, CommitError>>,
) -> Result<Written, Broken> {
    let warnings = link.warnings();
    let answers = transaction.within(|bounds| bounds.committed, link.all(asks)).await;
    if transaction == Transaction::Callers {
        answers?;
        return Ok(Written::Done(outcome()));
    }
    match link.judge_commit(warnings, answers) {
        Ok(_) => Ok(Written::Done(outcome())),
        Err(failure @ Failure::Doubtful(_)) => {
            Err(Broken { failure, doubt: proof.map(|proof| (proof, outcome())) })
        }
        Err(failure) => Err(failure.into()),
    }
}

type Plans = Vec<Result<Planned, CommitError>>;

fn split(plans: Plans) -> (Vec<Planned>, Vec<(usize, CommitError)>) {
    let (mut planned, mut refused) = (Vec::new(), Vec::new());
    for (at, plan) in plans.into_iter().enumerate() {
        match plan {
            Ok(plan) => planned.push(plan),
            Err(error) => refused.push((at, error)),
        }
    }
    (planned, refused)
}

fn put_together(
    count: usize,
    planned: Vec<Planned>,
    refused: Vec<(usize, CommitError)>,
) -> Vec<Result<Batch, CommitError>> {
    let mut planned = planned.into_iter();
    let mut refused = refused.into_iter().peekable();
    let outcome = |at| match refused.next_if(|(other, _)| *other == at) {
        Some((_, error)) => Some(Err(error)),
        None => planned.next().map(|commit| {
            Ok(Batch { revision: commit.revision, at: commit.context.at, changes: commit.changes })
        }),
    };
    (0..count).filter_map(outcome).collect()
}

/// Decides on every commit in memory, in their order.
async fn plan_all(link: &Link, state: &mut State, commits: &[&Commit]) -> Result<Plans, Failure> {
    let before = state.clone();
    let mut wanted = Vec::new();
    loop {
        let known = wanted.len();
        let mut plans = Vec::with_capacity(commits.len());
        for commit in commits {
            let mut draft = state.draft();
            match plan(&mut draft, commit) {
                Ok(planned) => {
                    let own = draft.finish();
                    state.absorb(own);
                    plans.push(Ok(planned));
                }
                Err(Obstacle::Refused(error)) => plans.push(Err(error)),
                Err(Obstacle::Wants(series)) => wanted.push(series),
            }
        }
        if wanted.len() == known {
            return Ok(plans);
        }
        // With the numbers at hand everything is decided anew.
        state.clone_from(&before);
        state.load_counters(link, wanted.clone()).await?;
    }
}

fn plan(draft: &mut Draft<'_>, commit: &Commit) -> Result<Planned, Obstacle> {
    let mut changes = commit.changes.clone();
    let mut ops = Vec::new();
    if let Some(call) = &commit.idempotency {
        remember(draft, commit, call, &mut ops)?;
    }
    for expectation in &commit.expect {
        test(draft, *expectation)?;
    }
    if commit.audit.request_id.as_deref().is_some_and(has_nul) {
        return Err(unheld().into());
    }
    let mut order: Vec<&mut Change> = changes.iter_mut().collect();
    order.sort_by_key(|change| rank(change));
    for change in order {
        write_nouns::write(draft, change, &mut ops)?;
    }
    ops.extend(commit.wrapped_keys.iter().map(wrapped_op));
    let spelled = spell_ahead(&changes).map_err(CommitError::from)?;
    Ok(Planned {
        context: commit.audit.clone(),
        spelled,
        nouns: Vec::new(),
        changes,
        revision: Revision::default(),
        ops,
        scope: commit.idempotency.as_ref().map(|call| call.scope),
    })
}

fn test(draft: &Draft<'_>, expectation: Expect) -> Result<(), CommitError> {
    match expectation {
        Expect::Version(noun, version) if draft.version(noun) != Some(version) => {
            Err(CommitError::Conflict(noun))
        }
        Expect::Absent(noun) if draft.exists(noun) => Err(CommitError::Conflict(noun)),
        Expect::Unused(noun) if draft.in_use(noun) => Err(CommitError::InUse(noun)),
        Expect::Owns(owner, keys) if draft.owned(owner) != Some(keys) => {
            Err(CommitError::Conflict(NounRef::Principal(owner)))
        }
        Expect::Root(digest) if draft.root() != Some(digest) => Err(CommitError::RootChanged),
        Expect::Version(..) | Expect::Absent(_) | Expect::Unused(_) | Expect::Owns(..) | Expect::Root(_) => {
            Ok(())
        }
    }
}

/// Remembers a call, still without its revision. Of two nodes with the same call one waits here for the other.
fn remember(
    draft: &mut Draft<'_>,
    commit: &Commit,
    call: &IdempotentWrite,
    ops: &mut Vec<Op>,
) -> Result<(), CommitError> {
    let now = commit.audit.at.unix_ms();
    if draft.call(&call.scope).is_some_and(|until| until > now) {
        return Err(CommitError::Repeated);
    }
    draft.set_call(call.scope, call.until.unix_ms());
    let sql = "INSERT INTO idempotency AS known (scope, request, revision, changed, subject, secret_sealed, secret_until, \
               until) VALUES ($1, $2, 0, $3, $4, $5, $6, $7) ON CONFLICT (scope) DO UPDATE SET \
               request = excluded.request, revision = 0, changed = excluded.changed, subject = excluded.subject, \
               secret_sealed = excluded.secret_sealed, secret_until = excluded.secret_until, until = excluded.until \
               WHERE known.until <= $8";
    let params = owned![
        call.scope.to_vec(),
        call.request.to_vec(),
        !commit.changes.is_empty(),
        commit.audit.subject.to_string(),
        call.secret.as_ref().map(sealed_blob),
        call.secret_until.unix_ms(),
        call.until.unix_ms(),
        now,
    ];
    ops.push(Op { sql, params, meaning: Meaning::Remember });
    Ok(())
}

/// Adds a key to the keyring. One that is there already refuses the commit: overwriting it would lose what it sealed.
fn wrapped_op(key: &WrappedKey) -> Op {
    let sql = "INSERT INTO keyring (purpose, version, wrapped) VALUES ($1, $2, $3)";
    let version = i32::try_from(key.version).unwrap_or(i32::MAX);
    Op::plain(sql, owned![key.purpose.clone(), version, sealed_blob(&key.wrapped)])
}

/// What came of a group's statements.
enum Sent {
    /// All were taken, and the head is locked.
    Through(Ends),
    /// One of this commit's was refused.
    Refused(usize, CommitError),
}

/// Sends what all commits write, the series of numbers, and the lock of the head behind them.
async fn send(link: &Link, state: &State, planned: &mut [Planned]) -> Result<Sent, Failure> {
    let mut asks = Vec::new();
    let mut meanings = Vec::new();
    for (at, commit) in planned.iter_mut().enumerate() {
        for op in std::mem::take(&mut commit.ops) {
            meanings.push((at, op.meaning));
            asks.push(Ask::count(op.sql, op.params));
        }
    }
    let ops = asks.len();
    let counters = state.counters();
    if !counters.is_empty() {
        let orgs: Vec<Id> = counters.keys().map(|(org, _)| Id(org.bits())).collect();
        let names: Vec<&'static str> = counters.keys().map(|(_, name)| *name).collect();
        let last: Vec<i64> = counters.values().copied().map(count).collect();
        let sql = "UPDATE counters c SET last = given.last \
                   FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS given (org_id, name, last) \
                   WHERE c.org_id = given.org_id AND c.name = given.name";
        asks.push(Ask::count(sql, owned![orgs, names, last]));
    }
    let orgs: BTreeSet<OrgId> = planned.iter().flat_map(Planned::orgs).collect();
    let orgs: Vec<OrgId> = orgs.into_iter().collect();
    ask_ends(&mut asks, &orgs);
    let mut answers = link.answers(&asks).await?;
    let rest = answers.split_off(ops);
    for ((at, meaning), answer) in meanings.into_iter().zip(answers) {
        match answer {
            Ok(Answer::Touched(0)) if meaning == Meaning::Remember => {
                return Ok(Sent::Refused(at, CommitError::Repeated));
            }
            Ok(_) => {}
            Err(Failure::Refused(refusal)) if !refusal.is_again() && !refusal.is_read_only() => {
                return refused(meaning, refusal).map(|why| Sent::Refused(at, why));
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut rest: Vec<Answer> = rest.into_iter().collect::<Result<_, _>>()?;
    let orgs = rest.pop().map(Answer::rows).unwrap_or_default();
    let head = rest.pop().map(Answer::rows).unwrap_or_default();
    Ok(Sent::Through(Ends::read(&head, &orgs).map_err(Failure::Damaged)?))
}

impl Planned {
    /// Whose audits it has an entry in.
    fn orgs(&self) -> Vec<OrgId> {
        if self.changes.is_empty() {
            vec![self.context.org]
        } else {
            self.changes.iter().map(Change::org).collect()
        }
    }
}

/// Why the server refused a commit; a failure when it is not the commit's fault.
fn refused(meaning: Meaning, refusal: Refusal) -> Result<CommitError, Failure> {
    if refusal.is_unique() {
        return match refusal.constraint.as_deref().and_then(taken) {
            Some(word) => Ok(CommitError::Taken(word)),
            // Another node has made the very noun meanwhile: read it, and decide anew.
            None => Err(Failure::Outdated),
        };
    }
    match meaning {
        Meaning::Delete(
            noun @ (NounRef::Org(_)
            | NounRef::Keyspace(_)
            | NounRef::Principal(_)
            | NounRef::Role(_)
            | NounRef::Plan(_)
            | NounRef::Key(_)),
        ) if refusal.is_foreign_key() => Ok(CommitError::InUse(noun)),
        Meaning::Delete(_) | Meaning::Plain | Meaning::Remember => Ok(Failure::Refused(refusal).into()),
    }
}

/// Adds the statements that write the feed, and give remembered calls their revisions.
fn store_feed(asks: &mut Vec<Ask>, planned: &[Planned]) -> Result<(), StoreError> {
    let (mut revisions, mut moments, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scopes, mut called) = (Vec::new(), Vec::new());
    for commit in planned {
        if !commit.changes.is_empty() {
            revisions.push(count(commit.revision.0));
            moments.push(commit.context.at.unix_ms());
            texts.push(feed_text(&commit.changes, &commit.nouns)?);
        }
        if let Some(scope) = commit.scope {
            scopes.push(scope.to_vec());
            called.push(count(commit.revision.0));
        }
    }
    if !revisions.is_empty() {
        let sql = "INSERT INTO feed (revision, at, changes) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])";
        asks.push(Ask::count(sql, owned![revisions, moments, texts]));
    }
    if !scopes.is_empty() {
        let sql = "UPDATE idempotency i SET revision = given.revision \
                   FROM unnest($1::bytea[], $2::bigint[]) AS given (scope, revision) WHERE i.scope = given.scope";
        asks.push(Ask::count(sql, owned![scopes, called]));
    }
    Ok(())
}

/// Whether a commit must be alone in its group: what it relies on is asked of the database, which does not know what the
/// other commits of a group are about to do.
pub(super) fn is_loner(commit: &Commit) -> bool {
    let unused = commit.expect.iter().any(|expect| match expect {
        Expect::Unused(_) => true,
        Expect::Owns(owner, _) => state::brings_a_key(commit, *owner),
        Expect::Version(..) | Expect::Absent(_) | Expect::Root(_) => false,
    });
    let deletes = commit.changes.iter().any(|change| change.version().is_none());
    unused || deletes
}

/// A wrapped key that a new installation begins with.
pub(super) fn write_wrapped(key: &WrappedKey) -> Ask {
    let op = wrapped_op(key);
    Ask::count(op.sql, op.params)
}

/// A commit of a first start that was refused: it is ours, so the reason is a defect.
pub(super) fn defect(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => StoreError::Corrupt(other.to_string()),
    }
}

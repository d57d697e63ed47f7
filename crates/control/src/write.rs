//! What every write shares: decide, show or commit, wait until enforced, replay.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keywright_model::access::AccessChange;
use keywright_model::change::{Batch, Change, NounRef};
use keywright_model::document::FieldChange;
use keywright_model::id::SecretId;
use keywright_model::revision::{Incarnation, Revision, RevisionToken, Version};
use keywright_model::secret::Secret;
use keywright_model::time::Timestamp;
use keywright_model::view::Names;
use keywright_store::{AuditContext, Commit, CommitError, Expect, IdempotentWrite, Touched, WrappedKey};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Caller, Control, Error};

/// How often a use case is run again when others change the same things. Those that run again take turns, so only a first
/// attempt, or another node, can come in between.
const ATTEMPTS_MAX: usize = 32;

/// How long a write that takes nothing away waits to be enforced.
const GIVING_WAIT: Duration = Duration::from_millis(300);

/// How long a repeated call gets its answer, and how long the secret in it.
const REPLAY_SECONDS: u64 = 24 * 3_600;
const REPLAY_SECRET_SECONDS: u64 = 15 * 60;

/// What a caller asks of a write besides the write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The version that the noun must have (`If-Match`).
    pub if_match: Option<Version>,
    /// The name of the call, if it may be repeated.
    pub idempotency: Option<Idempotency>,
    /// Whether to say only what would be.
    pub dry_run: bool,
    /// How long to wait until it is enforced; `None` is the operator's `enforce_timeout`.
    pub wait: Option<Duration>,
}

/// Names a call, so that repeating it does nothing twice.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The caller's own name for the call.
    pub key: String,
    /// The method and path that it was made to.
    pub route: String,
    /// A hash over the body.
    pub request: [u8; 32],
}

/// What a write came to.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// It is committed.
    Done(Done<T>),
    /// It was a dry run.
    Planned(Plan),
}

impl<T> Answer<T> {
    /// The committed write, for wires that have no dry run.
    pub fn done(self) -> Result<Done<T>, Error> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Planned(_) => Err(Error::internal("a dry run where none was asked for")),
        }
    }

    /// The same answer about something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Done(Done { value, revision, enforced, replayed }) => {
                Answer::Done(Done { value: f(value), revision, enforced, replayed })
            }
            Self::Planned(plan) => Answer::Planned(plan),
        }
    }
}

/// A committed write.
#[derive(Clone, Debug)]
pub struct Done<T> {
    /// What it is about, after it.
    pub value: T,
    /// Its place among all writes.
    pub revision: RevisionToken,
    /// Whether every verifier answers by it.
    pub enforced: Enforced,
    /// Whether it is the answer of an earlier call again.
    pub replayed: bool,
}

/// How far a committed write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// Every verifier of the installation answers by it.
    All,
    /// Some verifier may still answer by the state before it.
    Pending {
        /// Whether it takes access away, so that the caller must know.
        takes_away: bool,
    },
}

/// What a write would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The exact difference, field by field.
    pub changes: Vec<FieldChange>,
    /// The access gained and lost.
    pub access: AccessChange,
}

/// What a use case has decided to write.
pub(crate) struct Decision {
    pub(crate) verb: &'static str,
    pub(crate) subject: NounRef,
    /// What the decision rests on, besides the caller.
    pub(crate) expect: Vec<Expect>,
    /// Empty when nothing would be different.
    pub(crate) changes: Vec<Change>,
    pub(crate) wrapped_keys: Vec<WrappedKey>,
    /// The secret that the answer carries.
    pub(crate) secret: Option<Secret>,
    pub(crate) takes_away: bool,
    /// What the answer shows besides the key, where it was read already.
    pub(crate) shown: Option<Shown>,
    /// Only filled in for a dry run.
    pub(crate) plan: Plan,
}

impl Decision {
    /// Whether a key's owner is made by the same write.
    fn makes_owner(&self) -> bool {
        let made = |change: &Change| matches!(change.noun(), NounRef::Principal(_));
        matches!(self.subject, NounRef::Key(_)) && self.changes.iter().any(made)
    }
}

/// What was written, or written once.
pub(crate) struct Outcome {
    pub(crate) subject: NounRef,
    pub(crate) changes: Vec<Change>,
    pub(crate) secret: Option<Secret>,
    pub(crate) revision: Revision,
    pub(crate) takes_away: bool,
    pub(crate) replayed: bool,
    pub(crate) shown: Option<Shown>,
}

/// What the view of a key shows besides the key.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) names: Names,
    pub(crate) last_used: BTreeMap<SecretId, Timestamp>,
}

/// The calls that are being answered by this node right now.
#[derive(Default)]
pub(crate) struct InProgress(Mutex<HashSet<[u8; 32]>>);

struct InProgressGuard<'a>(&'a InProgress, [u8; 32]);

impl InProgress {
    fn enter(&self, scope: [u8; 32]) -> Result<InProgressGuard<'_>, Error> {
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(scope);
        if entered { Ok(InProgressGuard(self, scope)) } else { Err(Error::IdempotencyInProgress) }
    }
}

impl Drop for InProgressGuard<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Control {
    /// Runs a use case: decides on what is there now, shows it (a dry run) or commits it, again if others were faster,
    /// and waits until it is enforced. `value` makes the answer of what was written.
    pub(crate) async fn write<T, Deciding, Valuing>(
        &self,
        caller: &Caller,
        options: &WriteOptions,
        decide: impl Fn(Caller) -> Deciding,
        value: impl FnOnce(Outcome) -> Valuing,
    ) -> Result<Answer<T>, Error>
    where
        Deciding: Future<Output = Result<Decision, Error>>,
        Valuing: Future<Output = Result<T, Error>>,
    {
        let scope = options.idempotency.as_ref().map(|call| idempotency_scope(caller, call));
        let _guard = match scope {
            Some(scope) if !options.dry_run => Some(self.in_progress.enter(scope)?),
            _ => None,
        };
        let mut caller = caller.clone();
        let mut turn = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt == 1 {
                turn = Some(self.contended.lock().await);
            }
            // A key that ends itself rests on nothing but its secret.
            if attempt > 0 && !caller.expect.is_empty() {
                caller = self.refreshed(&caller).await?;
            }
            if let Some(outcome) = self.replayed(scope, options).await? {
                drop(turn);
                return self.answered(outcome, options, value).await;
            }
            let decision = decide(caller.clone()).await?;
            if options.dry_run {
                return Ok(Answer::Planned(decision.plan));
            }
            let makes_owner = decision.makes_owner();
            match self.commit(&caller, decision, scope, options).await {
                Ok(outcome) => {
                    // Waiting until it is enforced is nobody else's wait.
                    drop(turn);
                    return self.answered(outcome, options, value).await;
                }
                // Another write may have made the owner: the next round finds it.
                Err(CommitError::Taken(_)) if makes_owner => {}
                // Whoever named a version is told on the next round, by `check_version`, which one it is now.
                Err(CommitError::Conflict(_) | CommitError::DanglingReference(_) | CommitError::Repeated) => {
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict)
    }

    async fn commit(
        &self,
        caller: &Caller,
        decision: Decision,
        scope: Option<[u8; 32]>,
        options: &WriteOptions,
    ) -> Result<Outcome, CommitError> {
        let Decision { verb, subject, mut expect, changes, wrapped_keys, secret, takes_away, shown, plan: _ } =
            decision;
        expect.extend(caller.expect.iter().copied());
        let now = self.clock.now();
        let idempotency = scope.zip(options.idempotency.as_ref()).map(|(scope, call)| IdempotentWrite {
            scope,
            request: call.request,
            secret: secret.as_ref().and_then(|secret| self.vault.seal_replay(&scope, secret)),
            secret_until: now.plus_seconds(REPLAY_SECRET_SECONDS),
            until: now.plus_seconds(REPLAY_SECONDS),
        });
        // A secret that is shown again changes nothing, but the audit tells of it.
        if changes.is_empty() && idempotency.is_none() && secret.is_none() {
            let revision = self.store.head().await?;
            let takes_away = false;
            return Ok(Outcome { subject, changes, secret, revision, takes_away, replayed: false, shown });
        }
        let audit = AuditContext { at: now, ..self.audit_context(caller, verb, subject) };
        let commit = Commit { expect, changes, audit, idempotency, wrapped_keys };
        let committed = self.store.commit(commit).await?;
        let Batch { revision, changes, .. } = Arc::unwrap_or_clone(committed.batch);
        Ok(Outcome { subject, changes, secret, revision, takes_away, replayed: false, shown })
    }

    /// Who does something, and through which wire, now.
    pub(crate) fn audit_context(
        &self,
        caller: &Caller,
        verb: &'static str,
        subject: NounRef,
    ) -> AuditContext {
        AuditContext {
            at: self.clock.now(),
            actor: caller.actor(),
            org: caller.org,
            wire: caller.origin.wire,
            verb,
            subject,
            address: caller.origin.address,
            request_id: caller.origin.request_id.clone(),
        }
    }

    async fn replayed(
        &self,
        scope: Option<[u8; 32]>,
        options: &WriteOptions,
    ) -> Result<Option<Outcome>, Error> {
        let Some((scope, call)) = scope.zip(options.idempotency.as_ref()).filter(|_| !options.dry_run) else {
            return Ok(None);
        };
        let Some(kept) = self.store.idempotent_answer(&scope, self.clock.now()).await? else {
            return Ok(None);
        };
        if kept.request != call.request {
            return Err(Error::IdempotencyMismatch);
        }
        let secret = kept.secret.as_ref().and_then(|sealed| self.vault.open_replay(&scope, sealed));
        // A replay repeats the wait, and says so as carefully as the strictest write.
        let outcome = Outcome {
            subject: kept.subject,
            changes: kept.changes,
            secret,
            revision: kept.revision,
            takes_away: true,
            replayed: true,
            shown: None,
        };
        Ok(Some(outcome))
    }

    async fn answered<T, Valuing: Future<Output = Result<T, Error>>>(
        &self,
        outcome: Outcome,
        options: &WriteOptions,
        value: impl FnOnce(Outcome) -> Valuing,
    ) -> Result<Answer<T>, Error> {
        let (revision, takes_away, replayed) = (outcome.revision, outcome.takes_away, outcome.replayed);
        let wait = options.wait.unwrap_or(self.settings.enforce_timeout);
        let wait = if takes_away { wait } else { wait.min(GIVING_WAIT) };
        let touched = touched(&outcome.changes);
        if takes_away {
            self.barrier.owe(revision, touched.clone(), outcome.changes.len());
        }
        let all = self.barrier.wait_for(revision, &touched, wait).await;
        if all {
            self.moments.seen(revision, self.clock.now());
        }
        let enforced = if all { Enforced::All } else { Enforced::Pending { takes_away } };
        let value = value(outcome).await?;
        Ok(Answer::Done(Done { value, revision: self.token(revision).await?, enforced, replayed }))
    }

    /// A revision as clients see it.
    pub(crate) async fn token(&self, revision: Revision) -> Result<RevisionToken, Error> {
        Ok(RevisionToken { incarnation: self.incarnation().await?, revision })
    }

    /// This life of the data: it cannot change under a running server.
    pub(crate) async fn incarnation(&self) -> Result<Incarnation, Error> {
        let read = async || Ok::<_, Error>(self.store.installation().await?.incarnation);
        self.incarnation.get_or_try_init(read).await.copied()
    }

    /// Tests `If-Match`, and that it is there where it must be.
    pub(crate) fn check_version(
        options: &WriteOptions,
        required: bool,
        current: Version,
    ) -> Result<(), Error> {
        match options.if_match {
            Some(version) if version != current => Err(Error::PreconditionFailed { current }),
            None if required => Err(Error::PreconditionRequired),
            _ => Ok(()),
        }
    }
}

/// Whose answers these changes may change.
pub(crate) fn touched(changes: &[Change]) -> Touched {
    let orgs = || Touched::Orgs(changes.iter().map(Change::org).collect());
    changes.iter().map(Change::keyspace).collect::<Option<_>>().map_or_else(orgs, Touched::Keyspaces)
}

/// A call's name belongs to its caller and its route.
fn idempotency_scope(caller: &Caller, call: &Idempotency) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&caller.actor().to_string(), &caller.org.to_string(), &call.route, &call.key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

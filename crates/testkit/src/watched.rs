//! A store that tells what it was asked, and lets a test do something just before a commit.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keywright_model::change::{Batch, NounRef};
use keywright_model::id::KeyId;
use keywright_model::key::Key;
use keywright_model::revision::Revision;
use keywright_model::time::Timestamp;
use keywright_store::audit::{AuditEntry, AuditReport};
use keywright_store::{
    AuditQuery, Commit, CommitError, Committed, IdempotentAnswer, Installation, InstallationChange, KeyQuery,
    LastUsed, Lookup, Noun, NounQuery, Page, QuotaBlock, QuotaSubject, Snapshot, Store, StoreError, Use,
    WrappedKey,
};
use tokio::sync::broadcast;

type Moment = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Stands between the use cases and their store.
pub struct Watched {
    store: Arc<dyn Store>,
    /// `None` until somebody looks: most tests do not, and benchmarks must not pay for it.
    asked: Mutex<Option<Vec<String>>>,
    before_commit: Mutex<Option<Moment>>,
}

impl Watched {
    /// Watches `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, asked: Mutex::default(), before_commit: Mutex::default() }
    }

    /// What was asked since the last time that somebody looked, nothing the first time: the methods, and which kinds of things,
    /// without identifiers.
    pub fn take_asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new()).unwrap_or_default()
    }

    /// Does something when the next commit was decided on and not yet made.
    pub fn before_next_commit(&self, moment: impl Future<Output = ()> + Send + 'static) {
        *self.before_commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(moment));
    }

    fn note<S: Into<String>>(&self, asked: impl FnOnce() -> S) -> &dyn Store {
        if let Some(noted) = self.asked.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            noted.push(asked().into());
        }
        self.store.as_ref()
    }
}

const fn kind(noun: &NounRef) -> &'static str {
    match noun {
        NounRef::Org(_) => "org",
        NounRef::Keyspace(_) => "keyspace",
        NounRef::Principal(_) => "principal",
        NounRef::Role(_) => "role",
        NounRef::Plan(_) => "plan",
        NounRef::Key(_) => "key",
    }
}

const fn by(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::KeyByDigest(_) => "key by digest",
        Lookup::KeyByAccessId(_) => "key by access id",
        Lookup::KeyByNumber(..) => "key by number",
        Lookup::KeyByExternalId(..) => "key by external id",
        Lookup::OrgByName(_) => "org by name",
        Lookup::KeyspaceByName(..) => "keyspace by name",
        Lookup::PrincipalByExternalId(..) => "principal by external id",
        Lookup::RoleByNumber(..) => "role by number",
        Lookup::RoleByName(..) => "role by name",
        Lookup::PlanByName(..) => "plan by name",
    }
}

#[async_trait]
impl Store for Watched {
    async fn installation(&self) -> Result<Installation, StoreError> {
        self.note(|| "installation").installation().await
    }

    async fn nouns(&self, refs: &[NounRef]) -> Result<Vec<Option<Noun>>, StoreError> {
        let kinds = || refs.iter().map(kind).collect::<Vec<_>>();
        self.note(|| format!("nouns {:?}", kinds())).nouns(refs).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Option<Noun>>, StoreError> {
        let kinds = || lookups.iter().map(by).collect::<Vec<_>>();
        self.note(|| format!("find {:?}", kinds())).find(lookups).await
    }

    async fn keys_page(&self, query: &KeyQuery) -> Result<Page<keywright_model::key::Key>, StoreError> {
        self.note(|| "keys_page").keys_page(query).await
    }

    async fn keys_count(&self, query: &KeyQuery) -> Result<u64, StoreError> {
        self.note(|| "keys_count").keys_count(query).await
    }

    async fn nouns_page(&self, query: &NounQuery) -> Result<Page<Noun>, StoreError> {
        self.note(|| "nouns_page").nouns_page(query).await
    }

    async fn last_used(&self, keys: &[KeyId]) -> Result<Vec<LastUsed>, StoreError> {
        self.note(|| format!("last_used {}", keys.len())).last_used(keys).await
    }

    async fn key_and_uses(&self, key: KeyId) -> Result<Option<(Arc<Key>, LastUsed)>, StoreError> {
        self.note(|| "key and uses").key_and_uses(key).await
    }

    async fn audit_page(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
        self.note(|| "audit_page").audit_page(query).await
    }

    async fn audit_verify(&self) -> Result<AuditReport, StoreError> {
        self.note(|| "audit_verify").audit_verify().await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let store = self.note(|| "commit");
        let moment = self.before_commit.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(moment) = moment {
            moment.await;
        }
        store.commit(commit).await
    }

    async fn idempotent_answer(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotentAnswer>, StoreError> {
        self.note(|| "idempotent_answer").idempotent_answer(scope, now).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        self.note(|| "head").head().await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.note(|| "snapshot").snapshot().await
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, StoreError> {
        self.note(|| "batches_after").batches_after(revision, limit).await
    }

    fn committed(&self) -> broadcast::Receiver<Option<Arc<Batch>>> {
        self.store.committed()
    }

    async fn reserve_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
        max: u64,
    ) -> Result<QuotaBlock, StoreError> {
        self.note(|| "reserve_quota").reserve_quota(subject, period_start, units, max).await
    }

    async fn return_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
    ) -> Result<(), StoreError> {
        self.note(|| "return_quota").return_quota(subject, period_start, units).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        self.note(|| "record_uses").record_uses(uses).await
    }

    async fn keyring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        self.note(|| "keyring").keyring().await
    }

    async fn reconfigure(&self, change: InstallationChange) -> Result<(), StoreError> {
        self.note(|| "reconfigure").reconfigure(change).await
    }

    async fn sweep(&self, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError> {
        self.note(|| "sweep").sweep(now, feed_before).await
    }
}

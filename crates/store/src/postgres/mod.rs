//! PostgreSQL: one database, many nodes that read and write it.
//!
//! Opening has two phases, because the key that the audit is chained under lies wrapped in the database itself:
//! [`PostgresDatabase::open`] connects and reads the keyring, and [`PostgresDatabase::start`] is given the unwrapped
//! audit key.

mod audit_log;
mod audit_page;
mod audit_rows;
mod audit_verify;
mod bookkeeping;
mod commit;
mod connect;
mod copy;
mod error;
mod failover;
mod feed;
mod hints;
mod keys_page;
mod link;
#[cfg(test)]
mod lost_tests;
mod members;
mod migrate;
mod nouns;
mod open;
mod readers;
mod rows;
mod shares;
mod signals;
mod state;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;
mod timeline;
#[cfg(test)]
mod tls_tests;
mod url;
mod value;
mod write_keys;
mod write_nouns;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use keywright_model::change::{Batch, NounRef};
use keywright_model::id::KeyId;
use keywright_model::key::Key;
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use tokio::sync::broadcast;

pub use self::copy::CopyTarget;
pub use self::failover::Failover;
pub use self::members::PostgresMembers;
pub use self::open::OpenError;
pub use self::shares::{LimitShare, LimitShares, LimitUse, PostgresShares};
pub use self::signals::Signals;
pub use self::timeline::Timeline;

use self::audit_log::AuditLog;
use self::commit::{Transaction, Written};
use self::connect::Connector;
use self::hints::{Hints, Listener};
use self::link::{Answer, Ask, Link};
use self::readers::Readers;
use self::writer::Writer;
use crate::audit::{AuditEntry, AuditKey, AuditReport, Chain};
use crate::{
    AuditQuery, Commit, CommitError, Committed, IdempotentAnswer, Installation, InstallationChange, KeyQuery,
    LastUsed, Lookup, Migrated, Noun, NounQuery, Page, QuotaBlock, QuotaSubject, Snapshot, Store, StoreError,
    Use, WrappedKey,
};

/// Who made an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// This call did.
    Made,
    /// There was one already, perhaps since a moment ago: read it.
    AlreadyThere,
}

/// A database that this process is connected to, before its audit key is known.
#[derive(Debug)]
pub struct PostgresDatabase {
    connector: Connector,
    link: Link,
}

impl PostgresDatabase {
    /// Connects to `postgres://user:password@host:port/database` and brings its schema up to this program's.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let (connector, link) = open::open(url).await?;
        Ok(Self { connector, link })
    }

    /// Only brings the schema up to this program's.
    pub async fn migrate(url: &str) -> Result<Migrated, OpenError> {
        let (_, _, migrated) = open::open_and_migrate(url).await?;
        Ok(migrated)
    }

    /// What the installation is; `None` before [`Self::initialise`].
    pub async fn installation(&self) -> Result<Option<Installation>, OpenError> {
        Ok(bookkeeping::installation(&self.link).await?)
    }

    /// The keyring, every version.
    pub async fn keyring(&self) -> Result<Vec<WrappedKey>, OpenError> {
        Ok(bookkeeping::keyring(&self.link).await?)
    }

    /// Makes a new installation with its first nouns, in one transaction: after a crash it is whole or not there. Of two
    /// first starts at once one waits, and then finds that it is there already.
    pub async fn initialise(
        &self,
        installation: &Installation,
        keyring: &[WrappedKey],
        first: &[Commit],
        audit_key: &AuditKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<FirstStart, OpenError> {
        let log = AuditLog { key: audit_key.clone(), entropy };
        let made = self.make(installation, keyring, first, &log).await;
        if !matches!(made, Ok(FirstStart::Made)) {
            self.link.run("ROLLBACK").await?;
        }
        made
    }

    async fn make(
        &self,
        installation: &Installation,
        keyring: &[WrappedKey],
        first: &[Commit],
        log: &AuditLog,
    ) -> Result<FirstStart, OpenError> {
        let link = &self.link;
        link.run("BEGIN").await?;
        link.run(migrate::LOCK_SCHEMA).await?;
        if bookkeeping::installation(link).await?.is_some() {
            return Ok(FirstStart::AlreadyThere);
        }
        if migrate::is_half_copied(link).await? {
            return Err(OpenError::HalfCopied);
        }
        bookkeeping::write_installation(link, &log.key, installation).await?;
        let head = audit_log::write_head(&log.key, Revision::default(), Chain::default());
        let asks: Vec<Ask> = keyring.iter().map(commit::write_wrapped).chain([head]).collect();
        link.all(&asks).await?;
        for one in first {
            match commit::write(link, log, &[one], Transaction::Callers).await {
                Ok(Written::Done(mut results)) => {
                    if let Some(Err(error)) = results.pop() {
                        return Err(commit::defect(error).into());
                    }
                }
                Ok(Written::Spoiled(_, error)) => return Err(commit::defect(error).into()),
                Err(broken) => return Err(broken.failure.into()),
            }
        }
        link.commit().await?;
        Ok(FirstStart::Made)
    }

    /// Starts to write, to read and to listen for other nodes.
    pub async fn start(
        self,
        audit_key: AuditKey,
        entropy: Arc<dyn Entropy>,
        signals: Option<Signals>,
    ) -> Result<Arc<PostgresStore>, OpenError> {
        if self.installation().await?.is_none() {
            return Err(OpenError::State("the database holds no installation yet"));
        }
        let Self { connector, link } = self;
        let hints = Arc::new(Hints::new(hints::head(&link).await?));
        let log = AuditLog { key: audit_key.clone(), entropy };
        let listener = Listener::start(connector.clone(), Arc::clone(&hints), signals.as_ref());
        let writer = Writer::start(connector.clone(), log, Arc::clone(&hints), signals);
        let readers = Readers::new(connector);
        Ok(Arc::new(PostgresStore { readers, writer, hints, audit_key, _listener: listener }))
    }
}

/// The store on PostgreSQL. Dropping the last handle writes what is queued and closes its connections.
#[derive(Debug)]
pub struct PostgresStore {
    readers: Readers,
    writer: Writer,
    hints: Arc<Hints>,
    audit_key: AuditKey,
    _listener: Listener,
}

impl PostgresStore {
    /// Compares the whole audit with itself, with the rows and with the feed. `progress` hears how much is done, and how
    /// much there is.
    pub async fn audit_verify_with(
        &self,
        progress: crate::audit::Progress<'_>,
    ) -> Result<AuditReport, StoreError> {
        audit_verify::verify(&self.readers, &self.audit_key, progress).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn installation(&self) -> Result<Installation, StoreError> {
        let rows = self.readers.rows(bookkeeping::ask_installation()).await?;
        let missing = || StoreError::Corrupt("the installation's row is missing".to_owned());
        bookkeeping::installation_from(rows.first().ok_or_else(missing)?)
    }

    async fn nouns(&self, refs: &[NounRef]) -> Result<Vec<Option<Noun>>, StoreError> {
        let answers = self.readers.read(refs.iter().copied().map(nouns::ask).collect()).await?;
        refs.iter()
            .zip(answers)
            .map(|(noun, answer)| nouns::noun(nouns::kind_of_ref(*noun), answer))
            .collect()
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Option<Noun>>, StoreError> {
        let answers = self.readers.read(lookups.iter().map(nouns::ask_lookup).collect()).await?;
        lookups.iter().zip(answers).map(|(one, answer)| nouns::noun(nouns::kind_of(one), answer)).collect()
    }

    async fn keys_page(&self, query: &KeyQuery) -> Result<Page<Key>, StoreError> {
        let _turn = self.readers.list().await?;
        keys_page::keys_page(&self.readers, query).await
    }

    async fn keys_count(&self, query: &KeyQuery) -> Result<u64, StoreError> {
        let _turn = self.readers.list().await?;
        keys_page::keys_count(&self.readers, &KeyQuery { after: None, ..query.clone() }).await
    }

    async fn nouns_page(&self, query: &NounQuery) -> Result<Page<Noun>, StoreError> {
        let _turn = self.readers.list().await?;
        let rows = self.readers.rows(nouns::ask_page(query)).await?;
        nouns::page(query, &rows)
    }

    async fn last_used(&self, keys: &[KeyId]) -> Result<Vec<LastUsed>, StoreError> {
        let rows = self.readers.rows(nouns::ask_last_used(keys)).await?;
        nouns::last_used(keys, &rows)
    }

    async fn key_and_uses(&self, key: KeyId) -> Result<Option<(Arc<Key>, LastUsed)>, StoreError> {
        let asks = vec![nouns::ask(NounRef::Key(key)), nouns::ask_last_used(&[key])];
        let mut answers = self.readers.read(asks).await?.into_iter();
        let found = answers.next().map(|answer| nouns::noun(nouns::Kind::Key, answer)).transpose()?.flatten();
        let Some(Noun::Key(found)) = found else { return Ok(None) };
        let rows = answers.next().map(Answer::rows).unwrap_or_default();
        Ok(Some((found, nouns::last_used(&[key], &rows)?.pop().unwrap_or_default())))
    }

    async fn audit_page(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
        let _turn = self.readers.list().await?;
        audit_page::page(&self.readers, query).await
    }

    async fn audit_verify(&self) -> Result<AuditReport, StoreError> {
        self.audit_verify_with(&mut |_, _| {}).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.writer.commit(commit).await
    }

    async fn idempotent_answer(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotentAnswer>, StoreError> {
        feed::idempotent_answer(&self.readers, scope, now).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        let rows = self.readers.rows(hints::ask_head()).await?;
        hints::head_from(&rows)
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        feed::snapshot(&self.readers).await
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, StoreError> {
        feed::batches_after(&self.readers, revision, limit).await
    }

    fn committed(&self) -> broadcast::Receiver<Option<Arc<Batch>>> {
        self.hints.subscribe()
    }

    async fn reserve_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
        max: u64,
    ) -> Result<QuotaBlock, StoreError> {
        let lent = self.readers.lend().await?;
        let block = bookkeeping::reserve(&lent, subject, period_start, units, max).await?;
        lent.give_back();
        Ok(block)
    }

    async fn return_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
    ) -> Result<(), StoreError> {
        let lent = self.readers.lend().await?;
        bookkeeping::give_back(&lent, subject, period_start, units).await?;
        lent.give_back();
        Ok(())
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let lent = self.readers.lend().await?;
        bookkeeping::write_uses(&lent, uses).await?;
        lent.give_back();
        Ok(())
    }

    async fn keyring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        let rows = self.readers.rows(bookkeeping::ask_keyring()).await?;
        rows.iter().map(bookkeeping::wrapped_from).collect()
    }

    async fn reconfigure(&self, change: InstallationChange) -> Result<(), StoreError> {
        let lent = self.readers.lend().await?;
        bookkeeping::reconfigure(&lent, &self.audit_key, &change).await?;
        lent.give_back();
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError> {
        let lent = self.readers.lend().await?;
        bookkeeping::sweep(&lent, now, feed_before).await?;
        lent.give_back();
        Ok(())
    }
}

//! SQLite: one file, one thread that writes, a few connections that read.
//!
//! Opening has two phases, because the key that the audit is chained under lies wrapped in the database itself:
//! [`SqliteFile::open`] takes the data directory and reads the keyring, and [`SqliteFile::start`] is given the
//! unwrapped audit key.

mod audit_log;
mod audit_page;
mod audit_rows;
mod audit_subjects;
mod audit_verify;
mod backup;
mod bookkeeping;
mod commit;
mod copy;
mod feed;
#[cfg(test)]
mod file_tests;
mod kept;
mod keys_page;
mod members;
mod migrate;
mod nouns;
mod open;
#[cfg(test)]
mod random_tests;
mod readers;
mod restore;
mod rows;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;
mod value;
mod write_keys;
mod write_nouns;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use keywright_model::change::{Batch, NounRef};
use keywright_model::id::KeyId;
use keywright_model::key::Key;
use keywright_model::revision::{Incarnation, Revision};
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::broadcast;

pub use self::backup::{BackupError, Manifest, Progress};
pub use self::members::SqliteMembers;
pub use self::open::{DATABASE, LOCK, OpenError};
pub use self::restore::{Ended, Restore, Restored, Revival, Revivals, restore, restore_check};

use self::audit_log::AuditLog;
use self::bookkeeping::{Chore, Reservation};
use self::commit::{SpelledCommit, Tip};
use self::kept::Kept;
use self::readers::Readers;
use self::writer::{Job, Writer};
use crate::audit::{AuditEntry, AuditKey, AuditReport, Chain};
use crate::{
    AuditQuery, Commit, CommitError, Committed, IdempotentAnswer, Installation, InstallationChange, KeyQuery,
    LastUsed, Lookup, Migrated, Noun, NounQuery, Page, QuotaBlock, QuotaSubject, Snapshot, Store, StoreError,
    Use, WrappedKey,
};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        match &error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => Self::Corrupt(error.to_string()),
            _ => match error.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation,
                ) => Self::Corrupt(error.to_string()),
                _ => Self::Unavailable(Box::new(error)),
            },
        }
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        write_nouns::taken(&error).map_or_else(|| Self::Store(error.into()), Self::Taken)
    }
}

/// A data directory that this process has taken, before its audit key is known.
#[derive(Debug)]
pub struct SqliteFile {
    path: PathBuf,
    connection: Connection,
    lock: open::DirectoryLock,
}

impl SqliteFile {
    /// Takes a data directory, making it if it is not there, and brings its database up to this program's schema.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Ok(Self::open_and_migrate(directory)?.0)
    }

    /// The same, for one that is there, and says from which step of the schema to which it was brought.
    pub fn migrate(directory: &Path) -> Result<Migrated, OpenError> {
        if !directory.join(DATABASE).exists() {
            return Err(OpenError::Missing(directory.to_owned()));
        }
        Ok(Self::open_and_migrate(directory)?.1)
    }

    fn open_and_migrate(directory: &Path) -> Result<(Self, Migrated), OpenError> {
        let lock = open::lock_directory(directory)?;
        let path = directory.join(DATABASE);
        let mut connection = open::connect_to_write(&path)?;
        let migrated = migrate::migrate(&mut connection)?;
        Ok((Self { path, connection, lock }, migrated))
    }

    /// Takes a data directory that is there.
    pub fn open_existing(directory: &Path) -> Result<Self, OpenError> {
        if directory.join(DATABASE).exists() {
            Self::open(directory)
        } else {
            Err(OpenError::Missing(directory.to_owned()))
        }
    }

    /// What the installation is; `None` before [`Self::initialise`].
    pub fn installation(&self) -> Result<Option<Installation>, OpenError> {
        Ok(bookkeeping::installation(&self.connection)?)
    }

    /// The keyring, every version.
    pub fn keyring(&self) -> Result<Vec<WrappedKey>, OpenError> {
        Ok(bookkeeping::keyring(&self.connection)?)
    }

    /// Makes a new installation with its first nouns, in one transaction: after a crash it is whole or not there.
    pub fn initialise(
        &mut self,
        installation: &Installation,
        keyring: &[WrappedKey],
        first: Vec<Commit>,
        audit_key: &AuditKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(), OpenError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if bookkeeping::installation(&transaction)?.is_some() {
            return Err(OpenError::State("the data directory holds an installation already"));
        }
        bookkeeping::write_installation(&transaction, audit_key, installation)?;
        commit::write_wrapped(&transaction, keyring).map_err(refused)?;
        audit_log::write_head(&transaction, audit_key, Revision::default(), Chain::default())?;
        let mut tip = Tip::new(AuditLog::new(audit_key.clone(), entropy), Arc::default());
        for commit in first {
            commit::apply(&transaction, &mut tip, SpelledCommit::new(commit)?).map_err(refused)?;
        }
        tip.audit.store(&transaction, tip.revision)?;
        transaction.commit()?;
        Ok(())
    }

    /// Starts the writer and the readers.
    pub fn start(
        self,
        audit_key: AuditKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<SqliteStore>, OpenError> {
        if bookkeeping::installation(&self.connection)?.is_none() {
            return Err(OpenError::State("the data directory holds no installation yet"));
        }
        let readers = Readers::open(&self.path)?;
        let kept = Arc::new(Kept::default());
        let tip = Tip::new(AuditLog::new(audit_key.clone(), entropy), Arc::clone(&kept));
        let writer = Writer::start(self.connection, self.lock, audit_key.clone(), tip)?;
        Ok(Arc::new(SqliteStore { readers, writer, kept, audit_key, path: self.path }))
    }
}

fn refused(error: CommitError) -> OpenError {
    match error {
        CommitError::Store(error) => OpenError::Store(error),
        other => OpenError::Store(StoreError::Corrupt(other.to_string())),
    }
}

/// A database that is only read, without its lock: for a backup, the audit and `doctor` while a server may be running.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    /// Opens the database of a data directory.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_file(&directory.join(DATABASE))
    }

    /// Opens a database file, such as a backup's.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        let connection = open::connect_to_read(path)?;
        migrate::check(&connection)?;
        Ok(Self { connection })
    }

    /// What the installation is, if it is one.
    pub fn installation(&self) -> Result<Option<Installation>, StoreError> {
        bookkeeping::installation(&self.connection)
    }

    /// The keyring, every version.
    pub fn keyring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        bookkeeping::keyring(&self.connection)
    }

    /// Compares the whole audit with itself, with the rows and with the feed. `progress` hears of every thousandth
    /// entry or row.
    pub fn audit_verify(&self, key: &AuditKey, progress: Progress<'_>) -> Result<AuditReport, StoreError> {
        readers::in_snapshot(&self.connection, |connection| audit_verify::verify(connection, key, progress))
    }

    /// Copies the database, as it is at one moment, into a new directory, with a manifest. A server may go on writing.
    pub fn backup(
        &self,
        destination: &Path,
        created_at: Timestamp,
        progress: Progress<'_>,
    ) -> Result<Manifest, BackupError> {
        backup::backup(&self.connection, destination, created_at, progress)
    }
}

/// The store on SQLite. Dropping the last handle writes what is queued and lets go of the data directory.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Readers,
    writer: Writer,
    kept: Arc<Kept>,
    audit_key: AuditKey,
    path: PathBuf,
}

impl SqliteStore {
    /// Copies the database, as it is at one moment, into a new directory, with a manifest.
    pub async fn backup(&self, destination: PathBuf, created_at: Timestamp) -> Result<Manifest, BackupError> {
        let path = self.path.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let reader = SqliteReader::open_file(&path).map_err(BackupError::Open)?;
            reader.backup(&destination, created_at, &mut |_, _| {})
        });
        copied.await.map_err(|error| StoreError::Unavailable(Box::new(error)))?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn installation(&self) -> Result<Installation, StoreError> {
        if let Some(kept) = self.kept.installation() {
            return Ok(kept);
        }
        let found = self.readers.few(1, bookkeeping::installation).await?;
        found.ok_or_else(|| StoreError::Corrupt("the installation's row is missing".to_owned()))
    }

    async fn nouns(&self, refs: &[NounRef]) -> Result<Vec<Option<Noun>>, StoreError> {
        if let Some(kept) = self.kept.nouns(refs) {
            return Ok(kept);
        }
        let (rows, refs) = (refs.len(), refs.to_vec());
        let read =
            move |connection: &Connection| refs.iter().map(|noun| nouns::noun(connection, *noun)).collect();
        self.readers.few(rows, read).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Option<Noun>>, StoreError> {
        if let Some(kept) = self.kept.find(lookups) {
            return Ok(kept);
        }
        let (asked, wanted) = (self.kept.asked_for_keys(), lookups.to_vec());
        let read =
            move |connection: &Connection| wanted.iter().map(|one| nouns::find(connection, one)).collect();
        let found: Vec<Option<Noun>> = self.readers.few(lookups.len(), read).await?;
        if let ([by @ (Lookup::KeyByDigest(_) | Lookup::KeyByAccessId(_))], [Some(Noun::Key(key))]) =
            (lookups, &found[..])
        {
            self.kept.note_caller(asked, by, key);
        }
        Ok(found)
    }

    async fn keys_page(&self, query: &KeyQuery) -> Result<Page<Key>, StoreError> {
        let query = query.clone();
        self.readers.list(move |connection| keys_page::keys_page(connection, &query)).await
    }

    async fn keys_count(&self, query: &KeyQuery) -> Result<u64, StoreError> {
        let query = KeyQuery { after: None, ..query.clone() };
        self.readers.list(move |connection| keys_page::keys_count(connection, &query)).await
    }

    async fn nouns_page(&self, query: &NounQuery) -> Result<Page<Noun>, StoreError> {
        let query = query.clone();
        self.readers.list(move |connection| nouns::page(connection, &query)).await
    }

    async fn last_used(&self, keys: &[KeyId]) -> Result<Vec<LastUsed>, StoreError> {
        let known = if let [key] = keys { Some((*key, self.kept.key_and_uses(*key))) } else { None };
        if let Some((_, Ok((_, uses)))) = known {
            return Ok(vec![uses]);
        }
        let (rows, keys) = (keys.len(), keys.to_vec());
        let read = move |connection: &Connection| {
            keys.iter().map(|key| nouns::last_used(connection, *key)).collect()
        };
        let found: Vec<LastUsed> = self.readers.few(rows, read).await?;
        if let (Some((key, Err(asked))), [uses]) = (known, &found[..]) {
            self.kept.note_uses(asked, key, uses);
        }
        Ok(found)
    }

    async fn key_and_uses(&self, key: KeyId) -> Result<Option<(Arc<Key>, LastUsed)>, StoreError> {
        let asked = match self.kept.key_and_uses(key) {
            Ok((key, uses)) => return Ok(Some((key, uses))),
            Err(asked) => asked,
        };
        let found = self.readers.few(1, move |connection| nouns::key_and_uses(connection, key)).await?;
        if let Some((key, uses)) = &found {
            self.kept.note_uses(asked, key.id, uses);
        }
        Ok(found)
    }

    async fn audit_page(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
        let query = query.clone();
        self.readers.list(move |connection| audit_page::page(connection, &query)).await
    }

    async fn audit_verify(&self) -> Result<AuditReport, StoreError> {
        let key = self.audit_key.clone();
        let verify = move |connection: &Connection| audit_verify::verify(connection, &key, &mut |_, _| {});
        self.readers.apart(verify).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let commit = Box::new(SpelledCommit::new(commit)?);
        self.writer.ask(|answer| Job::Commit(commit, answer)).await
    }

    async fn idempotent_answer(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotentAnswer>, StoreError> {
        let scope = *scope;
        self.readers.few(1, move |connection| feed::idempotent_answer(connection, &scope, now)).await
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        Ok(self.writer.head())
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.readers.apart(feed::snapshot).await
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, StoreError> {
        self.readers.snapshot(move |connection| feed::batches_after(connection, revision, limit)).await
    }

    fn committed(&self) -> broadcast::Receiver<Option<Arc<Batch>>> {
        self.writer.hints()
    }

    async fn reserve_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
        max: u64,
    ) -> Result<QuotaBlock, StoreError> {
        let wanted = Reservation { subject, period_start, units, max };
        self.writer.ask(|answer| Job::Reserve(wanted, answer)).await
    }

    async fn return_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
    ) -> Result<(), StoreError> {
        self.chore(Chore::Return { subject, period_start, units }).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        if uses.is_empty() { Ok(()) } else { self.chore(Chore::Uses(uses.to_vec())).await }
    }

    async fn keyring(&self) -> Result<Vec<WrappedKey>, StoreError> {
        self.readers.read(bookkeeping::keyring).await
    }

    async fn reconfigure(&self, change: InstallationChange) -> Result<(), StoreError> {
        self.chore(Chore::Reconfigure(change)).await
    }

    async fn sweep(&self, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError> {
        self.chore(Chore::Sweep { now, feed_before }).await
    }
}

impl SqliteStore {
    async fn chore(&self, chore: Chore) -> Result<(), StoreError> {
        self.writer.ask(|answer| Job::Chore(chore, answer)).await
    }
}

/// Gives a database another life. Only [`restore()`] does.
fn set_incarnation(connection: &Connection, incarnation: Incarnation) -> Result<(), StoreError> {
    let bits = i64::from_ne_bytes(incarnation.0.to_ne_bytes());
    connection.execute("UPDATE installation SET incarnation = ?1", [bits])?;
    Ok(())
}

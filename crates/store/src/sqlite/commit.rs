//! One commit inside the group's transaction: test, write, note, take the revision last.

use std::collections::HashSet;
use std::sync::Arc;

use keywright_model::change::{Batch, Change, NounRef};
use keywright_model::id::KeyId;
use keywright_model::key::Key;
use keywright_model::revision::{Revision, Version};
use rusqlite::Connection;

use super::audit_log::{AuditLog, Moved};
use super::bookkeeping;
use super::kept::{Kept, NotKept, Touched};
use super::nouns::first;
use super::value::{column, count, id, noun_bits, sealed_blob, table, uncount};
use super::write_keys::StoredKeys;
use super::write_nouns::{self, exists, in_use};
use crate::audit::entry::{Spelled, feed_text, spell_ahead};
use crate::{AuditContext, Commit, CommitError, Committed, Expect, IdempotentWrite, StoreError, WrappedKey};

/// What the writer knows between commits: the newest revision of the group and the ends of the audit's chains.
pub(super) struct Tip {
    /// The newest revision, of commits that are not durable yet too.
    pub(super) revision: Revision,
    /// The audit's writer.
    pub(super) audit: AuditLog,
    /// The nouns that stay in memory, as the last durable group left them.
    pub(super) kept: Arc<Kept>,
    /// What the open group has changed, with the versions since.
    pub(super) touched: Touched,
}

impl Tip {
    /// Nothing read yet.
    pub(super) fn new(audit: AuditLog, kept: Arc<Kept>) -> Self {
        Self { revision: Revision::default(), audit, kept, touched: Touched::default() }
    }

    /// A noun's version; `None` when it is not there.
    fn version(&self, noun: NounRef) -> Result<Option<Version>, NotKept> {
        self.touched.nouns.get(&noun).map_or_else(|| self.kept.version(noun), |version| Ok(*version))
    }

    /// A key as it is stored, when that is known without asking the database.
    pub(super) fn stored_key(&self, key: KeyId) -> Option<Arc<Key>> {
        let changed = self.touched.nouns.contains_key(&NounRef::Key(key));
        if changed { None } else { self.kept.key(key) }
    }
}

/// A commit whose nouns are spelled already, by whoever asks for it: there is one writer, and many who ask.
pub(super) struct SpelledCommit {
    commit: Commit,
    nouns: Vec<Option<Spelled>>,
}

impl SpelledCommit {
    pub(super) fn new(commit: Commit) -> Result<Self, StoreError> {
        let nouns = spell_ahead(&commit.changes)?;
        Ok(Self { commit, nouns })
    }
}

/// Makes a commit part of the group's transaction, whole or not at all.
pub(super) fn apply(
    connection: &Connection,
    tip: &mut Tip,
    commit: SpelledCommit,
) -> Result<Committed, CommitError> {
    connection.prepare_cached("SAVEPOINT one_commit")?.execute([])?;
    match write(connection, tip, commit) {
        Ok((batch, moved)) => {
            connection.prepare_cached("RELEASE one_commit")?.execute([])?;
            tip.audit.advance(moved);
            tip.revision = batch.revision;
            let changed = batch.changes.iter().map(|change| (change.noun(), change.version()));
            tip.touched.nouns.extend(changed);
            Ok(Committed { batch: Arc::new(batch) })
        }
        Err(error) => {
            // SQLite itself takes everything back when the disk is full: then there is no savepoint any more.
            if !connection.is_autocommit() {
                connection.prepare_cached("ROLLBACK TO one_commit")?.execute([])?;
                connection.prepare_cached("RELEASE one_commit")?.execute([])?;
            }
            Err(error)
        }
    }
}

fn write(connection: &Connection, tip: &Tip, spelled: SpelledCommit) -> Result<(Batch, Moved), CommitError> {
    let SpelledCommit { commit, nouns } = spelled;
    let Commit { expect, mut changes, audit: context, idempotency, wrapped_keys } = commit;
    if let Some(call) = &idempotency {
        refuse_repeated(connection, call, &context)?;
    }
    refuse_twice(&changes)?;
    let mut stored = StoredKeys::default();
    for expectation in expect {
        match expectation {
            // Its row is read whole, since it is about to be written.
            Expect::Version(NounRef::Key(key), version) if is_written(&changes, key) => {
                if stored.read(connection, tip, key)? != Some(version) {
                    return Err(CommitError::Conflict(NounRef::Key(key)));
                }
            }
            other => test(connection, tip, other)?,
        }
    }
    let mut order: Vec<&mut Change> = changes.iter_mut().collect();
    order.sort_by_key(|change| write_nouns::rank(change));
    for change in order {
        write_nouns::write(connection, tip, change, &mut stored)?;
    }
    write_wrapped(connection, &wrapped_keys)?;
    let revision = if changes.is_empty() { tip.revision } else { tip.revision.next() };
    let mut moved = tip.audit.append(connection, &context, revision, &changes, nouns)?;
    if let Some(call) = &idempotency {
        remember(connection, call, revision, &changes, &context)?;
    }
    if !changes.is_empty() {
        let mut statement =
            connection.prepare_cached("INSERT INTO feed (revision, at, changes) VALUES (?1, ?2, ?3)")?;
        let text = feed_text(&changes, &std::mem::take(&mut moved.nouns))?;
        statement.execute((count(revision.0), context.at.unix_ms(), text))?;
    }
    Ok((Batch { revision, at: context.at, changes }, moved))
}

fn is_written(changes: &[Change], key: KeyId) -> bool {
    changes.iter().any(|change| matches!(change, Change::KeyChanged(written) if written.id == key))
}

fn test(connection: &Connection, tip: &Tip, expectation: Expect) -> Result<(), CommitError> {
    match expectation {
        Expect::Version(noun, version) => {
            let stored = match tip.version(noun) {
                Ok(known) => known,
                Err(NotKept) => stored_version(connection, noun)?,
            };
            if stored == Some(version) { Ok(()) } else { Err(CommitError::Conflict(noun)) }
        }
        Expect::Absent(noun) if exists(connection, noun)? => Err(CommitError::Conflict(noun)),
        Expect::Unused(noun) if in_use(connection, noun)? => Err(CommitError::InUse(noun)),
        Expect::Absent(_) | Expect::Unused(_) => Ok(()),
        Expect::Owns(owner, keys) => {
            let sql = "SELECT COUNT(*) FROM keys WHERE owner_id = ?1 AND revoked_at IS NULL";
            let stored: Option<i64> = first(connection, sql, [id(owner.bits())], |row| column(row, 0))?;
            let same = stored.is_some_and(|stored| uncount(stored) == keys);
            if same { Ok(()) } else { Err(CommitError::Conflict(NounRef::Principal(owner))) }
        }
        Expect::Root(digest) => {
            let kept = if tip.touched.installation { None } else { tip.kept.installation() };
            let stored = match kept {
                Some(installation) => installation.root_digest,
                None => bookkeeping::installation(connection)?.and_then(|stored| stored.root_digest),
            };
            if stored == Some(digest) { Ok(()) } else { Err(CommitError::RootChanged) }
        }
    }
}

fn stored_version(connection: &Connection, noun: NounRef) -> Result<Option<Version>, StoreError> {
    let sql = format!("SELECT version FROM {} WHERE id = ?1", table(noun));
    first(connection, &sql, [id(noun_bits(noun))], |row| Ok(Version(uncount(column(row, 0)?))))
}

/// What is known of a noun is known as of before the write: a second change of it would be judged by that.
fn refuse_twice(changes: &[Change]) -> Result<(), StoreError> {
    let mut nouns = HashSet::new();
    let once = changes.len() < 2 || changes.iter().all(|change| nouns.insert(change.noun()));
    if once { Ok(()) } else { Err(StoreError::Corrupt("one write was to change a noun twice".to_owned())) }
}

fn refuse_repeated(
    connection: &Connection,
    call: &IdempotentWrite,
    context: &AuditContext,
) -> Result<(), CommitError> {
    let sql = "SELECT until FROM idempotency WHERE scope = ?1";
    let until: Option<i64> = first(connection, sql, [call.scope], |row| column(row, 0))?;
    let remembered = until.is_some_and(|until| until > context.at.unix_ms());
    if remembered { Err(CommitError::Repeated) } else { Ok(()) }
}

fn remember(
    connection: &Connection,
    call: &IdempotentWrite,
    revision: Revision,
    changes: &[Change],
    context: &AuditContext,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (scope, request, revision, changed, subject, secret_sealed, secret_until, \
         until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let secret = call.secret.as_ref().map(sealed_blob);
    statement.execute((
        call.scope,
        call.request,
        count(revision.0),
        !changes.is_empty(),
        context.subject.to_string(),
        secret,
        call.secret_until.unix_ms(),
        call.until.unix_ms(),
    ))?;
    Ok(())
}

/// Adds keys to the keyring. One that is there already refuses the commit: overwriting it would lose what it sealed.
pub(super) fn write_wrapped(connection: &Connection, keys: &[WrappedKey]) -> Result<(), CommitError> {
    for key in keys {
        let sql = "INSERT INTO keyring (purpose, version, wrapped) VALUES (?1, ?2, ?3)";
        let wrapped = sealed_blob(&key.wrapped);
        match connection.prepare_cached(sql)?.execute((&key.purpose, key.version, wrapped)) {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                return Err(CommitError::Taken("wrapped key"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

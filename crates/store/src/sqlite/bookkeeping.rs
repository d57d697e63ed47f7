//! What is written without taking a revision: quotas, uses, the installation itself, housekeeping.

use keywright_model::digest::Digest;
use keywright_model::revision::Incarnation;
use keywright_model::time::Timestamp;
use rusqlite::{Connection, params};

use super::commit::write_wrapped;
use super::members::{self, MemberChore};
use super::nouns::{all, first};
use super::value::{column, count, id, optional_time_column, sealed_from, uncount};
use crate::audit::AuditKey;
pub(super) use crate::bookkeeping::installation_mac;
use crate::bookkeeping::{QUOTA_DAYS, refuse_lost_keys, subject_bytes};
use crate::{
    CommitError, Installation, InstallationChange, QuotaBlock, QuotaSubject, StoreError, Use, WrappedKey,
};

/// How many feed entries one sweep removes at most, so that no write waits long behind it.
const SWEEP_MAX: i64 = 10_000;
/// Units wanted out of a quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) subject: QuotaSubject,
    pub(super) period_start: Timestamp,
    pub(super) units: u64,
    pub(super) max: u64,
}

/// A write that answers nothing.
#[derive(Debug)]
pub(super) enum Chore {
    /// Units that were not used.
    Return { subject: QuotaSubject, period_start: Timestamp, units: u64 },
    /// When secrets were used.
    Uses(Vec<Use>),
    /// The installation itself changes.
    Reconfigure(InstallationChange),
    /// What has run out goes.
    Sweep { now: Timestamp, feed_before: Timestamp },
    /// A follower comes, or goes on.
    Member(MemberChore),
}

/// Does a chore inside the group's transaction, whole or not at all.
pub(super) fn perform(connection: &Connection, key: &AuditKey, chore: &Chore) -> Result<(), StoreError> {
    connection.prepare_cached("SAVEPOINT one_chore")?.execute([])?;
    let done = match chore {
        Chore::Return { subject, period_start, units } => {
            give_back(connection, *subject, *period_start, *units)
        }
        Chore::Uses(uses) => write_uses(connection, uses),
        Chore::Reconfigure(change) => reconfigure(connection, key, change),
        Chore::Sweep { now, feed_before } => sweep(connection, *now, *feed_before),
        Chore::Member(chore) => members::write(connection, chore),
    };
    if !connection.is_autocommit() {
        if done.is_err() {
            connection.prepare_cached("ROLLBACK TO one_chore")?.execute([])?;
        }
        connection.prepare_cached("RELEASE one_chore")?.execute([])?;
    }
    done
}

/// Takes units out of a quota, as many as are left.
pub(super) fn reserve(connection: &Connection, wanted: &Reservation) -> Result<QuotaBlock, StoreError> {
    let subject = subject_bytes(wanted.subject);
    let start = wanted.period_start.unix_ms();
    let sql = "SELECT reserved FROM quotas WHERE subject = ?1 AND period_start = ?2";
    let before = first(connection, sql, (&subject, start), |row| column(row, 0).map(uncount))?.unwrap_or(0);
    let granted = wanted.units.min(wanted.max.saturating_sub(before));
    let reserved = before.saturating_add(granted);
    if granted > 0 {
        let sql = "INSERT INTO quotas (subject, period_start, reserved) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (subject, period_start) DO UPDATE SET reserved = excluded.reserved";
        connection.prepare_cached(sql)?.execute((&subject, start, count(reserved)))?;
    }
    Ok(QuotaBlock { granted, reserved })
}

fn give_back(
    connection: &Connection,
    subject: QuotaSubject,
    period_start: Timestamp,
    units: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE quotas SET reserved = max(0, reserved - ?3) WHERE subject = ?1 AND period_start = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute((subject_bytes(subject), period_start.unix_ms(), count(units)))?;
    Ok(())
}

fn write_uses(connection: &Connection, uses: &[Use]) -> Result<(), StoreError> {
    let sql = "UPDATE secrets SET last_used_at = ?3 WHERE key_id = ?1 AND id = ?2 \
               AND (last_used_at IS NULL OR last_used_at < ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for used in uses {
        statement.execute((id(used.key.bits()), id(used.secret.bits()), used.at.unix_ms()))?;
    }
    Ok(())
}

fn sweep(connection: &Connection, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError> {
    let now_ms = now.unix_ms();
    let run =
        |sql: &str, at: i64| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([at]));
    run("DELETE FROM idempotency WHERE until <= ?1", now_ms)?;
    run(
        "UPDATE idempotency SET secret_sealed = NULL WHERE secret_until <= ?1 AND secret_sealed IS NOT NULL",
        now_ms,
    )?;
    run(
        "DELETE FROM quotas WHERE period_start > 0 AND period_start < ?1",
        now.plus_ms(-QUOTA_DAYS * 86_400_000).unix_ms(),
    )?;
    // Only from its beginning, so that the feed never has a hole; and not what a repeated call may still be told.
    let sql = "DELETE FROM feed WHERE revision IN (SELECT revision FROM feed WHERE revision < coalesce( \
                   (SELECT revision FROM feed WHERE at >= ?1 ORDER BY revision LIMIT 1), 9223372036854775807) \
               AND revision < coalesce((SELECT min(revision) FROM idempotency WHERE changed), 9223372036854775807) \
               ORDER BY revision LIMIT ?2)";
    connection.prepare_cached(sql)?.execute((feed_before.unix_ms(), SWEEP_MAX))?;
    Ok(())
}

/// What this installation is; `None` before the first start has made it one.
pub(super) fn installation(connection: &Connection) -> Result<Option<Installation>, StoreError> {
    let sql = "SELECT incarnation, master_fingerprint, root_digest, master_exported_at FROM installation";
    first(connection, sql, [], |row| {
        Ok(Installation {
            incarnation: Incarnation(u64::from_ne_bytes(column::<i64>(row, 0)?.to_ne_bytes())),
            master_fingerprint: column(row, 1)?,
            root_digest: column::<Option<[u8; 32]>>(row, 2)?.map(Digest),
            master_exported_at: optional_time_column(row, 3)?,
        })
    })
}

/// Writes what this installation is.
pub(super) fn write_installation(
    connection: &Connection,
    key: &AuditKey,
    installation: &Installation,
) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO installation (only_row, incarnation, master_fingerprint, root_digest, \
               master_exported_at, mac) VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    // Any 64 bits are an incarnation, so they are kept as they are.
    let incarnation = i64::from_ne_bytes(installation.incarnation.0.to_ne_bytes());
    connection.prepare_cached(sql)?.execute(params![
        incarnation,
        installation.master_fingerprint,
        installation.root_digest.map(|digest| digest.0),
        installation.master_exported_at.map(Timestamp::unix_ms),
        installation_mac(key, installation),
    ])?;
    Ok(())
}

/// The keyring, every version.
pub(super) fn keyring(connection: &Connection) -> Result<Vec<WrappedKey>, StoreError> {
    all(connection, "SELECT purpose, version, wrapped FROM keyring ORDER BY purpose, version", [], |row| {
        let wrapped = sealed_from(row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?)?;
        Ok(WrappedKey { purpose: column(row, 0)?, version: column(row, 1)?, wrapped })
    })
}

fn reconfigure(
    connection: &Connection,
    key: &AuditKey,
    change: &InstallationChange,
) -> Result<(), StoreError> {
    let missing = || StoreError::Corrupt("the installation's row is missing".to_owned());
    let mut now = installation(connection)?.ok_or_else(missing)?;
    match change {
        InstallationChange::Root(digest) => now.root_digest = *digest,
        InstallationChange::MasterExported(at) => now.master_exported_at = Some(*at),
        InstallationChange::Rewrap { keyring: rewrapped, master_fingerprint } => {
            refuse_lost_keys(&keyring(connection)?, rewrapped)?;
            connection.prepare_cached("DELETE FROM keyring")?.execute([])?;
            write_wrapped(connection, rewrapped).map_err(|error| match error {
                CommitError::Store(error) => error,
                other => StoreError::Corrupt(other.to_string()),
            })?;
            now.master_fingerprint.clone_from(master_fingerprint);
            // The export that was made opens nothing any more.
            now.master_exported_at = None;
        }
    }
    write_installation(connection, key, &now)
}

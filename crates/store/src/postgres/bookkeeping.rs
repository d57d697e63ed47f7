//! What is written without taking a revision: quotas, uses, the installation itself, housekeeping.

use keywright_model::digest::Digest;
use keywright_model::revision::Incarnation;
use keywright_model::time::Timestamp;
use tokio_postgres::Row;

use super::error::Failure;
use super::link::{Answer, Ask, Link};
use super::migrate::TRY_LOCK_SWEEP;
use super::value::{
    Id, column, count, count_column, number_column, optional_link_column, optional_time_column, owned,
    sealed_blob, sealed_from,
};
use crate::audit::AuditKey;
use crate::bookkeeping::{QUOTA_DAYS, installation_mac, refuse_lost_keys, subject_bytes};
use crate::{Installation, InstallationChange, QuotaBlock, QuotaSubject, StoreError, Use, WrappedKey};

/// How many feed entries one sweep removes at most, so that no write waits long behind it.
const SWEEP_MAX: i64 = 10_000;

const INSTALLATION: &str =
    "SELECT incarnation, master_fingerprint, root_digest, master_exported_at FROM installation";
const KEYRING: &str = "SELECT purpose, version, wrapped FROM keyring ORDER BY purpose, version";

/// Takes units out of a quota, as many as are left, and makes it durable.
pub(super) async fn reserve(
    link: &Link,
    subject: QuotaSubject,
    period_start: Timestamp,
    units: u64,
    max: u64,
) -> Result<QuotaBlock, Failure> {
    let (subject, start) = (subject_bytes(subject), period_start.unix_ms());
    // A row that is not there cannot be locked.
    let make =
        "INSERT INTO quotas (subject, period_start, reserved) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
    let lock = "SELECT reserved FROM quotas WHERE subject = $1 AND period_start = $2 FOR NO KEY UPDATE";
    let asks = [
        Ask::run("BEGIN"),
        Ask::count(make, owned![subject.clone(), start]),
        Ask::rows(lock, owned![subject.clone(), start]),
    ];
    let rows = link.all(&asks).await?.pop().map(Answer::rows).unwrap_or_default();
    let before = rows.first().map(|row| count_column(row, 0)).transpose().map_err(Failure::Damaged)?;
    let before = before.unwrap_or_default();
    let granted = units.min(max.saturating_sub(before));
    let reserved = before.saturating_add(granted);
    if granted == 0 {
        link.run("ROLLBACK").await?;
    } else {
        let sql = "UPDATE quotas SET reserved = $3 WHERE subject = $1 AND period_start = $2";
        link.execute(sql, &[&subject, &start, &count(reserved)]).await?;
        link.commit().await?;
    }
    Ok(QuotaBlock { granted, reserved })
}

/// Gives units back.
pub(super) async fn give_back(
    link: &Link,
    subject: QuotaSubject,
    period_start: Timestamp,
    units: u64,
) -> Result<(), Failure> {
    let sql =
        "UPDATE quotas SET reserved = greatest(0, reserved - $3) WHERE subject = $1 AND period_start = $2";
    link.execute(sql, &[&subject_bytes(subject), &period_start.unix_ms(), &count(units)]).await?;
    Ok(())
}

/// Writes uses down, in the one order in which every node locks the rows.
pub(super) async fn write_uses(link: &Link, uses: &[Use]) -> Result<(), Failure> {
    let mut newest = std::collections::BTreeMap::new();
    for used in uses {
        let at = newest.entry((used.key.bits(), used.secret.bits())).or_insert(used.at);
        *at = used.at.max(*at);
    }
    let (mut keys, mut secrets, mut moments) = (Vec::new(), Vec::new(), Vec::new());
    for ((key, secret), at) in newest {
        keys.push(Id(key));
        secrets.push(Id(secret));
        moments.push(at.unix_ms());
    }
    let sql = "WITH given AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS given (key_id, id, at)), \
               locked AS (SELECT s.key_id, s.id, given.at FROM secrets s JOIN given ON s.key_id = given.key_id \
               AND s.id = given.id WHERE s.last_used_at IS NULL OR s.last_used_at < given.at \
               ORDER BY s.key_id, s.id FOR NO KEY UPDATE OF s) \
               UPDATE secrets s SET last_used_at = greatest(s.last_used_at, locked.at) FROM locked \
               WHERE s.key_id = locked.key_id AND s.id = locked.id";
    link.execute(sql, &[&keys, &secrets, &moments]).await?;
    Ok(())
}

/// What this installation is; `None` before the first start has made it one.
pub(super) async fn installation(link: &Link) -> Result<Option<Installation>, StoreError> {
    link.first(INSTALLATION, &[]).await?.as_ref().map(installation_from).transpose()
}

/// Asks what the installation is.
pub(super) fn ask_installation() -> Ask {
    Ask::rows(INSTALLATION, vec![])
}

/// The installation in a row.
pub(super) fn installation_from(row: &Row) -> Result<Installation, StoreError> {
    Ok(Installation {
        incarnation: Incarnation(u64::from_ne_bytes(column::<i64>(row, 0)?.to_ne_bytes())),
        master_fingerprint: column(row, 1)?,
        root_digest: optional_link_column(row, 2)?.map(Digest),
        master_exported_at: optional_time_column(row, 3)?,
    })
}

/// Writes what this installation is.
pub(super) async fn write_installation(
    link: &Link,
    key: &AuditKey,
    installation: &Installation,
) -> Result<(), Failure> {
    let sql = "INSERT INTO installation (only_row, incarnation, master_fingerprint, root_digest, master_exported_at, mac) \
               VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (only_row) DO UPDATE SET \
               incarnation = excluded.incarnation, master_fingerprint = excluded.master_fingerprint, \
               root_digest = excluded.root_digest, master_exported_at = excluded.master_exported_at, mac = excluded.mac";
    // Any 64 bits are an incarnation, so they are kept as they are.
    let incarnation = i64::from_ne_bytes(installation.incarnation.0.to_ne_bytes());
    let root = installation.root_digest.map(|digest| digest.0.to_vec());
    let exported = installation.master_exported_at.map(Timestamp::unix_ms);
    let mac = installation_mac(key, installation).to_vec();
    link.execute(sql, &[&incarnation, &installation.master_fingerprint, &root, &exported, &mac]).await?;
    Ok(())
}

/// The keyring, every version.
pub(super) async fn keyring(link: &Link) -> Result<Vec<WrappedKey>, StoreError> {
    link.query(KEYRING, &[]).await?.iter().map(wrapped_from).collect()
}

/// Asks for the keyring.
pub(super) fn ask_keyring() -> Ask {
    Ask::rows(KEYRING, vec![])
}

/// A key of the keyring in a row.
pub(super) fn wrapped_from(row: &Row) -> Result<WrappedKey, StoreError> {
    let version = number_column(row, 1)?;
    Ok(WrappedKey { purpose: column(row, 0)?, version, wrapped: sealed_from(column(row, 2)?)? })
}

/// Changes what the installation is, whole or not at all.
pub(super) async fn reconfigure(
    link: &Link,
    key: &AuditKey,
    change: &InstallationChange,
) -> Result<(), StoreError> {
    link.run("BEGIN").await?;
    link.query("SELECT 1 FROM installation FOR UPDATE", &[]).await?;
    let missing = || StoreError::Corrupt("the installation's row is missing".to_owned());
    let mut now = installation(link).await?.ok_or_else(missing)?;
    match change {
        InstallationChange::Root(digest) => now.root_digest = *digest,
        InstallationChange::MasterExported(at) => now.master_exported_at = Some(*at),
        InstallationChange::Rewrap { keyring, master_fingerprint } => {
            rewrap(link, keyring).await?;
            now.master_fingerprint.clone_from(master_fingerprint);
            // The export that was made opens nothing any more.
            now.master_exported_at = None;
        }
    }
    write_installation(link, key, &now).await?;
    link.commit().await?;
    Ok(())
}

async fn rewrap(link: &Link, rewrapped: &[WrappedKey]) -> Result<(), StoreError> {
    // No commit brings a data key of its own meanwhile.
    link.run("LOCK TABLE keyring IN EXCLUSIVE MODE").await?;
    refuse_lost_keys(&keyring(link).await?, rewrapped)?;
    link.run("DELETE FROM keyring").await?;
    let (mut purposes, mut versions, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    for key in rewrapped {
        purposes.push(key.purpose.as_str());
        versions.push(i32::try_from(key.version).unwrap_or(i32::MAX));
        wrapped.push(sealed_blob(&key.wrapped));
    }
    let sql = "INSERT INTO keyring (purpose, version, wrapped) SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[])";
    link.execute(sql, &[&purposes, &versions, &wrapped]).await?;
    Ok(())
}

/// Drops what has run out, unless another node is doing it.
pub(super) async fn sweep(link: &Link, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError> {
    link.run("BEGIN").await?;
    let row = link.first(TRY_LOCK_SWEEP, &[]).await?;
    if row.as_ref().map(|row| column(row, 0)).transpose()? != Some(true) {
        link.run("ROLLBACK").await?;
        return Ok(());
    }
    let now_ms = now.unix_ms();
    link.execute("DELETE FROM idempotency WHERE until <= $1", &[&now_ms]).await?;
    let forget =
        "UPDATE idempotency SET secret_sealed = NULL WHERE secret_until <= $1 AND secret_sealed IS NOT NULL";
    link.execute(forget, &[&now_ms]).await?;
    let finished = now.plus_ms(-QUOTA_DAYS * 86_400_000).unix_ms();
    link.execute("DELETE FROM quotas WHERE period_start > 0 AND period_start < $1", &[&finished]).await?;
    // Only from its beginning, so that the feed never has a hole; and not what a repeated call may still be told.
    let sql = "DELETE FROM feed WHERE revision IN (SELECT revision FROM feed WHERE revision < coalesce( \
                   (SELECT revision FROM feed WHERE at >= $1 ORDER BY revision LIMIT 1), 9223372036854775807) \
               AND revision < coalesce((SELECT min(revision) FROM idempotency WHERE changed), 9223372036854775807) \
               ORDER BY revision LIMIT $2)";
    link.execute(sql, &[&feed_before.unix_ms(), &SWEEP_MAX]).await?;
    link.commit().await?;
    Ok(())
}

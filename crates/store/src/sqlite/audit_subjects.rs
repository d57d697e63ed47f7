//! Which entries of the audit are about a noun: an index that many entries bring up to date at once. One that is kept with
//! each entry writes a page of its own for it, which was nearly half of what an update wrote. What is newer than the index
//! is little, and is looked through.

use rusqlite::Connection;

use super::nouns::first;
use super::value::{column, count, uncount};
use crate::StoreError;
use crate::audit::verify::Verifier;

/// How many entries the index is behind at most, and those of one group of writes.
const BEHIND_MAX: u64 = 1_024;

/// Up to which entry the index is.
pub(super) fn indexed(connection: &Connection) -> Result<u64, StoreError> {
    let seq = first(connection, "SELECT seq FROM audit_indexed", [], |row| column(row, 0).map(uncount))?;
    seq.ok_or_else(|| StoreError::Corrupt("how far the audit's index by subject is, is missing".to_owned()))
}

/// Brings the index up to the newest entry if it is far behind. Says up to which entry it is then.
pub(super) fn catch_up(connection: &Connection, indexed: u64, newest: u64) -> Result<u64, StoreError> {
    if newest.saturating_sub(indexed) < BEHIND_MAX {
        return Ok(indexed);
    }
    let sql = "INSERT INTO audit_subjects SELECT org_id, subject, number FROM audit WHERE seq > ?1 AND seq <= ?2 \
               ORDER BY org_id, subject, number";
    connection.prepare_cached(sql)?.execute((count(indexed), count(newest)))?;
    connection.prepare_cached("UPDATE audit_indexed SET seq = ?1")?.execute([count(newest)])?;
    Ok(newest)
}

/// Compares the index with the audit: who asks for a noun's entries must be shown all of them.
pub(super) fn compare(connection: &Connection, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    let number = |sql, params: &[i64]| {
        first(connection, sql, rusqlite::params_from_iter(params), |row| column::<i64>(row, 0))
    };
    // A database that is only read, such as an older backup, may not have it yet; where it was taken away lists fail.
    if number("SELECT 1 FROM sqlite_schema WHERE name = 'audit_subjects'", &[])?.is_none() {
        return Ok(());
    }
    let indexed = match indexed(connection) {
        Ok(indexed) => count(indexed),
        Err(StoreError::Corrupt(what)) => {
            verifier.find(None, "audit by subject", what);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let newest = number("SELECT coalesce(max(seq), 0) FROM audit", &[]);
    if newest?.is_some_and(|newest| newest < indexed) {
        verifier.find(None, "audit by subject", "claims entries that are not there yet");
    }
    let sql = "SELECT seq FROM audit a WHERE seq <= ?1 AND NOT EXISTS (SELECT 1 FROM audit_subjects s WHERE \
               s.org_id = a.org_id AND s.noun = a.subject AND s.number = a.number) LIMIT 1";
    if let Some(seq) = number(sql, &[indexed])? {
        verifier.find(None, "audit by subject", format!("leaves out audit row {seq}"));
    }
    let listed = number("SELECT count(*) FROM audit_subjects", &[])?;
    if listed > number("SELECT count(*) FROM audit WHERE seq <= ?1", &[indexed])? {
        verifier.find(None, "audit by subject", "names entries that are not there");
    }
    Ok(())
}

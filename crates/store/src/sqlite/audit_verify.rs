//! Reads the audit, the feed and (in `audit_rows`) every row for the audit's verification.

use keywright_model::id::OrgId;
use rusqlite::Connection;

use super::audit_log::stored_head;
use super::audit_page::{AUDIT_COLUMNS, entry_from};
use super::audit_rows;
use super::bookkeeping::installation;
use super::feed::changes_of;
use super::nouns::{all, first};
use super::value::{column, id_column, uncount};
use crate::StoreError;
use crate::audit::verify::{StoredHead, Verifier};
use crate::audit::{AuditKey, AuditReport, Chain, Link, Progress};

/// Reads everything, in the caller's read transaction, and says what Keywright did not write so.
pub(super) fn verify(
    connection: &Connection,
    key: &AuditKey,
    progress: Progress<'_>,
) -> Result<AuditReport, StoreError> {
    let (revision, head) = stored_head(connection)?;
    let keys = first(connection, "SELECT count(*) FROM keys", [], |row| column(row, 0).map(uncount))?;
    let expected = head.entries.saturating_add(keys.unwrap_or(0));
    let mut verifier = Verifier::new(key, expected, progress);
    read_entries(connection, &mut verifier)?;
    let sql = "SELECT org_id, entries, hash, mac FROM audit_heads";
    let heads = all(connection, sql, [], |row| {
        let chain = Chain { entries: uncount(column(row, 1)?), hash: column(row, 2)? };
        Ok(StoredHead { org: OrgId::from_bits(id_column(row, 0)?), chain, mac: column(row, 3)? })
    })?;
    let mac = first(connection, "SELECT mac FROM head", [], |row| column::<Link>(row, 0))?;
    verifier.take_heads(heads, revision, head, mac);
    let mut last = None;
    for revision in all(connection, "SELECT revision FROM feed ORDER BY revision", [], |row| column(row, 0))?
    {
        let revision = uncount(revision);
        verifier.take_feed_revision(last, revision);
        last = Some(revision);
    }
    verifier.end_feed(last, revision);
    let mac = first(connection, "SELECT mac FROM installation", [], |row| column::<Link>(row, 0))?;
    verifier.take_installation(installation(connection)?.as_ref(), mac);
    audit_rows::compare(connection, &mut verifier)?;
    Ok(verifier.finish())
}

fn read_entries(connection: &Connection, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut entries = statement.query([])?;
    while let Some(row) = entries.next()? {
        let entry = match entry_from(row) {
            Ok(entry) => Ok(entry),
            Err(error) => Err((column(row, 0)?, error)),
        };
        verifier.take_entry(entry.as_ref().map_err(|(seq, error)| (*seq, error)), |revision| {
            changes_of(connection, revision)
        })?;
    }
    Ok(())
}

//! Reads the audit, the feed and (in `audit_rows`) every row for the audit's verification.

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use rusqlite::{Connection, Rows};

use super::audit_log::stored_head;
use super::audit_page::{AUDIT_COLUMNS, entry_from};
use super::bookkeeping::installation;
use super::feed::changes_of;
use super::nouns::{all, first};
use super::value::{column, from_json, id_column, uncount};
use super::{audit_rows, audit_subjects};
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
    audit_subjects::compare(connection, &mut verifier)?;
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
    let mut feed = connection.prepare("SELECT revision, changes FROM feed ORDER BY revision")?;
    let mut feed = FeedInOrder { rows: feed.query([])?, ahead: None, passed: 0 };
    while let Some(row) = entries.next()? {
        let entry = match entry_from(row) {
            Ok(entry) => Ok(entry),
            Err(error) => Err((column(row, 0)?, error)),
        };
        verifier.take_entry(entry.as_ref().map_err(|(seq, error)| (*seq, error)), |revision| {
            feed.changes(connection, revision)
        })?;
    }
    Ok(())
}

/// The feed, read alongside the entries, which ask for its revisions in their order.
struct FeedInOrder<'s> {
    rows: Rows<'s>,
    /// A revision that was read and not asked for yet.
    ahead: Option<(u64, String)>,
    /// The newest revision that was read.
    passed: u64,
}

impl FeedInOrder<'_> {
    /// What one write changed; `None` when the feed has let it go.
    fn changes(
        &mut self,
        connection: &Connection,
        Revision(wanted): Revision,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        while self.passed < wanted {
            let Some(row) = self.rows.next()? else { return Ok(None) };
            let (revision, changes) = (uncount(column(row, 0)?), column(row, 1)?);
            self.passed = revision;
            self.ahead = Some((revision, changes));
        }
        match self.ahead.take_if(|(revision, _)| *revision == wanted) {
            Some((_, changes)) => from_json(&changes, "a feed entry").map(Some),
            // It is missing, or the entry that asks was moved.
            None => changes_of(connection, Revision(wanted)),
        }
    }
}

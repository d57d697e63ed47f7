//! Reads the audit, the feed and (in `audit_rows`) every row for the audit's verification: at one moment, on a connection
//! of its own, some at a time, so that what belongs to them can be looked up in between.

use std::collections::{BTreeSet, HashMap};

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use tokio_postgres::Row;

use super::audit_page::{StoredEntry, audit_columns, entry_from};
use super::audit_rows;
use super::bookkeeping::installation_from;
use super::link::{Answer, Ask, Link};
use super::readers::{ONE_MOMENT, Readers};
use super::value::{column, count, count_column, from_json, id_column, link_column};
use crate::StoreError;
use crate::audit::verify::{StoredHead, Verifier};
use crate::audit::{AuditKey, AuditReport, Chain, Progress};

/// How many rows are read at a time.
pub(super) const CHUNK: usize = 1_000;

/// Reads everything and says what Keywright did not write so.
pub(super) async fn verify(
    readers: &Readers,
    key: &AuditKey,
    progress: Progress<'_>,
) -> Result<AuditReport, StoreError> {
    let (link, _turn) = readers.apart().await?;
    let asks = [
        Ask::run(ONE_MOMENT),
        Ask::rows("SELECT revision, entries, hash, mac FROM head", vec![]),
        Ask::rows("SELECT count(*) FROM keys", vec![]),
        Ask::rows("SELECT org_id, entries, hash, mac FROM audit_heads", vec![]),
        Ask::rows("SELECT revision FROM feed ORDER BY revision", vec![]),
        Ask::rows(
            "SELECT incarnation, master_fingerprint, root_digest, master_exported_at, mac FROM installation",
            vec![],
        ),
    ];
    let mut answers = link.all(&asks).await?.into_iter().map(Answer::rows).skip(1);
    let mut next = || answers.next().unwrap_or_default();
    let (head, keys, heads, feed, installation) = (next(), next(), next(), next(), next());
    let missing = || StoreError::Corrupt("the head is missing".to_owned());
    let head = head.first().ok_or_else(missing)?;
    let revision = Revision(count_column(head, 0)?);
    let chain = Chain { entries: count_column(head, 1)?, hash: link_column(head, 2)? };
    let keys = keys.first().map_or(Ok(0), |row| count_column(row, 0))?;
    let mut verifier = Verifier::new(key, chain.entries.saturating_add(keys), progress);
    read_entries(&link, &mut verifier).await?;
    let heads = heads.iter().map(stored_head).collect::<Result<_, _>>()?;
    verifier.take_heads(heads, revision, chain, link_column(head, 3).ok());
    let mut last = None;
    for row in &feed {
        let revision = count_column(row, 0)?;
        verifier.take_feed_revision(last, revision);
        last = Some(revision);
    }
    verifier.end_feed(last, revision);
    let stored = installation.first().map(installation_from).transpose()?;
    let mac = installation.first().and_then(|row| link_column(row, 4).ok());
    verifier.take_installation(stored.as_ref(), mac);
    audit_rows::compare(&link, &mut verifier).await?;
    link.run("COMMIT").await?;
    Ok(verifier.finish())
}

fn stored_head(row: &Row) -> Result<StoredHead, StoreError> {
    let chain = Chain { entries: count_column(row, 1)?, hash: link_column(row, 2)? };
    Ok(StoredHead { org: OrgId::from_bits(id_column(row, 0)?), chain, mac: link_column(row, 3)? })
}

async fn read_entries(link: &Link, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    link.run(concat!(
        "DECLARE entries NO SCROLL CURSOR FOR SELECT ",
        audit_columns!(),
        " FROM audit ORDER BY seq"
    ))
    .await?;
    loop {
        let rows = fetch(link, "entries").await?;
        if rows.is_empty() {
            break;
        }
        let entries: Vec<_> = rows.iter().map(|row| (row, entry_from(row))).collect();
        let mut feed = feed_of(link, &entries).await?;
        for (row, entry) in entries {
            let seq: i64 = column(row, 0)?;
            let entry = entry.as_ref().map_err(|error| (seq, error));
            verifier.take_entry(entry, |revision| feed.remove(&revision.0).transpose())?;
        }
    }
    link.run("CLOSE entries").await?;
    Ok(())
}

/// The next rows of a cursor.
pub(super) async fn fetch(link: &Link, cursor: &str) -> Result<Vec<Row>, StoreError> {
    // A cursor's rows are as they are declared: without a prepared statement nothing remembers an older declaration.
    let sql = format!("FETCH {CHUNK} FROM {cursor}");
    Ok(link.all(&[Ask::once(sql, vec![])]).await?.pop().map(Answer::rows).unwrap_or_default())
}

/// What the feed has of the writes that some entries are of.
async fn feed_of(
    link: &Link,
    entries: &[(&Row, Result<StoredEntry, StoreError>)],
) -> Result<HashMap<u64, Result<Vec<Change>, StoreError>>, StoreError> {
    let revisions = entries.iter().filter_map(|(_, entry)| entry.as_ref().ok()?.sealed.revision);
    let revisions: Vec<i64> = revisions.collect::<BTreeSet<u64>>().into_iter().map(count).collect();
    let rows =
        link.query("SELECT revision, changes FROM feed WHERE revision = ANY($1)", &[&revisions]).await?;
    let mut feed = HashMap::new();
    for row in &rows {
        feed.insert(count_column(row, 0)?, from_json(column(row, 1)?, "a feed entry"));
    }
    Ok(feed)
}

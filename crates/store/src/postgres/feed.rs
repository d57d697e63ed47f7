//! What followers read: batches after a revision, and everything at one revision.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::sync::Arc;

use futures_util::StreamExt as _;
use keywright_model::change::{Batch, Change};
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::SecretMaterial;
use keywright_model::revision::Revision;
use keywright_model::time::Timestamp;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_postgres::Row;

use super::bookkeeping::{ask_installation, installation_from};
use super::hints::{ask_head, head_from};
use super::link::{Answer, Ask, Link, Param};
use super::readers::{ONE_MOMENT, Readers};
use super::rows::{Grouping, RowsOfKey, key_and_secret_columns, keys_from};
use super::value::{
    Id, column, count, count_column, from_json, link_column, noun_ref, owned, rows, sealed_from, time_column,
};
use crate::{IdempotentAnswer, Snapshot, StoreError};

/// How many keys one thread takes at a time.
const CHUNK: usize = 2_048;
/// How many threads parse at most.
const WORKERS_MAX: usize = 4;

/// The batches after a revision; `None` when the feed does not reach back that far, or never had that revision.
pub(super) async fn batches_after(
    readers: &Readers,
    after: Revision,
    limit: usize,
) -> Result<Option<Vec<Batch>>, StoreError> {
    let lent = readers.lend().await?;
    let feed = "SELECT revision, at, changes FROM feed WHERE revision > $1 ORDER BY revision LIMIT $2";
    let asks = [Ask::run(ONE_MOMENT), ask_head(), Ask::rows(feed, owned![count(after.0), rows(limit)])];
    let mut answers = lent.all(&asks).await?.into_iter().map(Answer::rows).skip(1);
    let head = head_from(&answers.next().unwrap_or_default())?;
    let batches = answers.next().unwrap_or_default().iter().map(batch).collect::<Result<_, _>>()?;
    let mut found = follow(after, head, batches, limit);
    if let Some(batches) = &mut found {
        join_material(&lent, batches).await?;
    }
    lent.run("COMMIT").await?;
    lent.give_back();
    Ok(found)
}

/// The batches, if they follow one behind the other.
fn follow(after: Revision, head: Revision, batches: Vec<Batch>, limit: usize) -> Option<Vec<Batch>> {
    if after >= head {
        return (after == head).then(Vec::new);
    }
    let mut expected = after;
    for batch in &batches {
        expected = expected.next();
        if batch.revision != expected {
            return None;
        }
    }
    (!batches.is_empty() || limit == 0).then_some(batches)
}

fn batch(row: &Row) -> Result<Batch, StoreError> {
    Ok(Batch {
        revision: Revision(count_column(row, 0)?),
        at: time_column(row, 1)?,
        changes: from_json(column(row, 2)?, "a feed entry")?,
    })
}

/// Puts what proves secrets to the keys that came without it. What was let go since stays away.
async fn join_material(link: &Link, batches: &mut [Batch]) -> Result<(), StoreError> {
    let changed = batches.iter().flat_map(|batch| &batch.changes).filter_map(|change| match change {
        Change::KeyChanged(key) => Some(key.id.bits()),
        _ => None,
    });
    let ids: Vec<Id> = changed.collect::<BTreeSet<u128>>().into_iter().map(Id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let sql = concat!(
        "SELECT ",
        key_and_secret_columns!(),
        " FROM keys k LEFT JOIN secrets s ON s.key_id = k.id WHERE k.id = ANY($1) ORDER BY k.id, s.position"
    );
    let found = link.query(sql, &[&ids]).await?;
    let mut known: HashMap<(KeyId, SecretId), Option<Arc<SecretMaterial>>> = HashMap::new();
    for key in keys_from(&found)? {
        known.extend(key.secrets.into_iter().map(|secret| ((key.id, secret.id), secret.material)));
    }
    for change in batches.iter_mut().flat_map(|batch| &mut batch.changes) {
        let Change::KeyChanged(key) = change else { continue };
        let key = Arc::make_mut(key);
        for secret in &mut key.secrets {
            secret.material = known.get(&(key.id, secret.id)).cloned().flatten();
        }
    }
    Ok(())
}

/// Everything at one revision, on a connection of its own.
pub(super) async fn snapshot(readers: &Readers) -> Result<Snapshot, StoreError> {
    let (link, _turn) = readers.apart().await?;
    let mut asks = vec![Ask::run(ONE_MOMENT), ask_installation(), ask_head()];
    asks.extend(BODIES.map(|sql| Ask::rows(sql, vec![])));
    let mut answers = link.all(&asks).await?.into_iter().map(Answer::rows).skip(1);
    let mut next = || answers.next().unwrap_or_default();
    let missing = || StoreError::Corrupt("the installation's row is missing".to_owned());
    let incarnation = installation_from(next().first().ok_or_else(missing)?)?.incarnation;
    let revision = head_from(&next())?;
    let mut changes = Vec::new();
    bodies(&next(), &mut changes, Change::OrgChanged)?;
    bodies(&next(), &mut changes, Change::KeyspaceChanged)?;
    bodies(&next(), &mut changes, Change::RoleChanged)?;
    bodies(&next(), &mut changes, Change::PlanChanged)?;
    bodies(&next(), &mut changes, Change::PrincipalChanged)?;
    changes.extend(keys_in_parallel(&link).await?);
    Ok(Snapshot { incarnation, revision, changes })
}

/// In the order in which an index can take them.
const BODIES: [&str; 5] = [
    "SELECT body FROM orgs ORDER BY id",
    "SELECT body FROM keyspaces ORDER BY id",
    "SELECT body FROM roles ORDER BY id",
    "SELECT body FROM plans ORDER BY id",
    "SELECT body FROM principals ORDER BY id",
];

fn bodies<T: DeserializeOwned>(
    rows: &[Row],
    changes: &mut Vec<Change>,
    change: impl Fn(Arc<T>) -> Change,
) -> Result<(), StoreError> {
    for row in rows {
        changes.push(change(Arc::new(from_json(column(row, 0)?, "a noun")?)));
    }
    Ok(())
}

/// Every key with its secrets.
pub(super) const ALL_KEYS: &str = concat!(
    "SELECT ",
    key_and_secret_columns!(),
    " FROM keys k LEFT JOIN secrets s ON s.key_id = k.id ORDER BY k.id, s.position"
);

/// Takes rows off the wire here and makes keys of them on other threads: parsing is most of the work.
async fn keys_in_parallel(link: &Link) -> Result<Vec<Change>, StoreError> {
    let statement = link.prepared(ALL_KEYS).await?;
    let none: [Param<'_>; 0] = [];
    let stream = link.client().query_raw(&statement, none).await?;
    let mut stream = std::pin::pin!(stream);
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
    let mut parsers = JoinSet::new();
    let mut chunks = 0_usize;
    let mut chunk: Vec<Row> = Vec::with_capacity(CHUNK);
    let mut results: Vec<(usize, Vec<Change>)> = Vec::new();
    let mut last: Option<u128> = None;
    while let Some(row) = stream.next().await {
        let row = row?;
        let id = column::<Id>(&row, 0)?.0;
        // A key's rows stay together.
        if chunk.len() >= CHUNK && last != Some(id) {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            let place = chunks;
            chunks += 1;
            parsers.spawn_blocking(move || parse(place, &full));
            // The wire waits when the parsers do not keep up.
            if parsers.len() >= workers * 2 {
                results.push(joined(parsers.join_next().await)?);
            }
        }
        last = Some(id);
        chunk.push(row);
    }
    parsers.spawn_blocking(move || parse(chunks, &chunk));
    while let Some(parser) = parsers.join_next().await {
        results.push(joined(Some(parser))?);
    }
    results.sort_unstable_by_key(|(place, _)| *place);
    Ok(results.into_iter().flat_map(|(_, changes)| changes).collect())
}

type Parsed = Result<(usize, Vec<Change>), StoreError>;

fn joined(parser: Option<Result<Parsed, tokio::task::JoinError>>) -> Parsed {
    match parser {
        Some(Ok(parsed)) => parsed,
        Some(Err(_)) => Err(StoreError::Corrupt("a key made the reader fail".to_owned())),
        None => Ok((0, Vec::new())),
    }
}

fn parse(place: usize, rows: &[Row]) -> Parsed {
    let mut changes = Vec::with_capacity(rows.len());
    let mut grouping = Grouping::default();
    let mut push = |whole: RowsOfKey| -> Result<(), StoreError> {
        changes.push(Change::KeyChanged(Arc::new(whole.into_key()?)));
        Ok(())
    };
    for row in rows {
        if let Some(whole) = grouping.take(row)? {
            push(whole)?;
        }
    }
    if let Some(whole) = grouping.finish() {
        push(whole)?;
    }
    Ok((place, changes))
}

/// What was answered to a call, if it is remembered at `now`.
pub(super) async fn idempotent_answer(
    readers: &Readers,
    scope: &[u8; 32],
    now: Timestamp,
) -> Result<Option<IdempotentAnswer>, StoreError> {
    let sql = "SELECT i.request, i.revision, i.changed, i.subject, i.secret_sealed, i.secret_until, f.changes \
               FROM idempotency i LEFT JOIN feed f ON f.revision = i.revision AND i.changed \
               WHERE i.scope = $1 AND i.until > $2";
    let rows = readers.rows(Ask::rows(sql, owned![scope.to_vec(), now.unix_ms()])).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let revision = Revision(count_column(row, 1)?);
    let replayed = now.unix_ms() < column::<i64>(row, 5)?;
    let secret: Option<&[u8]> = column(row, 4)?;
    let changes = match (column(row, 2)?, column::<Option<&str>>(row, 6)?) {
        (false, _) => Vec::new(),
        (true, Some(changes)) => from_json(changes, "a feed entry")?,
        (true, None) => {
            let what = format!("the feed entry {revision} of a remembered call is missing");
            return Err(StoreError::Corrupt(what));
        }
    };
    Ok(Some(IdempotentAnswer {
        request: link_column(row, 0)?,
        revision,
        subject: noun_ref(column(row, 3)?)?,
        changes,
        secret: secret.filter(|_| replayed).map(sealed_from).transpose()?,
    }))
}

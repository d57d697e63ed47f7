//! What followers read: batches after a revision, and everything at one revision.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use keywright_model::change::{Batch, Change};
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::{Key, SecretMaterial};
use keywright_model::noun::{Keyspace, Org, Plan, Principal, Role};
use keywright_model::revision::Revision;
use keywright_model::time::Timestamp;
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;

use super::audit_log::stored_head;
use super::bookkeeping::installation;
use super::nouns::{all, first, secrets};
use super::rows::{KEY_COLUMNS, RowsOfKey, SECRET_COLUMNS, SecretRow, key_row, secret_from};
use super::value::{column, count, from_json, id_column, noun_ref, rows, sealed_from, time_column, uncount};
use crate::{IdempotentAnswer, Snapshot, StoreError};

/// How many keys one thread takes at a time.
const CHUNK: usize = 1_024;
/// How many threads parse at most.
const WORKERS_MAX: usize = 4;

/// The batches after a revision; `None` when the feed does not reach back that far, or never had that revision.
pub(super) fn batches_after(
    connection: &Connection,
    after: Revision,
    limit: usize,
) -> Result<Option<Vec<Batch>>, StoreError> {
    let (head, _) = stored_head(connection)?;
    if after >= head {
        return Ok((after == head).then(Vec::new));
    }
    let sql = "SELECT revision, at, changes FROM feed WHERE revision > ?1 ORDER BY revision LIMIT ?2";
    let mut batches = all(connection, sql, (count(after.0), rows(limit)), |row| {
        let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        Ok(Batch {
            revision: Revision(uncount(column(row, 0)?)),
            at: time_column(row, 1)?,
            changes: from_json(text, "a feed entry")?,
        })
    })?;
    let mut expected = after;
    for batch in &batches {
        expected = expected.next();
        if batch.revision != expected {
            return Ok(None);
        }
    }
    if batches.is_empty() && limit > 0 {
        return Ok(None);
    }
    join_material(connection, &mut batches)?;
    Ok(Some(batches))
}

/// What one write changed, as followers read it; `None` when the feed has let it go.
pub(super) fn changes_of(
    connection: &Connection,
    revision: Revision,
) -> Result<Option<Vec<Change>>, StoreError> {
    first(connection, "SELECT changes FROM feed WHERE revision = ?1", [count(revision.0)], |row| {
        from_json(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, "a feed entry")
    })
}

/// Puts what proves secrets to the keys that came without it. What was let go since stays away.
fn join_material(connection: &Connection, batches: &mut [Batch]) -> Result<(), StoreError> {
    let mut known: HashMap<(KeyId, SecretId), Option<Arc<SecretMaterial>>> = HashMap::new();
    let mut asked: HashSet<KeyId> = HashSet::new();
    for change in batches.iter_mut().flat_map(|batch| &mut batch.changes) {
        let Change::KeyChanged(key) = change else { continue };
        let key = Arc::make_mut(key);
        if asked.insert(key.id) {
            let secrets = secrets(connection, key.id)?.into_iter();
            known.extend(secrets.map(|secret| ((key.id, secret.id), secret.material)));
        }
        for secret in &mut key.secrets {
            secret.material = known.get(&(key.id, secret.id)).cloned().flatten();
        }
    }
    Ok(())
}

/// Everything at one revision. The caller holds a read transaction.
pub(super) fn snapshot(connection: &Connection) -> Result<Snapshot, StoreError> {
    let missing = || StoreError::Corrupt("the installation's row is missing".to_owned());
    let incarnation = installation(connection)?.ok_or_else(missing)?.incarnation;
    let (revision, _) = stored_head(connection)?;
    let mut changes = Vec::new();
    bodies::<Org>(connection, "orgs", &mut changes, Change::OrgChanged)?;
    bodies::<Keyspace>(connection, "keyspaces", &mut changes, Change::KeyspaceChanged)?;
    bodies::<Role>(connection, "roles", &mut changes, Change::RoleChanged)?;
    bodies::<Plan>(connection, "plans", &mut changes, Change::PlanChanged)?;
    bodies::<Principal>(connection, "principals", &mut changes, Change::PrincipalChanged)?;
    changes.extend(keys_in_parallel(connection)?);
    Ok(Snapshot { incarnation, revision, changes })
}

/// Reads rows on this thread and makes keys of them on others: parsing is most of the work.
fn keys_in_parallel(connection: &Connection) -> Result<Vec<Change>, StoreError> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
    let (send, receive) = std::sync::mpsc::sync_channel::<(usize, Vec<RowsOfKey>)>(workers * 2);
    let receive = Mutex::new(receive);
    let parse = || -> Result<Vec<(usize, Vec<Change>)>, StoreError> {
        let mut parsed = Ok(Vec::new());
        loop {
            let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((place, rows)) = next else { return parsed };
            // After a damaged row the rest is taken and dropped, so that the reader never waits for room.
            let Ok(before) = &mut parsed else { continue };
            let keys = rows.into_iter().map(|rows| Ok(Change::KeyChanged(Arc::new(rows.into_key()?))));
            match keys.collect::<Result<_, StoreError>>() {
                Ok(keys) => before.push((place, keys)),
                Err(error) => parsed = Err(error),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(parse)).collect();
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut places = 0..;
        let read = each_row(connection, |_, rows| {
            chunk.push(rows?);
            if chunk.len() == CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                let _taken = send.send((places.next().unwrap_or(0), full));
            }
            Ok(())
        });
        let _taken = send.send((places.next().unwrap_or(0), chunk));
        drop(send);
        let mut parsed = Vec::new();
        for worker in workers {
            let panicked = |_| StoreError::Corrupt("a key made the reader fail".to_owned());
            parsed.extend(worker.join().map_err(panicked)??);
        }
        read?;
        parsed.sort_unstable_by_key(|(place, _)| *place);
        Ok(parsed.into_iter().flat_map(|(_, changes)| changes).collect())
    })
}

fn bodies<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    changes: &mut Vec<Change>,
    change: impl Fn(Arc<T>) -> Change,
) -> Result<(), StoreError> {
    let nouns = all(connection, &format!("SELECT body FROM {table} ORDER BY id"), [], |row| {
        from_json(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, table)
    })?;
    changes.extend(nouns.into_iter().map(|noun| change(Arc::new(noun))));
    Ok(())
}

/// Walks through every key with its secrets, in the order of their identifiers: two ordered reads, merged. A key that
/// does not read back is visited with the reason.
pub(super) fn each_key(
    connection: &Connection,
    mut visit: impl FnMut(u128, Result<Key, StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    each_row(connection, |bits, rows| visit(bits, rows.and_then(RowsOfKey::into_key)))
}

fn each_row(
    connection: &Connection,
    mut visit: impl FnMut(u128, Result<RowsOfKey, StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let keys_sql = format!("SELECT {KEY_COLUMNS} FROM keys k ORDER BY k.id");
    let secrets_sql = format!("SELECT {SECRET_COLUMNS} FROM secrets s ORDER BY s.key_id");
    let (mut keys, mut secrets) = (connection.prepare(&keys_sql)?, connection.prepare(&secrets_sql)?);
    let (mut keys, mut secrets) = (keys.query([])?, secrets.query([])?);
    let read = |row: &Row<'_>| Ok::<_, StoreError>((id_column(row, 0)?, secret_from(row)));
    let mut ahead = secrets.next()?.map(read).transpose()?;
    while let Some(row) = keys.next()? {
        let bits = id_column(row, 0)?;
        let mut own: Vec<Result<SecretRow, StoreError>> = Vec::new();
        while let Some((of, secret)) = ahead.take_if(|(of, _)| *of <= bits) {
            if of == bits {
                own.push(secret);
            }
            ahead = secrets.next()?.map(read).transpose()?;
        }
        visit(bits, key_row(row).map(|key| RowsOfKey { key, secrets: own }))?;
    }
    Ok(())
}

/// What was answered to a call, if it is remembered at `now`.
pub(super) fn idempotent_answer(
    connection: &Connection,
    scope: &[u8; 32],
    now: Timestamp,
) -> Result<Option<IdempotentAnswer>, StoreError> {
    let sql = "SELECT request, revision, changed, subject, secret_sealed, secret_until FROM idempotency \
               WHERE scope = ?1 AND until > ?2";
    let remembered = first(connection, sql, (scope, now.unix_ms()), |row| {
        let replayed = now.unix_ms() < column::<i64>(row, 5)?;
        let secret: Option<Vec<u8>> = column(row, 4)?;
        let changed: bool = column(row, 2)?;
        let answer = IdempotentAnswer {
            request: column(row, 0)?,
            revision: Revision(uncount(column(row, 1)?)),
            subject: noun_ref(&column::<String>(row, 3)?)?,
            changes: Vec::new(),
            secret: secret.filter(|_| replayed).map(|blob| sealed_from(&blob)).transpose()?,
        };
        Ok((changed, answer))
    })?;
    let Some((changed, mut answer)) = remembered else { return Ok(None) };
    if changed {
        let lost = || {
            StoreError::Corrupt(format!("the feed entry {} of a remembered call is missing", answer.revision))
        };
        answer.changes = changes_of(connection, answer.revision)?.ok_or_else(lost)?;
    }
    Ok(Some(answer))
}

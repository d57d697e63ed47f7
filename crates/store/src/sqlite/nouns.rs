//! Reading nouns one at a time, inside whichever transaction the caller has.

use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, KeySecret};
use keywright_model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::de::DeserializeOwned;

use super::rows::{KEY_BY_ID, LAST_USED_AT, SECRETS_OF_KEY, key_from, secret_from};
use super::value::{from_json, id, id_column, noun_bits, optional_time_column, rows, table};
use crate::{LastUsed, Lookup, Noun, NounKind, NounQuery, Page, StoreError};

/// A noun of any kind, a key with what proves its secrets.
pub(super) fn noun(connection: &Connection, wanted: NounRef) -> Result<Option<Noun>, StoreError> {
    Ok(match wanted {
        NounRef::Org(_) => body(connection, wanted)?.map(Noun::Org),
        NounRef::Keyspace(_) => body(connection, wanted)?.map(Noun::Keyspace),
        NounRef::Principal(_) => body(connection, wanted)?.map(Noun::Principal),
        NounRef::Role(_) => body(connection, wanted)?.map(Noun::Role),
        NounRef::Plan(_) => body(connection, wanted)?.map(Noun::Plan),
        NounRef::Key(key) => self::key(connection, key)?.map(|key| Noun::Key(Arc::new(key))),
    })
}

fn body<T: DeserializeOwned>(connection: &Connection, wanted: NounRef) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(match wanted {
        NounRef::Org(_) => "SELECT body FROM orgs WHERE id = ?1",
        NounRef::Keyspace(_) => "SELECT body FROM keyspaces WHERE id = ?1",
        NounRef::Principal(_) => "SELECT body FROM principals WHERE id = ?1",
        NounRef::Role(_) => "SELECT body FROM roles WHERE id = ?1",
        NounRef::Plan(_) | NounRef::Key(_) => "SELECT body FROM plans WHERE id = ?1",
    })?;
    let text: Option<String> = statement.query_row([id(noun_bits(wanted))], |row| row.get(0)).optional()?;
    text.map(|text| from_json(&text, table(wanted))).transpose()
}

/// A key with its secrets.
pub(super) fn key(connection: &Connection, wanted: KeyId) -> Result<Option<Key>, StoreError> {
    let found = first(connection, KEY_BY_ID.as_str(), [id(wanted.bits())], key_from)?;
    let Some(mut key) = found else { return Ok(None) };
    key.secrets = secrets(connection, wanted)?;
    Ok(Some(key))
}

/// A key with its secrets, and when it was used last.
pub(super) fn key_and_uses(
    connection: &Connection,
    wanted: KeyId,
) -> Result<Option<(Arc<Key>, LastUsed)>, StoreError> {
    let found = first(connection, KEY_BY_ID.as_str(), [id(wanted.bits())], key_from)?;
    let Some(mut key) = found else { return Ok(None) };
    let rows = all(connection, SECRETS_OF_KEY.as_str(), [id(wanted.bits())], |row| {
        Ok((secret_from(row)?.secret, optional_time_column(row, LAST_USED_AT)?))
    })?;
    let secrets = rows.iter().filter_map(|(secret, used)| Some((secret.id, (*used)?))).collect();
    key.secrets = rows.into_iter().map(|(secret, _)| secret).collect();
    Ok(Some((Arc::new(key), LastUsed { secrets })))
}

/// A key's secrets, oldest first.
pub(super) fn secrets(connection: &Connection, key: KeyId) -> Result<Vec<KeySecret>, StoreError> {
    let found = all(connection, SECRETS_OF_KEY.as_str(), [id(key.bits())], secret_from)?;
    Ok(found.into_iter().map(|row| row.secret).collect())
}

/// The first row of a statement, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    found.next()?.map(read).transpose()
}

/// Every row of a statement.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        items.push(read(row)?);
    }
    Ok(items)
}

/// Finds a noun by something other than its identifier.
pub(super) fn find(connection: &Connection, lookup: &Lookup) -> Result<Option<Noun>, StoreError> {
    let one =
        |sql: &str, params: &[&dyn rusqlite::ToSql]| first(connection, sql, params, |row| id_column(row, 0));
    let key = |found: Option<u128>| found.map(KeyId::from_bits).map(NounRef::Key);
    let found = match lookup {
        Lookup::KeyByDigest(digest) => {
            key(one("SELECT key_id FROM secrets WHERE digest = ?1", &[&digest.0])?)
        }
        Lookup::KeyByAccessId(text) => key(one("SELECT id FROM keys WHERE access_id = ?1", &[text])?),
        Lookup::KeyByNumber(org, number) => {
            key(one("SELECT id FROM keys WHERE org_id = ?1 AND number = ?2", &[&id(org.bits()), number])?)
        }
        Lookup::KeyByExternalId(keyspace, text) => {
            let sql = "SELECT id FROM keys WHERE keyspace_id = ?1 AND external_id = ?2";
            key(one(sql, &[&id(keyspace.bits()), text])?)
        }
        Lookup::OrgByName(name) => one("SELECT id FROM orgs WHERE name = ?1", &[name])?
            .map(|bits| NounRef::Org(OrgId::from_bits(bits))),
        Lookup::KeyspaceByName(org, name) => {
            let sql = "SELECT id FROM keyspaces WHERE org_id = ?1 AND name = ?2";
            one(sql, &[&id(org.bits()), name])?.map(|bits| NounRef::Keyspace(KeyspaceId::from_bits(bits)))
        }
        Lookup::PrincipalByExternalId(org, text) => {
            let sql = "SELECT id FROM principals WHERE org_id = ?1 AND external_id = ?2";
            one(sql, &[&id(org.bits()), text])?.map(|bits| NounRef::Principal(PrincipalId::from_bits(bits)))
        }
        Lookup::RoleByNumber(org, number) => {
            let sql = "SELECT id FROM roles WHERE org_id = ?1 AND number = ?2";
            one(sql, &[&id(org.bits()), number])?.map(|bits| NounRef::Role(RoleId::from_bits(bits)))
        }
        Lookup::RoleByName(org, name) => {
            let sql = "SELECT id FROM roles WHERE org_id = ?1 AND name = ?2";
            one(sql, &[&id(org.bits()), name])?.map(|bits| NounRef::Role(RoleId::from_bits(bits)))
        }
        Lookup::PlanByName(org, name) => {
            let sql = "SELECT id FROM plans WHERE org_id = ?1 AND name = ?2";
            one(sql, &[&id(org.bits()), name])?.map(|bits| NounRef::Plan(PlanId::from_bits(bits)))
        }
    };
    found.map_or(Ok(None), |found| noun(connection, found))
}

/// A page of a kind of noun, oldest first.
pub(super) fn page(connection: &Connection, query: &NounQuery) -> Result<Page<Noun>, StoreError> {
    let sql = match query.kind {
        NounKind::Org => "SELECT body FROM orgs WHERE id > ?2 AND ?1 IS ?1 ORDER BY id LIMIT ?3",
        NounKind::Keyspace => "SELECT body FROM keyspaces WHERE org_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        NounKind::Principal => {
            "SELECT body FROM principals WHERE org_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
        }
        NounKind::Role => "SELECT body FROM roles WHERE org_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        NounKind::Plan => "SELECT body FROM plans WHERE org_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    };
    let org = query.org.map(|org| id(org.bits()));
    // No identifier is all zeroes, so nothing is left out before the first.
    let after = id(query.after.unwrap_or(0));
    let items = all(connection, sql, (org, after, rows(query.limit.saturating_add(1))), |row| {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        Ok(match query.kind {
            NounKind::Org => Noun::Org(from_json(text, "orgs")?),
            NounKind::Keyspace => Noun::Keyspace(from_json(text, "keyspaces")?),
            NounKind::Principal => Noun::Principal(from_json(text, "principals")?),
            NounKind::Role => Noun::Role(from_json(text, "roles")?),
            NounKind::Plan => Noun::Plan(from_json(text, "plans")?),
        })
    })?;
    Ok(cut(items, query.limit))
}

/// A page from what was read one item too far.
pub(super) fn cut<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

/// When a key and its secrets were used last.
pub(super) fn last_used(connection: &Connection, key: KeyId) -> Result<LastUsed, StoreError> {
    let sql = "SELECT id, last_used_at FROM secrets WHERE key_id = ?1 AND last_used_at IS NOT NULL";
    let uses: Vec<(u128, Option<Timestamp>)> = all(connection, sql, [id(key.bits())], |row| {
        Ok((id_column(row, 0)?, optional_time_column(row, 1)?))
    })?;
    let secrets = uses.into_iter().filter_map(|(bits, at)| Some((SecretId::from_bits(bits), at?))).collect();
    Ok(LastUsed { secrets })
}

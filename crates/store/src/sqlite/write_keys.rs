//! Writing a key: its row, its secrets, and the tables that lists by role, plan and label read.

use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::KeyId;
use keywright_model::key::{Key, KeySecret};
use keywright_model::revision::Version;
use keywright_model::time::Timestamp;
use rusqlite::{Connection, params};

use super::commit::Tip;
use super::nouns::{self, first};
use super::rows::{KEY_BY_ID, key_body, key_from};
use super::value::{count, id, rows, sealed_blob};
use super::write_nouns::{dangling, keep_number, next_number};
use crate::writing::{keep_for_ever, keep_material, kind, references};
use crate::{CommitError, StoreError};

/// Keys as they are stored, which a commit has read and not written yet.
#[derive(Default)]
pub(super) struct StoredKeys(Vec<StoredKey>);

struct StoredKey {
    key: Arc<Key>,
    /// Whether its secrets are there too.
    whole: bool,
}

impl StoredKeys {
    /// Reads a key, which [`write()`] will need. Says its version; `None` when it is not there.
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        tip: &Tip,
        key: KeyId,
    ) -> Result<Option<Version>, StoreError> {
        let Some(stored) = stored(connection, tip, key)? else { return Ok(None) };
        let version = stored.key.meta.version;
        self.0.push(stored);
        Ok(Some(version))
    }

    fn take(&mut self, key: KeyId) -> Option<StoredKey> {
        let place = self.0.iter().position(|stored| stored.key.id == key)?;
        Some(self.0.swap_remove(place))
    }
}

fn stored(connection: &Connection, tip: &Tip, key: KeyId) -> Result<Option<StoredKey>, StoreError> {
    if let Some(key) = tip.stored_key(key) {
        return Ok(Some(StoredKey { key, whole: true }));
    }
    let found = first(connection, KEY_BY_ID.as_str(), [id(key.bits())], key_from)?;
    Ok(found.map(|key| StoredKey { key: Arc::new(key), whole: false }))
}

/// Writes a key as it is after the change; fills in its number, and what is stored of secrets that came without it.
pub(super) fn write(
    connection: &Connection,
    tip: &Tip,
    key: &mut Key,
    known: &mut StoredKeys,
) -> Result<(), CommitError> {
    let stored = match known.take(key.id) {
        Some(stored) => Some(stored),
        None => stored(connection, tip, key.id)?,
    };
    match &stored {
        None => insert(connection, key)?,
        Some(stored) => update(connection, &stored.key, key)?,
    }
    write_links(connection, stored.as_ref().map(|stored| &*stored.key), key)?;
    match stored {
        Some(StoredKey { key: stored, whole: true }) => write_secrets(connection, &stored.secrets, key),
        _ => write_secrets(connection, &nouns::secrets(connection, key.id)?, key),
    }
}

/// Removes a key's record with all that hangs on it.
pub(super) fn purge(connection: &Connection, key: KeyId) -> Result<(), CommitError> {
    let gone = connection.prepare_cached("DELETE FROM keys WHERE id = ?1")?.execute([id(key.bits())])?;
    if gone == 0 { Err(CommitError::Conflict(NounRef::Key(key))) } else { Ok(()) }
}

fn insert(connection: &Connection, key: &mut Key) -> Result<(), CommitError> {
    if key.number == 0 {
        key.number = next_number(connection, key.org, "keys")?;
    } else {
        keep_number(connection, key.org, "keys", key.number)?;
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO keys (id, org_id, keyspace_id, number, kind, access_id, external_id, name, owner_id, enabled, \
         not_before, expires_at, revoked_at, deleted_at, created_at, created_by, updated_at, updated_by, version, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?;
    let written = statement.execute(params![
        id(key.id.bits()),
        id(key.org.bits()),
        id(key.keyspace.bits()),
        key.number,
        kind(key),
        key.access_id,
        key.external_id,
        key.spec.name,
        key.spec.owner.map(|owner| id(owner.bits())),
        key.spec.enabled,
        key.spec.not_before.map(Timestamp::unix_ms),
        key.spec.expires_at.map(Timestamp::unix_ms),
        key.revocation.as_ref().map(|revocation| revocation.at.unix_ms()),
        key.deleted_at.map(Timestamp::unix_ms),
        key.meta.created_at.unix_ms(),
        key.meta.created_by.to_string(),
        key.meta.updated_at.unix_ms(),
        key.meta.updated_by.to_string(),
        count(key.meta.version.0),
        key_body(key)?,
    ]);
    written.map(drop).map_err(|error| dangling(connection, error, &references(key)))
}

fn update(connection: &Connection, stored: &Key, key: &mut Key) -> Result<(), CommitError> {
    keep_for_ever(stored, key)?;
    // The columns that have indexes are written only when they change: most updates touch none.
    let spec = &key.spec;
    if stored.spec.name != spec.name || stored.spec.owner != spec.owner {
        let owner = spec.owner.map(|owner| id(owner.bits()));
        let mut statement =
            connection.prepare_cached("UPDATE keys SET name = ?2, owner_id = ?3 WHERE id = ?1")?;
        let written = statement.execute(params![id(key.id.bits()), spec.name, owner]);
        written.map_err(|error| dangling(connection, error, &references(key)))?;
    }
    let mut statement = connection.prepare_cached(
        "UPDATE keys SET enabled = ?2, not_before = ?3, expires_at = ?4, revoked_at = ?5, deleted_at = ?6, \
         updated_at = ?7, updated_by = ?8, version = ?9, body = ?10 WHERE id = ?1",
    )?;
    statement.execute(params![
        id(key.id.bits()),
        spec.enabled,
        spec.not_before.map(Timestamp::unix_ms),
        spec.expires_at.map(Timestamp::unix_ms),
        key.revocation.as_ref().map(|revocation| revocation.at.unix_ms()),
        key.deleted_at.map(Timestamp::unix_ms),
        key.meta.updated_at.unix_ms(),
        key.meta.updated_by.to_string(),
        count(key.meta.version.0),
        key_body(key)?,
    ])?;
    Ok(())
}

fn write_links(connection: &Connection, stored: Option<&Key>, key: &Key) -> Result<(), CommitError> {
    let own = id(key.id.bits());
    let refused = |error| dangling(connection, error, &references(key));
    if stored.map_or(&[][..], |stored| &stored.spec.roles) != key.spec.roles.as_slice() {
        connection.prepare_cached("DELETE FROM key_roles WHERE key_id = ?1")?.execute([own])?;
        let mut add =
            connection.prepare_cached("INSERT OR IGNORE INTO key_roles (key_id, role_id) VALUES (?1, ?2)")?;
        for role in &key.spec.roles {
            add.execute((own, id(role.bits()))).map_err(refused)?;
        }
    }
    if stored.map_or(&[][..], |stored| &stored.spec.plans) != key.spec.plans.as_slice() {
        connection.prepare_cached("DELETE FROM key_plans WHERE key_id = ?1")?.execute([own])?;
        let mut add =
            connection.prepare_cached("INSERT OR IGNORE INTO key_plans (key_id, plan_id) VALUES (?1, ?2)")?;
        for plan in &key.spec.plans {
            add.execute((own, id(plan.bits()))).map_err(refused)?;
        }
    }
    let labelled = stored.is_some_and(|stored| !stored.spec.labels.is_empty());
    let same = stored.is_some_and(|stored| stored.spec.labels == key.spec.labels);
    if !same && labelled {
        connection.prepare_cached("DELETE FROM key_labels WHERE key_id = ?1")?.execute([own])?;
    }
    if !same && !key.spec.labels.is_empty() {
        let mut add =
            connection.prepare_cached("INSERT INTO key_labels (key_id, label, value) VALUES (?1, ?2, ?3)")?;
        for (label, value) in &key.spec.labels {
            add.execute((own, label, value))?;
        }
    }
    Ok(())
}

fn write_secrets(connection: &Connection, stored: &[KeySecret], key: &mut Key) -> Result<(), CommitError> {
    keep_material(stored, key);
    if stored == key.secrets {
        return Ok(());
    }
    let dropped = stored.iter().filter(|known| !key.secrets.iter().any(|secret| secret.id == known.id));
    for secret in dropped {
        let mut remove = connection.prepare_cached("DELETE FROM secrets WHERE key_id = ?1 AND id = ?2")?;
        remove.execute((id(key.id.bits()), id(secret.id.bits())))?;
    }
    for (position, secret) in key.secrets.iter().enumerate() {
        if stored.get(position) != Some(secret) {
            write_secret(connection, key.id, rows(position), secret)?;
        }
    }
    Ok(())
}

fn write_secret(
    connection: &Connection,
    key: KeyId,
    position: i64,
    secret: &KeySecret,
) -> Result<(), CommitError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO secrets (key_id, id, position, hint, recoverable, custom, created_at, expires_at, digest, \
         pepper_version, hash_sealed, secret_sealed, argon2) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
         ON CONFLICT (key_id, id) DO UPDATE SET position = excluded.position, hint = excluded.hint, \
         recoverable = excluded.recoverable, custom = excluded.custom, created_at = excluded.created_at, \
         expires_at = excluded.expires_at, digest = excluded.digest, pepper_version = excluded.pepper_version, \
         hash_sealed = excluded.hash_sealed, secret_sealed = excluded.secret_sealed, argon2 = excluded.argon2",
    )?;
    let material = secret.material.as_deref();
    statement.execute(params![
        id(key.bits()),
        id(secret.id.bits()),
        position,
        secret.hint,
        secret.recoverable,
        secret.custom,
        secret.created_at.unix_ms(),
        secret.expires_at.map(Timestamp::unix_ms),
        material.and_then(|material| material.digest).map(|digest| digest.0),
        material.map(|material| material.pepper_version),
        material.map(|material| sealed_blob(&material.hash_sealed)),
        material.and_then(|material| material.secret_sealed.as_ref()).map(sealed_blob),
        material.and_then(|material| material.argon2.as_deref()),
    ])?;
    Ok(())
}

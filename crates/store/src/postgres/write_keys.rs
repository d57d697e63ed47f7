//! Writing a key: its row, its secrets, and the tables that lists by role, plan and label read.

use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::KeyId;
use keywright_model::key::{Key, KeySecret};
use keywright_model::time::Timestamp;

use super::rows::key_body;
use super::state::Draft;
use super::value::{Id, count, has_nul, number, owned, rows, sealed_blob};
use super::write_nouns::{Obstacle, Op, keep_number, must_exist, next_number, unheld};
use crate::StoreError;
use crate::writing::{keep_for_ever, keep_material, kind, references};

/// Adds the statements that write a key as it is after the change; fills in its number, and what is stored of secrets
/// that came without it.
pub(super) fn write(draft: &mut Draft<'_>, key: &mut Key, ops: &mut Vec<Op>) -> Result<(), Obstacle> {
    refuse_nul(key)?;
    let stored = draft.key(key.id);
    if let Some(stored) = &stored {
        keep_for_ever(stored, key)?;
    }
    for reference in references(key) {
        must_exist(draft, reference)?;
    }
    if stored.is_some() {
        ops.push(update(key)?);
    } else {
        let series = (key.org, "keys");
        if key.number == 0 {
            key.number = next_number(draft, series)?;
        } else {
            keep_number(draft, series, key.number)?;
        }
        ops.push(insert(key)?);
    }
    write_links(stored.as_deref(), key, ops);
    write_secrets(stored.as_deref().map_or(&[], |stored| &stored.secrets), key, ops);
    draft.set_version(NounRef::Key(key.id), Some(key.meta.version));
    draft.set_key(key.id, Some(Arc::new(key.clone())));
    Ok(())
}

fn refuse_nul(key: &Key) -> Result<(), StoreError> {
    let named = [key.access_id.as_deref(), key.external_id.as_deref(), Some(key.spec.name.as_str())];
    let labels = key.spec.labels.iter().flat_map(|(label, value)| [label.as_str(), value.as_str()]);
    let hints = key.secrets.iter().filter_map(|secret| secret.hint.as_deref());
    if named.into_iter().flatten().chain(labels).chain(hints).any(has_nul) { Err(unheld()) } else { Ok(()) }
}

fn insert(key: &Key) -> Result<Op, StoreError> {
    let sql = "INSERT INTO keys (id, org_id, keyspace_id, number, kind, access_id, external_id, name, owner_id, enabled, \
               not_before, expires_at, revoked_at, deleted_at, created_at, created_by, updated_at, updated_by, version, \
               body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
    let spec = &key.spec;
    let params = owned![
        Id(key.id.bits()),
        Id(key.org.bits()),
        Id(key.keyspace.bits()),
        number(key.number),
        kind(key),
        key.access_id.clone(),
        key.external_id.clone(),
        spec.name.clone(),
        spec.owner.map(|owner| Id(owner.bits())),
        spec.enabled,
        spec.not_before.map(Timestamp::unix_ms),
        spec.expires_at.map(Timestamp::unix_ms),
        key.revocation.as_ref().map(|revocation| revocation.at.unix_ms()),
        key.deleted_at.map(Timestamp::unix_ms),
        key.meta.created_at.unix_ms(),
        key.meta.created_by.to_string(),
        key.meta.updated_at.unix_ms(),
        key.meta.updated_by.to_string(),
        count(key.meta.version.0),
        key_body(key)?,
    ];
    Ok(Op::plain(sql, params))
}

/// PostgreSQL compares old and new values by itself: indexes are touched only when theirs change.
fn update(key: &Key) -> Result<Op, StoreError> {
    let sql = "UPDATE keys SET name = $2, owner_id = $3, enabled = $4, not_before = $5, expires_at = $6, \
               revoked_at = $7, deleted_at = $8, updated_at = $9, updated_by = $10, version = $11, body = $12 \
               WHERE id = $1";
    let spec = &key.spec;
    let params = owned![
        Id(key.id.bits()),
        spec.name.clone(),
        spec.owner.map(|owner| Id(owner.bits())),
        spec.enabled,
        spec.not_before.map(Timestamp::unix_ms),
        spec.expires_at.map(Timestamp::unix_ms),
        key.revocation.as_ref().map(|revocation| revocation.at.unix_ms()),
        key.deleted_at.map(Timestamp::unix_ms),
        key.meta.updated_at.unix_ms(),
        key.meta.updated_by.to_string(),
        count(key.meta.version.0),
        key_body(key)?,
    ];
    Ok(Op::plain(sql, params))
}

fn write_links(stored: Option<&Key>, key: &Key, ops: &mut Vec<Op>) {
    let own = Id(key.id.bits());
    let before = stored.map_or(&[][..], |stored| &stored.spec.roles);
    if before != key.spec.roles.as_slice() {
        if !before.is_empty() {
            ops.push(Op::plain("DELETE FROM key_roles WHERE key_id = $1", owned![own]));
        }
        let roles: Vec<Id> = key.spec.roles.iter().map(|role| Id(role.bits())).collect();
        let sql =
            "INSERT INTO key_roles (key_id, role_id) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING";
        ops.push(Op::plain(sql, owned![own, roles]));
    }
    let before = stored.map_or(&[][..], |stored| &stored.spec.plans);
    if before != key.spec.plans.as_slice() {
        if !before.is_empty() {
            ops.push(Op::plain("DELETE FROM key_plans WHERE key_id = $1", owned![own]));
        }
        let plans: Vec<Id> = key.spec.plans.iter().map(|plan| Id(plan.bits())).collect();
        let sql =
            "INSERT INTO key_plans (key_id, plan_id) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING";
        ops.push(Op::plain(sql, owned![own, plans]));
    }
    let labelled = stored.is_some_and(|stored| !stored.spec.labels.is_empty());
    let same = stored.is_some_and(|stored| stored.spec.labels == key.spec.labels);
    if !same && labelled {
        ops.push(Op::plain("DELETE FROM key_labels WHERE key_id = $1", owned![own]));
    }
    if !same && !key.spec.labels.is_empty() {
        let (labels, values): (Vec<String>, Vec<String>) = key.spec.labels.clone().into_iter().unzip();
        let sql = "INSERT INTO key_labels (key_id, label, value) \
                   SELECT $1, label, value FROM unnest($2::text[], $3::text[]) AS given (label, value)";
        ops.push(Op::plain(sql, owned![own, labels, values]));
    }
}

fn write_secrets(stored: &[KeySecret], key: &mut Key, ops: &mut Vec<Op>) {
    keep_material(stored, key);
    if stored == key.secrets {
        return;
    }
    let dropped = stored.iter().filter(|known| !key.secrets.iter().any(|secret| secret.id == known.id));
    let dropped: Vec<Id> = dropped.map(|secret| Id(secret.id.bits())).collect();
    if !dropped.is_empty() {
        let sql = "DELETE FROM secrets WHERE key_id = $1 AND id = ANY($2)";
        ops.push(Op::plain(sql, owned![Id(key.id.bits()), dropped]));
    }
    for (position, secret) in key.secrets.iter().enumerate() {
        if stored.get(position) != Some(secret) {
            ops.push(write_secret(key.id, rows(position), secret));
        }
    }
}

fn write_secret(key: KeyId, position: i64, secret: &KeySecret) -> Op {
    let sql = "INSERT INTO secrets (key_id, id, position, hint, recoverable, custom, created_at, expires_at, digest, \
               pepper_version, hash_sealed, secret_sealed, argon2) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
               ON CONFLICT (key_id, id) DO UPDATE SET position = excluded.position, hint = excluded.hint, \
               recoverable = excluded.recoverable, custom = excluded.custom, created_at = excluded.created_at, \
               expires_at = excluded.expires_at, digest = excluded.digest, pepper_version = excluded.pepper_version, \
               hash_sealed = excluded.hash_sealed, secret_sealed = excluded.secret_sealed, argon2 = excluded.argon2";
    let material = secret.material.as_deref();
    let params = owned![
        Id(key.bits()),
        Id(secret.id.bits()),
        position,
        secret.hint.clone(),
        secret.recoverable,
        secret.custom,
        secret.created_at.unix_ms(),
        secret.expires_at.map(Timestamp::unix_ms),
        material.and_then(|material| material.digest).map(|digest| digest.0.to_vec()),
        material.map(|material| i64::from(material.pepper_version)),
        material.map(|material| sealed_blob(&material.hash_sealed)),
        material.and_then(|material| material.secret_sealed.as_ref()).map(sealed_blob),
        material.and_then(|material| material.argon2.clone()),
    ];
    Op::plain(sql, params)
}

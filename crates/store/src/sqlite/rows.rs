//! A key as rows: what lists filter by in columns, the rest as JSON, each secret in a row of its own.
//!
//! Each fact stands in one place, so a row cannot contradict itself; only the tables for lists by role, plan and label
//! repeat what `body` says, and the audit's verification compares them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::address::IpRange;
use keywright_model::admin::AdminRights;
use keywright_model::digest::Digest;
use keywright_model::grant::{Grant, ResourcePattern};
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, KeySecret, KeySpec, Revocation, Rights, SecretMaterial};
use keywright_model::limit::{Limit, Quota};
use keywright_model::noun::{Actor, Meta};
use keywright_model::revision::Version;
use keywright_model::time::Timestamp;
use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::value::{
    column, from_json, id_column, optional_time_column, parse, sealed_from, time_column, to_json, uncount,
};
use crate::StoreError;

/// The columns of [`key_from`], in its order.
pub(super) const KEY_COLUMNS: &str = "k.id, k.org_id, k.keyspace_id, k.number, k.kind, k.access_id, k.external_id, \
     k.name, k.owner_id, k.enabled, k.not_before, k.expires_at, k.revoked_at, k.deleted_at, k.created_at, k.created_by, \
     k.updated_at, k.updated_by, k.version, k.body";

/// The columns of [`secret_from`], in its order. `last_used_at` is bookkeeping and not among them.
pub(super) const SECRET_COLUMNS: &str = "s.key_id, s.position, s.id, s.hint, s.recoverable, s.custom, s.created_at, \
     s.expires_at, s.digest, s.pepper_version, s.hash_sealed, s.secret_sealed, s.argon2";

/// What of a key nobody filters by. What is not set is left out, since most keys set little.
#[derive(Serialize, Deserialize)]
struct KeyBody<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    roles: Cow<'a, [RoleId]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Cow<'a, [ResourcePattern]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_allowlist: Option<Cow<'a, [IpRange]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Cow<'a, [Grant]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin: Option<Cow<'a, AdminRights>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    limits: Cow<'a, [Limit]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Cow<'a, Quota>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    plans: Cow<'a, [PlanId]>,
    #[serde(default, skip_serializing_if = "no_labels")]
    labels: Cow<'a, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "no_metadata")]
    metadata: Cow<'a, Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_by: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

fn no_labels(labels: &BTreeMap<String, String>) -> bool {
    labels.is_empty()
}

fn no_metadata(metadata: &Map<String, Value>) -> bool {
    metadata.is_empty()
}

/// The JSON for a key's `body`.
pub(super) fn key_body(key: &Key) -> Result<String, StoreError> {
    // Taken apart by name, so that a new field stops the build until it has a place.
    let KeySpec {
        name: _,
        description,
        owner: _,
        roles,
        scope,
        enabled: _,
        not_before: _,
        expires_at: _,
        ip_allowlist,
        rights,
        limits,
        quota,
        plans,
        labels,
        metadata,
    } = &key.spec;
    let (grants, admin) = match rights {
        Rights::Api { grants } => (grants.as_deref(), None),
        Rights::Management { admin, grantable } => (Some(grantable.as_slice()), Some(admin)),
    };
    to_json(&KeyBody {
        description: description.as_deref().map(Cow::Borrowed),
        roles: Cow::Borrowed(roles),
        scope: scope.as_deref().map(Cow::Borrowed),
        ip_allowlist: ip_allowlist.as_deref().map(Cow::Borrowed),
        grants: grants.map(Cow::Borrowed),
        admin: admin.map(Cow::Borrowed),
        limits: Cow::Borrowed(limits),
        quota: quota.as_ref().map(Cow::Borrowed),
        plans: Cow::Borrowed(plans),
        labels: Cow::Borrowed(labels),
        metadata: Cow::Borrowed(metadata),
        revoked_by: key.revocation.as_ref().map(|revocation| revocation.by),
        reason: key
            .revocation
            .as_ref()
            .and_then(|revocation| revocation.reason.as_deref())
            .map(Cow::Borrowed),
    })
}

/// A key from its row, still without its secrets.
pub(super) fn key_from(row: &Row<'_>) -> Result<Key, StoreError> {
    KeyRow::read(row)?.into_key()
}

/// A key's row as it was read: what is left is parsing, which another thread can do.
pub(super) struct KeyRow {
    id: KeyId,
    org: OrgId,
    keyspace: KeyspaceId,
    number: u32,
    management: bool,
    access_id: Option<String>,
    external_id: Option<String>,
    name: String,
    owner: Option<PrincipalId>,
    enabled: bool,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    meta: Meta,
    body: String,
}

impl KeyRow {
    /// Takes the columns of [`KEY_COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let actor = |index| -> Result<Actor, StoreError> {
            parse(row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?, "actor")
        };
        Ok(Self {
            id: KeyId::from_bits(id_column(row, 0)?),
            org: OrgId::from_bits(id_column(row, 1)?),
            keyspace: KeyspaceId::from_bits(id_column(row, 2)?),
            number: column(row, 3)?,
            management: row.get_ref(4)?.as_bytes().map_err(rusqlite::Error::from)? == b"management",
            access_id: column(row, 5)?,
            external_id: column(row, 6)?,
            name: column(row, 7)?,
            owner: column::<Option<[u8; 16]>>(row, 8)?.map(u128::from_be_bytes).map(PrincipalId::from_bits),
            enabled: column(row, 9)?,
            not_before: optional_time_column(row, 10)?,
            expires_at: optional_time_column(row, 11)?,
            revoked_at: optional_time_column(row, 12)?,
            deleted_at: optional_time_column(row, 13)?,
            meta: Meta {
                created_at: time_column(row, 14)?,
                created_by: actor(15)?,
                updated_at: time_column(row, 16)?,
                updated_by: actor(17)?,
                version: Version(uncount(column(row, 18)?)),
            },
            body: column(row, 19)?,
        })
    }

    /// Parses the rest. The key's secrets are still missing.
    pub(super) fn into_key(self) -> Result<Key, StoreError> {
        let body: KeyBody<'_> = from_json(&self.body, "a key")?;
        let grants = body.grants.map(Cow::into_owned);
        let rights = match (self.management, body.admin) {
            (false, None) => Rights::Api { grants },
            (true, Some(admin)) => {
                Rights::Management { admin: admin.into_owned(), grantable: grants.unwrap_or_default() }
            }
            _ => return Err(StoreError::Corrupt(format!("{} is of another kind than its rights", self.id))),
        };
        let revocation = match (self.revoked_at, body.revoked_by) {
            (Some(at), Some(by)) => Some(Revocation { at, by, reason: body.reason.map(Cow::into_owned) }),
            (None, None) => None,
            _ => return Err(StoreError::Corrupt(format!("{} is half revoked", self.id))),
        };
        let spec = KeySpec {
            name: self.name,
            description: body.description.map(Cow::into_owned),
            owner: self.owner,
            roles: body.roles.into_owned(),
            scope: body.scope.map(Cow::into_owned),
            enabled: self.enabled,
            not_before: self.not_before,
            expires_at: self.expires_at,
            ip_allowlist: body.ip_allowlist.map(Cow::into_owned),
            rights,
            limits: body.limits.into_owned(),
            quota: body.quota.map(Cow::into_owned),
            plans: body.plans.into_owned(),
            labels: body.labels.into_owned(),
            metadata: body.metadata.into_owned(),
        };
        Ok(Key {
            id: self.id,
            number: self.number,
            org: self.org,
            keyspace: self.keyspace,
            access_id: self.access_id,
            external_id: self.external_id,
            spec,
            secrets: Vec::new(),
            revocation,
            deleted_at: self.deleted_at,
            meta: self.meta,
        })
    }
}

/// One secret and its place.
#[derive(Debug)]
pub(super) struct SecretRow {
    /// Its place among the key's secrets.
    pub(super) position: i64,
    /// The secret.
    pub(super) secret: KeySecret,
}

/// A secret from its row.
pub(super) fn secret_from(row: &Row<'_>) -> Result<SecretRow, StoreError> {
    let hash_sealed: Option<Vec<u8>> = column(row, 10)?;
    let material = match hash_sealed {
        None => None,
        Some(hash_sealed) => Some(Arc::new(SecretMaterial {
            digest: column::<Option<[u8; 32]>>(row, 8)?.map(Digest),
            pepper_version: column::<Option<u32>>(row, 9)?.unwrap_or_default(),
            hash_sealed: sealed_from(&hash_sealed)?,
            secret_sealed: column::<Option<Vec<u8>>>(row, 11)?.map(|blob| sealed_from(&blob)).transpose()?,
            argon2: column(row, 12)?,
        })),
    };
    Ok(SecretRow {
        position: column(row, 1)?,
        secret: KeySecret {
            id: SecretId::from_bits(id_column(row, 2)?),
            hint: column(row, 3)?,
            recoverable: column(row, 4)?,
            custom: column(row, 5)?,
            created_at: time_column(row, 6)?,
            expires_at: optional_time_column(row, 7)?,
            material,
        },
    })
}

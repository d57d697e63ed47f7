//! A key as rows: what lists filter by in columns, the rest as JSON, each secret in a row of its own.
//!
//! Each fact stands in one place, so a row cannot contradict itself; only the tables for lists by role, plan and label
//! repeat what `body` says, and the audit's verification compares them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use keywright_model::address::IpRange;
use keywright_model::admin::AdminRights;
use keywright_model::grant::{Grant, ResourcePattern};
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::{Key, KeySecret, KeySpec, Revocation, Rights};
use keywright_model::limit::{Limit, Quota};
use keywright_model::noun::{Actor, Meta};
use keywright_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::StoreError;
use crate::value::{from_json, to_json};

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
pub(crate) fn key_body(key: &Key) -> Result<String, StoreError> {
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

/// A key's row as it was read: what is left is parsing, which another thread can do.
pub(crate) struct KeyRow {
    pub(crate) id: KeyId,
    pub(crate) org: OrgId,
    pub(crate) keyspace: KeyspaceId,
    pub(crate) number: u32,
    pub(crate) management: bool,
    pub(crate) access_id: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) name: String,
    pub(crate) owner: Option<PrincipalId>,
    pub(crate) enabled: bool,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) meta: Meta,
    pub(crate) body: String,
}

impl KeyRow {
    /// Parses the rest. The key's secrets are still missing.
    pub(crate) fn into_key(self) -> Result<Key, StoreError> {
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
pub(crate) struct SecretRow {
    /// Its place among the key's secrets.
    pub(crate) position: i64,
    /// The secret.
    pub(crate) secret: KeySecret,
}

/// A key's row and those of its secrets.
pub(crate) struct RowsOfKey {
    pub(crate) key: KeyRow,
    pub(crate) secrets: Vec<Result<SecretRow, StoreError>>,
}

impl RowsOfKey {
    /// Makes the key of them.
    pub(crate) fn into_key(self) -> Result<Key, StoreError> {
        let mut secrets = self.secrets.into_iter().collect::<Result<Vec<_>, _>>()?;
        secrets.sort_by_key(|secret| secret.position);
        let mut key = self.key.into_key()?;
        key.secrets = secrets.into_iter().map(|secret| secret.secret).collect();
        Ok(key)
    }
}

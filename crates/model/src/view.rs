//! The nouns as api.md §2 shows them. REST answers with these, differences compare them, and `PUT` reads them back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::admin::{AdminRights, Reach};
use crate::id::{KeyspaceId, OrgId, SecretId};
use crate::key::{Key, KeySecret, Rights};
use crate::noun::{Keyspace, Meta, Org, Plan, Principal, Role};
use crate::time::Timestamp;

/// The names that a view shows in place of identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Organizations.
    pub orgs: BTreeMap<OrgId, String>,
    /// Keyspaces, with the organization of each.
    pub keyspaces: BTreeMap<KeyspaceId, (OrgId, String)>,
}

impl Names {
    /// The organization's name, or its identifier where the name is not at hand.
    pub fn org(&self, id: OrgId) -> String {
        self.orgs.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The keyspace's name, or its identifier where the name is not at hand.
    pub fn keyspace(&self, id: KeyspaceId) -> String {
        self.keyspaces.get(&id).map_or_else(|| id.to_string(), |(_, name)| name.clone())
    }

    /// A keyspace within a reach: by name only where that name cannot mean another one.
    fn keyspace_within(&self, id: KeyspaceId, orgs: &Reach<OrgId>) -> String {
        let named = self.keyspaces.get(&id).filter(|(org, _)| orgs.single() == Some(*org));
        named.map_or_else(|| id.to_string(), |(_, name)| name.clone())
    }
}

/// A key as clients see it at a moment.
pub fn key_view(
    key: &Key,
    names: &Names,
    last_used: &BTreeMap<SecretId, Timestamp>,
    now: Timestamp,
) -> Map<String, Value> {
    let spec = &key.spec;
    let mut view = object(json!({
        "id": key.id, "number": key.number, "org": names.org(key.org), "keyspace": names.keyspace(key.keyspace),
        "kind": spec.rights.kind(), "access_id": key.access_id,
        "name": spec.name, "description": spec.description, "external_id": key.external_id,
        "owner": spec.owner, "roles": spec.roles, "scope": spec.scope,
        "enabled": spec.enabled, "not_before": spec.not_before, "expires_at": spec.expires_at,
        "ip_allowlist": spec.ip_allowlist,
    }));
    match &spec.rights {
        Rights::Api { grants } => {
            view.insert("grants".to_owned(), json!(grants));
        }
        Rights::Management { admin, grantable } => {
            view.insert("admin".to_owned(), admin_view(admin, names));
            view.insert("grantable".to_owned(), json!(grantable));
        }
    }
    let revocation = key.revocation.as_ref();
    let secrets: Vec<Value> =
        key.secrets.iter().map(|secret| secret_view(key, secret, last_used, now)).collect();
    view.extend(object(json!({
        "limits": spec.limits, "quota": spec.quota, "plans": spec.plans, "labels": spec.labels, "metadata": spec.metadata,
        "state": key.state_at(now), "secrets": secrets,
        "revoked_at": revocation.map(|end| end.at), "revoked_by": revocation.map(|end| end.by),
        "revocation_reason": revocation.and_then(|end| end.reason.as_ref()),
        "last_used_at": key.secrets.iter().filter_map(|secret| last_used.get(&secret.id)).max(),
    })));
    view.extend(meta_view(&key.meta));
    view
}

fn secret_view(
    key: &Key,
    secret: &KeySecret,
    last_used: &BTreeMap<SecretId, Timestamp>,
    now: Timestamp,
) -> Value {
    json!({
        "id": secret.id, "hint": secret.hint, "status": key.secret_status_at(secret.id, now),
        "recoverable": secret.recoverable, "created_at": secret.created_at, "expires_at": secret.expires_at,
        "last_used_at": last_used.get(&secret.id),
    })
}

fn admin_view(admin: &AdminRights, names: &Names) -> Value {
    let orgs = match &admin.orgs {
        Reach::All => json!(["*"]),
        Reach::Only(ids) => ids.iter().map(|id| names.org(*id)).collect(),
    };
    let keyspaces = match &admin.keyspaces {
        Reach::All => json!(["*"]),
        Reach::Only(ids) => ids.iter().map(|id| names.keyspace_within(*id, &admin.orgs)).collect(),
    };
    json!({"actions": admin.actions, "orgs": orgs, "keyspaces": keyspaces})
}

/// An organization as clients see it.
pub fn org_view(org: &Org) -> Map<String, Value> {
    shown(json!({"id": org.id}), &org.spec, &org.meta)
}

/// A keyspace as clients see it.
pub fn keyspace_view(keyspace: &Keyspace, names: &Names) -> Map<String, Value> {
    shown(json!({"id": keyspace.id, "org": names.org(keyspace.org)}), &keyspace.spec, &keyspace.meta)
}

/// A principal as clients see it.
pub fn principal_view(principal: &Principal, names: &Names) -> Map<String, Value> {
    shown(json!({"id": principal.id, "org": names.org(principal.org)}), &principal.spec, &principal.meta)
}

/// A role as clients see it.
pub fn role_view(role: &Role, names: &Names) -> Map<String, Value> {
    shown(json!({"id": role.id, "number": role.number, "org": names.org(role.org)}), &role.spec, &role.meta)
}

/// A plan as clients see it.
pub fn plan_view(plan: &Plan, names: &Names) -> Map<String, Value> {
    shown(json!({"id": plan.id, "org": names.org(plan.org)}), &plan.spec, &plan.meta)
}

fn shown(identity: Value, spec: &impl serde::Serialize, meta: &Meta) -> Map<String, Value> {
    let mut view = object(identity);
    view.extend(object(json!(spec)));
    view.extend(meta_view(meta));
    view
}

fn meta_view(meta: &Meta) -> Map<String, Value> {
    let mut view = object(json!(meta));
    view.insert("etag".to_owned(), json!(meta.version.etag()));
    view
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

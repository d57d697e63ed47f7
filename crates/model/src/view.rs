//! The nouns as api.md §2 shows them. REST answers with these, differences compare them, and `PUT` reads them back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::admin::{AdminRights, Reach};
use crate::document::shape;
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
    key_fields(key, names, last_used, now, |_| true)
}

/// The fields of [`key_view`] that can be written.
pub fn writable_key_view(key: &Key, names: &Names, now: Timestamp) -> Map<String, Value> {
    let writable = shape(key.spec.rights.kind()).writable;
    key_fields(key, names, &BTreeMap::new(), now, |field| writable.contains(&field))
}

fn key_fields(
    key: &Key,
    names: &Names,
    last_used: &BTreeMap<SecretId, Timestamp>,
    now: Timestamp,
    is_wanted: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let spec = &key.spec;
    // Every write and every list shows keys: one map of the right size, filled once.
    let mut view = Map::with_capacity(KEY_FIELDS_MAX);
    let mut put = |name: &str, value: &dyn Fn() -> Value| {
        if is_wanted(name) {
            view.insert(name.to_owned(), value());
        }
    };
    put("id", &|| json!(key.id));
    put("number", &|| json!(key.number));
    put("org", &|| Value::String(names.org(key.org)));
    put("keyspace", &|| Value::String(names.keyspace(key.keyspace)));
    put("kind", &|| json!(spec.rights.kind()));
    put("access_id", &|| json!(key.access_id));
    put("name", &|| json!(spec.name));
    put("description", &|| json!(spec.description));
    put("external_id", &|| json!(key.external_id));
    put("owner", &|| json!(spec.owner));
    put("roles", &|| json!(spec.roles));
    put("scope", &|| json!(spec.scope));
    put("enabled", &|| json!(spec.enabled));
    put("not_before", &|| json!(spec.not_before));
    put("expires_at", &|| json!(spec.expires_at));
    put("ip_allowlist", &|| json!(spec.ip_allowlist));
    match &spec.rights {
        Rights::Api { grants } => put("grants", &|| json!(grants)),
        Rights::Management { admin, grantable } => {
            put("admin", &|| admin_view(admin, names));
            put("grantable", &|| json!(grantable));
        }
    }
    put("limits", &|| json!(spec.limits));
    put("quota", &|| json!(spec.quota));
    put("plans", &|| json!(spec.plans));
    put("labels", &|| json!(spec.labels));
    put("metadata", &|| Value::Object(spec.metadata.clone()));
    put("state", &|| json!(key.state_at(now)));
    put("secrets", &|| key.secrets.iter().map(|secret| secret_view(key, secret, last_used, now)).collect());
    let revocation = key.revocation.as_ref();
    put("revoked_at", &|| json!(revocation.map(|end| end.at)));
    put("revoked_by", &|| json!(revocation.map(|end| end.by)));
    put("revocation_reason", &|| json!(revocation.and_then(|end| end.reason.as_ref())));
    put("last_used_at", &|| json!(key.secrets.iter().filter_map(|secret| last_used.get(&secret.id)).max()));
    if is_wanted("etag") {
        put_meta(&mut view, &key.meta);
    }
    view
}

/// How many fields [`key_view`] has at most.
const KEY_FIELDS_MAX: usize = 36;

fn secret_view(
    key: &Key,
    secret: &KeySecret,
    last_used: &BTreeMap<SecretId, Timestamp>,
    now: Timestamp,
) -> Value {
    let mut view = Map::with_capacity(7);
    let mut put = |name: &str, value: Value| drop(view.insert(name.to_owned(), value));
    put("id", json!(secret.id));
    put("hint", json!(secret.hint));
    put("status", json!(key.secret_status_at(secret.id, now)));
    put("recoverable", json!(secret.recoverable));
    put("created_at", json!(secret.created_at));
    put("expires_at", json!(secret.expires_at));
    put("last_used_at", json!(last_used.get(&secret.id)));
    Value::Object(view)
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
    put_meta(&mut view, meta);
    view
}

fn put_meta(view: &mut Map<String, Value>, meta: &Meta) {
    let Meta { created_at, created_by, updated_at, updated_by, version } = meta;
    let mut put = |name: &str, value: Value| drop(view.insert(name.to_owned(), value));
    put("created_at", json!(created_at));
    put("created_by", json!(created_by));
    put("updated_at", json!(updated_at));
    put("updated_by", json!(updated_by));
    put("version", json!(version));
    put("etag", json!(version.etag()));
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

//! Changing a noun through its JSON: replace, merge (RFC 7396) and edit (RFC 6902), all on the noun as it is shown, so
//! that the three cannot disagree.
//!
//! An edit gives the noun's whole document anew. Its read-only fields must be what they were; the writable ones are
//! then decoded, every fault at once.

mod fields;
mod key;
mod nouns;

use serde_json::{Map, Value};

use crate::fault::Faults;

pub use fields::{Fields, LIMITS_MAX, METADATA_BYTES_MAX, PATTERNS_MAX, nearest};
pub use key::{
    ADDRESSES_MAX, KeyDraft, LABELS_MAX, NewKeyDraft, OwnerDraft, PLANS_MAX, ReachDraft, custom_secret,
    decode_key, decode_new_key, shape,
};
pub use nouns::{ROLES_MAX, decode_keyspace, decode_org, decode_plan, decode_principal, decode_role};

/// One change of a noun's document, as the client sent it.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// `PUT`: every writable field must be there.
    Replace(Map<String, Value>),
    /// `PATCH` with `application/merge-patch+json`: `null` clears, arrays are replaced whole.
    Merge(Map<String, Value>),
    /// `PATCH` with `application/json-patch+json`: at most [`OPERATIONS_MAX`] operations, all or none.
    Patch(json_patch::Patch),
}

/// How many operations an edit may have.
pub const OPERATIONS_MAX: usize = 100;

/// How large a document may grow while operations are applied, in bytes of JSON: `copy` could else double it a hundred times.
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// Which fields of a noun may be written.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Those that may, in the order in which they are shown.
    pub writable: &'static [&'static str],
}

impl Shape {
    /// An organization's.
    pub const ORG: Self = Self { writable: &["name"] };
    /// A keyspace's.
    pub const KEYSPACE: Self = Self {
        writable: &[
            "name",
            "secret_prefix",
            "recoverable_secrets",
            "allow_custom_secrets",
            "require_if_match",
            "max_staleness_seconds",
            "key_policy",
        ],
    };
    /// A principal's.
    pub const PRINCIPAL: Self = Self {
        writable: &["external_id", "kind", "name", "roles", "enabled", "limits", "quota", "metadata"],
    };
    /// A role's.
    pub const ROLE: Self = Self { writable: &["name", "grants"] };
    /// A plan's.
    pub const PLAN: Self = Self { writable: &["name", "limits", "quota"] };
    /// An API key's.
    pub const API_KEY: Self = Self {
        writable: &[
            "name",
            "description",
            "owner",
            "roles",
            "scope",
            "enabled",
            "not_before",
            "expires_at",
            "ip_allowlist",
            "grants",
            "limits",
            "quota",
            "plans",
            "labels",
            "metadata",
        ],
    };
    /// A management key's.
    pub const MANAGEMENT_KEY: Self = Self {
        writable: &[
            "name",
            "description",
            "owner",
            "roles",
            "scope",
            "enabled",
            "not_before",
            "expires_at",
            "ip_allowlist",
            "admin",
            "grantable",
            "limits",
            "quota",
            "plans",
            "labels",
            "metadata",
        ],
    };
}

/// Applies an edit to a noun's view and gives its writable fields, each present (`null` where it was cleared).
///
/// Faults: `missing_field` (replace), `unknown_field`, `read_only_field`, and those of a patch that cannot be applied.
pub fn edited(shape: Shape, view: &Map<String, Value>, edit: &Edit) -> Result<Map<String, Value>, Faults> {
    let mut faults = Faults::new();
    let after = match edit {
        Edit::Replace(body) => {
            for field in shape.writable.iter().filter(|field| !body.contains_key(**field)) {
                faults.add(
                    format!("/{field}"),
                    "missing_field",
                    "replacing needs every writable field; use PATCH to change some",
                );
            }
            body.clone()
        }
        Edit::Merge(patch) => {
            let mut document = Value::Object(view.clone());
            json_patch::merge(&mut document, &Value::Object(patch.clone()));
            into_object(document)?
        }
        Edit::Patch(patch) => patched(view, patch)?,
    };
    let mut writable = Map::new();
    for field in shape.writable {
        writable.insert((*field).to_owned(), after.get(*field).cloned().unwrap_or(Value::Null));
    }
    for (field, value) in after.iter().filter(|(field, _)| !shape.writable.contains(&field.as_str())) {
        match view.get(field) {
            Some(before) if before == value => {}
            Some(_) => faults.add(
                pointer(field),
                "read_only_field",
                "cannot be written; leave it out or send it back unchanged",
            ),
            None => {
                let known = shape.writable.iter().copied().chain(view.keys().map(String::as_str));
                faults.add(pointer(field), "unknown_field", unknown(field, known));
            }
        }
    }
    // A read-only field may be left out of a whole document, but not taken away by name.
    if !matches!(edit, Edit::Replace(_)) {
        for field in view
            .keys()
            .filter(|field| !after.contains_key(*field) && !shape.writable.contains(&field.as_str()))
        {
            // Clearing what is already null changes nothing.
            if view.get(field).is_some_and(|before| !before.is_null()) {
                faults.add(pointer(field), "read_only_field", "cannot be taken away");
            }
        }
    }
    faults.into_result().map(|()| writable)
}

fn patched(view: &Map<String, Value>, patch: &json_patch::Patch) -> Result<Map<String, Value>, Faults> {
    if patch.0.len() > OPERATIONS_MAX {
        return Err(Faults::one("", "too_many_operations", format!("at most {OPERATIONS_MAX} operations")));
    }
    let mut document = Value::Object(view.clone());
    for (index, operation) in patch.0.iter().enumerate() {
        let applied = json_patch::patch(&mut document, std::slice::from_ref(operation));
        if let Err(error) = applied {
            let test = matches!(error.kind, json_patch::PatchErrorKind::TestFailed);
            let code = if test { "patch_test_failed" } else { "invalid_patch" };
            return Err(Faults::one(format!("/{index}"), code, error.kind.to_string()));
        }
        if weight(&document) > DOCUMENT_BYTES_MAX {
            return Err(Faults::one(format!("/{index}"), "too_large", "the document grows too large"));
        }
    }
    into_object(document)
}

/// About how many bytes of JSON a value is, without writing it.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| weight(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter().map(|(name, value)| name.len() + weight(value) + 4).sum::<usize>() + 2
        }
    }
}

fn into_object(document: Value) -> Result<Map<String, Value>, Faults> {
    match document {
        Value::Object(map) => Ok(map),
        _ => Err(Faults::one("", "invalid_type", "the whole document must stay an object")),
    }
}

/// A JSON Pointer to a field by name (RFC 6901 §3).
pub fn pointer(field: &str) -> String {
    format!("/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// The words for a name that is not known.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(
        || "not a known field".to_owned(),
        |near| format!("not a known field; did you mean `{near}`?"),
    )
}

/// One field that differs between two views.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldChange {
    /// A JSON Pointer to the field; labels and metadata are compared entry by entry.
    pub path: String,
    /// Its value before.
    pub from: Value,
    /// Its value after.
    pub to: Value,
}

/// Fields that tell when and how often a noun was written, and so differ after every write.
const BOOKKEEPING: &[&str] = &["version", "etag", "updated_at", "updated_by", "last_used_at"];

/// The exact difference of two views of one noun, in the order in which the fields are shown. Pass an empty map for a noun
/// that does not exist.
pub fn field_changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let names = after.keys().chain(before.keys().filter(|name| !after.contains_key(*name)));
    for name in names.filter(|name| !BOOKKEEPING.contains(&name.as_str())) {
        let (from, to) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        match (from, to) {
            (Value::Object(from), Value::Object(to)) => {
                let inner = field_changes(from, to);
                changes.extend(
                    inner
                        .into_iter()
                        .map(|change| FieldChange { path: pointer(name) + &change.path, ..change }),
                );
            }
            _ if from != to => {
                changes.push(FieldChange { path: pointer(name), from: from.clone(), to: to.clone() })
            }
            _ => {}
        }
    }
    changes
}

//! Changing a noun through its JSON: replace, merge (RFC 7396) and edit (RFC 6902), all on the noun as it is shown, so
//! that the three cannot disagree.
//!
//! An edit gives the noun's whole document anew. Its read-only fields must be what they were; the writable ones are
//! then decoded, every fault at once. What `null` and absence mean:
//!
//! - In a creation an absent field has its default, and so has `null`, but for `grants`: absent is `[]`, `null` is
//!   what the owner's roles give. `null` is no boolean.
//! - A replacement must have every writable field; `null` then means what it means in a creation.
//! - A merge with `null` gives the field that `null`. Within labels and metadata it takes the entry away.
//! - A field that an edit removes is `null`, but `grants`, where that could give more than it takes: it is refused.

mod differences;
mod echo;
mod edits;
mod fields;
mod key;
mod nouns;
mod operations;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use differences::{FieldChange, field_changes};
pub use edits::{edited, edited_as};
pub use fields::{Fields, LIMITS_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, PATTERNS_MAX, nearest};
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

/// Which fields of a noun may be written.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Those that may, in the order in which they are shown.
    pub writable: &'static [&'static str],
    /// Those whose `null` gives rights, so that an edit must spell it and cannot just remove them.
    pub explicit: &'static [&'static str],
}

impl Shape {
    /// An organization's.
    pub const ORG: Self = Self { writable: &["name"], explicit: &[] };
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
        explicit: &[],
    };
    /// A principal's.
    pub const PRINCIPAL: Self = Self {
        writable: &["external_id", "kind", "name", "roles", "enabled", "limits", "quota", "metadata"],
        explicit: &[],
    };
    /// A role's.
    pub const ROLE: Self = Self { writable: &["name", "grants"], explicit: &[] };
    /// A plan's.
    pub const PLAN: Self = Self { writable: &["name", "limits", "quota"], explicit: &[] };
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
        explicit: &["grants"],
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
        explicit: &[],
    };
}

/// A JSON Pointer to a field by name (RFC 6901 §3).
pub fn pointer(field: &str) -> String {
    format!("/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// The words for a name that is not known.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    if let Some(words) = of_the_other_kind(name, &known) {
        return words.to_owned();
    }
    nearest(name, known.into_iter()).map_or_else(
        || "not a known field".to_owned(),
        |near| format!("not a known field; did you mean `{near}`?"),
    )
}

/// Says where a right belongs that a key of this kind does not have.
fn of_the_other_kind(name: &str, known: &[&str]) -> Option<&'static str> {
    match name {
        "grants" if known.contains(&"grantable") => Some(
            "a management key has no product grants: it has `admin`, and `grantable` for what it may hand out",
        ),
        "admin" | "grantable" if known.contains(&"grants") && known.contains(&"scope") => {
            Some("only a management key (`\"kind\":\"management\"`) has it; an API key has `grants`")
        }
        _ => None,
    }
}

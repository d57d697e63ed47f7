//! Decoding a key: its creation and the outcome of an edit.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::nouns::ROLES_MAX;
use super::{Fields, Shape};
use crate::address::{IpRange, IpRangeError};
use crate::admin::{AdminAction, AdminActionError, AdminActions, AdminRights, Reach};
use crate::fault::Faults;
use crate::grant::{PatternError, ResourcePattern};
use crate::key::{KeyKind, KeySpec, Rights};
use crate::secret::{Secret, is_access_id, is_custom};

/// How many addresses and networks an allowlist may hold.
pub const ADDRESSES_MAX: usize = 1_000;
/// How many plans a key may be bound to.
pub const PLANS_MAX: usize = 16;
/// How many labels a key may have.
pub const LABELS_MAX: usize = 32;

/// What a key shall be, as far as the body alone can say it: names are still to be looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDraft {
    /// All that needs no look-up. `owner` is `None`, and a management key's reach is nothing, until they are resolved.
    pub spec: KeySpec,
    /// Whom it shall belong to.
    pub owner: Option<OwnerDraft>,
    /// What a management key shall reach.
    pub reach: Option<ReachDraft>,
}

/// An owner as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerDraft {
    /// By identifier.
    Id(crate::id::PrincipalId),
    /// By the caller's own name; made if there is none.
    ExternalId(String),
}

/// Organizations and keyspaces as they were named: by identifier or name, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachDraft {
    /// Organizations.
    pub orgs: Vec<String>,
    /// Keyspaces.
    pub keyspaces: Vec<String>,
}

/// A key that shall be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewKeyDraft {
    /// Its writable state.
    pub draft: KeyDraft,
    /// Its keyspace by name or identifier; `None` means the caller's.
    pub keyspace: Option<String>,
    /// The public half of a key that signs requests.
    pub access_id: Option<String>,
    /// The caller's own name for it.
    pub external_id: Option<String>,
    /// A secret that the caller chose.
    pub secret: Option<Secret>,
}

const CREATION_ONLY: &[&str] = &["kind", "keyspace", "access_id", "external_id", "secret"];

/// What a key is shown with and no creation can say.
const SHOWN_ONLY: &[&str] = &[
    "id",
    "number",
    "org",
    "state",
    "secrets",
    "revoked_at",
    "revoked_by",
    "revocation_reason",
    "last_used_at",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "version",
    "etag",
];

/// Reads the body of a creation.
pub fn decode_new_key(map: &Map<String, Value>) -> Result<NewKeyDraft, Faults> {
    let mut faults = Faults::new();
    let kind = meant_kind(map);
    let known = shape(kind).writable.iter().chain(CREATION_ONLY);
    let shown = SHOWN_ONLY.iter().filter(|name| map.contains_key(**name));
    let known: Vec<&str> = known.chain(shown.clone()).copied().collect();
    let mut fields = Fields::new(map, "", &known, &mut faults);
    for name in shown {
        fields.fault(name, "read_only_field", "Keywright sets it; leave it out");
    }
    if !matches!(fields.text("kind"), None | Some("api" | "management")) {
        fields.fault("kind", "invalid_kind", "must be `api` or `management`");
    }
    let access_id = fields.text("access_id").map(str::to_owned);
    if access_id.as_deref().is_some_and(|id| !is_access_id(id)) {
        fields.fault("access_id", "invalid_access_id", "must be 5 to 50 of [A-Za-z0-9_-]");
    }
    let secret = custom_secret(&mut fields, "secret");
    if secret.is_some() && access_id.is_none() {
        fields.fault(
            "secret",
            "access_id_required",
            "a custom secret needs an access_id, since it is not unique",
        );
    }
    let new = NewKeyDraft {
        keyspace: fields.text("keyspace").map(str::to_owned),
        access_id,
        external_id: fields.printable("external_id", 255),
        secret,
        draft: draft(kind, &mut fields),
    };
    faults.into_result().map(|()| new)
}

/// The kind of key that a creation means, which decides what other fields it may have.
fn meant_kind(map: &Map<String, Value>) -> KeyKind {
    match map.get("kind").unwrap_or(&Value::Null) {
        Value::Null => KeyKind::Api,
        Value::String(kind) if kind == "api" => KeyKind::Api,
        Value::String(kind) if kind == "management" => KeyKind::Management,
        _ if map.contains_key("admin") => KeyKind::Management,
        _ => KeyKind::Api,
    }
}

/// Reads the writable fields of a key of a kind.
pub fn decode_key(kind: KeyKind, map: &Map<String, Value>) -> Result<KeyDraft, Faults> {
    let mut faults = Faults::new();
    let draft = draft(kind, &mut Fields::new(map, "", shape(kind).writable, &mut faults));
    faults.into_result().map(|()| draft)
}

/// Reads a secret that the caller chose: 10 to 50 of `[A-Za-z0-9_]`.
pub fn custom_secret(fields: &mut Fields<'_>, name: &str) -> Option<Secret> {
    let text = fields.text(name)?;
    if !is_custom(text) {
        fields.fault(name, "invalid_secret", "must be 10 to 50 of [A-Za-z0-9_]");
    }
    Some(Secret::new(text))
}

/// Which fields a kind of key has.
pub const fn shape(kind: KeyKind) -> Shape {
    match kind {
        KeyKind::Api => Shape::API_KEY,
        KeyKind::Management => Shape::MANAGEMENT_KEY,
    }
}

fn draft(kind: KeyKind, fields: &mut Fields<'_>) -> KeyDraft {
    let (rights, reach) = match kind {
        KeyKind::Api => (api_rights(fields), None),
        KeyKind::Management => management_rights(fields),
    };
    let owner = owner(fields);
    let spec = KeySpec {
        name: fields.required_label("name", 200),
        description: description(fields),
        owner: None,
        roles: fields.ids("roles", ROLES_MAX),
        scope: scope(fields),
        enabled: fields.flag("enabled", true),
        not_before: fields.time("not_before"),
        expires_at: fields.time("expires_at"),
        ip_allowlist: ip_allowlist(fields),
        rights,
        limits: fields.limits("limits"),
        quota: fields.quota("quota"),
        plans: fields.ids("plans", PLANS_MAX),
        labels: labels(fields),
        metadata: fields.metadata("metadata"),
    };
    if kind == KeyKind::Management {
        for (name, set) in [("roles", !spec.roles.is_empty()), ("scope", spec.scope.is_some())] {
            if set {
                fields.fault(
                    name,
                    "not_for_management",
                    "a management key has no product grants, so neither roles nor scope",
                );
            }
        }
    }
    if spec.not_before.zip(spec.expires_at).is_some_and(|(from, to)| to <= from) {
        fields.fault("expires_at", "invalid_validity", "must lie after not_before");
    }
    KeyDraft { spec, owner, reach }
}

fn description(fields: &mut Fields<'_>) -> Option<String> {
    // An empty description is no description: forms send it so.
    if fields.value("description").and_then(Value::as_str) == Some("") {
        None
    } else {
        fields.printable("description", 1_000)
    }
}

fn api_rights(fields: &mut Fields<'_>) -> Rights {
    // `null` has a meaning of its own (what the owner's roles give), so absent and null differ.
    let given = fields.value("grants").is_some() || !fields.has("grants");
    Rights::Api { grants: given.then(|| fields.grants("grants")) }
}

fn management_rights(fields: &mut Fields<'_>) -> (Rights, Option<ReachDraft>) {
    fields.required("admin");
    let admin = fields.nested("admin", &["actions", "orgs", "keyspaces"], |admin| {
        for name in ["actions", "orgs", "keyspaces"] {
            admin.required(name);
        }
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        let reach = ReachDraft {
            orgs: admin.parsed_list("orgs", ADDRESSES_MAX, "invalid_name", text),
            keyspaces: admin.parsed_list("keyspaces", ADDRESSES_MAX, "invalid_name", text),
        };
        (admin_actions(admin), reach)
    });
    let (actions, reach) = admin.unzip();
    let rights = Rights::Management {
        admin: AdminRights {
            actions: actions.unwrap_or_default(),
            orgs: Reach::nothing(),
            keyspaces: Reach::nothing(),
        },
        grantable: fields.grants("grantable"),
    };
    (rights, reach)
}

fn admin_actions(admin: &mut Fields<'_>) -> AdminActions {
    let parse = |text: &str| match text {
        "*" => Ok(Vec::new()),
        text => AdminAction::named(text).map_err(|error: AdminActionError| {
            let known = AdminAction::ALL.iter().map(|action| action.as_str());
            super::nearest(text, known)
                .map_or_else(|| error.to_string(), |near| format!("{error}; did you mean `{near}`?"))
        }),
    };
    let parsed = admin.parsed_list("actions", 100, "invalid_action", parse);
    AdminActions { all: parsed.iter().any(Vec::is_empty), listed: parsed.into_iter().flatten().collect() }
}

fn owner(fields: &mut Fields<'_>) -> Option<OwnerDraft> {
    match fields.value("owner")? {
        Value::String(id) => match id.parse() {
            Ok(id) => return Some(OwnerDraft::Id(id)),
            Err(error) => fields.fault("owner", "invalid_id", format!("{error}")),
        },
        Value::Object(_) => {
            let named = fields.nested("owner", &["external_id"], |owner| {
                owner.required("external_id");
                owner.printable("external_id", 255)
            });
            return named.flatten().map(OwnerDraft::ExternalId);
        }
        _ => fields.fault("owner", "invalid_type", "must be a principal's id or {\"external_id\": …}"),
    }
    None
}

fn scope(fields: &mut Fields<'_>) -> Option<Vec<ResourcePattern>> {
    fields.value("scope")?;
    fields.not_empty("scope", "must name at least one pattern; null is no scope");
    let parse = |text: &str| text.parse().map_err(|error: PatternError| (error.code(), error.to_string()));
    Some(fields.coded_list("scope", super::fields::PATTERNS_MAX, parse))
}

fn ip_allowlist(fields: &mut Fields<'_>) -> Option<Vec<IpRange>> {
    fields.value("ip_allowlist")?;
    fields.not_empty("ip_allowlist", "must name at least one address; null is anywhere");
    let parse = |text: &str| text.parse().map_err(|error: IpRangeError| error.to_string());
    Some(fields.parsed_list("ip_allowlist", ADDRESSES_MAX, "invalid_cidr", parse))
}

fn labels(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let Some(map) = fields.object("labels") else { return BTreeMap::new() };
    let mut labels = BTreeMap::new();
    if map.len() > LABELS_MAX {
        fields.fault("labels", "too_many", format!("at most {LABELS_MAX} labels"));
        return labels;
    }
    for (name, value) in map {
        let place = format!("labels{}", super::pointer(name));
        if !is_label_name(name) {
            fields.fault(
                &place,
                "invalid_label",
                "a label's name must match [A-Za-z0-9][A-Za-z0-9._/-]{0,62}",
            );
        }
        match value.as_str().map(crate::text::nfc) {
            Some(text) if text.chars().count() <= 255 && text.chars().all(crate::text::is_printable) => {
                labels.insert(name.clone(), text);
            }
            Some(_) => fields.fault(
                &place,
                "invalid_label",
                "a label's value must have at most 255 printable characters",
            ),
            None => fields.fault(&place, "invalid_type", "must be a text"),
        }
    }
    labels
}

fn is_label_name(name: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-');
    (1..=63).contains(&name.len())
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(rest)
}

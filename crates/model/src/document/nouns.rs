//! Decoding the writable fields of every noun but the key. Absent fields take their defaults, so one function reads a
//! creation and the outcome of an edit.

use serde_json::{Map, Value};

use super::{Fields, Shape};
use crate::fault::Faults;
use crate::noun::{KeyPolicy, KeyspaceSpec, OrgSpec, PlanSpec, PrincipalKind, PrincipalSpec, RoleSpec};
use crate::secret::is_prefix;

/// How many roles a key or principal may have.
pub const ROLES_MAX: usize = 100;

/// The longest life that a policy may allow: 100 years.
const LIFETIME_SECONDS_MAX: u64 = 100 * 366 * 86_400;

fn decoded<T>(
    map: &Map<String, Value>,
    shape: Shape,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<T, Faults> {
    let mut faults = Faults::new();
    let value = read(&mut Fields::new(map, "", shape.writable, &mut faults));
    faults.into_result().map(|()| value)
}

/// Reads an organization.
pub fn decode_org(map: &Map<String, Value>) -> Result<OrgSpec, Faults> {
    decoded(map, Shape::ORG, |fields| OrgSpec { name: fields.required_slug("name") })
}

/// Reads a keyspace.
pub fn decode_keyspace(map: &Map<String, Value>) -> Result<KeyspaceSpec, Faults> {
    decoded(map, Shape::KEYSPACE, |fields| {
        let secret_prefix = fields.text("secret_prefix").unwrap_or("kw").to_owned();
        if !is_prefix(&secret_prefix) {
            fields.fault("secret_prefix", "invalid_prefix", "must match [a-z][a-z0-9_]{0,10}");
        }
        let policy = fields.nested(
            "key_policy",
            &["require_expiry", "max_lifetime_seconds", "forbid_wildcards"],
            |policy| KeyPolicy {
                require_expiry: policy.flag("require_expiry", false),
                max_lifetime_seconds: policy.whole("max_lifetime_seconds", LIFETIME_SECONDS_MAX),
                forbid_wildcards: policy.flag("forbid_wildcards", false),
            },
        );
        KeyspaceSpec {
            name: fields.required_slug("name"),
            secret_prefix,
            recoverable_secrets: fields.flag("recoverable_secrets", false),
            allow_custom_secrets: fields.flag("allow_custom_secrets", false),
            require_if_match: fields.flag("require_if_match", false),
            max_staleness_seconds: fields
                .whole("max_staleness_seconds", 86_400)
                .and_then(|seconds| u32::try_from(seconds).ok()),
            key_policy: policy.unwrap_or_default(),
        }
    })
}

/// Reads a principal.
pub fn decode_principal(map: &Map<String, Value>) -> Result<PrincipalSpec, Faults> {
    decoded(map, Shape::PRINCIPAL, |fields| {
        let kind = match fields.text("kind") {
            Some("bot") => PrincipalKind::Bot,
            Some("user") | None => PrincipalKind::User,
            Some(_) => {
                fields.fault("kind", "invalid_kind", "must be `user` or `bot`");
                PrincipalKind::User
            }
        };
        PrincipalSpec {
            external_id: fields.printable("external_id", 255),
            kind,
            name: fields.label("name", 200),
            roles: fields.ids("roles", ROLES_MAX),
            enabled: fields.flag("enabled", true),
            limits: fields.limits("limits"),
            quota: fields.quota("quota"),
            metadata: fields.metadata("metadata"),
        }
    })
}

/// Reads a role.
pub fn decode_role(map: &Map<String, Value>) -> Result<RoleSpec, Faults> {
    decoded(map, Shape::ROLE, |fields| RoleSpec {
        name: fields.required_label("name", 200),
        grants: fields.grants("grants"),
    })
}

/// Reads a plan.
pub fn decode_plan(map: &Map<String, Value>) -> Result<PlanSpec, Faults> {
    decoded(map, Shape::PLAN, |fields| PlanSpec {
        name: fields.required_label("name", 200),
        limits: fields.limits("limits"),
        quota: fields.quota("quota"),
    })
}

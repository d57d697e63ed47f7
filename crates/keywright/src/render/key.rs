//! Keys and verdicts for people.

use keywright_client::{Key, OwnGrants, Verdict};
use keywright_model::time::Timestamp;

use super::age::{age_of, moment};
use super::table::{Cell, Tone, fields, fitted};
use crate::output::Paint;
use crate::parse::grant::show_grant;
use crate::parse::limit::{show_limit, show_quota};

/// How a text is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The moment that ages are counted from.
    pub now: Timestamp,
    /// How wide it may be.
    pub width: Option<u16>,
    /// Whether it is coloured.
    pub paint: Paint,
}

/// A list of keys.
pub(crate) fn keys(keys: &[Key], layout: Layout) -> String {
    let headers = ["id", "number", "name", "state", "keyspace", "secret", "expires", "last used", "labels"];
    let rows = keys.iter().map(|key| {
        let hint =
            key.secrets.last().and_then(|secret| secret.hint.clone()).unwrap_or_else(|| "-".to_owned());
        vec![
            key.id.as_str().into(),
            key.number.to_string().into(),
            key.name.as_str().into(),
            Cell::state(&key.state),
            key.keyspace.as_str().into(),
            hint.into(),
            key.expires_at
                .as_deref()
                .map_or_else(|| "never".to_owned(), |at| age_of(Some(at), layout.now))
                .into(),
            key.last_used_at
                .as_deref()
                .map_or_else(|| "never".to_owned(), |at| age_of(Some(at), layout.now))
                .into(),
            joined(key.labels.iter().map(|(name, value)| format!("{name}={value}")), " ").into(),
        ]
    });
    let expendable = ["labels", "keyspace", "last used", "number", "secret", "expires"];
    fitted(&headers, rows.collect(), &expendable, layout.width, layout.paint.on)
}

/// One key, a field a line; what is not set is left out.
pub(crate) fn key(key: &Key, layout: Layout) -> String {
    let mut rows: Vec<(&str, Cell)> = vec![
        ("id", key.id.as_str().into()),
        ("number", key.number.to_string().into()),
        ("name", key.name.as_str().into()),
        ("state", Cell::state(&key.state)),
        ("kind", key.kind.as_str().into()),
        ("place", format!("{} / {}", key.org, key.keyspace).into()),
    ];
    let mut some = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push((name, value.into()));
        }
    };
    some("description", key.description.clone());
    some("access id", key.access_id.clone());
    some("external id", key.external_id.clone());
    some("owner", key.owner.clone());
    some("roles", Some(key.roles.join("\n")));
    some("scope", key.scope.as_ref().map(|scope| scope.join("\n")));
    some("not before", key.not_before.as_deref().map(|at| moment(Some(at), layout.now)));
    some(
        "expires",
        Some(key.expires_at.as_deref().map_or_else(|| "never".to_owned(), |at| moment(Some(at), layout.now))),
    );
    some(
        "addresses",
        Some(key.ip_allowlist.as_ref().map_or_else(|| "any".to_owned(), |list| list.join("\n"))),
    );
    some("grants", grants(key));
    some(
        "admin",
        key.admin.as_ref().map(|admin| {
            format!(
                "{} in {} / {}",
                admin.actions.join(", "),
                admin.orgs.join(", "),
                admin.keyspaces.join(", ")
            )
        }),
    );
    some("may hand out", key.grantable.as_ref().map(|grants| joined(grants.iter().map(show_grant), "\n")));
    some("limits", Some(key.limits.iter().map(show_limit).collect::<Vec<_>>().join("\n")));
    some("quota", key.quota.as_ref().map(show_quota));
    some("plans", Some(key.plans.join("\n")));
    some(
        "labels",
        Some(key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")),
    );
    some(
        "metadata",
        (!key.metadata.is_empty()).then(|| serde_json::Value::from(key.metadata.clone()).to_string()),
    );
    some("secrets", Some(secrets(key, layout.now)));
    some("revoked", key.revoked_at.as_deref().map(|at| revoked(key, at, layout.now)));
    some(
        "last used",
        Some(
            key.last_used_at.as_deref().map_or_else(|| "never".to_owned(), |at| moment(Some(at), layout.now)),
        ),
    );
    some("created", Some(format!("{} by {}", moment(Some(&key.created_at), layout.now), key.created_by)));
    some("updated", Some(format!("{} by {}", moment(Some(&key.updated_at), layout.now), key.updated_by)));
    some("version", Some(key.version.to_string()));
    fields(rows, layout.width, layout.paint.on)
}

fn grants(key: &Key) -> Option<String> {
    match &key.grants {
        OwnGrants::Absent => None,
        OwnGrants::OfOwner => Some("what the owner's roles give".to_owned()),
        OwnGrants::Listed(grants) => Some(joined(grants.iter().map(show_grant), "\n")),
    }
}

fn secrets(key: &Key, now: Timestamp) -> String {
    let lines = key.secrets.iter().map(|secret| {
        let hint = secret.hint.as_deref().unwrap_or("custom");
        let status = secret.status.as_deref().unwrap_or("-");
        let ends = secret.expires_at.as_deref().filter(|_| status != "ended");
        let ends = ends.map(|at| format!(", ends {}", age_of(Some(at), now))).unwrap_or_default();
        let kept = if secret.recoverable { ", recoverable" } else { "" };
        format!(
            "{} {hint} {status}{ends}{kept}, used {}",
            secret.id,
            secret.last_used_at.as_deref().map_or_else(|| "never".to_owned(), |at| age_of(Some(at), now))
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn revoked(key: &Key, at: &str, now: Timestamp) -> String {
    let by = key.revoked_by.as_deref().unwrap_or("-");
    let why = key.revocation_reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} by {by}{why}", moment(Some(at), now))
}

fn joined(items: impl Iterator<Item = String>, between: &str) -> String {
    let joined = items.collect::<Vec<_>>().join(between);
    if joined.is_empty() { "-".to_owned() } else { joined }
}

/// A verdict: the answer with its reason on the first line, then what it says about the key.
pub(crate) fn verdict(verdict: &Verdict, layout: Layout) -> String {
    let detail = verdict.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let first = if verdict.allowed {
        layout.paint.green("allowed")
    } else {
        format!("{} {}{detail}", layout.paint.red("denied:"), verdict.code)
    };
    let mut rows: Vec<(&str, Cell)> = Vec::new();
    let mut some = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            rows.push((name, value.into()));
        }
    };
    some("key", verdict.key_id.clone());
    some(
        "place",
        verdict
            .org
            .as_ref()
            .zip(verdict.keyspace.as_ref())
            .map(|(org, keyspace)| format!("{org} / {keyspace}")),
    );
    some(
        "owner",
        verdict.owner.as_ref().map(|owner| owner.external_id.clone().unwrap_or_else(|| owner.id.clone())),
    );
    some(
        "permission",
        verdict.authorized.map_or_else(|| verdict.allowed.then(|| "not asked".to_owned()), |_| None),
    );
    some("secret", verdict.secret_status.clone());
    some("expires", verdict.expires_at.as_deref().map(|at| moment(Some(at), layout.now)));
    for limit in &verdict.limits {
        some("limit", Some(format!("{}: {} of {} left", limit.name, limit.remaining, limit.max)));
    }
    some("quota", verdict.quota.as_ref().map(|quota| format!("{} of {} left", quota.remaining, quota.max)));
    if verdict.current == Some(false) {
        let age = verdict.age_ms.unwrap_or_default();
        rows.push((
            "state",
            Cell::new(format!("{age} ms old: this node has lost contact with its store"), Tone::Notable),
        ));
    }
    if rows.is_empty() { first } else { format!("{first}\n{}", fields(rows, layout.width, layout.paint.on)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Key {
        serde_json::from_value(json!({"id":"key_1","number":7,"org":"default","keyspace":"default","kind":"api",
            "access_id":null,"name":"gps uploader","description":null,"external_id":null,"owner":null,"roles":[],
            "scope":null,"enabled":true,"not_before":null,"expires_at":"2027-01-01T00:00:00Z","ip_allowlist":null,
            "grants":[{"effect":"allow","actions":["get"],"resources":["devices/7/**"]}],
            "limits":[{"name":"burst","max":100,"per_seconds":1}],"quota":null,"plans":[],"labels":{"team":"fleet"},
            "metadata":{},"state":"active","secrets":[{"id":"sec_1","hint":"kw_…x7Qa","status":"current",
            "recoverable":false,"created_at":"2026-11-22T00:00:00Z","expires_at":null,"last_used_at":null}],
            "revoked_at":null,"revoked_by":null,"revocation_reason":null,"last_used_at":null,
            "created_at":"2026-11-22T00:00:00Z","created_by":"root","updated_at":"2026-11-22T00:00:00Z",
            "updated_by":"root","version":1,"etag":"\"1\""})).unwrap()
    }

    fn layout() -> Layout {
        Layout { now: "2026-11-25T00:00:00Z".parse().unwrap(), width: None, paint: Paint { on: false } }
    }

    #[test]
    fn a_list_of_keys_is_a_table() {
        assert_eq!(
            keys(&[sample()], layout()),
            "\
ID     NUMBER  NAME          STATE   KEYSPACE  SECRET    EXPIRES  LAST USED  LABELS
key_1  7       gps uploader  active  default   kw_…x7Qa  in 37 d  never      team=fleet"
        );
    }

    #[test]
    fn a_key_is_a_field_a_line() {
        assert_eq!(
            key(&sample(), layout()),
            "\
id         key_1
number     7
name       gps uploader
state      active
kind       api
place      default / default
expires    2027-01-01T00:00:00Z (in 37 d)
addresses  any
grants     get on devices/7/**
limits     burst=100/1s
labels     team=fleet
secrets    sec_1 kw_…x7Qa current, used never
last used  never
created    2026-11-22T00:00:00Z (3 d ago) by root
updated    2026-11-22T00:00:00Z (3 d ago) by root
version    1"
        );
    }

    #[test]
    fn a_verdict_begins_with_its_reason() {
        let denied: Verdict =
            serde_json::from_value(json!({"allowed":false,"code":"insufficient_permission",
            "detail":"no grant covers put on devices/7","authorized":false,"key_id":"key_1","org":"default",
            "keyspace":"default","owner":{"id":"prn_1","external_id":"user_42"},"secret_status":"current"}))
            .unwrap();
        assert_eq!(
            verdict(&denied, layout()),
            "\
denied: insufficient_permission: no grant covers put on devices/7
key     key_1
place   default / default
owner   user_42
secret  current"
        );
        let unknown: Verdict =
            serde_json::from_value(json!({"allowed":false,"code":"not_found","authorized":null})).unwrap();
        assert_eq!(verdict(&unknown, layout()), "denied: not_found");
        let good: Verdict = serde_json::from_value(json!({"allowed":true,"code":"allowed","authorized":null,
            "limits":[{"name":"burst","max":100,"remaining":42,"reset_ms":310}],"current":false,"age_ms":4000})).unwrap();
        assert_eq!(
            verdict(&good, layout()),
            "\
allowed
permission  not asked
limit       burst: 42 of 100 left
state       4000 ms old: this node has lost contact with its store"
        );
    }
}

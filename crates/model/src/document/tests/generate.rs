//! Random keys as people make them.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::address::IpRange;
use crate::admin::{AdminAction, AdminActions, AdminRights, Reach};
use crate::grant::{Effect, Grant, ResourcePattern};
use crate::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use crate::key::{Key, KeyKind, KeySecret, KeySpec, Rights};
use crate::limit::{LIMIT_MAX, Limit, PER_SECONDS_MAX, Period, Quota};
use crate::noun::{Actor, Meta};
use crate::text::nfc;
use crate::time::Timestamp;

/// The middle of 2026.
const NOW_MS: i64 = 1_780_000_000_000;

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS)
}

/// Any JSON, a few levels deep, with names that documents have.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(&["", "api", "management", "10.0.0.0/8", "2027-01-01T00:00:00Z", "**", "a~b/c", "\0"][..])
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof![select(NAMES).prop_map(str::to_owned), any::<String>()];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((name, inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Names of fields, known and not.
const NAMES: &[&str] = &[
    "kind",
    "name",
    "owner",
    "external_id",
    "roles",
    "scope",
    "enabled",
    "not_before",
    "expires_at",
    "grants",
    "effect",
    "actions",
    "resources",
    "limits",
    "max",
    "per_seconds",
    "quota",
    "period",
    "time_zone",
    "labels",
    "metadata",
    "admin",
    "orgs",
    "grantable",
    "secret",
    "id",
    "state",
    "version",
    "~",
    "/",
    "",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z ]{0,20}",
        select(&["gps uploader", "café", "ключ", "鍵", "🔑 rotated", "a/b~c"][..]).prop_map(str::to_owned),
    ]
    .prop_map(|text| nfc(&text))
}

fn entry_name() -> impl Strategy<Value = String> {
    select(&["team", "env", "a/b", "version", "etag", "updated_at", "cost.center"][..])
        .prop_map(str::to_owned)
}

/// Notes without `null` members, which a merge cannot write.
fn notes() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1_000_i64..1_000).prop_map(Value::from),
        Just(json!([null, {"a": null}])),
        text().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        btree_map(entry_name(), inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect()))
    });
    btree_map(entry_name(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn ids<T: std::fmt::Debug>(make: fn(i64, u128) -> T) -> impl Strategy<Value = Vec<T>> {
    btree_set(0_u128..6, 0..4).prop_map(move |bits| bits.into_iter().map(|bits| make(1, bits)).collect())
}

fn resource() -> impl Strategy<Value = ResourcePattern> {
    select(&["**", "*", "devices/7/**", "devices/*/gps", "projects/ü", "a"][..])
        .prop_map(|text| text.parse().unwrap())
}

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let action = select(&["*", "get", "orders.*", "orders.read", "a:b-c_D.9"][..]);
    let grant = (any::<bool>(), vec(action, 1..3), vec(resource(), 1..3));
    vec(grant, 0..3).prop_map(|grants| {
        let grant = |(allow, actions, resources): (bool, Vec<&str>, Vec<ResourcePattern>)| Grant {
            effect: if allow { Effect::Allow } else { Effect::Deny },
            actions: actions.into_iter().map(|action| action.parse().unwrap()).collect(),
            resources,
        };
        grants.into_iter().map(grant).collect()
    })
}

fn distinct<T: Clone + Ord + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Vec<T>>> {
    option::of(btree_set(values, 1..4).prop_map(|set| set.into_iter().collect()))
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let amounts = (1..=LIMIT_MAX, 1..=PER_SECONDS_MAX);
    btree_map(select(&["burst", "daily", "a-1_b"][..]), amounts, 0..3).prop_map(|limits| {
        let limit = |(name, (max, per_seconds)): (&str, _)| Limit { name: name.to_owned(), max, per_seconds };
        limits.into_iter().map(limit).collect()
    })
}

fn quota() -> impl Strategy<Value = Option<Quota>> {
    let period = select(&[Period::None, Period::Day, Period::Week, Period::Month][..]);
    let zone = select(&["UTC", "Europe/Berlin", "Asia/Shanghai"][..]);
    option::of((1..=LIMIT_MAX, period, zone).prop_map(|(max, period, zone)| Quota {
        max,
        period,
        time_zone: zone.to_owned(),
    }))
}

fn rights(kind: KeyKind) -> BoxedStrategy<Rights> {
    match kind {
        KeyKind::Api => option::of(grants()).prop_map(|grants| Rights::Api { grants }).boxed(),
        KeyKind::Management => {
            let actions = (any::<bool>(), btree_set(select(AdminAction::ALL), 0..4));
            let orgs = option::of(btree_set((0_u128..5).prop_map(|bits| OrgId::new(1, bits)), 0..3));
            let keyspaces =
                option::of(btree_set((0_u128..5).prop_map(|bits| KeyspaceId::new(1, bits)), 0..3));
            (actions, orgs, keyspaces, grants())
                .prop_map(|((all, listed), orgs, keyspaces, grantable)| Rights::Management {
                    admin: AdminRights {
                        actions: AdminActions { all, listed },
                        orgs: orgs.map_or(Reach::All, Reach::Only),
                        keyspaces: keyspaces.map_or(Reach::All, Reach::Only),
                    },
                    grantable,
                })
                .boxed()
        }
    }
}

/// A writable state of a key of a kind.
pub(super) fn spec(kind: KeyKind) -> impl Strategy<Value = KeySpec> {
    let api = kind == KeyKind::Api;
    let words =
        (text(), option::of(text()), option::of((0_u128..4).prop_map(|bits| PrincipalId::new(1, bits))));
    let validity = (any::<bool>(), option::of(0_i64..1_000), option::of(1_000_i64..9_000));
    let bound = (ids(RoleId::new), distinct(resource()), ids(PlanId::new));
    let range = select(&["10.0.0.0/8", "127.0.0.1", "2001:db8::/32", "172.16.0.0/12"][..]);
    let from = distinct(range.prop_map(|text| text.parse::<IpRange>().unwrap()));
    let notes = (btree_map(entry_name(), text(), 0..4), notes());
    (words, validity, bound, from, rights(kind), limits(), quota(), notes).prop_map(
        move |(words, validity, bound, ip_allowlist, rights, limits, quota, (labels, metadata))| {
            let moment = |seconds: i64| now().plus_ms((seconds - 2_000) * 1_000);
            KeySpec {
                name: words.0,
                description: words.1,
                owner: words.2,
                roles: if api { bound.0 } else { vec![] },
                scope: bound.1.filter(|_| api),
                enabled: validity.0,
                not_before: validity.1.map(moment),
                expires_at: validity.2.map(moment),
                ip_allowlist,
                rights,
                limits,
                quota,
                plans: bound.2,
                labels,
                metadata,
            }
        },
    )
}

/// A key with some secrets, older than now.
pub(super) fn key(kind: KeyKind) -> impl Strategy<Value = Key> {
    (spec(kind), 0_u128..4, option::of(text()), any::<bool>()).prop_map(
        |(spec, secrets, external_id, signs)| {
            let at = now().plus_ms(-86_400_000);
            let secret = |n| KeySecret {
                id: SecretId::new(1, n),
                hint: Some("kw_…x7Qa".to_owned()),
                recoverable: false,
                custom: false,
                created_at: at,
                expires_at: (n + 1 < secrets).then_some(now()),
                material: None,
            };
            Key {
                id: KeyId::new(1, 1),
                number: 7,
                org: OrgId::new(1, 1),
                keyspace: KeyspaceId::new(1, 1),
                access_id: signs.then(|| "AKID1".to_owned()),
                external_id,
                spec,
                secrets: (0..secrets).map(secret).collect(),
                revocation: None,
                deleted_at: None,
                meta: Meta::new(at, Actor::Root),
            }
        },
    )
}

/// A key's document.
pub(super) fn shown(key: &Key, used: Option<Timestamp>, now: Timestamp) -> Map<String, Value> {
    let last_used: BTreeMap<SecretId, Timestamp> =
        key.secrets.iter().filter_map(|secret| Some((secret.id, used?))).collect();
    crate::view::key_view(key, &crate::view::Names::default(), &last_used, now)
}

pub(super) fn kind() -> impl Strategy<Value = KeyKind> {
    select(&[KeyKind::Api, KeyKind::Api, KeyKind::Management][..])
}

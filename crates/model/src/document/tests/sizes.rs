//! Every size and form of api.md §2, just inside and just outside.

use serde_json::{Map, Value, json};

use super::{map, told};
use crate::document::*;
use crate::fault::Faults;

type Decode = fn(&Map<String, Value>) -> Result<(), Faults>;

const KEY: Decode = |body| decode_new_key(body).map(drop);
const WITH_ACCESS_ID: Decode = |body| {
    let mut body = body.clone();
    body.insert("access_id".to_owned(), json!("AKID1"));
    decode_new_key(&body).map(drop)
};
const KEYSPACE: Decode = |body| decode_keyspace(body).map(drop);
const PRINCIPAL: Decode = |body| decode_principal(body).map(drop);
const ROLE: Decode = |body| decode_role(body).map(drop);
const PLAN: Decode = |body| decode_plan(body).map(drop);
const ORG: Decode = |body| decode_org(body).map(drop);

/// Each value of `inside` is accepted in a body that else is right; `outside` has exactly this fault.
#[track_caller]
fn check(decode: Decode, field: &str, inside: Vec<Value>, outside: Vec<(Value, &str, &str)>) {
    let body = |value: Value| {
        let mut body = map(json!({"name": "k"}));
        body.insert(field.to_owned(), value);
        body
    };
    for value in inside {
        let outcome = decode(&body(value.clone()));
        assert!(outcome.is_ok(), "{field} must accept {}: {}", short(&value), outcome.unwrap_err());
    }
    for (value, pointer, code) in outside {
        let faults = decode(&body(value.clone()))
            .expect_err(&format!("{field} must refuse {}, {code}", short(&value)));
        assert_eq!(told(&faults), [(pointer, code)], "{field}: {}", short(&value));
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

fn letters(count: usize) -> Value {
    json!("x".repeat(count))
}

fn addresses(count: usize) -> Value {
    (0..count).map(|n| json!(format!("10.0.{}.{}", n / 256, n % 256))).collect()
}

/// Grants with this many patterns of resources in all.
fn grants(patterns: usize) -> Value {
    let grant = |count: usize| {
        let resources: Vec<String> = (0..count).map(|n| format!("devices/{n}")).collect();
        json!({"effect": "allow", "actions": ["get"], "resources": resources})
    };
    json!([grant(400), grant(500), grant(patterns - 900)])
}

/// A grant with this many patterns of actions.
fn granted_actions(patterns: usize) -> Value {
    let actions: Vec<String> = (0..patterns).map(|n| format!("do.{n}")).collect();
    json!([{"effect": "allow", "actions": actions, "resources": ["a"]}])
}

fn limits(count: usize) -> Value {
    (0..count).map(|n| json!({"name": format!("limit-{n}"), "max": 1, "per_seconds": 1})).collect()
}

fn ids(prefix: &str, count: usize) -> Value {
    (0..count).map(|n| json!(format!("{prefix}{n:026}"))).collect()
}

fn labels(count: usize) -> Value {
    Value::Object((0..count).map(|n| (format!("label{n}"), json!("x"))).collect())
}

fn label(name: usize, value: &str) -> Value {
    json!({"x".repeat(name): value})
}

/// Metadata of so many bytes of JSON.
fn metadata(bytes: usize) -> Value {
    json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())})
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

#[test]
fn texts_for_people_have_their_lengths_in_characters() {
    let long = |pointer, max: usize| {
        vec![
            (letters(max + 1), pointer, "invalid_length"),
            (json!("ü".repeat(max + 1)), pointer, "invalid_length"),
            (json!("a\0b"), pointer, "invalid_character"),
            (json!("a\u{202e}b"), pointer, "invalid_character"),
            (json!("a\nb"), pointer, "invalid_character"),
            (json!(5), pointer, "invalid_type"),
        ]
    };
    // Counted after normalisation: 200 times e and an accent are 200 characters.
    let fits = |max: usize| {
        vec![letters(max), json!("ü".repeat(max)), json!("🔑".repeat(max)), json!("e\u{301}".repeat(max))]
    };
    check(
        KEY,
        "description",
        [fits(1_000), vec![json!(""), json!(null)]].concat(),
        long("/description", 1_000),
    );
    check(KEY, "external_id", fits(255), long("/external_id", 255));
    for decode in [KEY, ROLE, PLAN, PRINCIPAL] {
        let empty = vec![
            (json!(""), "/name", "invalid_length"),
            (json!(" "), "/name", "blank"),
            (json!("\u{200b}\u{3000}"), "/name", "blank"),
        ];
        check(
            decode,
            "name",
            [fits(200), vec![letters(1), json!(" a ")]].concat(),
            [long("/name", 200), empty].concat(),
        );
    }
    let none = |code| vec![(json!(null), "/name", code)];
    check(KEY, "name", vec![], none("missing_field"));
    check(PRINCIPAL, "name", vec![json!(null)], vec![]);
    check(PRINCIPAL, "external_id", fits(255), long("/external_id", 255));
}

#[test]
fn names_of_organizations_and_keyspaces_are_slugs() {
    for decode in [ORG, KEYSPACE] {
        let outside =
            [letters(64), json!(""), json!("1a"), json!("-a"), json!("A"), json!("a b"), json!("ü")];
        // Blank and invisible ones among them, as for the nouns above.
        let unseen = [json!(" "), json!("\u{200b}"), json!("a\u{200b}"), json!("a\u{3164}")];
        let outside =
            outside.into_iter().chain(unseen).map(|value| (value, "/name", "invalid_name")).collect();
        check(decode, "name", vec![json!("a"), json!("a-b_1"), letters(63)], outside);
        let wrong = vec![(json!(5), "/name", "invalid_type"), (json!(null), "/name", "missing_field")];
        check(decode, "name", vec![], wrong);
    }
}

#[test]
fn access_ids_custom_secrets_and_prefixes_have_their_forms() {
    let refused = |values: Vec<Value>, at, code| values.into_iter().map(|value| (value, at, code)).collect();
    check(
        KEY,
        "access_id",
        vec![letters(5), letters(50), json!("AKID-x_1")],
        refused(
            vec![letters(4), letters(51), json!("AKID x1"), json!("ключи")],
            "/access_id",
            "invalid_access_id",
        ),
    );
    check(
        WITH_ACCESS_ID,
        "secret",
        vec![letters(10), letters(50), json!("a_Z0123456")],
        refused(vec![letters(9), letters(51), json!("abcdefghi-k")], "/secret", "invalid_secret"),
    );
    check(KEY, "secret", vec![], refused(vec![letters(10)], "/secret", "access_id_required"));
    check(
        KEYSPACE,
        "secret_prefix",
        vec![json!("a"), json!("a_345678901")],
        refused(vec![json!("a23456789012"), json!("1a"), json!("")], "/secret_prefix", "invalid_prefix"),
    );
}

#[test]
fn lists_end_at_their_sizes() {
    let over = |value: Value, at, code| vec![(value, at, code)];
    check(
        KEY,
        "ip_allowlist",
        vec![addresses(1), addresses(1_000), json!(null)],
        vec![
            (addresses(1_001), "/ip_allowlist", "too_many"),
            (json!([]), "/ip_allowlist", "empty"),
            (json!(["10.0.0.0/8", "10.0.0.1/8"]), "/ip_allowlist/1", "invalid_cidr"),
            (json!(["10.0.0.1", "10.0.0.1/32"]), "/ip_allowlist/1", "duplicate"),
            (json!("10.0.0.1"), "/ip_allowlist", "invalid_type"),
        ],
    );
    check(KEY, "limits", vec![limits(0), limits(16)], over(limits(17), "/limits", "too_many"));
    check(PLAN, "limits", vec![limits(16)], over(limits(17), "/limits", "too_many"));
    check(PRINCIPAL, "limits", vec![limits(16)], over(limits(17), "/limits", "too_many"));
    check(
        KEY,
        "plans",
        vec![ids("plan_", 16)],
        vec![
            (ids("plan_", 17), "/plans", "too_many"),
            (
                json!(["plan_00000000000000000000000001", "plan_00000000000000000000000001"]),
                "/plans/1",
                "duplicate",
            ),
            (json!(["role_00000000000000000000000001"]), "/plans/0", "invalid_id"),
        ],
    );
    for decode in [KEY, PRINCIPAL] {
        check(decode, "roles", vec![ids("role_", 100)], over(ids("role_", 101), "/roles", "too_many"));
    }
}

#[test]
fn grants_hold_a_thousand_patterns_in_all() {
    for decode in [KEY, ROLE] {
        check(
            decode,
            "grants",
            vec![grants(1_000), granted_actions(1_000), json!([])],
            vec![
                (grants(1_001), "/grants", "too_many"),
                (granted_actions(1_001), "/grants/0/actions", "too_many"),
                (
                    json!([{"effect": "permit", "actions": ["a"], "resources": ["a"]}]),
                    "/grants/0/effect",
                    "invalid_effect",
                ),
                (
                    json!([{"effect": "allow", "actions": [], "resources": ["a"]}]),
                    "/grants/0/actions",
                    "empty",
                ),
                (json!([{"effect": "allow", "actions": ["a"]}]), "/grants/0/resources", "missing_field"),
                (
                    json!([{"effect": "allow", "actions": "a", "resources": ["a"]}]),
                    "/grants/0/actions",
                    "invalid_type",
                ),
                (
                    json!([{"effect": "allow", "actions": ["a"], "resources": ["a", "foo*"]}]),
                    "/grants/0/resources/1",
                    "partial_wildcard",
                ),
                (json!(["a"]), "/grants/0", "invalid_type"),
            ],
        );
    }
    check(KEY, "grants", vec![json!(null)], vec![]);
    let many: Value = (0..1_001).map(|n| json!(format!("a/{n}"))).collect();
    check(
        KEY,
        "scope",
        vec![json!(null), json!(["a/**"])],
        vec![
            (json!([]), "/scope", "empty"),
            (json!(["foo*"]), "/scope/0", "partial_wildcard"),
            (json!("a"), "/scope", "invalid_type"),
            (many, "/scope", "too_many"),
        ],
    );
}

#[test]
fn patterns_have_their_lengths() {
    let grant = |action: &str, resource: &str| json!([{"effect": "allow", "actions": [action], "resources": [resource]}]);
    let segments = |count: usize| ["a"].repeat(count).join("/");
    check(
        KEY,
        "grants",
        vec![
            grant(&"a".repeat(64), "a"),
            grant("a", &"a".repeat(512)),
            grant("a", &segments(32)),
            grant("a", "**"),
        ],
        vec![
            (grant(&"a".repeat(65), "a"), "/grants/0/actions/0", "too_long"),
            (grant("", "a"), "/grants/0/actions/0", "invalid_action"),
            (grant("a", &"a".repeat(513)), "/grants/0/resources/0", "too_long"),
            (grant("a", &segments(33)), "/grants/0/resources/0", "too_many_segments"),
            (grant("a", "**/a"), "/grants/0/resources/0", "misplaced_wildcard"),
            (grant("a", "a//b"), "/grants/0/resources/0", "invalid_resource"),
            (grant("a", "a\0"), "/grants/0/resources/0", "invalid_resource"),
        ],
    );
}

#[test]
fn labels_have_their_number_names_and_values() {
    check(
        KEY,
        "labels",
        vec![
            labels(32),
            label(63, "x"),
            label(1, ""),
            label(1, &"ü".repeat(255)),
            label(1, &"e\u{301}".repeat(255)),
        ],
        vec![
            (labels(33), "/labels", "too_many"),
            (label(1, &"ü".repeat(256)), "/labels/x", "invalid_label"),
            (label(1, "a\0"), "/labels/x", "invalid_label"),
            (json!({"": "x"}), "/labels/", "invalid_label"),
            (json!({"/~": "x"}), "/labels/~1~0", "invalid_label"),
            (json!({"a": 1}), "/labels/a", "invalid_type"),
            (json!([]), "/labels", "invalid_type"),
        ],
    );
    let long = format!("/labels/{}", "x".repeat(64));
    check(KEY, "labels", vec![], vec![(label(64, "x"), &long, "invalid_label")]);
}

#[test]
fn metadata_has_two_kibibytes_and_thirty_one_levels() {
    for decode in [KEY, PRINCIPAL] {
        check(
            decode,
            "metadata",
            vec![metadata(2_048), nested(31), json!({"a": null})],
            vec![
                (metadata(2_049), "/metadata", "too_large"),
                (nested(32), "/metadata", "too_deep"),
                (json!([]), "/metadata", "invalid_type"),
            ],
        );
    }
}

#[test]
fn limits_and_quotas_count_whole_numbers_that_json_holds() {
    let limit = |max: Value, seconds: Value| json!([{"name": "l", "max": max, "per_seconds": seconds}]);
    let most = 9_007_199_254_740_991_u64;
    let (max, seconds) = ("/limits/0/max", "/limits/0/per_seconds");
    check(
        KEY,
        "limits",
        vec![
            limit(json!(1), json!(1)),
            limit(json!(most), json!(31 * 86_400)),
            limit(json!(1.0), json!(1e3)),
            limit(json!(9_007_199_254_740_991.0), json!(1)),
        ],
        vec![
            (limit(json!(0), json!(1)), max, "out_of_range"),
            (limit(json!(-0.0), json!(1)), max, "out_of_range"),
            (limit(json!(-1), json!(1)), max, "out_of_range"),
            (limit(json!(1.5), json!(1)), max, "out_of_range"),
            (limit(json!(most + 1), json!(1)), max, "out_of_range"),
            (limit(json!(9_007_199_254_740_992.0), json!(1)), max, "out_of_range"),
            (limit(json!(1e300), json!(1)), max, "out_of_range"),
            (limit(json!("1"), json!(1)), max, "invalid_type"),
            (limit(json!(null), json!(1)), max, "missing_field"),
            (limit(json!(1), json!(0)), seconds, "out_of_range"),
            (limit(json!(1), json!(31 * 86_400 + 1)), seconds, "out_of_range"),
            (json!([7, {"name": "l", "max": 1, "per_seconds": 1}]), "/limits/0", "invalid_type"),
        ],
    );
    let quota =
        |max: Value, period: Value, zone: Value| json!({"max": max, "period": period, "time_zone": zone});
    check(
        KEY,
        "quota",
        vec![
            json!(null),
            quota(json!(1), json!("none"), json!(null)),
            quota(json!(most), json!("month"), json!("Europe/Berlin")),
            json!({"max": 1, "period": "week"}),
        ],
        vec![
            (quota(json!(0), json!("day"), json!("UTC")), "/quota/max", "out_of_range"),
            (quota(json!(most + 1), json!("day"), json!("UTC")), "/quota/max", "out_of_range"),
            (quota(json!(1), json!("year"), json!("UTC")), "/quota/period", "invalid_period"),
            (quota(json!(1), json!(null), json!("UTC")), "/quota/period", "missing_field"),
            (quota(json!(1), json!("day"), json!("Mars/Olympus")), "/quota/time_zone", "invalid_time_zone"),
            (
                quota(json!(1), json!("day"), json!("../../etc/passwd")),
                "/quota/time_zone",
                "invalid_time_zone",
            ),
            (quota(json!(1), json!("day"), json!("")), "/quota/time_zone", "invalid_time_zone"),
            (json!([]), "/quota", "invalid_type"),
        ],
    );
}

#[test]
fn policies_and_staleness_have_their_ranges() {
    let policy = |seconds: u64| json!({"max_lifetime_seconds": seconds});
    let most = 100 * 366 * 86_400;
    check(
        KEYSPACE,
        "key_policy",
        vec![policy(1), policy(most), json!({}), json!(null)],
        vec![
            (policy(0), "/key_policy/max_lifetime_seconds", "out_of_range"),
            (policy(most + 1), "/key_policy/max_lifetime_seconds", "out_of_range"),
            (json!({"require_expiry": null}), "/key_policy/require_expiry", "invalid_type"),
            (json!({"require_expire": true}), "/key_policy/require_expire", "unknown_field"),
        ],
    );
    let at = "/max_staleness_seconds";
    check(
        KEYSPACE,
        "max_staleness_seconds",
        vec![json!(1), json!(86_400), json!(null)],
        vec![(json!(0), at, "out_of_range"), (json!(86_401), at, "out_of_range")],
    );
}

#[test]
fn times_are_rfc_3339_with_any_offset() {
    check(
        KEY,
        "expires_at",
        vec![json!("2027-01-01T00:00:00Z"), json!("2027-01-01T00:00:00.123456+05:30"), json!(null)],
        vec![
            (json!("2027-01-01"), "/expires_at", "invalid_time"),
            (json!("2027-01-01T00:00:00"), "/expires_at", "invalid_time"),
            (json!("2027-02-29T00:00:00Z"), "/expires_at", "invalid_time"),
            (json!("2027-01-01T00:00:00Z\0"), "/expires_at", "invalid_time"),
            (json!(1_798_761_600), "/expires_at", "invalid_type"),
        ],
    );
}

#[test]
fn an_owner_is_an_id_or_the_callers_own_name() {
    check(
        KEY,
        "owner",
        vec![
            json!(null),
            json!("prn_00000000000000000000000001"),
            json!({"external_id": "user_42"}),
            json!({"external_id": "x".repeat(255)}),
        ],
        vec![
            (json!("user_42"), "/owner", "invalid_id"),
            (json!(42), "/owner", "invalid_type"),
            (json!({}), "/owner/external_id", "missing_field"),
            (json!({"external_id": null}), "/owner/external_id", "missing_field"),
            (json!({"external_id": ""}), "/owner/external_id", "invalid_length"),
            (json!({"external_id": "x".repeat(256)}), "/owner/external_id", "invalid_length"),
            (json!({"external_id": "u", "kind": "bot"}), "/owner/kind", "unknown_field"),
        ],
    );
}

//! Creations: what absence and `null` mean, and how what is wrong is told.

use serde_json::{Map, Value, json};

use super::{map, told};
use crate::document::*;
use crate::key::Rights;

#[track_caller]
fn check(body: impl Into<Value>, expected: &[(&str, &'static str)]) {
    let body = body.into();
    let faults = decode_new_key(&map(body.clone())).map(drop).expect_err(&body.to_string());
    assert_eq!(told(&faults), expected, "{body}");
}

#[track_caller]
fn check_words(body: Value, expected: &str) {
    let faults = decode_new_key(&map(body)).map(drop).unwrap_err();
    let [fault] = faults.as_slice() else { panic!("{faults}") };
    assert!(fault.detail.contains(expected), "{}", fault.detail);
}

fn made(body: impl Into<Value>) -> NewKeyDraft {
    let body = body.into();
    decode_new_key(&map(body.clone())).unwrap_or_else(|faults| panic!("{body}: {faults}"))
}

#[test]
fn grants_left_out_are_none_and_null_is_what_the_owner_gives() {
    for (body, expected) in [
        (json!({"name": "k"}), Some(vec![])),
        (json!({"name": "k", "grants": []}), Some(vec![])),
        (json!({"name": "k", "grants": null}), None),
    ] {
        assert_eq!(made(body).draft.spec.rights, Rights::Api { grants: expected });
    }
}

#[test]
fn every_other_null_is_the_default() {
    let nulls = shape(crate::key::KeyKind::Api).writable.iter();
    let nulls = nulls.filter(|field| !["name", "enabled", "grants"].contains(*field));
    let mut body =
        map(json!({"name": "k", "kind": null, "access_id": null, "external_id": null, "secret": null}));
    body.extend(nulls.map(|field| ((*field).to_owned(), Value::Null)));
    assert_eq!(made(Value::Object(body)), made(json!({"name": "k"})));
    check(json!({"name": "k", "enabled": null}), &[("/enabled", "invalid_type")]);
}

#[test]
fn all_faults_are_told_at_once() {
    check(
        json!({
            "nmae": "k", "enabled": "yes", "ip_allowlist": ["10.0.0.0/8", "x", 7],
            "grants": [{"effect": "allow", "actions": ["get", "g*"], "resources": []}],
            "limits": [{"name": "A", "max": 0}], "quota": {"max": 1, "period": "day", "zone": "UTC"},
            "labels": {"a b": "x", "team": 4}, "metadata": [], "owner": {}, "roles": ["x"],
            "not_before": "2027-01-02T00:00:00Z", "expires_at": "2027-01-02T00:00:00Z",
        }),
        &[
            ("/nmae", "unknown_field"),
            ("/grants/0/actions/1", "partial_wildcard"),
            ("/grants/0/resources", "empty"),
            ("/owner/external_id", "missing_field"),
            ("/name", "missing_field"),
            ("/roles/0", "invalid_id"),
            ("/enabled", "invalid_type"),
            ("/ip_allowlist/1", "invalid_cidr"),
            ("/ip_allowlist/2", "invalid_type"),
            ("/limits/0/per_seconds", "missing_field"),
            ("/limits/0/name", "invalid_name"),
            ("/limits/0/max", "out_of_range"),
            ("/quota/zone", "unknown_field"),
            ("/labels/a b", "invalid_label"),
            ("/labels/team", "invalid_type"),
            ("/metadata", "invalid_type"),
            ("/expires_at", "invalid_validity"),
        ],
    );
}

#[test]
fn a_thousand_unknown_names_are_a_hundred_faults() {
    let body: Map<_, _> = (0..1_000).map(|n| (format!("field{n}"), Value::Null)).collect();
    let faults = decode_new_key(&body).map(drop).unwrap_err();
    assert_eq!(faults.as_slice().len(), crate::fault::FAULTS_MAX);
}

#[test]
fn an_unknown_name_is_told_with_the_nearest_and_its_pointer_is_escaped() {
    check(json!({"name": "k", "a/b~c": 1}), &[("/a~1b~0c", "unknown_field")]);
    check_words(json!({"name": "k", "ip_allow_list": null}), "did you mean `ip_allowlist`?");
    check_words(json!({"name": "k", "Expires_At": null}), "did you mean `expires_at`?");
    check_words(json!({"name": "k", "qwertyuiop": null}), "not a known field");
    check_words(json!({"name": "k", "x".repeat(200_000): null}), "not a known field");
}

#[test]
fn each_kind_has_its_own_rights() {
    let admin = json!({"actions": ["keys.read"], "orgs": ["default"], "keyspaces": ["*"]});
    let draft = made(json!({"name": "k", "kind": "management", "admin": admin})).draft;
    assert_eq!(draft.reach.unwrap().keyspaces, ["*"]);
    assert!(matches!(draft.spec.rights, Rights::Management { grantable, .. } if grantable.is_empty()));
    check(json!({"name": "k", "kind": "management"}), &[("/admin", "missing_field")]);
    check(
        json!({"name": "k", "kind": "management", "admin": {"actions": ["keys.reed"]}, "scope": ["a"]}),
        &[
            ("/admin/orgs", "missing_field"),
            ("/admin/keyspaces", "missing_field"),
            ("/admin/actions/0", "invalid_action"),
            ("/scope", "not_for_management"),
        ],
    );
    check_words(
        json!({"name": "k", "kind": "management", "admin": admin, "grants": []}),
        "has `admin`, and `grantable`",
    );
    check_words(json!({"name": "k", "admin": admin}), "only a management key");
    check_words(json!({"name": "k", "grantable": []}), "an API key has `grants`");
    check(json!({"name": "k", "kind": "managment", "admin": admin}), &[("/kind", "invalid_kind")]);
    check(json!({"name": "k", "kind": 5}), &[("/kind", "invalid_type")]);
    check(json!({"name": "k", "kind": null, "admin": admin}), &[("/admin", "unknown_field")]);
}

#[test]
fn what_keywright_sets_cannot_be_created() {
    check(
        json!({"name": "k", "id": "key_1", "state": "active", "version": 1, "secrets": []}),
        &[
            ("/id", "read_only_field"),
            ("/state", "read_only_field"),
            ("/secrets", "read_only_field"),
            ("/version", "read_only_field"),
        ],
    );
}

#[test]
fn two_limits_of_one_name_are_told_where_the_second_stands() {
    let limit = json!({"name": "l", "max": 1, "per_seconds": 1});
    check(
        json!({"name": "k", "limits": [limit, 7, limit]}),
        &[("/limits/1", "invalid_type"), ("/limits/2", "duplicate")],
    );
    check(
        json!({"name": "k", "limits": [{"max": 1, "per_seconds": 1}, {"max": 1, "per_seconds": 1}]}),
        &[("/limits/0/name", "missing_field"), ("/limits/1/name", "missing_field")],
    );
}

#[test]
fn texts_are_kept_in_normal_form() {
    let draft = made(
        json!({"name": "cafe\u{301}", "labels": {"a": "e\u{301}"}, "owner": {"external_id": "e\u{301}"}}),
    )
    .draft;
    assert_eq!((draft.spec.name.as_str(), draft.spec.labels["a"].as_str()), ("caf\u{e9}", "\u{e9}"));
    assert_eq!(draft.owner, Some(OwnerDraft::ExternalId("\u{e9}".to_owned())));
}

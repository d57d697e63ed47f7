//! Replace, merge and edit of one key, case by case.

use serde_json::{Map, Value, json};

use super::{map, told};
use crate::document::*;
use crate::key::{KeyKind, Rights};

/// A key as it is shown.
fn view() -> Map<String, Value> {
    map(json!({
        "id": "key_1", "number": 3245, "org": "default", "keyspace": "default", "kind": "api", "access_id": null,
        "name": "gps uploader", "description": "d", "external_id": null, "owner": "prn_00000000000000000000000001",
        "roles": [], "scope": null, "enabled": true, "not_before": null, "expires_at": "2027-01-01T00:00:00Z",
        "ip_allowlist": ["10.0.0.0/8"],
        "grants": [{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}],
        "limits": [{"name": "burst", "max": 100, "per_seconds": 1}],
        "quota": {"max": 5, "period": "day", "time_zone": "UTC"}, "plans": [], "labels": {"team": "fleet", "env": "x"},
        "metadata": {"a": {"b": 1, "c": [null]}, "d": null},
        "state": "active",
        "secrets": [
            {"id": "sec_1", "hint": "kw_…x7Qa", "status": "overlapping", "expires_at": "2026-12-01T00:00:00Z", "last_used_at": null},
            {"id": "sec_2", "hint": "kw_…x7Qb", "status": "current", "expires_at": null, "last_used_at": null},
        ],
        "revoked_at": null, "last_used_at": null, "created_at": "2026-01-01T00:00:00Z", "version": 3, "etag": "\"3\"",
    }))
}

fn with(field: &str, value: Value) -> Map<String, Value> {
    let mut body = view();
    body.insert(field.to_owned(), value);
    body
}

fn without(fields: &[&str]) -> Map<String, Value> {
    view().into_iter().filter(|(name, _)| !fields.contains(&name.as_str())).collect()
}

fn merge(patch: Value) -> Edit {
    Edit::Merge(map(patch))
}

fn patch(operations: Value) -> Edit {
    Edit::Patch(serde_json::from_value(operations).unwrap())
}

/// The edit is accepted, and the field is then this.
#[track_caller]
fn check(edit: &Edit, field: &str, expected: impl Into<Value>) {
    let after = edited_as(Shape::API_KEY, &view(), edit, |writable| {
        decode_key(KeyKind::Api, writable).map(|_| writable.clone())
    });
    assert_eq!(
        after.unwrap_or_else(|faults| panic!("{edit:?}: {faults}"))[field],
        expected.into(),
        "{edit:?}"
    );
}

/// The edit is refused with these faults.
#[track_caller]
fn check_refused(edit: &Edit, expected: &[(&str, &'static str)]) {
    let outcome =
        edited_as(Shape::API_KEY, &view(), edit, |writable| decode_key(KeyKind::Api, writable).map(drop));
    assert_eq!(told(&outcome.expect_err(&format!("{edit:?}"))), expected, "{edit:?}");
}

#[test]
fn a_replacement_needs_every_writable_field_and_no_other() {
    check(&Edit::Replace(view()), "name", json!("gps uploader"));
    let read_only =
        ["id", "number", "org", "keyspace", "kind", "access_id", "external_id", "state", "secrets"];
    check(&Edit::Replace(without(&read_only)), "name", json!("gps uploader"));
    for field in Shape::API_KEY.writable {
        check_refused(&Edit::Replace(without(&[field])), &[(&pointer(field), "missing_field")]);
    }
    let all: Vec<String> = Shape::API_KEY.writable.iter().map(|field| pointer(field)).collect();
    let all: Vec<_> = all.iter().map(|at| (at.as_str(), "missing_field")).collect();
    check_refused(&Edit::Replace(Map::new()), &all);
}

#[test]
fn a_replacement_is_told_everything_at_once() {
    let mut body = without(&["roles", "enabled"]);
    body.extend(map(json!({"nmae": 1, "id": "key_2", "name": "", "ip_allowlist": [], "admin": {}})));
    check_refused(
        &Edit::Replace(body),
        &[
            ("/roles", "missing_field"),
            ("/enabled", "missing_field"),
            ("/id", "read_only_field"),
            ("/nmae", "unknown_field"),
            ("/admin", "unknown_field"),
            ("/name", "invalid_length"),
            ("/ip_allowlist", "empty"),
        ],
    );
}

#[test]
fn null_in_a_replacement_means_what_it_means_in_a_creation() {
    for field in Shape::API_KEY.writable {
        let edit = Edit::Replace(with(field, Value::Null));
        match *field {
            "name" => check_refused(&edit, &[("/name", "missing_field")]),
            "enabled" => check_refused(&edit, &[("/enabled", "invalid_type")]),
            _ => check(&edit, field, Value::Null),
        }
    }
}

#[test]
fn read_only_fields_may_come_back_as_they_were_shown_then_or_before() {
    let used = json!("2026-06-01T00:00:00Z");
    let secrets = |status: &str, hint: &str| {
        let mut secrets = view()["secrets"].clone();
        secrets[0]["status"] = json!(status);
        secrets[0]["hint"] = json!(hint);
        secrets[1]["last_used_at"] = used.clone();
        secrets
    };
    for (field, value, accepted) in [
        ("last_used_at", used.clone(), true),
        ("last_used_at", json!(7), false),
        ("state", json!("scheduled"), true),
        ("state", json!("disabled"), false),
        ("state", json!("revoked"), false),
        ("state", json!("expired"), false),
        ("secrets", secrets("overlapping", "kw_…x7Qa"), true),
        ("secrets", secrets("ended", "kw_…x7Qa"), false),
        ("secrets", secrets("overlapping", "kw_…xxxx"), false),
        ("secrets", json!([]), false),
        ("version", json!(3.0), true),
        ("version", json!(2), false),
        ("created_at", json!("2026-01-01T01:00:00.000+01:00"), true),
        ("created_at", json!("2026-01-01T00:00:01Z"), false),
        ("kind", json!("management"), false),
        ("keyspace", json!("other"), false),
        ("access_id", json!("AKID1"), false),
    ] {
        for edit in [Edit::Replace(with(field, value.clone())), merge(json!({field: value}))] {
            if accepted {
                check(&edit, "name", json!("gps uploader"));
            } else {
                check_refused(&edit, &[(&pointer(field), "read_only_field")]);
            }
        }
    }
}

#[test]
fn a_merge_changes_what_it_names_and_null_clears() {
    check(&merge(json!({})), "description", json!("d"));
    for (patch, field, expected) in [
        (json!({"description": null}), "description", json!(null)),
        (json!({"grants": null}), "grants", json!(null)),
        (json!({"grants": []}), "grants", json!([])),
        (json!({"ip_allowlist": null}), "ip_allowlist", json!(null)),
        (json!({"ip_allowlist": ["::1"]}), "ip_allowlist", json!(["::1"])),
        (
            json!({"labels": {"team": null, "no": null, "new": "n"}}),
            "labels",
            json!({"env": "x", "new": "n"}),
        ),
        (json!({"labels": null}), "labels", json!(null)),
        (json!({"metadata": {"a": {"b": null}}}), "metadata", json!({"a": {"c": [null]}, "d": null})),
        (
            json!({"metadata": {"e": {"f": null}}}),
            "metadata",
            json!({"a": {"b": 1, "c": [null]}, "d": null, "e": {}}),
        ),
        (json!({"quota": {"max": 6}}), "quota", json!({"max": 6, "period": "day", "time_zone": "UTC"})),
        (json!({"quota": null}), "quota", json!(null)),
        (json!({"owner": {"external_id": "user_42"}}), "owner", json!({"external_id": "user_42"})),
        (json!({"last_used_at": null, "revoked_at": null}), "name", json!("gps uploader")),
    ] {
        check(&merge(patch), field, expected);
    }
}

#[test]
fn a_merge_is_refused_where_its_names_or_values_are_wrong() {
    for (patch, expected) in [
        (json!({"ip_allow_list": null}), ("/ip_allow_list", "unknown_field")),
        (json!({"quota": {"zone": null}}), ("/quota/zone", "unknown_field")),
        (json!({"quota": {"max": null}}), ("/quota/max", "missing_field")),
        (json!({"admin": {}}), ("/admin", "unknown_field")),
        (json!({"name": null}), ("/name", "missing_field")),
        (json!({"enabled": null}), ("/enabled", "invalid_type")),
        (json!({"id": null}), ("/id", "read_only_field")),
        (json!({"secrets": null}), ("/secrets", "read_only_field")),
        (json!({"labels": {"a/b": {"c": null}}}), ("/labels/a~1b", "invalid_type")),
        (json!({"not_before": "2028-01-01T00:00:00Z"}), ("/expires_at", "invalid_validity")),
    ] {
        check_refused(&merge(patch), &[expected]);
    }
}

#[test]
fn operations_change_the_document_in_their_order() {
    for (operations, field, expected) in [
        (json!([]), "name", json!("gps uploader")),
        (json!([{"op": "replace", "path": "/name", "value": "n"}]), "name", json!("n")),
        (
            json!([{"op": "add", "path": "/ip_allowlist/-", "value": "::1"}]),
            "ip_allowlist",
            json!(["10.0.0.0/8", "::1"]),
        ),
        (json!([{"op": "remove", "path": "/ip_allowlist"}]), "ip_allowlist", json!(null)),
        (json!([{"op": "remove", "path": "/labels/team"}]), "labels", json!({"env": "x"})),
        (
            json!([{"op": "move", "from": "/labels/team", "path": "/labels/a~1b"}]),
            "labels",
            json!({"env": "x", "a/b": "fleet"}),
        ),
        (
            json!([{"op": "copy", "from": "/name", "path": "/description"}]),
            "description",
            json!("gps uploader"),
        ),
        (json!([{"op": "test", "path": "/quota/max", "value": 5.0}]), "name", json!("gps uploader")),
        (json!([{"op": "replace", "path": "/grants", "value": null}]), "grants", json!(null)),
        (json!([{"op": "replace", "path": "", "value": with("name", json!("n"))}]), "name", json!("n")),
    ] {
        check(&patch(operations), field, expected);
    }
}

#[test]
fn a_fault_of_an_edit_stands_at_its_operation() {
    let name = |value: Value| json!({"op": "replace", "path": "/name", "value": value});
    let address = |value: &str| json!({"op": "add", "path": "/ip_allowlist/-", "value": value});
    for (operations, expected) in [
        (json!([{"op": "test", "path": "/name", "value": "x"}]), vec![("/0", "patch_test_failed")]),
        (
            json!([name(json!("n")), {"op": "test", "path": "/labels/no", "value": "x"}]),
            vec![("/1", "patch_test_failed")],
        ),
        (json!([{"op": "remove", "path": "/labels/no"}]), vec![("/0", "invalid_patch")]),
        (json!([{"op": "move", "from": "/labels", "path": "/labels/a"}]), vec![("/0", "invalid_patch")]),
        (json!([{"op": "remove", "path": ""}]), vec![("/0", "invalid_patch")]),
        (json!([{"op": "replace", "path": "", "value": []}]), vec![("/0", "invalid_type")]),
        (json!([name(json!("")), name(json!(5))]), vec![("/1/value", "invalid_type")]),
        (
            json!([address("x"), address("::1"), address("y")]),
            vec![("/0/value", "invalid_cidr"), ("/2/value", "invalid_cidr")],
        ),
        (json!([{"op": "remove", "path": "/ip_allowlist/0"}]), vec![("/0/path", "empty")]),
        (json!([{"op": "remove", "path": "/grants"}]), vec![("/0/path", "missing_field")]),
        (json!([{"op": "remove", "path": "/name"}]), vec![("/0/path", "missing_field")]),
        (json!([{"op": "replace", "path": "/id", "value": "key_2"}]), vec![("/0/path", "read_only_field")]),
        (json!([{"op": "remove", "path": "/id"}]), vec![("/0/path", "read_only_field")]),
        (
            json!([{"op": "replace", "path": "/secrets/0/hint", "value": "h"}]),
            vec![("/0/path", "read_only_field")],
        ),
        (json!([{"op": "add", "path": "/nmae", "value": "n"}]), vec![("/0/path", "unknown_field")]),
        (
            json!([{"op": "add", "path": "/quota", "value": {"max": 0}}]),
            vec![("/0/value/period", "missing_field"), ("/0/value/max", "out_of_range")],
        ),
        (json!([{"op": "copy", "from": "/labels", "path": "/roles"}]), vec![("/0/from", "invalid_type")]),
        (
            json!([{"op": "replace", "path": "/not_before", "value": "2028-01-01T00:00:00Z"}]),
            vec![("", "invalid_validity")],
        ),
        (
            json!([{"op": "replace", "path": "", "value": without(&["id", "grants"])}]),
            vec![("/0/value/grants", "missing_field"), ("/0/value/id", "read_only_field")],
        ),
    ] {
        check_refused(&patch(operations), &expected);
    }
}

#[test]
fn a_hundred_operations_are_applied_and_no_more() {
    let operations =
        |count: usize| patch(json!(vec![json!({"op": "test", "path": "/version", "value": 3}); count]));
    check(&operations(100), "name", json!("gps uploader"));
    check_refused(&operations(101), &[("", "too_many_operations")]);
}

#[test]
fn copies_can_make_a_document_neither_large_nor_deep() {
    let seed = |value: Value| json!({"op": "add", "path": "/metadata", "value": value});
    let copy = |path: String| json!({"op": "copy", "from": "/metadata", "path": path});
    let wide = (0..99).map(|n| copy(format!("/metadata/y{n}")));
    let wide: Value = std::iter::once(seed(json!({"x": "x".repeat(20_000)}))).chain(wide).collect();
    check_refused(&patch(wide), &[("/4", "too_large")]);
    let deep = (0..20).map(|n| copy(format!("/metadata{}", "/y".repeat(1 << n))));
    let deep: Value = std::iter::once(seed(json!({}))).chain(deep).collect();
    check_refused(&patch(deep), &[("/6", "too_deep")]);
    // Deeper than a body can be is refused in metadata too, or its row could not be read again.
    let nest = |n: usize| json!({"op": "add", "path": format!("/metadata{}", "/a".repeat(n)), "value": {}});
    check_refused(&patch((1..=31).map(nest).collect()), &[("/30/path", "too_deep")]);
    let thirty: Value = (1..=30).map(nest).collect();
    assert!(edited(Shape::API_KEY, &view(), &patch(thirty)).is_ok());
}

#[test]
fn a_large_key_can_still_be_edited() {
    let resources: Vec<String> = (0..999).map(|n| format!("{}{n}", "r".repeat(500))).collect();
    let view = with("grants", json!([{"effect": "allow", "actions": ["get"], "resources": resources}]));
    let edit = patch(json!([{"op": "replace", "path": "/name", "value": "n"}]));
    let draft =
        edited_as(Shape::API_KEY, &view, &edit, |writable| decode_key(KeyKind::Api, writable)).unwrap();
    assert!(
        matches!(draft.spec.rights, Rights::Api { grants: Some(grants) } if grants[0].pattern_count() == 1_000)
    );
}

#[test]
fn entries_named_like_bookkeeping_are_differences_and_null_is_told() {
    let change = |path: &str, from: Value, to: Value| FieldChange { path: path.to_owned(), from, to };
    for (before, after, expected) in [
        (
            json!({"labels": {}}),
            json!({"labels": {"version": "2"}}),
            vec![change("/labels/version", json!(null), json!("2"))],
        ),
        (
            json!({"metadata": {}}),
            json!({"metadata": {"a": null}}),
            vec![change("/metadata", json!({}), json!({"a": null}))],
        ),
        (
            json!({"metadata": {"a/b": {"c": 1}}}),
            json!({"metadata": {"a/b": {}}}),
            vec![change("/metadata/a~1b/c", json!(1), json!(null))],
        ),
        (
            json!({"quota": {"max": 5}}),
            json!({"quota": null}),
            vec![change("/quota", json!({"max": 5}), json!(null))],
        ),
        (json!({"version": 1, "etag": "1"}), json!({"version": 2, "etag": "2"}), vec![]),
    ] {
        assert_eq!(field_changes(&map(before), &map(after)), expected);
    }
}

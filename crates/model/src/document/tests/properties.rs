//! What holds for every key and for every input.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::generate::{any_json, key, kind, now, shown, spec};
use super::leads_somewhere;
use crate::document::*;
use crate::fault::Faults;
use crate::key::{Key, KeyKind};

/// A key, and another writable state of the same kind.
fn key_and_target() -> impl Strategy<Value = (Key, Key)> {
    kind().prop_flat_map(|kind| (key(kind), spec(kind))).prop_map(|(key, spec)| {
        let target = Key { spec, ..key.clone() };
        (key, target)
    })
}

fn outcome(kind: KeyKind, view: &Map<String, Value>, edit: &Edit) -> Result<KeyDraft, Faults> {
    edited_as(shape(kind), view, edit, |writable| decode_key(kind, writable))
}

fn writable(kind: KeyKind, view: &Map<String, Value>) -> Map<String, Value> {
    let fields = shape(kind).writable.iter();
    fields.map(|field| ((*field).to_owned(), view.get(*field).cloned().unwrap_or(Value::Null))).collect()
}

/// The merge that makes `from` into `to`, top-level `null` included.
fn merge_of(from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let mut merge = Map::new();
    for (name, after) in to.iter().filter(|(name, after)| from.get(*name) != Some(after)) {
        let value = match (from.get(name), after) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                let gone = before.keys().filter(|name| !after.contains_key(*name));
                let gone = gone.map(|name| (name.clone(), Value::Null));
                merge_of(before, after).into_iter().chain(gone).collect()
            }
            _ => after.clone(),
        };
        merge.insert(name.clone(), value);
    }
    merge
}

fn patch_of(to: &Map<String, Value>) -> json_patch::Patch {
    let operation =
        |(name, value): (&String, &Value)| json!({"op": "replace", "path": pointer(name), "value": value});
    serde_json::from_value(to.iter().map(operation).collect()).unwrap()
}

/// Applies a difference as RFC 6902 says.
fn applied(before: &Map<String, Value>, changes: &[FieldChange]) -> Map<String, Value> {
    let mut document = Value::Object(before.clone());
    for change in changes {
        let found = document.pointer(&change.path).unwrap_or(&Value::Null);
        assert_eq!(*found, change.from, "{}", change.path);
        let within = change.path.matches('/').count() > 1;
        let operation = match (&change.to, within) {
            (Value::Null, true) => json!([{"op": "remove", "path": change.path}]),
            (to, _) => json!([{"op": "add", "path": change.path, "value": to}]),
        };
        json_patch::patch(&mut document, &serde_json::from_value::<json_patch::Patch>(operation).unwrap())
            .unwrap();
    }
    super::map(document)
}

fn body_of(edit: &Edit) -> Value {
    match edit {
        Edit::Replace(map) | Edit::Merge(map) => Value::Object(map.clone()),
        Edit::Patch(patch) => serde_json::to_value(patch).unwrap(),
    }
}

fn check_places(body: &Value, outcome: Result<(), Faults>) -> Result<(), TestCaseError> {
    let Err(faults) = outcome else { return Ok(()) };
    prop_assert!(!faults.is_empty());
    for fault in faults.as_slice() {
        prop_assert!(leads_somewhere(body, &fault.pointer), "{} in {}", fault, body);
    }
    Ok(())
}

fn random_operation() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        prop::sample::select(
            &[
                "",
                "/name",
                "/limits/0",
                "/limits/-",
                "/grants/0/actions/-",
                "/labels/team",
                "/metadata/a~1b",
                "/quota/max",
                "/id",
                "/nme",
                "/secrets/0/hint",
                "/ip_allowlist/-",
                "/owner",
                "/last_used_at",
                "/state",
                "/admin/orgs",
            ][..]
        )
        .prop_map(str::to_owned),
        any::<String>().prop_map(|name| pointer(&name)),
    ];
    (
        prop::sample::select(&["add", "replace", "remove", "move", "copy", "test"][..]),
        path.clone(),
        path,
        any_json(),
    )
        .prop_map(|(op, from, path, value)| json!({"op": op, "from": from, "path": path, "value": value}))
}

proptest! {
    #[test]
    fn replace_merge_and_edit_agree((before, target) in key_and_target()) {
        let kind = before.spec.rights.kind();
        let view = shown(&before, None, now());
        let wanted = writable(kind, &shown(&target, None, now()));
        let merge = merge_of(&writable(kind, &view), &wanted);
        let patch = patch_of(&wanted);
        let replaced = outcome(kind, &view, &Edit::Replace(wanted)).unwrap();
        prop_assert_eq!(&outcome(kind, &view, &Edit::Merge(merge.clone())).unwrap(), &replaced);
        // What can be written is enough to merge what speaks of nothing else.
        let enough = crate::view::writable_key_view(&before, &crate::view::Names::default(), now());
        prop_assert_eq!(&enough, &writable(kind, &view));
        prop_assert_eq!(&outcome(kind, &enough, &Edit::Merge(merge)).unwrap(), &replaced);
        prop_assert_eq!(&outcome(kind, &view, &Edit::Patch(patch)).unwrap(), &replaced);
        let mut spec = target.spec.clone();
        prop_assert_eq!(replaced.owner, spec.owner.take().map(OwnerDraft::Id));
        if let (crate::key::Rights::Management { admin, .. }, Some(reach)) = (&mut spec.rights, replaced.reach) {
            prop_assert_eq!(json!(admin.orgs), json!(reach.orgs));
            prop_assert_eq!(json!(admin.keyspaces), json!(reach.keyspaces));
            (admin.orgs, admin.keyspaces) = (crate::admin::Reach::nothing(), crate::admin::Reach::nothing());
        }
        prop_assert_eq!(replaced.spec, spec);
    }

    #[test]
    fn sending_back_what_was_shown_changes_nothing((key, _) in key_and_target(), later_ms in 0_i64..20_000_000) {
        let kind = key.spec.rights.kind();
        let earlier = shown(&key, None, now());
        let later = now().plus_ms(later_ms);
        let view = shown(&key, Some(later), later);
        let same = edited(shape(kind), &view, &Edit::Replace(earlier.clone()));
        prop_assert_eq!(same, Ok(writable(kind, &view)));
        let merged = outcome(kind, &view, &Edit::Merge(earlier.clone()));
        prop_assert_eq!(merged, outcome(kind, &view, &Edit::Replace(earlier)));
        let nothing = edited(shape(kind), &view, &Edit::Merge(Map::new()));
        prop_assert_eq!(nothing, Ok(writable(kind, &view)));
    }

    #[test]
    fn the_difference_says_all_and_only_what_differs((before, target) in key_and_target()) {
        let before = shown(&before, None, now());
        let after = shown(&target, None, now());
        let changes = field_changes(&before, &after);
        prop_assert_eq!(changes.is_empty(), before == after);
        prop_assert_eq!(applied(&before, &changes), after);
        let mut bumped = before.clone();
        for name in ["version", "etag", "updated_at", "updated_by", "last_used_at"] {
            bumped.insert(name.to_owned(), json!("later"));
        }
        prop_assert_eq!(field_changes(&before, &bumped), vec![]);
    }

    #[test]
    fn the_difference_of_any_notes_can_be_applied(before in any_json(), after in any_json()) {
        let noun = |value: Value| super::map(json!({"metadata": value, "quota": null}));
        let (before, after) = (noun(before), noun(after));
        let changes = field_changes(&before, &after);
        prop_assert_eq!(changes.is_empty(), before == after);
        prop_assert_eq!(applied(&before, &changes), after);
    }

    #[test]
    fn whatever_is_sent_is_decoded_or_refused_at_a_place(
        body in any_json(), key in kind().prop_flat_map(key), field in 0_usize..30, value in any_json(),
    ) {
        let kind = key.spec.rights.kind();
        let view = shown(&key, None, now());
        // A good document with one field of any value, and any value by itself.
        let mut spoilt = writable(kind, &view);
        if let Some(name) = shape(kind).writable.get(field) {
            spoilt.insert((*name).to_owned(), value);
        }
        for map in [body.as_object().cloned().unwrap_or_default(), spoilt] {
            let body = Value::Object(map.clone());
            check_places(&body, decode_new_key(&map).map(drop))?;
            check_places(&body, decode_key(kind, &map).map(drop))?;
            check_places(&body, decode_org(&map).map(drop))?;
            check_places(&body, decode_keyspace(&map).map(drop))?;
            check_places(&body, decode_principal(&map).map(drop))?;
            check_places(&body, decode_role(&map).map(drop))?;
            check_places(&body, decode_plan(&map).map(drop))?;
            for edit in [Edit::Replace(map.clone()), Edit::Merge(map.clone())] {
                check_places(&body, outcome(kind, &view, &edit).map(drop))?;
            }
        }
    }

    #[test]
    fn whatever_operations_do_is_decoded_or_refused_at_a_place(
        key in kind().prop_flat_map(key), operations in prop::collection::vec(random_operation(), 0..4),
    ) {
        let kind = key.spec.rights.kind();
        let view = shown(&key, None, now());
        if let Ok(patch) = serde_json::from_value(Value::Array(operations)) {
            let edit = Edit::Patch(patch);
            check_places(&body_of(&edit), outcome(kind, &view, &edit).map(drop))?;
        }
    }
}

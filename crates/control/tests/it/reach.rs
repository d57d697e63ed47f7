//! What a management key reaches: named by name, kept by identifier.

use keywright_control::keys::{KeyEdit, KeyRef};
use keywright_control::{Caller, NounKind, WriteOptions};
use keywright_model::admin::{AdminRights, Reach};
use keywright_model::document::Edit;
use keywright_model::key::Rights;
use keywright_testkit::TestNode;
use serde_json::{Value, json};

use crate::setup::{
    by_id, caller_in, create, faults, id_of, if_match, management, manager, noun, object, secret_of, update,
    update_noun,
};

async fn admin_of(node: &TestNode, key: &KeyRef) -> AdminRights {
    match &node.control.key(&node.root().await, key).await.unwrap().key.spec.rights {
        Rights::Management { admin, .. } => admin.clone(),
        Rights::Api { .. } => panic!("an API key"),
    }
}

/// Two organizations, one of them with a second keyspace; keys that reach all over them; a manager of one keyspace.
async fn two_orgs(node: &TestNode) -> (Vec<KeyRef>, Caller) {
    let root = node.root().await;
    noun(node, &root, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let in_acme = caller_in(node, keywright_testkit::ROOT, "acme").await.unwrap();
    let hidden = id_of(&noun(node, &in_acme, NounKind::Keyspace, json!({"name": "vault"})).await.unwrap());
    noun(node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    let mut keys = Vec::new();
    for (orgs, keyspaces) in [
        (json!(["*"]), json!(["*"])),
        (json!(["default", "acme"]), json!([hidden, "live"])),
        (json!(["acme"]), json!(["vault"])),
        (json!(["*"]), json!([hidden])),
        (json!(["default"]), json!(["default", "live"])),
    ] {
        let body = json!({"kind": "management", "name": "wide", "grantable": [],
            "admin": {"actions": ["keys.read"], "orgs": orgs, "keyspaces": keyspaces}});
        keys.push(by_id(&create(node, &root, body).await.unwrap().value));
    }
    let lesser = json!({"kind": "management", "name": "lesser", "grantable": [],
        "admin": {"actions": ["*"], "orgs": ["default"], "keyspaces": ["default"]}});
    let lesser = manager(node, lesser).await;
    (keys, lesser)
}

#[tokio::test]
async fn an_unrelated_update_by_a_lesser_caller_keeps_a_wider_reach_as_it_is() {
    let node = TestNode::start().await;
    let (keys, lesser) = two_orgs(&node).await;
    for key in &keys {
        let before = admin_of(&node, key).await;
        update(&node, &lesser, key, json!({"name": "merged"})).await.unwrap();
        let set = KeyEdit::Set(std::sync::Arc::new(|draft, _| {
            draft.spec.name = "set".to_owned();
            Ok(())
        }));
        node.control.update_key(&lesser, key, &set, &WriteOptions::default()).await.unwrap();
        let shown = node.control.key(&lesser, key).await.unwrap();
        let mut whole = shown.view.clone();
        whole.insert("name".to_owned(), json!("replaced"));
        let options = if_match(shown.key.meta.version.0);
        let replace = KeyEdit::Document(Edit::Replace(whole));
        let done = node.control.update_key(&lesser, key, &replace, &options).await.unwrap().done().unwrap();
        assert_eq!(done.value.key.spec.name, "replaced");
        assert_eq!(admin_of(&node, key).await, before);
    }
}

#[tokio::test]
async fn names_of_what_a_caller_does_not_reach_are_not_shown_to_it() {
    let node = TestNode::start().await;
    let (keys, lesser) = two_orgs(&node).await;
    for key in &keys {
        let view = Value::Object(node.control.key(&lesser, key).await.unwrap().view).to_string();
        assert!(!view.contains("acme") && !view.contains("vault") && !view.contains("live"), "{view}");
    }
    let view = node.control.key(&node.root().await, &keys[2]).await.unwrap().view;
    assert_eq!((&view["admin"]["orgs"], &view["admin"]["keyspaces"]), (&json!(["acme"]), &json!(["vault"])));
}

#[tokio::test]
async fn what_does_not_exist_for_a_caller_cannot_be_named_by_it() {
    let node = TestNode::start().await;
    let (_, lesser) = two_orgs(&node).await;
    let named = |orgs: &str, keyspaces: &str| {
        json!({"kind": "management", "name": "m", "grantable": [],
            "admin": {"actions": ["keys.read"], "orgs": [orgs], "keyspaces": [keyspaces]}})
    };
    for (orgs, keyspaces, place, code) in [
        ("acme", "default", "/admin/orgs/0", "unknown_organization"),
        ("default", "live", "/admin/keyspaces/0", "unknown_keyspace"),
        ("default", "nothing", "/admin/keyspaces/0", "unknown_keyspace"),
    ] {
        let refused = faults(create(&node, &lesser, named(orgs, keyspaces)).await);
        assert!(refused.contains(&(place.to_owned(), code)), "{refused:?}");
    }
    create(&node, &lesser, named("default", "default")).await.unwrap();
}

#[tokio::test]
async fn a_rename_hands_no_reach_to_another() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let live = id_of(&noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap());
    noun(&node, &root, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let mut body = management(&["keys.read", "keys.create"], &json!([]));
    body["admin"] = json!({"actions": ["*"], "orgs": ["default", "acme"], "keyspaces": [live]});
    let made = create(&node, &root, body).await.unwrap();
    update_noun(&node, &root, (NounKind::Keyspace, "live"), json!({"name": "old"})).await.unwrap();
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    update_noun(&node, &root, (NounKind::Org, "acme"), json!({"name": "gone"})).await.unwrap();
    noun(&node, &root, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let caller = node.caller(secret_of(&made)).await;
    assert!(create(&node, &caller, json!({"name": "k", "keyspace": "old"})).await.is_ok());
    let refused = faults(create(&node, &caller, json!({"name": "k", "keyspace": "live"})).await);
    assert_eq!(refused, [("/keyspace".to_owned(), "unknown_keyspace")]);
    assert!(caller_in(&node, secret_of(&made), "gone").await.is_ok());
    assert!(caller_in(&node, secret_of(&made), "acme").await.is_err());
}

#[tokio::test]
async fn a_keyspaces_name_is_one_in_each_organization_that_is_reached() {
    let node = TestNode::start().await;
    let root = node.root().await;
    noun(&node, &root, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let in_acme = caller_in(&node, keywright_testkit::ROOT, "acme").await.unwrap();
    let theirs = noun(&node, &in_acme, NounKind::Keyspace, json!({"name": "default"})).await.unwrap();
    let body = json!({"kind": "management", "name": "m", "grantable": [],
        "admin": {"actions": ["keys.read"], "orgs": ["acme"], "keyspaces": ["default"]}});
    let key = by_id(&create(&node, &root, body).await.unwrap().value);
    let Reach::Only(ids) = admin_of(&node, &key).await.keyspaces else { panic!("everything") };
    assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), [id_of(&theirs)]);
    let body = object(json!({"admin": {"orgs": ["acme", "default"]}}));
    update(&node, &root, &key, Value::Object(body)).await.unwrap();
    let Reach::Only(ids) = admin_of(&node, &key).await.keyspaces else { panic!("everything") };
    assert_eq!(ids.len(), 2);
}

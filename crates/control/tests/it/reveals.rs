//! What a wire's own answer shows again: which secrets, to whom, and what the audit says of it. And roles by number.

use keywright_control::{AuditEntry, AuditFilter, Caller, Error, NounKind, WriteOptions, keys::KeyRef};
use keywright_model::key::Key;
use keywright_testkit::TestNode;
use serde_json::{Value, json};

use crate::setup::{
    allow, by_id, caller_in, create, id_of, management, manager, noun, rotate, secret_of, update, update_noun,
};

/// A node whose keyspaces `default` and `live` keep secrets.
async fn keeping() -> (TestNode, Caller) {
    let node = TestNode::start().await;
    let root = node.root().await;
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"recoverable_secrets": true}))
        .await
        .unwrap();
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live", "recoverable_secrets": true}))
        .await
        .unwrap();
    (node, root)
}

/// A key and its secret.
async fn key(node: &TestNode, caller: &Caller, body: Value) -> (Key, String) {
    let made = create(node, caller, body).await.unwrap();
    (Key::clone(&made.value.record.key), secret_of(&made).to_owned())
}

async fn reveal(node: &TestNode, caller: &Caller, keys: &[&Key]) -> Result<Vec<Option<String>>, Error> {
    let shown = node.control.reveal_current(caller, keys).await?;
    Ok(shown.into_iter().map(|secret| secret.map(|secret| secret.expose().to_owned())).collect())
}

/// The audit's entries of reveals, newest first.
async fn entries(node: &TestNode) -> Vec<AuditEntry> {
    let filter = AuditFilter { limit: 99, verb: Some("key.reveal".to_owned()), ..AuditFilter::default() };
    node.control.audit(&node.root().await, &filter).await.unwrap().items
}

#[tokio::test]
async fn a_call_is_one_entry_about_what_its_keys_have_in_common() {
    let (node, root) = keeping().await;
    let (a, secret_a) = key(&node, &root, json!({"name": "a"})).await;
    let (b, secret_b) = key(&node, &root, json!({"name": "b"})).await;
    let (live, secret_live) = key(&node, &root, json!({"name": "c", "keyspace": "live"})).await;
    let (a_shown, b_shown, live_shown) = (Some(secret_a), Some(secret_b), Some(secret_live));
    for (keys, shown, subject) in [
        (vec![&a], vec![a_shown.clone()], a.id.to_string()),
        (vec![&b, &a], vec![b_shown.clone(), a_shown.clone()], a.keyspace.to_string()),
        (vec![&a, &live, &b], vec![a_shown.clone(), live_shown, b_shown], root.org().to_string()),
    ] {
        let before = entries(&node).await.len();
        assert_eq!(reveal(&node, &root, &keys).await.unwrap(), shown);
        let after = entries(&node).await;
        assert_eq!((after.len(), &after[0].subject), (before + 1, &subject));
        assert_eq!((after[0].revision, &after[0].after), (None, &None), "it changes nothing");
    }
}

#[tokio::test]
async fn where_nothing_is_kept_nothing_is_shown_or_noted() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let (plain, _) = key(&node, &root, json!({"name": "a"})).await;
    assert_eq!(reveal(&node, &root, &[&plain, &plain]).await.unwrap(), [None, None]);
    assert_eq!(reveal(&node, &root, &[]).await.unwrap(), Vec::<Option<String>>::new());
    assert!(entries(&node).await.is_empty());
}

#[tokio::test]
async fn each_key_is_shown_only_to_whoever_holds_all_that_it_can_do() {
    let (node, root) = keeping().await;
    let role = async |name: &str, action: &str| {
        let body = json!({"name": name, "grants": allow(action, "**")});
        id_of(&noun(&node, &root, NounKind::Role, body).await.unwrap())
    };
    let (reader, writer) = (role("reader", "get").await, role("writer", "put").await);
    let owner = json!({"kind": "user", "external_id": "u", "roles": [reader]});
    let owner = id_of(&noun(&node, &root, NounKind::Principal, owner).await.unwrap());
    let mut keys = Vec::new();
    for (body, seen) in [
        (json!({"name": "own grants", "grants": allow("get", "devices/1")}), true),
        (json!({"name": "more grants", "grants": allow("put", "devices/1")}), false),
        (json!({"name": "by a role", "roles": [reader]}), true),
        (json!({"name": "by another role", "roles": [reader, writer]}), false),
        (json!({"name": "what its owner may", "owner": owner, "grants": null}), true),
        (json!({"name": "held down by its owner", "owner": owner, "grants": allow("*", "**")}), true),
        (json!({"name": "elsewhere", "keyspace": "live"}), false),
        (management(&["*"], &json!([])), false),
    ] {
        let (key, secret) = key(&node, &root, body).await;
        keys.push((key, seen.then_some(secret)));
    }
    let body = json!({"kind": "management", "name": "m", "grantable": allow("get", "**"),
        "admin": {"actions": ["keys.reveal"], "orgs": ["default"], "keyspaces": ["default"]}});
    let caller = manager(&node, body).await;
    let asked: Vec<&Key> = keys.iter().map(|(key, _)| key).collect();
    let expected: Vec<_> = keys.iter().map(|(_, secret)| secret.clone()).collect();
    assert_eq!(reveal(&node, &caller, &asked).await.unwrap(), expected);
    assert_eq!(entries(&node).await.len(), 1);

    // The right to see them is asked for besides.
    let reading = manager(&node, management(&["keys.read"], &allow("*", "**"))).await;
    assert_eq!(reveal(&node, &reading, &asked).await.unwrap(), vec![None; asked.len()]);
    assert_eq!(entries(&node).await.len(), 1);
}

#[tokio::test]
async fn what_has_changed_since_it_was_read_is_judged_as_it_is_now() {
    let (node, root) = keeping().await;
    let caller = manager(&node, management(&["*"], &allow("get", "**"))).await;
    let get = || json!({"name": "k", "grants": allow("get", "**")});
    let id = |key: &Key| KeyRef::Id(key.id);
    let (rotated, _) = key(&node, &root, get()).await;
    let (raised, _) = key(&node, &root, get()).await;
    let (deleted, _) = key(&node, &root, get()).await;
    let new = rotate(&node, &root, &id(&rotated), 0).await.unwrap();
    update(&node, &root, &id(&raised), json!({"grants": allow("put", "**")})).await.unwrap();
    node.control.delete_key(&root, &id(&deleted), &WriteOptions::default()).await.unwrap();
    let shown = reveal(&node, &caller, &[&rotated, &raised, &deleted]).await.unwrap();
    assert_eq!(shown, [Some(secret_of(&new).to_owned()), None, None]);
}

#[tokio::test]
async fn a_caller_that_changed_in_between_is_asked_again_and_a_revoked_one_is_nobody() {
    let (node, root) = keeping().await;
    let (kept, secret) = key(&node, &root, json!({"name": "k", "grants": allow("get", "**")})).await;
    let own = create(&node, &root, management(&["*"], &allow("*", "**"))).await.unwrap();
    let caller = node.caller(secret_of(&own)).await;
    update(&node, &root, &by_id(&own.value), json!({"name": "renamed"})).await.unwrap();
    assert_eq!(reveal(&node, &caller, &[&kept]).await.unwrap(), [Some(secret)]);
    update(&node, &root, &by_id(&own.value), json!({"grantable": []})).await.unwrap();
    assert_eq!(reveal(&node, &caller, &[&kept]).await.unwrap(), [None]);
    let revoked = node.control.revoke_key(&root, &by_id(&own.value), None, &WriteOptions::default()).await;
    assert!(revoked.is_ok(), "{revoked:?}");
    let refused = reveal(&node, &caller, &[&kept]).await;
    assert!(matches!(refused, Err(Error::Unauthenticated { .. })), "{refused:?}");
    assert_eq!(entries(&node).await.len(), 1);
}

#[tokio::test]
async fn another_tenants_keys_are_not_shown() {
    let (node, root) = keeping().await;
    let (ours, _) = key(&node, &root, json!({"name": "k"})).await;
    noun(&node, &root, NounKind::Org, json!({"name": "other"})).await.unwrap();
    let body = json!({"kind": "management", "name": "m", "grantable": allow("*", "**"),
        "admin": {"actions": ["*"], "orgs": ["other"], "keyspaces": ["*"]}});
    let made = create(&node, &root, body).await.unwrap();
    let theirs = caller_in(&node, secret_of(&made), "other").await.unwrap();
    assert_eq!(reveal(&node, &theirs, &[&ours]).await.unwrap(), [None]);
    assert!(entries(&node).await.is_empty());
}

#[tokio::test]
async fn a_role_is_found_by_its_number_in_its_organization_only() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": []})).await.unwrap();
    let number = u32::try_from(made.view["number"].as_u64().unwrap()).unwrap();
    let found = node.control.role_numbered(&root, number).await.unwrap();
    assert_eq!(found.id.to_string(), id_of(&made));
    for unknown in [0, number + 1, u32::MAX] {
        let answer = node.control.role_numbered(&root, unknown).await;
        assert!(matches!(answer, Err(Error::NotFound("role"))), "{unknown}: {answer:?}");
    }
    let blind = manager(&node, management(&["keys.read"], &json!([]))).await;
    let refused = node.control.role_numbered(&blind, number).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
    noun(&node, &root, NounKind::Org, json!({"name": "other"})).await.unwrap();
    let there = caller_in(&node, keywright_testkit::ROOT, "other").await.unwrap();
    let answer = node.control.role_numbered(&there, number).await;
    assert!(matches!(answer, Err(Error::NotFound("role"))), "{answer:?}");
}

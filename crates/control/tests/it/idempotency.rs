//! The same call again.

use std::sync::Arc;

use keywright_control::keys::KeyRef;
use keywright_control::{AuditFilter, Caller, Enforced, Error, Idempotency, NounKind, WriteOptions};
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{by_id, create, management, manager, merge, new_key, noun, object};

fn named(key: &str, body: u8) -> WriteOptions {
    let idempotency =
        Idempotency { key: key.to_owned(), route: "POST /v1/keys".to_owned(), request: [body; 32] };
    WriteOptions { idempotency: Some(idempotency), ..WriteOptions::default() }
}

async fn make(
    node: &TestNode,
    caller: &Caller,
    options: &WriteOptions,
) -> Result<(KeyRef, Option<String>, bool), Error> {
    let new = new_key(json!({"name": "k"}))?;
    let done = node.control.create_key(caller, new, options).await?.done()?;
    let secret = done.value.secret.as_ref().map(|secret| secret.expose().to_owned());
    if let Some(secret) = &secret {
        keywright_testkit::canary::note_secret(secret);
    }
    assert_eq!(done.enforced, Enforced::All);
    Ok((by_id(&done.value), secret, done.replayed))
}

fn id(key: &KeyRef) -> String {
    match key {
        KeyRef::Id(id) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repeated_call_gets_the_same_answer_and_the_secret_for_a_quarter_of_an_hour() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let (key, secret, replayed) = make(&node, &root, &named("a", 1)).await.unwrap();
    assert!(!replayed && secret.is_some());
    let head = node.control.audit(&root, &AuditFilter { limit: 1, ..AuditFilter::default() }).await.unwrap();
    node.clock.advance_seconds(15 * 60 - 1);
    let (again, same, replayed) = make(&node, &root, &named("a", 1)).await.unwrap();
    assert_eq!((id(&again), &same, replayed), (id(&key), &secret, true));
    // What was answered then, not what the key has become since.
    node.control
        .update_key(&root, &key, &merge(json!({"name": "renamed"})), &WriteOptions::default())
        .await
        .unwrap();
    let new = new_key(json!({"name": "k"})).unwrap();
    let done = node.control.create_key(&root, new, &named("a", 1)).await.unwrap().done().unwrap();
    assert_eq!(done.value.record.key.spec.name, "k");
    node.clock.advance_seconds(1);
    let (again, gone, _) = make(&node, &root, &named("a", 1)).await.unwrap();
    assert_eq!((id(&again), gone), (id(&key), None));
    let after = node.control.audit(&root, &AuditFilter { limit: 5, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(after.items.iter().filter(|entry| entry.verb == "key.create").count(), 1, "{head:?}");
}

#[tokio::test]
async fn a_call_is_forgotten_after_a_day() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let (key, _, _) = make(&node, &root, &named("a", 1)).await.unwrap();
    node.clock.advance_seconds(24 * 3_600 - 1);
    assert_eq!(id(&make(&node, &root, &named("a", 1)).await.unwrap().0), id(&key));
    node.clock.advance_seconds(1);
    let (another, secret, replayed) = make(&node, &root, &named("a", 1)).await.unwrap();
    assert!(id(&another) != id(&key) && secret.is_some() && !replayed);
}

#[tokio::test]
async fn a_name_belongs_to_its_caller_its_route_and_one_body() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let other = manager(&node, management(&["*"], &json!([]))).await;
    let (key, _, _) = make(&node, &root, &named("a", 1)).await.unwrap();
    assert!(matches!(make(&node, &root, &named("a", 2)).await, Err(Error::IdempotencyMismatch)));
    let (theirs, _, replayed) = make(&node, &other, &named("a", 1)).await.unwrap();
    assert!(id(&theirs) != id(&key) && !replayed);
    let mut elsewhere = named("a", 1);
    elsewhere.idempotency.as_mut().unwrap().route = "POST /v1/roles".to_owned();
    assert!(!make(&node, &root, &elsewhere).await.unwrap().2);
}

#[tokio::test]
async fn only_committed_answers_are_kept() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let role = async |name: &str| {
        let body = object(json!({"name": name}));
        node.control.create_noun(&root, NounKind::Role, &body, &named("a", 1)).await.map(drop)
    };
    noun(&node, &root, NounKind::Role, json!({"name": "taken"})).await.unwrap();
    assert!(matches!(role("taken").await, Err(Error::Taken { field: "name" })));
    let dry = WriteOptions { dry_run: true, ..named("a", 1) };
    node.control.create_key(&root, new_key(json!({"name": "k"})).unwrap(), &dry).await.unwrap();
    role("free").await.unwrap();
}

#[tokio::test]
async fn a_no_op_is_replayed_as_one() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let key = by_id(&create(&node, &root, json!({"name": "k"})).await.unwrap().value);
    for replayed in [false, true] {
        let done = node.control.update_key(&root, &key, &merge(json!({"name": "k"})), &named("a", 1)).await;
        let done = done.unwrap().done().unwrap();
        assert_eq!((done.replayed, done.value.key.meta.version.0), (replayed, 1));
    }
}

/// A write waits until it is in force, and so does its replay.
#[tokio::test]
async fn while_the_index_stalls_writes_and_their_replays_are_pending() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
    let key = by_id(&create(&node, &root, json!({"name": "k", "grants": grants})).await.unwrap().value);
    let node = node.stalled();
    for (body, options, takes_away, replayed) in [
        (json!({"name": "renamed"}), WriteOptions::default(), false, false),
        (json!({"grants": []}), named("a", 1), true, false),
        (json!({"grants": []}), named("a", 1), true, true),
    ] {
        let done =
            node.control.update_key(&root, &key, &merge(body), &options).await.unwrap().done().unwrap();
        assert_eq!((done.enforced, done.replayed), (Enforced::Pending { takes_away }, replayed));
        let status = node.control.revision_status(&root, done.revision).await.unwrap();
        assert!(!status.enforced && status.missing == 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_same_calls_at_once_one_is_made() {
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (node, root) = (Arc::clone(&node), root.clone());
            tokio::spawn(async move { make(&node, &root, &named("a", 1)).await })
        })
        .collect();
    let mut made = std::collections::BTreeSet::new();
    for call in calls {
        match call.await.unwrap() {
            Ok((key, _, _)) => drop(made.insert(id(&key))),
            Err(Error::IdempotencyInProgress) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(made.len(), 1);
}

//! `If-Match`, no-ops, dry runs and writers that meet.

use std::sync::Arc;

use keywright_control::keys::{KeyEdit, NewSecret, Rotation};
use keywright_control::{AuditFilter, Error, NounKind, WriteOptions};
use keywright_model::revision::Version;
use keywright_store::Store as _;
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{
    allow, by_id, create, dry, if_match, merge, new_key, noun, object, planned, planned_key, rotate, update,
    update_noun,
};

#[track_caller]
fn failed<T: std::fmt::Debug>(answer: Result<T, Error>, now: u64) {
    assert!(
        matches!(answer, Err(Error::PreconditionFailed { current: Version(version) }) if version == now),
        "{answer:?}"
    );
}

#[tokio::test]
async fn every_write_of_a_key_tests_the_version_and_names_the_current_one() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let (key, secret) = (by_id(&made.value), made.value.record.key.secrets[0].id);
    update(&node, &root, &key, json!({"name": "l"})).await.unwrap();
    let (control, old) = (&node.control, if_match(1));
    let rotation = Rotation { overlap_seconds: 0, custom: None, secret: NewSecret::Generated };
    failed(control.update_key(&root, &key, &merge(json!({})), &old).await, 2);
    failed(control.rotate_key(&root, &key, &rotation, &old).await, 2);
    failed(control.expire_secret(&root, &key, secret, &old).await, 2);
    failed(control.set_key_enabled(&root, &key, false, &old).await, 2);
    failed(control.revoke_key(&root, &key, None, &old).await, 2);
    failed(control.delete_key(&root, &key, &old).await, 2);
    let presented = made.value.secret.as_ref().unwrap();
    failed(control.revoke_self(presented, None, keywright_testkit::origin(), &old).await, 2);
    control.delete_key(&root, &key, &if_match(2)).await.unwrap();
    failed(control.undelete_key(&root, &key, &old).await, 3);
}

#[tokio::test]
async fn every_write_of_a_noun_tests_the_version() {
    let node = TestNode::start().await;
    let root = node.root().await;
    for (kind, name) in
        [(NounKind::Org, "a"), (NounKind::Keyspace, "b"), (NounKind::Role, "c"), (NounKind::Plan, "d")]
    {
        noun(&node, &root, kind, json!({"name": name})).await.unwrap();
        update_noun(&node, &root, (kind, name), json!({"name": "e"})).await.unwrap();
        let edit = keywright_model::document::Edit::Merge(object(json!({"name": "f"})));
        failed(node.control.update_noun(&root, kind, "e", &edit, &if_match(1)).await, 2);
        failed(node.control.delete_noun(&root, kind, "e", &if_match(1)).await, 2);
        node.control.delete_noun(&root, kind, "e", &if_match(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_keyspace_may_want_a_version_with_every_write() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let key = by_id(&create(&node, &root, json!({"name": "k"})).await.unwrap().value);
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"require_if_match": true}))
        .await
        .unwrap();
    let wanted =
        |answer: Result<(), Error>| assert!(matches!(answer, Err(Error::PreconditionRequired)), "{answer:?}");
    wanted(update(&node, &root, &key, json!({"name": "l"})).await.map(drop));
    wanted(rotate(&node, &root, &key, 0).await.map(drop));
    wanted(node.control.revoke_key(&root, &key, None, &WriteOptions::default()).await.map(drop));
    wanted(
        node.control
            .delete_noun(&root, NounKind::Keyspace, "default", &WriteOptions::default())
            .await
            .map(drop),
    );
    node.control.update_key(&root, &key, &merge(json!({"name": "l"})), &if_match(1)).await.unwrap();
    create(&node, &root, json!({"name": "m"})).await.unwrap();
}

#[tokio::test]
async fn what_changes_nothing_takes_no_version_no_revision_and_no_audit_entry() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "grants": allow("get", "a/**"), "labels": {"a": "b"}});
    let key = by_id(&create(&node, &root, body.clone()).await.unwrap().value);
    let head = node.store.head().await.unwrap();
    let entries = async || {
        node.control
            .audit(&root, &AuditFilter { limit: 50, ..AuditFilter::default() })
            .await
            .unwrap()
            .items
            .len()
    };
    let before = entries().await;
    update(&node, &root, &key, body).await.unwrap();
    let same = node
        .control
        .set_key_enabled(&root, &key, true, &WriteOptions::default())
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(same.value.key.meta.version, Version(1));
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"secret_prefix": "kw"})).await.unwrap();
    assert_eq!((node.store.head().await.unwrap(), entries().await), (head, before));
    node.control.revoke_key(&root, &key, None, &WriteOptions::default()).await.unwrap();
    let again =
        node.control.revoke_key(&root, &key, Some("again".to_owned()), &WriteOptions::default()).await;
    assert_eq!(again.unwrap().done().unwrap().value.key.meta.version, Version(2));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let key = by_id(
        &create(&node, &root, json!({"name": "k", "grants": allow("get", "a/**")})).await.unwrap().value,
    );
    let (head, keyring) = (node.store.head().await.unwrap(), node.store.keyring().await.unwrap().len());
    let (control, dry) = (&node.control, dry());
    let change = json!({"name": "l", "grants": allow("get", "a/1"), "owner": {"external_id": "new"}});
    let plan = planned(control.update_key(&root, &key, &merge(change), &dry).await.unwrap());
    let paths: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["/name", "/owner", "/grants"]);
    assert!(plan.access.gained.is_empty() && plan.access.lost.len() == 1, "{plan:?}");
    let plan = planned(control.revoke_key(&root, &key, None, &dry).await.unwrap());
    assert_eq!(plan.access.lost.len(), 1);
    planned(control.delete_key(&root, &key, &dry).await.unwrap());
    planned(control.set_key_enabled(&root, &key, false, &dry).await.unwrap());
    let rotation = Rotation { overlap_seconds: 0, custom: None, secret: NewSecret::Generated };
    planned(control.rotate_key(&root, &key, &rotation, &dry).await.unwrap());
    let plan = planned_key(
        &node,
        &root,
        json!({"name": "k", "owner": {"external_id": "new"}, "grants": allow("a", "b")}),
    )
    .await;
    assert_eq!(plan.access.gained.len(), 1);
    let later = json!({"name": "k", "not_before": "2027-01-01T00:00:00Z", "grants": allow("a", "b")});
    assert_eq!(planned_key(&node, &root, later).await.access.gained.len(), 1);
    for (kind, body) in [
        (NounKind::Keyspace, json!({"name": "new"})),
        (NounKind::Principal, json!({})),
        (NounKind::Org, json!({"name": "new"})),
    ] {
        planned(control.create_noun(&root, kind, &object(body), &dry).await.unwrap());
    }
    planned(control.delete_noun(&root, NounKind::Keyspace, "default", &dry).await.unwrap());
    assert_eq!(node.store.head().await.unwrap(), head);
    assert_eq!(node.store.keyring().await.unwrap().len(), keyring);
    assert_eq!(node.vault.rewrap(&keywright_model::seal::SealingKey::from_bytes([9; 32])).len(), keyring);
    assert!(matches!(control.noun(&root, NounKind::Principal, "new").await, Err(Error::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_meet_lose_nothing() {
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let key = by_id(&create(&node, &root, json!({"name": "k"})).await.unwrap().value);
    let writers: Vec<_> = (0..8)
        .map(|nth| {
            let (node, root, key) = (Arc::clone(&node), root.clone(), key.clone());
            tokio::spawn(async move {
                let label = KeyEdit::Set(Arc::new(move |draft, _| {
                    draft.spec.labels.insert(format!("l{nth}"), "x".to_owned());
                    Ok(())
                }));
                loop {
                    match node.control.update_key(&root, &key, &label, &WriteOptions::default()).await {
                        Err(Error::Conflict) => {}
                        other => break drop(other.unwrap()),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let now = node.control.key(&root, &key).await.unwrap().key;
    assert_eq!((now.spec.labels.len(), now.meta.version), (8, Version(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_two_writes_make_at_once_is_made_once() {
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let makers: Vec<_> = (0..6)
        .map(|_| {
            let (node, root) = (Arc::clone(&node), root.clone());
            tokio::spawn(async move {
                let new = new_key(json!({"name": "k", "owner": {"external_id": "user_42"}})).unwrap();
                let made = node.control.create_key(&root, new, &WriteOptions::default()).await.unwrap();
                made.done().unwrap().value.record.key.spec.owner
            })
        })
        .collect();
    let mut owners = std::collections::BTreeSet::new();
    for maker in makers {
        owners.insert(maker.await.unwrap());
    }
    assert_eq!(owners.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_name_no_version_do_not_lose_to_each_other() {
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await;
    let key = by_id(&made.unwrap().value);
    let writers: Vec<_> = (0..64)
        .map(|number| {
            let (node, root, key) = (Arc::clone(&node), root.clone(), key.clone());
            tokio::spawn(async move {
                let labels = json!({"labels": {format!("l{}", number % 32): number.to_string()}});
                let edit = merge(labels);
                node.control.update_key(&root, &key, &edit, &WriteOptions::default()).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let now = node.control.key(&root, &key).await.unwrap().key;
    assert_eq!((now.meta.version.0, now.spec.labels.len()), (65, 32));
}

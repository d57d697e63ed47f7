//! Who calls: with what, from where, and still so when the write is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keywright_control::keys::{KeyEdit, KeyRef, NewSecret, Rotation};
use keywright_control::{Caller, Error, NounKind, Origin, WriteOptions};
use keywright_model::denial::Denial;
use keywright_model::id::PlanId;
use keywright_testkit::{ROOT, TestNode, origin};
use serde_json::json;

use crate::setup::{
    allow, by_id, caller_in, create, id_of, management, noun, rotate, secret_of, update, update_noun,
};

/// An edit during which somebody else does something, once: between what it read and what it commits.
fn interrupted<F>(plan: Option<PlanId>, meanwhile: impl Fn() -> F + Send + Sync + 'static) -> KeyEdit
where
    F: Future<Output = ()>,
{
    let first = AtomicBool::new(true);
    KeyEdit::Set(Arc::new(move |draft, _| {
        if first.swap(false, Ordering::SeqCst) {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile()));
        }
        draft.spec.description = Some("interrupted".to_owned());
        draft.spec.plans.extend(plan);
        Ok(())
    }))
}

#[track_caller]
fn unauthenticated<T: std::fmt::Debug>(answer: Result<T, Error>, why: Option<Denial>) {
    assert!(matches!(&answer, Err(Error::Unauthenticated { denial }) if *denial == why), "{answer:?}");
}

/// A manager that edits a key, while root does `meanwhile` to the manager's key or owner.
async fn caught<F>(meanwhile: impl Fn(TestHandle) -> F + Send + Sync + 'static) -> Result<(), Error>
where
    F: Future<Output = ()>,
{
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let key = by_id(&create(&node, &root, json!({"name": "k"})).await.unwrap().value);
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({})).await.unwrap());
    let mut body = management(&["*"], &allow("*", "**"));
    body["owner"] = json!(owner);
    let made = create(&node, &root, body).await.unwrap();
    let caller = node.caller(secret_of(&made)).await;
    let handle =
        TestHandle { node: Arc::clone(&node), root, manager: by_id(&made.value), owner, key: key.clone() };
    let edit = interrupted(None, move || meanwhile(handle.clone()));
    node.control.update_key(&caller, &key, &edit, &WriteOptions::default()).await.map(drop)
}

#[derive(Clone)]
struct TestHandle {
    node: Arc<TestNode>,
    root: Caller,
    manager: KeyRef,
    owner: String,
    key: KeyRef,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_ended_while_it_writes_does_not_write() {
    let revoked = caught(async |on: TestHandle| {
        on.node.control.revoke_key(&on.root, &on.manager, None, &WriteOptions::default()).await.unwrap();
    });
    unauthenticated(revoked.await, Some(Denial::Revoked));
    let disowned = caught(async |on: TestHandle| {
        let owner = (NounKind::Principal, on.owner.as_str());
        update_noun(&on.node, &on.root, owner, json!({"enabled": false})).await.unwrap();
    });
    unauthenticated(disowned.await, Some(Denial::OwnerDisabled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_rotated_out_while_its_caller_writes_does_not_write() {
    let ended =
        caught(async |on: TestHandle| drop(rotate(&on.node, &on.root, &on.manager, 0).await.unwrap()));
    unauthenticated(ended.await, Some(Denial::Superseded));
    let overlapping =
        caught(async |on: TestHandle| drop(rotate(&on.node, &on.root, &on.manager, 60).await.unwrap()));
    overlapping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_lost_while_its_caller_writes_is_lost_for_that_write() {
    let lost = caught(async |on: TestHandle| {
        let less = json!({"admin": {"actions": ["keys.read"]}});
        update(&on.node, &on.root, &on.manager, less).await.unwrap();
    });
    assert!(matches!(lost.await, Err(Error::Forbidden { .. })));
    // What has nothing to do with it only takes another round.
    let renamed = caught(async |on: TestHandle| {
        update(&on.node, &on.root, &on.manager, json!({"name": "renamed"})).await.unwrap();
        update(&on.node, &on.root, &on.key, json!({"name": "renamed"})).await.unwrap();
    });
    renamed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_beside_the_key_is_compared_again_too() {
    let node = Arc::new(TestNode::start().await);
    let root = node.root().await;
    let role = id_of(&noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": []})).await.unwrap());
    let key = by_id(&create(&node, &root, json!({"name": "k", "roles": [role]})).await.unwrap().value);
    let made = create(&node, &root, management(&["*"], &json!([]))).await.unwrap();
    let caller = node.caller(secret_of(&made)).await;
    let (handle, id) = (Arc::clone(&node), role.clone());
    let plan = id_of(&noun(&node, &root, NounKind::Plan, json!({"name": "p"})).await.unwrap());
    // Something else that the key refers to, so that all of it is read again.
    let widen = interrupted(plan.parse().ok(), move || {
        let (node, root, id) = (Arc::clone(&handle), root.clone(), id.clone());
        async move {
            let grants = json!({"grants": allow("*", "**")});
            update_noun(&node, &root, (NounKind::Role, &id), grants).await.unwrap();
        }
    });
    let rotation = Rotation { overlap_seconds: 0, custom: None, secret: NewSecret::Generated };
    let options = WriteOptions::default();
    node.control.rotate_key(&caller, &key, &rotation, &options).await.unwrap();
    node.control.update_key(&caller, &key, &widen, &options).await.unwrap();
    let now = node.control.rotate_key(&caller, &key, &rotation, &options).await;
    assert!(matches!(now, Err(Error::BeyondGrantable { .. })), "{now:?}");
}

#[tokio::test]
async fn only_a_good_management_key_calls() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let api = create(&node, &root, json!({"name": "k", "grants": allow("*", "**")})).await.unwrap();
    unauthenticated(node.control.authenticate(secret_of(&api), None, origin()).await, None);
    for unknown in ["", "kw_nothing", &"x".repeat(300), "root", "Root-key-of-the-tests-0123456789abcdef"] {
        unauthenticated(node.control.authenticate(unknown, None, origin()).await, None);
    }
    let mut body = management(&["*"], &json!([]));
    body["ip_allowlist"] = json!(["127.0.0.0/8"]);
    let made = create(&node, &root, body).await.unwrap();
    let from = async |address| {
        let origin = Origin { address, ..origin() };
        node.control.authenticate(secret_of(&made), None, origin).await
    };
    from(Some([127, 0, 0, 9].into())).await.unwrap();
    unauthenticated(from(Some([10, 0, 0, 9].into())).await, Some(Denial::IpNotAllowed));
    unauthenticated(from(None).await, Some(Denial::IpNotAllowed));
}

#[tokio::test]
async fn the_root_key_works_in_rest_only_and_in_the_organization_that_it_names() {
    let node = TestNode::start().await;
    let root = node.root().await;
    noun(&node, &root, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let dialect = Origin { wire: "onenet", ..origin() };
    unauthenticated(node.control.authenticate(ROOT, None, dialect).await, None);
    assert_ne!(caller_in(&node, ROOT, "acme").await.unwrap().org(), root.org());
    assert!(matches!(caller_in(&node, ROOT, "nothing").await, Err(Error::NotFound("organization"))));
    // Who is not root learns nothing about organizations.
    unauthenticated(caller_in(&node, "not-the-root-key-of-the-tests-012345", "nothing").await, None);
}

//! A key's life.

use keywright_control::keys::KeyRef;
use keywright_control::{Enforced, Error, WriteOptions};
use keywright_model::denial::Denial;
use keywright_model::key::{KeyState, UNDELETE_SECONDS};
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{
    allow, by_id, create, denial, dry, faults, management, manager, merge, rotate, secret_of, update,
};

#[tokio::test]
async fn an_update_is_in_force_when_it_answers() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "uploader", "grants": allow("get", "devices/7/**")}))
        .await
        .unwrap();
    let ask = |resource| denial(&node, root.org(), secret_of(&made), Some(("get", resource)));
    assert_eq!((ask("devices/7/x"), ask("devices/8/x")), (None, Some(Denial::InsufficientPermission)));

    let done = update(&node, &root, &by_id(&made.value), json!({"grants": allow("get", "devices/8/**")}))
        .await
        .unwrap();
    assert_eq!(done.enforced, Enforced::All);
    assert_eq!((ask("devices/7/x"), ask("devices/8/x")), (Some(Denial::InsufficientPermission), None));
}

#[tokio::test]
async fn a_revoked_key_is_final() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let (key, options) = (by_id(&made.value), WriteOptions::default());
    node.control.revoke_key(&root, &key, Some("leaked".to_owned()), &options).await.unwrap();
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), Some(Denial::Revoked));
    let secret = made.value.record.key.secrets[0].id;
    for answer in [
        node.control.update_key(&root, &key, &merge(json!({"name": "x"})), &options).await.map(drop),
        node.control.set_key_enabled(&root, &key, true, &options).await.map(drop),
        node.control.expire_secret(&root, &key, secret, &options).await.map(drop),
        rotate(&node, &root, &key, 0).await.map(drop),
    ] {
        assert!(matches!(answer, Err(Error::KeyRevoked)), "{answer:?}");
    }
    let record = node.control.key(&root, &key).await.unwrap();
    assert_eq!(record.view["revocation_reason"], "leaked");
    assert_eq!(record.key.state_at(node.now().wall), KeyState::Revoked);
}

#[tokio::test]
async fn a_deleted_key_is_hidden_and_its_record_comes_back_revoked_for_30_days() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let (control, options) = (&node.control, WriteOptions::default());
    let made = create(&node, &root, json!({"name": "k", "external_id": "x"})).await.unwrap();
    let key = by_id(&made.value);
    let not_deleted = control.undelete_key(&root, &key, &options).await;
    assert!(matches!(not_deleted, Err(Error::WrongState { code: "not_deleted", .. })), "{not_deleted:?}");
    control.delete_key(&root, &key, &options).await.unwrap();
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), Some(Denial::Revoked));
    for answer in [
        control.key(&root, &key).await.map(drop),
        control.delete_key(&root, &key, &options).await.map(drop),
        control.revoke_key(&root, &key, None, &options).await.map(drop),
        control
            .key(&root, &KeyRef::ExternalId(made.value.record.key.keyspace, "x".to_owned()))
            .await
            .map(drop),
    ] {
        assert!(matches!(answer, Err(Error::NotFound("key"))), "{answer:?}");
    }
    node.clock.advance_seconds(u32::try_from(UNDELETE_SECONDS).unwrap() - 1);
    let back = control.undelete_key(&root, &key, &options).await.unwrap().done().unwrap().value;
    assert_eq!(back.key.state_at(node.now().wall), KeyState::Revoked);
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), Some(Denial::Revoked));
    control.delete_key(&root, &key, &options).await.unwrap();
    node.clock.advance_seconds(u32::try_from(UNDELETE_SECONDS).unwrap());
    let late = control.undelete_key(&root, &key, &options).await;
    assert!(matches!(late, Err(Error::NotFound("key"))), "{late:?}");
}

#[tokio::test]
async fn what_was_left_out_stays_and_what_is_null_is_cleared() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "description": "d", "owner": {"external_id": "user_42"}, "labels": {"a": "b"},
        "metadata": {"x": 1}, "ip_allowlist": ["10.0.0.0/8"], "limits": [{"name": "l", "max": 1, "per_seconds": 1}]});
    let key = by_id(&create(&node, &root, body).await.unwrap().value);
    let spec = async || node.control.key(&root, &key).await.unwrap().key.spec.clone();
    let before = spec().await;
    update(&node, &root, &key, json!({"name": "l"})).await.unwrap();
    assert_eq!(spec().await, keywright_model::key::KeySpec { name: "l".to_owned(), ..before });
    let cleared = json!({"description": null, "owner": null, "labels": null, "metadata": null, "ip_allowlist": null, "limits": null});
    update(&node, &root, &key, cleared).await.unwrap();
    let after = spec().await;
    assert!(
        after.description.is_none()
            && after.owner.is_none()
            && after.labels.is_empty()
            && after.limits.is_empty()
    );
    let found = faults(update(&node, &root, &key, json!({"enabled": null, "name": null})).await);
    assert_eq!(found.len(), 2, "{found:?}");
}

/// A key can always be ended, whatever its grants have become.
#[tokio::test]
async fn grants_that_cannot_be_compared_do_not_keep_a_key_alive() {
    let node = TestNode::start().await;
    let root = node.root().await;
    // After n segments a comparison can stand on any of 2^n sets of these patterns.
    let pattern = |n: usize| {
        format!("{}/b", (0..31).map(|at| if at == n { "a" } else { "*" }).collect::<Vec<_>>().join("/"))
    };
    let grant = |effect, odd| {
        let resources: Vec<String> = (0..31).filter(|n| n % 2 == odd).map(pattern).collect();
        json!({"effect": effect, "actions": ["get"], "resources": resources})
    };
    let grants = json!([grant("allow", 0), grant("deny", 1)]);
    let made = create(&node, &root, json!({"name": "k", "grants": grants})).await.unwrap();
    let lesser = manager(&node, management(&["*"], &json!([]))).await;
    let compared = node.control.revoke_key(&root, &by_id(&made.value), None, &dry()).await;
    assert!(matches!(compared, Err(Error::TooComplex)), "{compared:?}");
    let done =
        node.control.revoke_key(&lesser, &by_id(&made.value), None, &WriteOptions::default()).await.unwrap();
    assert_eq!(done.done().unwrap().enforced, Enforced::All);
    assert_eq!(denial(&node, root.org(), secret_of(&made), None), Some(Denial::Revoked));
}

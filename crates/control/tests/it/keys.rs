//! A key's life.

use keywright_control::{Enforced, Error, WriteOptions};
use keywright_model::denial::Denial;
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{by_id, create, denial, merge};

#[tokio::test]
async fn an_update_is_in_force_when_it_answers() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}]);
    let made = create(&node, &root, json!({"name": "uploader", "grants": grants})).await.unwrap();
    let secret = made.value.secret.clone().unwrap();
    let ask = |resource| denial(&node, root.org(), secret.expose(), Some(("get", resource)));
    assert_eq!((ask("devices/7/x"), ask("devices/8/x")), (None, Some(Denial::InsufficientPermission)));

    let narrowed =
        merge(json!({"grants": [{"effect": "allow", "actions": ["get"], "resources": ["devices/8/**"]}]}));
    let options = WriteOptions::default();
    let done = node
        .control
        .update_key(&root, &by_id(&made.value), &narrowed, &options)
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(done.enforced, Enforced::All);
    assert_eq!((ask("devices/7/x"), ask("devices/8/x")), (Some(Denial::InsufficientPermission), None));

    node.control.revoke_key(&root, &by_id(&made.value), None, &options).await.unwrap();
    assert_eq!(ask("devices/8/x"), Some(Denial::Revoked));
    let again = node.control.update_key(&root, &by_id(&made.value), &narrowed, &options).await;
    assert!(matches!(again, Err(Error::KeyRevoked)), "{again:?}");
}

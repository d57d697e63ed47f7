//! What a keyspace asks of its keys.

use keywright_control::NounKind;
use keywright_testkit::TestNode;
use serde_json::{Value, json};

use crate::setup::{allow, by_id, create, faults, id_of, management, noun, update, update_noun};

async fn with_policy(policy: Value) -> TestNode {
    let node = TestNode::start().await;
    let root = node.root().await;
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"key_policy": policy})).await.unwrap();
    node
}

fn fault(place: &str, code: &'static str) -> Vec<(String, &'static str)> {
    vec![(place.to_owned(), code)]
}

#[tokio::test]
async fn a_key_must_expire_where_the_keyspace_wants_it() {
    let node = with_policy(json!({"require_expiry": true})).await;
    let root = node.root().await;
    assert_eq!(
        faults(create(&node, &root, json!({"name": "k"})).await),
        fault("/expires_at", "expiry_required")
    );
    let body = json!({"name": "k", "expires_at": "2126-01-01T00:00:00Z"});
    let key = by_id(&create(&node, &root, body).await.unwrap().value);
    let cleared = update(&node, &root, &key, json!({"expires_at": null})).await;
    assert_eq!(faults(cleared), fault("/expires_at", "expiry_required"));
}

#[tokio::test]
async fn a_key_lives_so_long_from_the_write_and_not_a_millisecond_longer() {
    let node = with_policy(json!({"max_lifetime_seconds": 3_600})).await;
    let root = node.root().await;
    let at = |seconds: u64, ms: i64| json!({"name": "k", "expires_at": node.now().wall.plus_seconds(seconds).plus_ms(ms)});
    assert_eq!(
        faults(create(&node, &root, json!({"name": "k"})).await),
        fault("/expires_at", "expiry_required")
    );
    assert_eq!(faults(create(&node, &root, at(3_600, 1)).await), fault("/expires_at", "lifetime_too_long"));
    let key = by_id(&create(&node, &root, at(3_600, 0)).await.unwrap().value);
    node.clock.advance_seconds(10);
    update(&node, &root, &key, at(3_610 - 10, 0)).await.unwrap();
    assert_eq!(
        faults(update(&node, &root, &key, at(3_600, 1)).await),
        fault("/expires_at", "lifetime_too_long")
    );
}

#[tokio::test]
async fn wildcards_are_forbidden_in_what_a_key_itself_allows() {
    let node = with_policy(json!({"forbid_wildcards": true})).await;
    let root = node.root().await;
    for (action, resource) in [("*", "a"), ("a.*", "a"), ("a", "*"), ("a", "b/**")] {
        let refused = create(&node, &root, json!({"name": "k", "grants": allow(action, resource)})).await;
        assert_eq!(faults(refused), fault("/grants/0", "wildcard_forbidden"), "{action} {resource}");
    }
    let refused = create(&node, &root, management(&["*"], &allow("*", "**"))).await;
    assert_eq!(faults(refused), fault("/grantable/0", "wildcard_forbidden"));
    // A deny, a scope and what a role brings are not what the key itself allows.
    let role = id_of(
        &noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": allow("*", "**")})).await.unwrap(),
    );
    let deny = json!([allow("a", "b")[0], {"effect": "deny", "actions": ["*"], "resources": ["**"]}]);
    create(&node, &root, json!({"name": "k", "roles": [role], "scope": ["p/**"], "grants": deny}))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_a_key_had_before_the_policy_stays_until_it_is_written_anew() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let key =
        by_id(&create(&node, &root, json!({"name": "k", "grants": allow("*", "**")})).await.unwrap().value);
    let policy = json!({"require_expiry": true, "forbid_wildcards": true});
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"key_policy": policy})).await.unwrap();
    update(&node, &root, &key, json!({"name": "renamed", "grants": allow("*", "**")})).await.unwrap();
    let refused = update(&node, &root, &key, json!({"grants": allow("get", "**")})).await;
    assert_eq!(faults(refused), fault("/grants/0", "wildcard_forbidden"));
}

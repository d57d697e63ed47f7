//! Nobody hands out more than was given to them: each way by itself. `escalation_random` mixes them.

use keywright_control::keys::KeyRef;
use keywright_control::{Caller, Error, NounKind, WriteOptions};
use keywright_testkit::TestNode;
use serde_json::{Value, json};

use crate::setup::{
    allow, by_id, create, denial, id_of, management, manager, noun, rotate, secret_of, update, update_noun,
};

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::BeyondGrantable { .. })), "{answer:?}");
}

/// A manager of everything that may hand out `get` on `devices/**`, and the root key.
async fn lesser(node: &TestNode) -> (Caller, Caller) {
    let body = management(&["*"], &allow("get", "devices/**"));
    (node.root().await, manager(node, body).await)
}

async fn wide_key(node: &TestNode, more: Value) -> KeyRef {
    let mut body = json!({"name": "wide", "grants": allow("*", "**")});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    by_id(&create(node, &node.root().await, body).await.unwrap().value)
}

#[tokio::test]
async fn a_key_is_made_with_what_its_maker_may_hand_out_and_no_more() {
    let node = TestNode::start().await;
    let (root, lesser) = lesser(&node).await;
    create(&node, &lesser, json!({"name": "k", "grants": allow("get", "devices/7/**")})).await.unwrap();
    refused(create(&node, &lesser, json!({"name": "k", "grants": allow("put", "devices/7")})).await);
    refused(create(&node, &lesser, json!({"name": "k", "grants": allow("*", "devices/**")})).await);
    let role =
        noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": allow("*", "**")})).await.unwrap();
    refused(create(&node, &lesser, json!({"name": "k", "roles": [id_of(&role)]})).await);
    let scoped = json!({"name": "k", "roles": [id_of(&role)], "scope": ["devices/**"],
        "grants": [{"effect": "deny", "actions": ["put"], "resources": ["**"]}]});
    refused(create(&node, &lesser, scoped).await);
    let owner = noun(&node, &root, NounKind::Principal, json!({"roles": [id_of(&role)]})).await.unwrap();
    refused(create(&node, &lesser, json!({"name": "k", "owner": id_of(&owner), "grants": null})).await);
}

#[tokio::test]
async fn a_wider_key_is_not_used_by_a_lesser_caller() {
    let node = TestNode::start().await;
    let (_, lesser) = lesser(&node).await;
    let (control, options) = (&node.control, WriteOptions::default());
    let key = wide_key(&node, json!({})).await;
    refused(rotate(&node, &lesser, &key, 0).await);
    refused(update(&node, &lesser, &key, json!({"owner": {"external_id": "me"}})).await);
    // What takes away, and what says nothing about access, is allowed.
    update(&node, &lesser, &key, json!({"name": "renamed", "labels": {"a": "b"}})).await.unwrap();
    control.set_key_enabled(&lesser, &key, false, &options).await.unwrap();
    refused(control.set_key_enabled(&lesser, &key, true, &options).await);
    refused(update(&node, &lesser, &key, json!({"enabled": true})).await);
    control.revoke_key(&lesser, &key, None, &options).await.unwrap();
    control.delete_key(&lesser, &key, &options).await.unwrap();
    control.undelete_key(&lesser, &key, &options).await.unwrap();
    assert!(matches!(
        control.set_key_enabled(&node.root().await, &key, true, &options).await,
        Err(Error::KeyRevoked)
    ));
}

#[tokio::test]
async fn making_a_wider_key_good_elsewhere_or_longer_gives_all_of_it_again() {
    let node = TestNode::start().await;
    let (_, lesser) = lesser(&node).await;
    let body = json!({"expires_at": "2027-01-01T00:00:00Z", "not_before": "2026-12-01T00:00:00Z", "ip_allowlist": ["10.0.0.0/8"]});
    let key = wide_key(&node, body).await;
    for loosened in [
        json!({"expires_at": null}),
        json!({"expires_at": "2027-01-01T00:00:01Z"}),
        json!({"not_before": null}),
        json!({"not_before": "2026-11-30T00:00:00Z"}),
        json!({"ip_allowlist": null}),
        json!({"ip_allowlist": ["10.0.0.0/8", "11.0.0.1"]}),
    ] {
        refused(update(&node, &lesser, &key, loosened).await);
    }
    for tightened in [
        json!({"expires_at": "2026-12-31T00:00:00Z"}),
        json!({"not_before": "2026-12-02T00:00:00Z"}),
        json!({"grants": allow("put", "x")}),
    ] {
        update(&node, &lesser, &key, tightened).await.unwrap();
    }
}

#[tokio::test]
async fn a_roles_edit_gives_no_more_than_its_editor_may_hand_out() {
    let node = TestNode::start().await;
    let (root, lesser) = lesser(&node).await;
    let grants = json!([
        {"effect": "allow", "actions": ["*"], "resources": ["**"]},
        {"effect": "deny", "actions": ["*"], "resources": ["secrets/**", "devices/0"]},
    ]);
    let role =
        id_of(&noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": grants})).await.unwrap());
    let edit = async |grants: Value| {
        update_noun(&node, &lesser, (NounKind::Role, &role), json!({"grants": grants})).await.map(drop)
    };
    let without =
        |resource: &str| json!([grants[0], {"effect": "deny", "actions": ["*"], "resources": [resource]}]);
    refused(edit(without("devices/0")).await);
    // `devices/0` would be given to put as well.
    refused(edit(without("secrets/**")).await);
    let more = json!({"effect": "deny", "actions": ["x"], "resources": ["y"]});
    edit(json!([grants[0], grants[1], more])).await.unwrap();
    // A deny counts against all that a key has, so that dropping it with its allow may still give something.
    refused(edit(allow("put", "z")).await);
    edit(json!([allow("put", "z")[0], grants[1], more])).await.unwrap();
    edit(json!([allow("put", "z")[0], allow("get", "devices/1")[0], grants[1], more])).await.unwrap();
    refused(edit(json!([allow("put", "z")[0], allow("put", "devices/1")[0], grants[1], more])).await);
}

#[tokio::test]
async fn a_principal_that_loses_its_ceiling_or_is_switched_on_gives_its_keys_all_they_hold() {
    let node = TestNode::start().await;
    let (root, lesser) = lesser(&node).await;
    let role = id_of(
        &noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": allow("get", "devices/**")}))
            .await
            .unwrap(),
    );
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"roles": [role]})).await.unwrap());
    let edit =
        async |body: Value| update_noun(&node, &lesser, (NounKind::Principal, &owner), body).await.map(drop);
    // Without keys there is nothing to gain.
    edit(json!({"roles": []})).await.unwrap();
    edit(json!({"roles": [role]})).await.unwrap();
    let made = create(&node, &root, json!({"name": "wide", "owner": owner, "grants": allow("*", "**")}))
        .await
        .unwrap();
    refused(edit(json!({"roles": []})).await);
    edit(json!({"enabled": false})).await.unwrap();
    edit(json!({"enabled": true})).await.unwrap();
    let ask = |resource| denial(&node, root.org(), secret_of(&made), Some(("get", resource)));
    assert_eq!(ask("devices/1"), None);
    edit(json!({"enabled": false})).await.unwrap();
    update_noun(&node, &root, (NounKind::Principal, &owner), json!({"roles": []})).await.unwrap();
    refused(edit(json!({"enabled": true})).await);
    // Another role that may not be handed out, even by way of a principal.
    let wide = id_of(
        &noun(&node, &root, NounKind::Role, json!({"name": "w", "grants": allow("*", "**")})).await.unwrap(),
    );
    refused(edit(json!({"roles": [wide]})).await);
    refused(noun(&node, &lesser, NounKind::Principal, json!({"roles": [wide]})).await);
}

/// The write of somebody who may do everything, made between a lesser caller's look at an owner's keys and its commit.
async fn meanwhile(wide: impl AsyncFn(&TestNode, &str), edit: Value) -> Result<(), Error> {
    let node = std::sync::Arc::new(TestNode::start().await);
    let (root, lesser) = lesser(&node).await;
    let role = json!({"name": "r", "grants": allow("get", "devices/**")});
    let role = id_of(&noun(&node, &root, NounKind::Role, role).await.unwrap());
    let owner = id_of(
        &noun(&node, &root, NounKind::Principal, json!({"roles": [role], "enabled": false})).await.unwrap(),
    );
    create(&node, &root, json!({"name": "small", "owner": owner, "grants": allow("get", "devices/1")}))
        .await
        .unwrap();
    let (made, moment) = tokio::sync::oneshot::channel::<()>();
    let (reached, decided) = tokio::sync::oneshot::channel::<()>();
    node.watched.before_next_commit(async move {
        reached.send(()).unwrap();
        moment.await.unwrap();
    });
    let edited = Box::pin(update_noun(&node, &lesser, (NounKind::Principal, &owner), edit));
    let other = Box::pin(async {
        decided.await.unwrap();
        wide(&node, &owner).await;
        made.send(()).unwrap();
    });
    tokio::join!(edited, other).0.map(drop)
}

#[tokio::test]
async fn a_key_that_comes_to_an_owner_while_its_ceiling_is_lifted_counts_too() {
    let made = async |node: &TestNode, owner: &str| {
        drop(wide_key(node, json!({"owner": owner})).await);
    };
    refused(meanwhile(made, json!({"roles": []})).await);
    refused(meanwhile(made, json!({"roles": [], "enabled": true})).await);
    let given = async |node: &TestNode, owner: &str| {
        let key = wide_key(node, json!({})).await;
        update(node, &node.root().await, &key, json!({"owner": owner})).await.unwrap();
    };
    refused(meanwhile(given, json!({"roles": []})).await);
    // What comes meanwhile and is within the caller's own is no reason to refuse.
    let small = async |node: &TestNode, owner: &str| {
        let body = json!({"name": "small", "owner": owner, "grants": allow("get", "devices/2")});
        create(node, &node.root().await, body).await.unwrap();
    };
    meanwhile(small, json!({"roles": [], "enabled": true})).await.unwrap();
}

#[tokio::test]
async fn a_principal_that_owns_a_wider_manager_is_not_switched_on_by_a_lesser_one() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let lesser = manager(&node, management(&["keys.read", "principals.write"], &json!([]))).await;
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"enabled": false})).await.unwrap());
    let mut body = management(&["*"], &json!([]));
    body["owner"] = json!(owner);
    create(&node, &root, body).await.unwrap();
    refused(update_noun(&node, &lesser, (NounKind::Principal, &owner), json!({"enabled": true})).await);
}

#[tokio::test]
async fn who_is_bound_to_keyspaces_adds_nothing_to_what_all_of_them_share() {
    let node = TestNode::start().await;
    let root = node.root().await;
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    let grants = allow("get", "devices/**");
    let role = id_of(&noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": []})).await.unwrap());
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"roles": [role]})).await.unwrap());
    let there =
        create(&node, &root, json!({"name": "live", "keyspace": "live", "roles": [role]})).await.unwrap();
    let bound = manager(
        &node,
        json!({"kind": "management", "name": "bound", "grantable": grants,
        "admin": {"actions": ["*"], "orgs": ["default"], "keyspaces": ["default"]}}),
    )
    .await;
    refused(update_noun(&node, &bound, (NounKind::Role, &role), json!({"grants": grants})).await);
    assert!(denial(&node, root.org(), secret_of(&there), Some(("get", "devices/1"))).is_some());
    // Nor does it bring back what was switched off there, were it within what it may hand out.
    create(&node, &root, json!({"name": "live", "keyspace": "live", "owner": owner})).await.unwrap();
    let switch = async |caller: &Caller, enabled: bool| {
        update_noun(&node, caller, (NounKind::Principal, &owner), json!({"enabled": enabled})).await.map(drop)
    };
    switch(&bound, false).await.unwrap();
    refused(switch(&bound, true).await);
    switch(&root, true).await.unwrap();
    // A role of its own gives nobody anything yet.
    let own =
        id_of(&noun(&node, &bound, NounKind::Role, json!({"name": "own", "grants": grants})).await.unwrap());
    refused(update_noun(&node, &bound, (NounKind::Principal, &owner), json!({"roles": [role, own]})).await);
    create(&node, &bound, json!({"name": "mine", "roles": [own]})).await.unwrap();
    let made = noun(&node, &bound, NounKind::Keyspace, json!({"name": "more"})).await;
    assert!(matches!(made, Err(Error::Forbidden { .. })), "{made:?}");
}

#[tokio::test]
async fn a_manager_makes_managers_within_its_own_admin_and_grantable() {
    let node = TestNode::start().await;
    let grants = allow("get", "devices/**");
    let lesser = manager(&node, management(&["keys.create", "keys.read", "keys.update"], &grants)).await;
    create(&node, &lesser, management(&["keys.create"], &allow("get", "devices/1"))).await.unwrap();
    refused(create(&node, &lesser, management(&["keys.revoke"], &json!([]))).await);
    refused(create(&node, &lesser, management(&["*"], &json!([]))).await);
    refused(create(&node, &lesser, management(&["keys.create"], &allow("put", "devices/1"))).await);
    let mut everywhere = management(&["keys.create"], &json!([]));
    everywhere["admin"]["orgs"] = json!(["*"]);
    refused(create(&node, &lesser, everywhere).await);
}

#[tokio::test]
async fn only_root_hands_the_lease_out() {
    let node = TestNode::start().await;
    let all = manager(&node, management(&["*", "feed.lease"], &allow("*", "**"))).await;
    refused(create(&node, &all, management(&["feed.lease"], &json!([]))).await);
    create(&node, &all, management(&["*"], &allow("*", "**"))).await.unwrap();
    let holder = create(&node, &node.root().await, management(&["feed.lease"], &json!([]))).await.unwrap();
    refused(rotate(&node, &all, &by_id(&holder.value), 0).await);
    update(&node, &all, &by_id(&holder.value), json!({"name": "renamed"})).await.unwrap();
}

/// What a manager may do and what it may hand out count together: adding to one gives the other again.
#[tokio::test]
async fn adding_to_a_wider_managers_reach_or_ceiling_needs_all_of_it() {
    let node = TestNode::start().await;
    let root = node.root().await;
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    let wide = json!({"kind": "management", "name": "wide", "grantable": allow("*", "**"),
        "admin": {"actions": ["keys.create"], "orgs": ["default"], "keyspaces": ["default"]}});
    let wide = by_id(&create(&node, &root, wide).await.unwrap().value);
    let lesser = manager(&node, management(&["*"], &allow("get", "devices/**"))).await;
    refused(update(&node, &lesser, &wide, json!({"admin": {"keyspaces": ["default", "live"]}})).await);
    let far = json!({"kind": "management", "name": "far", "grantable": [],
        "admin": {"actions": ["*"], "orgs": ["*"], "keyspaces": ["*"]}});
    let far = by_id(&create(&node, &root, far).await.unwrap().value);
    refused(update(&node, &lesser, &far, json!({"grantable": allow("get", "devices/1")})).await);
    // All of it within the lesser one's own: then it may.
    let both = json!({"admin": {"orgs": ["default"]}, "grantable": allow("get", "devices/1")});
    update(&node, &lesser, &far, both).await.unwrap();
}

#[tokio::test]
async fn a_key_changes_itself_only_to_less() {
    let node = TestNode::start().await;
    let mut body =
        management(&["keys.read", "keys.update", "keys.rotate", "keys.disable"], &allow("get", "devices/**"));
    body["expires_at"] = json!("2027-01-01T00:00:00Z");
    let made = create(&node, &node.root().await, body).await.unwrap();
    let itself = by_id(&made.value);
    let caller = async || node.caller(secret_of(&made)).await;
    for more in [
        json!({"grantable": allow("get", "devices/**").as_array().unwrap().iter().chain(allow("put", "x").as_array().unwrap()).collect::<Vec<_>>()}),
        json!({"admin": {"actions": ["keys.read", "keys.update", "keys.revoke"]}}),
        json!({"admin": {"orgs": ["*"]}}),
        json!({"expires_at": null}),
        json!({"owner": {"external_id": "me"}}),
    ] {
        refused(update(&node, &caller().await, &itself, more).await);
    }
    update(&node, &caller().await, &itself, json!({"name": "renamed"})).await.unwrap();
    rotate(&node, &caller().await, &itself, 60).await.unwrap();
    let less =
        json!({"grantable": allow("get", "devices/1"), "admin": {"actions": ["keys.read", "keys.update"]}});
    update(&node, &caller().await, &itself, less).await.unwrap();
    refused(update(&node, &caller().await, &itself, json!({"grantable": allow("get", "devices/**")})).await);
}

#[tokio::test]
async fn the_switch_has_a_right_of_its_own() {
    let node = TestNode::start().await;
    let key = wide_key(&node, json!({})).await;
    let editor = manager(&node, management(&["keys.read", "keys.update"], &allow("*", "**"))).await;
    let answer = update(&node, &editor, &key, json!({"enabled": false})).await;
    assert!(matches!(answer, Err(Error::Forbidden { .. })), "{answer:?}");
    let answer = node.control.set_key_enabled(&editor, &key, false, &WriteOptions::default()).await;
    assert!(matches!(answer, Err(Error::Forbidden { .. })), "{answer:?}");
}

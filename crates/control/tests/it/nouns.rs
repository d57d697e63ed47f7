//! Organizations, keyspaces, principals, roles and plans.

use keywright_control::{Error, NounKind, WriteOptions};
use keywright_model::denial::Denial;
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{
    allow, by_id, create, denial, dry, faults, id_of, management, manager, noun, object, planned, secret_of,
    update, update_noun,
};

#[tokio::test]
async fn what_is_referred_to_is_not_deleted() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let role = id_of(&noun(&node, &root, NounKind::Role, json!({"name": "r"})).await.unwrap());
    let plan = id_of(&noun(&node, &root, NounKind::Plan, json!({"name": "p"})).await.unwrap());
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"roles": [role]})).await.unwrap());
    let key = by_id(
        &create(&node, &root, json!({"name": "k", "plans": [plan], "owner": owner})).await.unwrap().value,
    );
    let drop_it = async |kind, id: &str| {
        node.control.delete_noun(&root, kind, id, &WriteOptions::default()).await.map(drop)
    };
    let used = [
        (NounKind::Role, role.as_str()),
        (NounKind::Plan, &plan),
        (NounKind::Principal, &owner),
        (NounKind::Keyspace, "default"),
        (NounKind::Org, "default"),
    ];
    for (kind, id) in used {
        assert!(matches!(drop_it(kind, id).await, Err(Error::InUse)), "{kind:?}");
    }
    update(&node, &root, &key, json!({"plans": [], "owner": null})).await.unwrap();
    for (kind, id) in [(NounKind::Plan, &plan), (NounKind::Principal, &owner), (NounKind::Role, &role)] {
        drop_it(kind, id).await.unwrap();
        assert!(matches!(drop_it(kind, id).await, Err(Error::NotFound(_))), "{kind:?}");
    }
    // A hidden key's record may come back, so that it counts until it is gone for good.
    node.control.delete_key(&root, &key, &WriteOptions::default()).await.unwrap();
    assert!(matches!(drop_it(NounKind::Keyspace, "default").await, Err(Error::InUse)));
    node.clock.advance_seconds(30 * 86_400 + 1);
    node.control.sweep(node.now().wall).await.unwrap();
    drop_it(NounKind::Keyspace, "default").await.unwrap();
}

#[tokio::test]
async fn a_name_is_given_once() {
    let node = TestNode::start().await;
    let root = node.root().await;
    for (kind, body, field) in [
        (NounKind::Org, json!({"name": "n"}), "name"),
        (NounKind::Keyspace, json!({"name": "n"}), "name"),
        (NounKind::Role, json!({"name": "n"}), "name"),
        (NounKind::Plan, json!({"name": "n"}), "name"),
        (NounKind::Principal, json!({"external_id": "n"}), "external_id"),
    ] {
        noun(&node, &root, kind, body.clone()).await.unwrap();
        let again = noun(&node, &root, kind, body).await;
        assert!(matches!(&again, Err(Error::Taken { field: taken }) if *taken == field), "{again:?}");
    }
    for (field, body) in [
        ("external_id", json!({"name": "k", "external_id": "x"})),
        ("access_id", json!({"name": "k", "access_id": "access_1"})),
    ] {
        create(&node, &root, body.clone()).await.unwrap();
        let again = create(&node, &root, body).await.map(drop);
        assert!(matches!(&again, Err(Error::Taken { field: taken }) if *taken == field), "{again:?}");
    }
    // Another keyspace has external ids of its own, the installation one of each access id.
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    create(&node, &root, json!({"name": "k", "keyspace": "live", "external_id": "x"})).await.unwrap();
    let again = create(&node, &root, json!({"name": "k", "keyspace": "live", "access_id": "access_1"})).await;
    assert!(matches!(again.map(drop), Err(Error::Taken { field: "access_id" })));
}

#[tokio::test]
async fn a_roles_change_is_in_force_for_keys_and_owners_when_it_answers() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let role = id_of(
        &noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": allow("get", "a/**")}))
            .await
            .unwrap(),
    );
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"roles": [role]})).await.unwrap());
    let by_role = create(&node, &root, json!({"name": "k", "roles": [role]})).await.unwrap();
    let by_owner = create(&node, &root, json!({"name": "k", "owner": owner, "grants": null})).await.unwrap();
    let ask = |resource| {
        [&by_role, &by_owner].map(|made| denial(&node, root.org(), secret_of(made), Some(("get", resource))))
    };
    assert_eq!(ask("a/1"), [None, None]);
    let edit = keywright_model::document::Edit::Merge(object(json!({"grants": allow("get", "b/**")})));
    let plan = planned(node.control.update_noun(&root, NounKind::Role, &role, &edit, &dry()).await.unwrap());
    assert_eq!((plan.access.gained.len(), plan.access.lost.len()), (1, 1));
    update_noun(&node, &root, (NounKind::Role, &role), json!({"grants": allow("get", "b/**")}))
        .await
        .unwrap();
    let no = Some(Denial::InsufficientPermission);
    assert_eq!((ask("a/1"), ask("b/1")), ([no, no], [None, None]));
    update_noun(&node, &root, (NounKind::Principal, &owner), json!({"enabled": false})).await.unwrap();
    assert_eq!(ask("b/1"), [None, Some(Denial::OwnerDisabled)]);
}

#[tokio::test]
async fn an_edit_names_every_fault_and_a_switch_is_not_cleared() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({})).await.unwrap());
    let body = json!({"enabled": null, "kind": "robot", "id": "prn_x", "nmae": "x"});
    let mut found = faults(update_noun(&node, &root, (NounKind::Principal, &owner), body).await);
    found.sort_unstable();
    let expected = [
        ("/enabled", "invalid_type"),
        ("/id", "read_only_field"),
        ("/kind", "invalid_kind"),
        ("/nmae", "unknown_field"),
    ];
    assert_eq!(found, expected.map(|(place, code)| (place.to_owned(), code)));
    let role = "role_00000000000000000000000000";
    let found =
        faults(update_noun(&node, &root, (NounKind::Principal, &owner), json!({"roles": [role]})).await);
    assert_eq!(found, [("/roles/0".to_owned(), "unknown_role")]);
}

#[tokio::test]
async fn organizations_are_made_by_who_reaches_them_all() {
    let node = TestNode::start().await;
    let bound = manager(&node, management(&["*"], &json!([]))).await;
    let made = noun(&node, &bound, NounKind::Org, json!({"name": "acme"})).await;
    assert!(matches!(made, Err(Error::Forbidden { .. })), "{made:?}");
    let mut body = management(&["*"], &json!([]));
    body["admin"]["orgs"] = json!(["*"]);
    let free = manager(&node, body).await;
    noun(&node, &free, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    assert_eq!(node.control.nouns(&free, NounKind::Org, None, 50).await.unwrap().items.len(), 2);
    assert_eq!(node.control.nouns(&bound, NounKind::Org, None, 50).await.unwrap().items.len(), 1);
}

//! Another tenant's nouns, and those of keyspaces out of reach, do not exist.

use keywright_control::keys::{Can, KeyList, KeyRef, NewSecret, Rotation};
use keywright_control::{AuditFilter, Caller, Error, KeyQuery, NounKind, WriteOptions};
use keywright_model::document::Edit;
use keywright_model::secret::Secret;
use keywright_testkit::{ROOT, TestNode};
use serde_json::json;

use crate::setup::{
    allow, caller_in, create, faults, id_of, management, manager, merge, noun, object, secret_of,
};

const KINDS: [NounKind; 4] = [NounKind::Keyspace, NounKind::Principal, NounKind::Role, NounKind::Plan];

struct Theirs {
    refs: Vec<KeyRef>,
    secret: keywright_model::id::SecretId,
    nouns: Vec<(NounKind, String)>,
}

/// One of everything in another organization.
async fn theirs(node: &TestNode) -> Theirs {
    noun(node, &node.root().await, NounKind::Org, json!({"name": "acme"})).await.unwrap();
    let acme = caller_in(node, ROOT, "acme").await.unwrap();
    let mut nouns = Vec::new();
    for (kind, body) in [
        (NounKind::Keyspace, json!({"name": "theirs"})),
        (NounKind::Principal, json!({"external_id": "theirs"})),
        (NounKind::Role, json!({"name": "theirs"})),
        (NounKind::Plan, json!({"name": "theirs"})),
    ] {
        nouns.push((kind, id_of(&noun(node, &acme, kind, body).await.unwrap())));
    }
    let body = json!({"name": "k", "keyspace": "theirs", "access_id": "theirs", "external_id": "theirs"});
    let made = create(node, &acme, body).await.unwrap();
    let key = &made.value.record.key;
    let refs = vec![
        KeyRef::Id(key.id),
        KeyRef::Text(key.id.to_string()),
        KeyRef::AccessId("theirs".to_owned()),
        KeyRef::ExternalId(key.keyspace, "theirs".to_owned()),
        KeyRef::Secret(Secret::new(secret_of(&made))),
    ];
    Theirs { refs, secret: key.secrets[0].id, nouns }
}

#[track_caller]
fn not_found<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
}

async fn every_key_call(
    node: &TestNode,
    caller: &Caller,
    key: &KeyRef,
    secret: keywright_model::id::SecretId,
) {
    let (control, options) = (&node.control, WriteOptions::default());
    let rotation = Rotation { overlap_seconds: 0, custom: None, secret: NewSecret::Generated };
    not_found(control.key(caller, key).await);
    not_found(control.update_key(caller, key, &merge(json!({"name": "mine"})), &options).await);
    not_found(control.rotate_key(caller, key, &rotation, &options).await);
    not_found(control.expire_secret(caller, key, secret, &options).await);
    not_found(control.reveal_secret(caller, key, secret).await);
    not_found(control.revoke_key(caller, key, None, &options).await);
    not_found(control.set_key_enabled(caller, key, false, &options).await);
    not_found(control.delete_key(caller, key, &options).await);
    not_found(control.undelete_key(caller, key, &options).await);
}

#[tokio::test]
async fn another_tenants_nouns_are_not_found_by_any_call() {
    let node = TestNode::start().await;
    let theirs = theirs(&node).await;
    let manager = manager(&node, management(&["*"], &allow("*", "**"))).await;
    for caller in [&manager, &node.root().await] {
        for key in &theirs.refs {
            every_key_call(&node, caller, key, theirs.secret).await;
        }
        for (kind, id) in theirs
            .nouns
            .iter()
            .map(|(kind, id)| (*kind, id.as_str()))
            .chain(KINDS.map(|kind| (kind, "theirs")))
        {
            let (control, options) = (&node.control, WriteOptions::default());
            not_found(control.noun(caller, kind, id).await);
            let edit = Edit::Merge(object(json!({"name": "mine"})));
            not_found(control.update_noun(caller, kind, id, &edit, &options).await);
            not_found(control.delete_noun(caller, kind, id, &options).await);
        }
    }
    not_found(node.control.noun(&manager, NounKind::Org, "acme").await);
}

#[tokio::test]
async fn another_tenants_nouns_cannot_be_referred_to() {
    let node = TestNode::start().await;
    let theirs = theirs(&node).await;
    let root = node.root().await;
    let id = |wanted| json!(theirs.nouns.iter().find(|(kind, _)| *kind == wanted).unwrap().1);
    let body = json!({"name": "k", "roles": [id(NounKind::Role)], "plans": [id(NounKind::Plan)], "owner": id(NounKind::Principal)});
    let found = faults(create(&node, &root, body).await);
    let expected =
        [("/roles/0", "unknown_role"), ("/plans/0", "unknown_plan"), ("/owner", "unknown_principal")];
    assert_eq!(found, expected.map(|(place, code)| (place.to_owned(), code)));
    let body = json!({"name": "k", "keyspace": id(NounKind::Keyspace)});
    assert_eq!(faults(create(&node, &root, body).await), [("/keyspace".to_owned(), "unknown_keyspace")]);
    // Root too: a principal of one tenant with another's role would tie the two together.
    let body = json!({"roles": [id(NounKind::Role)]});
    assert_eq!(
        faults(noun(&node, &root, NounKind::Principal, body).await),
        [("/roles/0".to_owned(), "unknown_role")]
    );
}

#[tokio::test]
async fn lists_show_the_callers_tenant_and_keyspaces_only() {
    let node = TestNode::start().await;
    theirs(&node).await;
    let root = node.root().await;
    noun(&node, &root, NounKind::Keyspace, json!({"name": "live"})).await.unwrap();
    create(&node, &root, json!({"name": "here"})).await.unwrap();
    let there = create(&node, &root, json!({"name": "there", "keyspace": "live"})).await.unwrap();
    let bound = manager(
        &node,
        json!({"kind": "management", "name": "bound", "grantable": [],
        "admin": {"actions": ["*"], "orgs": ["default"], "keyspaces": ["default"]}}),
    )
    .await;
    let list = KeyList { keyspace: None, query: KeyQuery::all(root.org(), node.now().wall, 50), can: None };
    let page = node.control.keys(&bound, &list).await.unwrap();
    let mut names: Vec<&str> = page.items.iter().map(|item| item.key.spec.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bound", "here"]);
    // Whatever organization and keyspaces the query itself says.
    let elsewhere = caller_in(&node, ROOT, "acme").await.unwrap().org();
    let list = KeyList { query: KeyQuery::all(elsewhere, node.now().wall, 50), ..list };
    assert_eq!(node.control.keys(&bound, &list).await.unwrap().items.len(), 2);
    let by_name = KeyList { keyspace: Some("live".to_owned()), ..list };
    assert_eq!(
        faults(node.control.keys(&bound, &by_name).await),
        [("/keyspace".to_owned(), "unknown_keyspace")]
    );
    every_key_call(
        &node,
        &bound,
        &KeyRef::Id(there.value.record.key.id),
        there.value.record.key.secrets[0].id,
    )
    .await;
    for (kind, count) in [(NounKind::Org, 1), (NounKind::Keyspace, 1), (NounKind::Principal, 0)] {
        assert_eq!(node.control.nouns(&bound, kind, None, 50).await.unwrap().items.len(), count, "{kind:?}");
    }
    let audit = node.control.audit(&bound, &AuditFilter { limit: 10, ..AuditFilter::default() }).await;
    assert!(matches!(audit, Err(Error::Forbidden { .. })), "{audit:?}");
}

/// What one may not see is not found; what one sees and may not touch is forbidden.
#[tokio::test]
async fn what_is_seen_and_may_not_be_touched_is_forbidden() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let reader = manager(&node, management(&["keys.read", "roles.read"], &json!([]))).await;
    let key = KeyRef::Id(made.value.record.key.id);
    node.control.key(&reader, &key).await.unwrap();
    let answer =
        node.control.update_key(&reader, &key, &merge(json!({"name": "x"})), &WriteOptions::default()).await;
    assert!(matches!(answer, Err(Error::Forbidden { .. })), "{answer:?}");
    let writer = manager(&node, management(&["keys.update"], &json!([]))).await;
    assert!(matches!(node.control.key(&writer, &key).await, Err(Error::Forbidden { .. })));
    let list = KeyList {
        keyspace: None,
        query: KeyQuery::all(root.org(), node.now().wall, 50),
        can: Some(Can { action: None, resource: keywright_model::grant::Resource::root(), address: None }),
    };
    assert!(matches!(node.control.keys(&writer, &list).await, Err(Error::Forbidden { .. })));
    let role = noun(&node, &reader, NounKind::Role, json!({"name": "r"})).await;
    assert!(matches!(role, Err(Error::Forbidden { .. })), "{role:?}");
}

#[tokio::test]
async fn a_lookup_finds_the_tenants_own_keys_and_rotated_out_secrets_too() {
    let node = TestNode::start().await;
    let theirs = theirs(&node).await;
    let root = node.root().await;
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let leaked = made.value.secret.clone().unwrap();
    crate::setup::rotate(&node, &root, &crate::setup::by_id(&made.value), 0).await.unwrap();
    let found = node.control.lookup_key(&root, &leaked).await.unwrap();
    assert_eq!(found.key.id, made.value.record.key.id);
    let Some(KeyRef::Secret(foreign)) = theirs.refs.last() else { panic!("no secret") };
    not_found(node.control.lookup_key(&root, foreign).await);
    not_found(node.control.lookup_key(&root, &Secret::new("kw_unknown")).await);
    node.control
        .delete_key(&root, &crate::setup::by_id(&made.value), &WriteOptions::default())
        .await
        .unwrap();
    not_found(node.control.lookup_key(&root, &leaked).await);
}

//! Lists of keys: pages, cursors, and who can do something now.

use keywright_control::keys::{Can, KeyList, KeyRef};
use keywright_control::{Caller, Error, KeyQuery, NounKind, WriteOptions};
use keywright_model::grant::Resource;
use keywright_model::id::KeyId;
use keywright_model::key::KeyKind;
use keywright_testkit::TestNode;
use serde_json::json;

use crate::setup::{allow, create, id_of, management, manager, noun, update_noun};

fn list(caller: &Caller, node: &TestNode, limit: usize, can: Option<Can>) -> KeyList {
    KeyList { keyspace: None, query: KeyQuery::all(caller.org(), node.now().wall, limit), can }
}

fn can(action: &str, resource: &str, address: Option<[u8; 4]>) -> Can {
    Can {
        action: Some(action.parse().unwrap()),
        resource: if resource.is_empty() { Resource::root() } else { resource.parse().unwrap() },
        address: address.map(Into::into),
    }
}

/// Walks a list to its end; the names in each page.
async fn pages(node: &TestNode, caller: &Caller, mut list: KeyList) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = node.control.keys(caller, &list).await.unwrap();
        pages.push(page.items.iter().map(|item| item.key.spec.name.clone()).collect());
        match page.next {
            Some(after) => list.query.after = Some(after),
            None => return pages,
        }
        assert!(pages.len() < 1_000, "a list without an end");
    }
}

async fn many(node: &TestNode, root: &Caller, count: usize) -> Vec<KeyId> {
    let mut ids = Vec::new();
    for nth in 0..count {
        node.clock.advance_ms(1);
        let grants = allow("get", if nth % 3 == 0 { "devices/**" } else { "other/**" });
        let made = create(node, root, json!({"name": format!("k{nth}"), "grants": grants})).await.unwrap();
        ids.push(made.value.record.key.id);
    }
    ids
}

#[tokio::test]
async fn pages_hold_every_key_once_and_the_last_one_says_so() {
    let node = TestNode::start().await;
    let root = node.root().await;
    many(&node, &root, 7).await;
    let all: Vec<String> = (0..7).rev().map(|nth| format!("k{nth}")).collect();
    for limit in [1, 2, 3, 6, 7, 8] {
        let pages = pages(&node, &root, list(&root, &node, limit, None)).await;
        assert_eq!(pages.concat(), all);
        assert_eq!(pages.len(), 7_usize.div_ceil(limit), "pages of {limit}");
        assert!(pages.iter().all(|page| page.len() <= limit));
    }
}

#[tokio::test]
async fn a_cursor_goes_on_where_it_was_while_keys_come_and_go() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let ids = many(&node, &root, 6).await;
    let mut asked = list(&root, &node, 2, None);
    let first = node.control.keys(&root, &asked).await.unwrap();
    node.control.delete_key(&root, &KeyRef::Id(first.next.unwrap()), &WriteOptions::default()).await.unwrap();
    create(&node, &root, json!({"name": "new"})).await.unwrap();
    asked.query.after = first.next;
    let second = node.control.keys(&root, &asked).await.unwrap();
    assert_eq!(second.items.iter().map(|item| item.key.id).collect::<Vec<_>>(), [ids[3], ids[2]]);
}

#[tokio::test]
async fn who_can_do_something_is_paged_like_any_other_list() {
    let node = TestNode::start().await;
    let root = node.root().await;
    many(&node, &root, 10).await;
    for limit in [1, 3, 4, 5] {
        let asked = list(&root, &node, limit, Some(can("get", "devices/7", None)));
        let pages = pages(&node, &root, asked).await;
        assert_eq!(pages.concat(), ["k9", "k6", "k3", "k0"]);
        assert!(pages.iter().all(|page| page.len() <= limit));
    }
}

#[tokio::test]
async fn who_can_do_something_now_is_who_would_be_allowed() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let role = id_of(
        &noun(&node, &root, NounKind::Role, json!({"name": "r", "grants": allow("get", "devices/**")}))
            .await
            .unwrap(),
    );
    let owner = id_of(&noun(&node, &root, NounKind::Principal, json!({"roles": [role]})).await.unwrap());
    let wide = allow("*", "**");
    for body in [
        json!({"name": "own", "grants": wide}),
        json!({"name": "role", "roles": [role]}),
        json!({"name": "out of scope", "roles": [role], "scope": ["other/**"]}),
        json!({"name": "by owner", "owner": owner, "grants": null}),
        json!({"name": "disabled", "grants": wide, "enabled": false}),
        json!({"name": "expired", "grants": wide, "expires_at": "2026-01-01T00:00:00Z"}),
        json!({"name": "scheduled", "grants": wide, "not_before": "2027-01-01T00:00:00Z"}),
        json!({"name": "elsewhere", "grants": wide, "ip_allowlist": ["192.0.2.0/24"]}),
    ] {
        node.clock.advance_ms(1);
        create(&node, &root, body).await.unwrap();
    }
    create(&node, &root, management(&["*"], &wide)).await.unwrap();
    let who = async |can| pages(&node, &root, list(&root, &node, 50, Some(can))).await.concat();
    assert_eq!(who(can("get", "devices/1", Some([10, 0, 0, 1]))).await, ["by owner", "role", "own"]);
    assert_eq!(
        who(can("get", "devices/1", Some([192, 0, 2, 9]))).await,
        ["elsewhere", "by owner", "role", "own"]
    );
    assert_eq!(who(can("get", "", None)).await, ["elsewhere", "own"]);
    update_noun(&node, &root, (NounKind::Principal, &owner), json!({"enabled": false})).await.unwrap();
    assert_eq!(who(can("get", "devices/1", Some([10, 0, 0, 1]))).await, ["role", "own"]);
    // Only an address: whoever would come as far as the question of rights.
    let from = Can { action: None, ..can("get", "x", Some([192, 0, 2, 9])) };
    assert_eq!(who(from).await, ["manager", "elsewhere", "out of scope", "role", "own"]);
}

#[tokio::test]
async fn one_call_looks_at_so_many_keys_and_the_cursor_goes_on() {
    let node = TestNode::start().await;
    let root = node.root().await;
    // As many as one call looks at, and some more; the one that is sought is the oldest.
    let wanted =
        create(&node, &root, json!({"name": "wanted", "grants": allow("get", "devices/**")})).await.unwrap();
    node.clock.advance_ms(1);
    let org = wanted.value.record.key.org;
    let copies = (0..2_100_u128).map(|nth| {
        let mut key = keywright_model::key::Key::clone(&wanted.value.record.key);
        key.id = KeyId::new(node.now().wall.unix_ms(), nth);
        (key.number, key.secrets) = (0, Vec::new());
        key.spec.rights = keywright_model::key::Rights::Api { grants: Some(Vec::new()) };
        keywright_model::change::Change::KeyChanged(key.into())
    });
    commit(&node, org, copies.collect()).await;
    let mut asked = list(&root, &node, 5, Some(can("get", "devices/1", None)));
    let page = node.control.keys(&root, &asked).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_some());
    asked.query.after = page.next;
    let page = node.control.keys(&root, &asked).await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

async fn commit(
    node: &TestNode,
    org: keywright_model::id::OrgId,
    changes: Vec<keywright_model::change::Change>,
) {
    use keywright_store::{AuditContext, Commit, Store as _};
    let audit = AuditContext {
        at: node.now().wall,
        actor: keywright_model::noun::Actor::System,
        org,
        wire: "test",
        verb: "key.create",
        subject: changes[0].noun(),
        address: None,
        request_id: None,
    };
    let commit = Commit { expect: Vec::new(), changes, audit, idempotency: None, wrapped_keys: Vec::new() };
    node.store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn nouns_are_paged_with_what_the_caller_sees_only() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let mut reached = Vec::new();
    // More than are read at a time.
    for nth in 0..120 {
        node.clock.advance_ms(1);
        let made = noun(&node, &root, NounKind::Keyspace, json!({"name": format!("ks{nth}")})).await.unwrap();
        if nth % 2 == 0 {
            reached.push(id_of(&made));
        }
    }
    let mut body = management(&["*"], &json!([]));
    body["admin"]["keyspaces"] = json!(reached);
    let bound = manager(&node, body).await;
    for limit in [7, 59, 60, 61] {
        let (mut after, mut names, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = node.control.nouns(&bound, NounKind::Keyspace, after, limit).await.unwrap();
            assert!(page.items.len() <= limit && !page.items.is_empty());
            names.extend(page.items.iter().map(|item| item.view["name"].as_str().unwrap().to_owned()));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..120).step_by(2).map(|nth| format!("ks{nth}")).collect();
        assert_eq!((names, pages), (expected, 60_usize.div_ceil(limit)));
    }
}

#[tokio::test]
async fn a_numbered_page_holds_and_counts_what_its_caller_may_see() {
    let node = TestNode::start().await;
    let root = node.root().await;
    many(&node, &root, 7).await;
    let theirs = noun(&node, &root, NounKind::Keyspace, json!({"name": "theirs"})).await;
    create(&node, &root, json!({"name": "hidden", "keyspace": id_of(&theirs.unwrap())})).await.unwrap();
    let mut body = management(&["keys.read"], &json!([]));
    body["admin"]["keyspaces"] = json!(["default"]);
    let caller = manager(&node, body).await;
    let query = |skip, limit| KeyQuery {
        skip,
        kind: Some(KeyKind::Api),
        ..KeyQuery::all(caller.org(), node.now().wall, limit)
    };
    for (skip, names) in [(0, vec!["k6", "k5", "k4"]), (6, vec!["k0"]), (7, vec![]), (usize::MAX, vec![])] {
        let page = node.control.numbered_keys(&caller, None, &query(skip, 3)).await.unwrap();
        let found: Vec<&str> = page.items.iter().map(|item| item.key.spec.name.as_str()).collect();
        assert_eq!((found, page.total), (names, 7), "after {skip}");
    }
    let blind = manager(&node, management(&["keys.create"], &json!([]))).await;
    let refused = node.control.numbered_keys(&blind, None, &query(0, 3)).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
}

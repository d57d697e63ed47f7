//! Partoo's lists, who sees which keys, and what becomes of permissions that a key's owner does not have.

use keywright_server::dialects::Dialect;
use serde_json::{Value, json};

use super::Wired;
use super::partoo::{call, call_as, created, elsewhere};

const KEYS: &str = "/v2/api_keys";

async fn made(wired: &Wired, label: &str) -> Value {
    wired.app.node.clock.advance_ms(1);
    let reply = call(wired, "POST", KEYS, &json!({"label": label})).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.json()
}

/// A page, and the labels in it.
async fn page_as(secret: &str, wired: &Wired, query: &str) -> (Value, Vec<String>) {
    let reply = call_as(secret, wired, "GET", &format!("{KEYS}?{query}"), &Value::Null).await;
    assert_eq!(reply.status, 200, "{query}: {:?}", reply.body);
    let page = reply.json();
    let labels = page["api_keys"].as_array().unwrap().iter();
    let labels = labels.map(|key| key["label"].as_str().unwrap().to_owned()).collect();
    (page, labels)
}

async fn labels(wired: &Wired, query: &str) -> Vec<String> {
    page_as(&wired.admin, wired, query).await.1
}

/// Something made through REST.
async fn rest(wired: &Wired, path: &str, body: Value) -> Value {
    wired.app.node.clock.advance_ms(1);
    let reply = wired.app.root("POST", path, body).await;
    assert!(matches!(reply.status, 200 | 201), "{path}: {:?}", reply.body);
    reply.json()
}

async fn principal(wired: &Wired, external_id: &str, kind: &str, roles: &Value) {
    let body = json!({"external_id": external_id, "kind": kind, "name": format!("{external_id}'s name"), "roles": roles});
    rest(wired, "/v1/principals", body).await;
}

/// The secret of a management key of somebody, for all of the organization or for one keyspace.
async fn manager(wired: &Wired, owner: Option<&str>, keyspace: &str) -> String {
    let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": [keyspace]});
    let all = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
    let mut body = json!({"name": format!("{owner:?} in {keyspace}"), "kind": "management", "admin": admin, "grantable": all});
    if let Some(owner) = owner {
        body["owner"] = json!({"external_id": owner});
    }
    rest(wired, "/v1/keys", body).await["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_list_has_pages_with_numbers_and_counts_every_key() {
    let wired = Wired::start(Dialect::Partoo).await;
    let (empty, none) = page_as(&wired.admin, &wired, "").await;
    assert_eq!((empty, none), (json!({"page": 1, "max_page": 1, "count": 0, "api_keys": []}), vec![]));
    for nth in 0..35 {
        made(&wired, &format!("k{nth:02}")).await;
    }
    for (query, page, max_page, first, length) in [
        ("", 1, 2, Some("k34"), 30),
        ("page=0", 1, 2, Some("k34"), 30),
        ("page=2", 2, 2, Some("k04"), 5),
        ("page=3", 3, 2, None, 0),
        ("page=4294967295&per_page=100", 4_294_967_295_u64, 1, None, 0),
        ("page=2&per_page=17", 2, 3, Some("k17"), 17),
        ("page=35&per_page=1", 35, 35, Some("k00"), 1),
        ("per_page=100", 1, 1, Some("k34"), 35),
    ] {
        let (answer, found) = page_as(&wired.admin, &wired, query).await;
        assert_eq!(
            (&answer["page"], &answer["max_page"], &answer["count"]),
            (&json!(page), &json!(max_page), &json!(35)),
            "{query}"
        );
        assert_eq!((found.first().map(String::as_str), found.len()), (first, length), "{query}");
    }
}

#[tokio::test]
async fn each_status_lets_through_what_it_says() {
    let wired = Wired::start(Dialect::Partoo).await;
    made(&wired, "good").await;
    let expiring = json!({"label": "expired", "expiration_date": "2026-11-23"});
    wired.app.node.clock.advance_ms(1);
    assert_eq!(call(&wired, "POST", KEYS, &expiring).await.status, 201);
    let revoked = made(&wired, "revoked").await;
    let revoke = format!("{KEYS}/revoke/{}", revoked["id"]);
    assert_eq!(call(&wired, "POST", &revoke, &Value::Null).await.status, 200);
    rest(&wired, "/v1/keys", json!({"name": "switched off", "enabled": false})).await;
    rest(&wired, "/v1/keys", json!({"name": "scheduled", "not_before": "2030-01-01T00:00:00Z"})).await;
    for status in ["expired", "inactive"] {
        assert!(
            !labels(&wired, &format!("status={status}")).await.contains(&"expired".to_owned()),
            "not yet"
        );
    }
    wired.app.node.clock.advance_seconds(36 * 3_600);
    for (status, expected) in [
        ("active", vec!["scheduled", "good"]),
        ("inactive", vec!["switched off", "revoked", "expired"]),
        ("disabled", vec!["switched off", "revoked"]),
        ("expired", vec!["expired"]),
    ] {
        let (page, found) = page_as(&wired.admin, &wired, &format!("status={status}&per_page=3")).await;
        assert_eq!(
            (found, page["count"].as_u64()),
            (expected.iter().map(ToString::to_string).collect(), Some(expected.len() as u64)),
            "{status}"
        );
        for key in page["api_keys"].as_array().unwrap() {
            let off = matches!(status, "disabled")
                || matches!(key["label"].as_str(), Some("switched off" | "revoked"));
            assert_eq!(key["disabled"], off, "{key}");
        }
    }
}

#[tokio::test]
async fn a_key_is_found_by_the_key_itself_or_a_part_of_its_label() {
    let wired = Wired::start(Dialect::Partoo).await;
    let deploy = made(&wired, "Deploy Paris").await;
    made(&wired, "deploy lyon").await;
    let secret = deploy["api_key"].as_str().unwrap();
    for (text, expected) in [
        (secret, vec!["Deploy Paris"]),
        ("DEPLOY", vec!["deploy lyon", "Deploy Paris"]),
        ("paris", vec!["Deploy Paris"]),
        ("y+p", vec!["Deploy Paris"]),
        ("%25", vec![]),
        (&secret[..secret.len() - 1], vec![]),
        (wired.admin.as_str(), vec![]),
    ] {
        assert_eq!(labels(&wired, &format!("search_text={text}")).await, expected, "{text}");
    }
    assert_eq!(labels(&wired, &format!("search_text={secret}&status=inactive")).await, [""; 0]);
}

#[tokio::test]
async fn bot_keys_are_for_administrators_and_a_person_sees_their_own() {
    let wired = Wired::start(Dialect::Partoo).await;
    let none = json!([]);
    for (id, kind) in [("ann", "user"), ("bob", "user"), ("crawler", "bot")] {
        principal(&wired, id, kind, &none).await;
        rest(&wired, "/v1/keys", json!({"name": format!("{id}'s"), "owner": {"external_id": id}})).await;
    }
    made(&wired, "nobody's").await;
    assert_eq!(labels(&wired, "type=user").await, ["bob's", "ann's"]);
    assert_eq!(labels(&wired, "type=bot").await, ["nobody's", "crawler's"]);

    let ann = manager(&wired, Some("ann"), "default").await;
    assert_eq!(page_as(&ann, &wired, "").await.1, ["ann's"]);
    assert_eq!(page_as(&ann, &wired, "type=bot").await.0["count"], 0);
    let (page, _) = page_as(&wired.admin, &wired, "").await;
    let number = |label: &str| {
        let keys = page["api_keys"].as_array().unwrap().iter();
        keys.clone().find(|key| key["label"] == label).unwrap()["id"].clone()
    };
    for label in ["bob's", "crawler's", "nobody's"] {
        let (one, revoke) = (format!("{KEYS}/{}", number(label)), format!("{KEYS}/revoke/{}", number(label)));
        for (method, path, body) in
            [("GET", &one, Value::Null), ("PUT", &one, json!({"label": "x"})), ("POST", &revoke, Value::Null)]
        {
            let reply = call_as(&ann, &wired, method, path, &body).await;
            let expected = json!({"errors": {"authorization": "Operation not allowed"}});
            assert_eq!((reply.status, reply.json()), (403, expected), "{method} {label}");
        }
    }
    let own = format!("{KEYS}/{}", number("ann's"));
    assert_eq!(call_as(&ann, &wired, "PUT", &own, &json!({"label": "hers"})).await.status, 200);
    let new = call_as(&ann, &wired, "POST", KEYS, &json!({"label": "new"})).await.json();
    assert_eq!(
        (new["user_id"].as_str(), new["user_name"].as_str(), new["user_type"].as_str()),
        (Some("ann"), Some("ann's name"), Some("user"))
    );
    for bot in [manager(&wired, Some("crawler"), "default").await, manager(&wired, None, "default").await] {
        assert_eq!(page_as(&bot, &wired, "").await.0["count"], 0);
        assert_eq!(call_as(&bot, &wired, "POST", KEYS, &json!({"label": "x"})).await.status, 403);
    }
    let everywhere = manager(&wired, Some("crawler"), "*").await;
    assert_eq!(page_as(&everywhere, &wired, "").await.0["count"], 5);
    assert_eq!(
        call_as(&everywhere, &wired, "POST", KEYS, &json!({"label": "x"})).await.json()["user_type"],
        "bot"
    );
}

#[tokio::test]
async fn permissions_that_the_owner_does_not_have_are_kept_and_not_effective() {
    let wired = Wired::start(Dialect::Partoo).await;
    let role = wired.role("editor", "business_edit_name").await;
    let found = wired.app.root("GET", "/v1/roles", Value::Null).await.json();
    let role =
        found["items"].as_array().unwrap().iter().find(|one| one["number"] == role).unwrap()["id"].clone();
    principal(&wired, "ann", "user", &json!([role])).await;
    let ann = manager(&wired, Some("ann"), "default").await;
    let body = json!({"label": "k", "has_restricted_permissions": true,
        "permissions": ["business_edit_name", "billing_read"]});
    let new = call_as(&ann, &wired, "POST", KEYS, &body).await.json();
    assert_eq!(new["permissions"], json!(["business_edit_name", "billing_read"]));
    let secret = new["api_key"].as_str().unwrap();
    assert_eq!(wired.verify(secret, "business_edit_name", "businesses/1").await, "allowed");
    assert_eq!(wired.verify(secret, "billing_read", "businesses/1").await, "insufficient_permission");

    let one = format!("{KEYS}/{}", new["id"]);
    for (query, expected) in [
        ("", json!(["business_edit_name"])),
        ("?include_all_permissions=false", json!(["business_edit_name"])),
        ("?include_all_permissions=true", json!(["business_edit_name", "billing_read"])),
    ] {
        let read = call(&wired, "GET", &format!("{one}{query}"), &Value::Null).await.json();
        assert_eq!(read["permissions"], expected, "{query}");
        let listed = call(&wired, "GET", &format!("{KEYS}{query}"), &Value::Null).await.json();
        assert_eq!(listed["api_keys"][0]["permissions"], expected, "{query}");
    }
    // A larger role of the owner makes them effective.
    let id = role.as_str().unwrap();
    let all = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
    assert_eq!(wired.app.root("PATCH", &format!("/v1/roles/{id}"), json!({"grants": all})).await.status, 200);
    assert_eq!(wired.verify(secret, "billing_read", "businesses/1").await, "allowed");
    let read = call(&wired, "GET", &one, &Value::Null).await.json();
    assert_eq!(read["permissions"], json!(["business_edit_name", "billing_read"]));
}

#[tokio::test]
async fn a_revoked_key_is_ended_for_good_and_says_by_whom() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let (one, revoke) = (format!("{KEYS}/{}", made["id"]), format!("{KEYS}/revoke/{}", made["id"]));
    let before = call(&wired, "GET", &one, &Value::Null).await.json();
    assert_eq!(
        (before.get("api_key"), &before["disabled"], before.get("revoked_by")),
        (None, &json!(false), None)
    );
    for _ in 0..2 {
        let reply = call(&wired, "POST", &revoke, &Value::Null).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"id": made["id"], "status": "success"})));
    }
    let secret = made["api_key"].as_str().unwrap();
    assert_eq!(wired.verified(json!({"secret": secret, "ip": "127.0.0.1"})).await, "revoked");
    let after = call(&wired, "GET", &one, &Value::Null).await.json();
    assert_eq!(
        (&after["disabled"], &after["revoked_by"], &after["revoked_by_name"], &after["revoked_at"]),
        (&json!(true), &after["created_by"], &json!("admin"), &json!("2026-11-22 12:00:00.000000+00"))
    );
    let refused = call(&wired, "PUT", &one, &json!({"label": "again"})).await;
    assert_eq!((refused.status, call(&wired, "GET", &one, &Value::Null).await.json()), (400, after));
}

#[tokio::test]
async fn a_key_made_through_rest_is_read_updated_and_revoked_by_its_number() {
    let wired = Wired::start(Dialect::Partoo).await;
    let grants = json!([{"effect": "allow", "actions": ["a", "b.*"], "resources": ["**", "x/1"]}]);
    let body =
        json!({"name": "theirs", "grants": grants, "ip_allowlist": ["10.0.0.0/8"], "labels": {"a": "b"}});
    let number = rest(&wired, "/v1/keys", body).await["key"]["number"].clone();
    let one = format!("{KEYS}/{number}");
    let read = call(&wired, "GET", &one, &Value::Null).await.json();
    assert_eq!(
        (&read["label"], &read["permissions"], &read["created_by"]),
        (&json!("theirs"), &json!(["a"]), &json!("root"))
    );
    let back = json!({"label": read["label"], "ip_whitelist": read["ip_whitelist"], "permissions": read["permissions"],
        "has_restricted_permissions": read["has_restricted_permissions"], "description": read["description"]});
    assert_eq!(
        call(&wired, "PUT", &one, &back).await.json(),
        read,
        "sending back what was shown changes nothing"
    );
    assert_eq!(wired.key_numbered(&number).await["labels"], json!({"a": "b"}));
    assert_eq!(call(&wired, "POST", &format!("{KEYS}/revoke/{number}"), &Value::Null).await.status, 200);
    assert_eq!(wired.key_numbered(&number).await["state"], "revoked");
}

#[tokio::test]
async fn an_organization_that_calls_300_times_in_a_minute_waits_and_no_other_does() {
    let wired = Wired::start(Dialect::Partoo).await;
    let theirs = elsewhere(&wired).await;
    let another = manager(&wired, None, "*").await;
    let get = async |secret: &str| call_as(secret, &wired, "GET", KEYS, &Value::Null).await;
    for nth in 0..300 {
        let secret = if nth % 2 == 0 { &wired.admin } else { &another };
        assert_eq!(get(secret).await.status, 200, "{nth}");
    }
    let made = call(&wired, "POST", KEYS, &json!({"label": "one too many"})).await;
    assert_eq!((made.status, made.header("retry-after")), (429, "60"));
    assert_eq!(get(&another).await.status, 429, "the limit is the organization's");
    assert_eq!(get(&theirs).await.status, 200);
    wired.app.node.clock.advance_seconds(60);
    let (page, _) = page_as(&wired.admin, &wired, "").await;
    assert_eq!(page["count"], 0, "what was refused was not done");
}

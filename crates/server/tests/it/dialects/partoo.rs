//! Partoo: statuses, `errors`, and answers that are valid by the vendor's OpenAPI fragment.

use keywright_server::dialects::Dialect;
use keywright_testkit::{ROOT, Reply};
use serde_json::{Value, json};

use super::Wired;
use super::schema::Schemas;

/// Calls as the administrator.
pub(super) async fn call(wired: &Wired, method: &str, path: &str, body: &Value) -> Reply {
    call_as(&wired.admin, wired, method, path, body).await
}

/// Calls, and checks that the answer is valid by the vendor's fragment.
pub(super) async fn call_as(secret: &str, wired: &Wired, method: &str, path: &str, body: &Value) -> Reply {
    let headers = [("x-APIKey", secret), ("content-type", "application/json")];
    let headers = if body.is_null() { &headers[..1] } else { &headers };
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    let reply = wired.send(method, path, headers, bytes).await;
    check_valid(path, &reply);
    reply
}

#[track_caller]
pub(super) fn check_valid(path: &str, reply: &Reply) {
    assert_eq!(reply.header("content-type"), "application/json", "{reply:?}");
    let path = path.split('?').next().unwrap();
    let schema = match reply.status {
        200 if path == "/v2/api_keys" => "ApiKeys",
        200 if path.starts_with("/v2/api_keys/revoke/") => "Revoked",
        200 | 201 => "ApiKey",
        405 => return assert_eq!(reply.json(), json!({"errors": {"json": "Method not allowed"}})),
        status => &status.to_string(),
    };
    Schemas::load("partoo/schemas.json").check(schema, &reply.json());
}

fn create() -> Value {
    json!({"label": "API key name", "description": "API key for updating business name, and categories.",
        "expiration_date": "2027-06-05", "ip_whitelist": ["172.16.0.0/12", "127.0.0.1"],
        "has_restricted_permissions": true, "permissions": ["business_edit", "business_edit_name"]})
}

pub(super) async fn created(wired: &Wired) -> Value {
    let reply = call(wired, "POST", "/v2/api_keys", &create()).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.json()
}

/// The secret of a management key that may do everything in an organization of its own.
pub(super) async fn elsewhere(wired: &Wired) -> String {
    let there = [("keywright-org", "other")];
    let made = async |path: &str, body: Value| {
        let reply = wired.app.call(ROOT, "POST", path, &there, body).await;
        assert_eq!(reply.status, 201, "{path}: {:?}", reply.body);
        reply.json()
    };
    assert_eq!(wired.app.root("POST", "/v1/orgs", json!({"name": "other"})).await.status, 201);
    made("/v1/keyspaces", json!({"name": "default"})).await;
    let admin = json!({"actions": ["*"], "orgs": ["other"], "keyspaces": ["*"]});
    let all = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
    let body = json!({"name": "theirs", "kind": "management", "admin": admin, "grantable": all});
    made("/v1/keys", body).await["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_made_updated_and_works_by_its_new_rights() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let secret = made["api_key"].as_str().unwrap();
    let can = async |action: &str| {
        wired
            .verified(
                json!({"secret": secret, "action": action, "resource": "businesses/1", "ip": "127.0.0.1"}),
            )
            .await
    };
    assert_eq!(
        (made["created_at"].as_str(), made["user_type"].as_str()),
        (Some("2026-11-22 12:00:00.000000+00"), Some("bot"))
    );
    assert_eq!(
        (can("business_edit_name").await, can("business_edit_categories").await),
        ("allowed".to_owned(), "insufficient_permission".to_owned())
    );

    let path = format!("/v2/api_keys/{}", made["id"]);
    let body = json!({"has_restricted_permissions": true, "permissions": ["business_edit_categories"], "ip_whitelist": []});
    let updated = call(&wired, "PUT", &path, &body).await;
    assert_eq!(updated.status, 200, "{:?}", updated.body);
    let updated = updated.json();
    assert_eq!(
        (&updated["permissions"], &updated["ip_whitelist"]),
        (&json!(["business_edit_categories"]), &json!([]))
    );
    assert_eq!(
        (&updated["label"], &updated["expiration_date"]),
        (&json!("API key name"), &json!("2027-06-05"))
    );
    assert_eq!(updated.get("api_key"), None, "once means once");
    assert_eq!(
        (can("business_edit_name").await, can("business_edit_categories").await),
        ("insufficient_permission".to_owned(), "allowed".to_owned())
    );
}

#[tokio::test]
async fn a_key_shows_when_it_was_last_used_and_nothing_before() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let path = format!("/v2/api_keys/{}", made["id"]);
    let shown = async || {
        wired.app.node.flush_uses().await;
        let one = call(&wired, "GET", &path, &Value::Null).await.json();
        let listed = call(&wired, "GET", "/v2/api_keys", &Value::Null).await.json();
        assert_eq!(listed["api_keys"][0].get("last_used_at"), one.get("last_used_at"));
        one.get("last_used_at").cloned()
    };
    assert_eq!((made.get("last_used_at"), shown().await), (None, None));
    let question =
        |action| json!({"secret": made["api_key"], "action": action, "resource": "a", "ip": "127.0.0.1"});
    assert_eq!(wired.verified(question("review_edit")).await, "insufficient_permission");
    assert_eq!(shown().await, None, "what is refused is no use");
    wired.app.node.clock.advance_seconds(90);
    assert_eq!(wired.verified(question("business_edit")).await, "allowed");
    assert_eq!(shown().await, Some(json!("2026-11-22 12:01:30.000000+00")));
    wired.app.node.clock.advance_seconds(3_600);
    assert_eq!(wired.verified(question("business_edit")).await, "allowed");
    assert_eq!(shown().await, Some(json!("2026-11-22 13:01:30.000000+00")));
}

#[tokio::test]
async fn a_key_ends_with_its_day() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let path = format!("/v2/api_keys/{}", made["id"]);
    assert_eq!(call(&wired, "PUT", &path, &json!({"expiration_date": "2026-11-22"})).await.status, 400);
    assert_eq!(call(&wired, "PUT", &path, &json!({"expiration_date": "2026-11-23"})).await.status, 200);
    assert_eq!(wired.key_numbered(&made["id"]).await["expires_at"], "2026-11-24T00:00:00Z");
    let cleared = call(&wired, "PUT", &path, &json!({"expiration_date": null})).await;
    assert_eq!((cleared.status, cleared.json().get("expiration_date")), (200, None));
}

#[tokio::test]
async fn a_key_that_is_not_restricted_may_what_its_owner_may() {
    let wired = Wired::start(Dialect::Partoo).await;
    let reply = call(&wired, "POST", "/v2/api_keys", &json!({"label": "all"})).await.json();
    assert_eq!((&reply["has_restricted_permissions"], &reply["permissions"]), (&json!(false), &json!([])));
    assert_eq!(wired.key_numbered(&reply["id"]).await["grants"], Value::Null);
}

#[tokio::test]
async fn what_the_wire_cannot_show_survives_an_update() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let path = format!("/v2/api_keys/{}", made["id"]);
    let id = wired.key_numbered(&made["id"]).await["id"].clone();
    let deny = json!({"effect": "deny", "actions": ["a"], "resources": ["**"]});
    wired
        .patch(&id, json!({"grants": [deny], "labels": {"a": "b"}, "not_before": "2026-01-01T00:00:00Z"}))
        .await;
    let body = json!({"label": "n", "has_restricted_permissions": true, "permissions": ["b"]});
    assert_eq!(call(&wired, "PUT", &path, &body).await.status, 200);
    let after = wired.key_numbered(&made["id"]).await;
    assert_eq!(after["grants"], json!([deny, {"effect": "allow", "actions": ["b"], "resources": ["**"]}]));
    assert_eq!(
        (&after["labels"], &after["not_before"]),
        (&json!({"a": "b"}), &json!("2026-01-01T00:00:00Z"))
    );
    let open = json!({"has_restricted_permissions": false, "permissions": []});
    let refused = call(&wired, "PUT", &path, &open).await;
    assert!(refused.json()["errors"]["json"]["has_restricted_permissions"].is_array(), "{:?}", refused.body);
}

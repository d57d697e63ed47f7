//! OneNET: HTTP 200 with `errno`, whatever happens.

use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};

use super::Wired;

/// The body of the vendor's page, its trailing comma aside.
const PAGE: &str = r#"{
    "title": "newapikey",
    "permissions": [{
        "access_methods": ["get", "put", "post", "delete"],
        "resources": [{"dev_id": "39593230", "ds_id": "gps"}, {"dev_id": "39456825"}]
    }]
}"#;

async fn call(wired: &Wired, method: &str, path: &str, body: &str) -> Reply {
    // As the Java client says it.
    let headers = [("api-key", wired.admin.as_str()), ("content-type", "text/plain; charset=UTF-8")];
    wired.send(method, path, &headers, body).await
}

async fn created(wired: &Wired, body: &str) -> String {
    let reply = call(wired, "POST", "/keys", body).await;
    assert_eq!(reply.json()["errno"], 0, "{:?}", reply.body);
    reply.json()["data"]["key"].as_str().unwrap().to_owned()
}

#[track_caller]
fn check(reply: &Reply, errno: u32, error: &str) {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"errno": errno, "error": error}));
}

#[tokio::test]
async fn the_pages_own_update_replaces_all_grants() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(
        &wired,
        r#"{"title":"k","permissions":[{"resources":[{"dev_id":"1"}],"access_methods":["get"]}]}"#,
    )
    .await;
    assert_eq!((key.len(), key.contains(['/', '+', '%', '?', '&', '#'])), (28, false));
    assert_eq!(wired.verify(&key, "get", "devices/1/datastreams/x").await, "allowed");

    let reply = call(&wired, "PUT", &format!("/keys/{key}"), PAGE).await;
    assert_eq!(reply.json(), json!({"errno": 0, "error": "succ", "data": {"key": key}}));
    for (action, resource, code) in [
        ("get", "devices/1/datastreams/x", "insufficient_permission"),
        ("put", "devices/39593230/datastreams/gps", "allowed"),
        ("put", "devices/39593230/datastreams/other", "insufficient_permission"),
        ("delete", "devices/39456825", "allowed"),
        ("post", "devices/39456825/datastreams/any", "allowed"),
    ] {
        assert_eq!(wired.verify(&key, action, resource).await, code, "{action} {resource}");
    }
}

#[tokio::test]
async fn what_the_wire_cannot_show_survives_an_update() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, PAGE).await;
    let found = wired.app.root("POST", "/v1/keys/lookup", json!({"secret": key})).await.json();
    let deny = json!({"effect": "deny", "actions": ["get"], "resources": ["devices/7/**"]});
    let other = json!({"effect": "allow", "actions": ["get"], "resources": ["orders/**"]});
    let change = json!({"grants": [deny, other], "description": "d", "labels": {"a": "b"}, "ip_allowlist": ["10.0.0.1"]});
    wired.patch(&found["id"], change).await;
    let id = found["id"].as_str().unwrap();

    // By its id, as a key is named whose secret the caller does not have; without a title, which then stays.
    let reply = call(
        &wired,
        "PUT",
        &format!("/keys/{id}"),
        r#"{"permissions":[{"resources":[{"dev_id":"7"}],"access_methods":["get"]}]}"#,
    )
    .await;
    assert_eq!(reply.json()["data"]["key"], id);
    let after = wired.app.root("GET", &format!("/v1/keys/{id}"), Value::Null).await.json();
    let new = json!({"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]});
    assert_eq!(after["grants"], json!([deny, other, new]));
    assert_eq!(
        (&after["name"], &after["description"], &after["labels"]),
        (&json!("newapikey"), &json!("d"), &json!({"a": "b"}))
    );
    assert_eq!(after["ip_allowlist"], json!(["10.0.0.1"]));
}

#[tokio::test]
async fn refusals_have_an_errno_and_change_nothing() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, PAGE).await;
    let path = format!("/keys/{key}");
    let trailing = PAGE.trim_end().strip_suffix('}').unwrap().to_owned() + ",}";
    for (method, path, body, errno, error) in [
        ("PUT", path.as_str(), trailing.as_str(), 4, "invalid JSON"),
        ("PUT", &path, "{}", 5108, "invalid parameter: permissions must be given"),
        ("POST", "/keys", r#"{"permissions":[]}"#, 5108, "invalid parameter: title must be given"),
        ("PUT", "/keys/Av0000000000000000000000RHx=", PAGE, 5106, "unsuccess: NOT_FOUND"),
        ("PUT", "/keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV", PAGE, 5106, "unsuccess: NOT_FOUND"),
        ("PATCH", &path, PAGE, 5106, "unsuccess: METHOD_NOT_ALLOWED"),
        ("GET", "/elsewhere", "", 5106, "unsuccess: METHOD_NOT_ALLOWED"),
    ] {
        check(&call(&wired, method, path, body).await, errno, error);
    }
    let big = format!(r#"{{"title":"{}"}}"#, "x".repeat(256 * 1024));
    check(&call(&wired, "PUT", &path, &big).await, 5108, "invalid parameter: the body is too large");
    for headers in [&[][..], &[("api-key", "nobody")], &[("api-key", key.as_str())]] {
        check(&wired.send("PUT", &path, headers, PAGE).await, 3, "auth failed");
    }
    assert_eq!(wired.verify(&key, "get", "devices/39456825").await, "allowed");
}

#[tokio::test]
async fn an_answer_fits_into_the_c_clients_buffers() {
    let wired = Wired::start(Dialect::Onenet).await;
    let reply = call(&wired, "POST", "/keys", PAGE).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.headers.len() <= 8, "{:?}", reply.headers);
    assert!(reply.headers.values().all(|value| value.len() <= 63));
}

#[tokio::test]
async fn a_caller_hands_out_no_more_than_it_may() {
    let wired = Wired::start(Dialect::Onenet).await;
    let body = json!({"name": "narrow", "kind": "management",
        "admin": {"actions": ["keys.create", "keys.update"], "orgs": ["default"], "keyspaces": ["*"]},
        "grantable": [{"effect": "allow", "actions": ["get"], "resources": ["devices/1/**"]}]});
    let narrow = wired.app.root("POST", "/v1/keys", body).await.json()["secret"].as_str().unwrap().to_owned();
    let create = |dev_id: &str| {
        json!({"title": "k", "permissions": [
        {"resources": [{"dev_id": dev_id}], "access_methods": ["get"]}]})
        .to_string()
    };
    let headers = [("api-key", narrow.as_str())];
    assert_eq!(wired.send("POST", "/keys", &headers, create("1")).await.json()["errno"], 0);
    assert_eq!(wired.send("POST", "/keys", &headers, create("2")).await.json()["errno"], 3);
}

//! REST through the router, against a whole node.

mod bodies;
mod feed;
mod feed_turns;
mod keys;
mod nouns;
mod pending;
mod queries;
mod service;
mod sockets;
mod tenants;
mod verify;
mod writes;

use keywright_testkit::{Reply, TestApp};
use serde_json::{Value, json};

/// A key that was made, with its secret.
struct Made {
    id: String,
    secret: String,
    view: Value,
}

impl Made {
    fn path(&self) -> String {
        format!("/v1/keys/{}", self.id)
    }
}

async fn made(app: &TestApp, body: Value) -> Made {
    let reply = app.root("POST", "/v1/keys", body).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    let mut body = reply.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Made { id: text(&body["key"]["id"]), secret: text(&body["secret"]), view: body["key"].take() }
}

async fn api_key(app: &TestApp) -> Made {
    made(app, json!({"name": "plain", "grants": [{"effect": "allow", "actions": ["get"], "resources": ["devices/**"]}]})).await
}

/// A management key of an organization that may do these things in it, and hand out everything.
async fn manager(app: &TestApp, org: &str, actions: &[&str]) -> Made {
    let everything = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
    let body = json!({
        "kind": "management", "name": "manager", "keyspace": "default",
        "admin": {"actions": actions, "orgs": [org], "keyspaces": ["*"]}, "grantable": everything,
    });
    let reply = app.call(keywright_testkit::ROOT, "POST", "/v1/keys", &[("keywright-org", org)], body).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    let body = reply.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Made { id: text(&body["key"]["id"]), secret: text(&body["secret"]), view: body["key"].clone() }
}

/// Another tenant, with a keyspace `default` of its own.
async fn other_org(app: &TestApp, name: &str) {
    let reply = app.root("POST", "/v1/orgs", json!({"name": name})).await;
    assert_eq!(reply.status, 201, "{}", reply.json());
    let headers = [("keywright-org", name)];
    let reply = app
        .call(keywright_testkit::ROOT, "POST", "/v1/keyspaces", &headers, json!({"name": "default"}))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.json());
}

#[track_caller]
fn check(reply: &Reply, status: u16, code: &str) {
    let body = reply.json();
    assert_eq!((reply.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], reply.header("x-request-id"));
}

/// The places and codes of a problem's items.
fn items(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let item = |item: &Value| {
        let place = ["pointer", "parameter", "header"].into_iter().find_map(|name| item[name].as_str());
        format!("{} {}", place.unwrap(), item["code"].as_str().unwrap())
    };
    body["errors"].as_array().map(|items| items.iter().map(item).collect()).unwrap_or_default()
}

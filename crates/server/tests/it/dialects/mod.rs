//! The vendors' wires, called as their clients call them, and what the keys may do afterwards.

mod clients;
mod gjirafa;
mod gjirafa_input;
mod onenet;
mod pairs;
mod partoo;
mod partoo_input;
mod partoo_list;
mod partoo_openapi;
mod replay;
mod schema;
mod socket;
mod tencent;
mod tencent_codes;
mod tencent_keys;
mod tencent_plans;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt as _;
use keywright_server::dialects::Dialect;
use keywright_server::listen::Peer;
use keywright_testkit::{Reply, TestApp, canary};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The access id of the management key that calls.
const ADMIN_ID: &str = "AKIDadmin";

/// A dialect at `/`, and a management key that may do everything in its organization.
struct Wired {
    app: TestApp,
    router: Router,
    /// The secret of the management key.
    admin: String,
}

impl Wired {
    async fn start(dialect: Dialect) -> Self {
        let app = TestApp::start().await;
        let router = app.dialect(dialect);
        let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["*"]});
        let all = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
        let body = json!({"name": "admin", "kind": "management", "access_id": ADMIN_ID, "admin": admin, "grantable": all});
        let made = app.root("POST", "/v1/keys", body).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        let admin = made.json()["secret"].as_str().unwrap().to_owned();
        Self { app, router, admin }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        send_to(&self.router, method, path, headers, body).await
    }

    /// A key as REST shows it, by its number.
    async fn key_numbered(&self, number: &Value) -> Value {
        let found = self.app.root("GET", &format!("/v1/keys?number={number}"), Value::Null).await.json();
        found["items"][0].clone()
    }

    /// What verifying a secret comes to.
    async fn verify(&self, secret: &str, action: &str, resource: &str) -> String {
        self.verified(json!({"secret": secret, "action": action, "resource": resource})).await
    }

    async fn verified(&self, body: Value) -> String {
        let reply = self.app.root("POST", "/v1/verify", body).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.json()["code"].as_str().unwrap().to_owned()
    }

    /// Changes the keyspace `default`.
    async fn set_keyspace(&self, change: Value) {
        let reply = self.app.root("PATCH", "/v1/keyspaces/default", change).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }

    /// Changes a key through REST.
    async fn patch(&self, id: &Value, change: Value) {
        let path = format!("/v1/keys/{}", id.as_str().unwrap());
        let reply = self.app.root("PATCH", &path, change).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }

    /// A role of the organization, by its number.
    async fn role(&self, name: &str, action: &str) -> Value {
        let grants = json!([{"effect": "allow", "actions": [action], "resources": ["**"]}]);
        let made = self.app.root("POST", "/v1/roles", json!({"name": name, "grants": grants})).await;
        assert_eq!(made.status, 201, "{:?}", made.body);
        made.json()["number"].clone()
    }
}

/// Sends a request to a router, from this machine.
async fn send_to(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.into())).unwrap();
    request.extensions_mut().insert(Peer(([127, 0, 0, 1], 40_000).into()));
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let reply = Reply { status: parts.status.as_u16(), headers: parts.headers, body };
    note(&reply);
    reply
}

/// What the vendors' answers call a secret, wherever it stands.
const SECRETS: &[&str] = &["key", "apiKey", "AccessKeySecret", "api_key"];

/// Every text under such a name.
fn secrets_in<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| secrets_in(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if SECRETS.contains(&name.as_str()) => found.push(text),
                    _ => secrets_in(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Notes issued secrets for the leak sweep, and keeps what may not hold one. A name of a key and a mask are no secrets.
fn note(reply: &Reply) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let mut secrets = Vec::new();
    secrets_in(&body, &mut secrets);
    secrets.retain(|text| !text.starts_with("key_") && !text.starts_with('*'));
    if secrets.is_empty() {
        canary::keep_text(&String::from_utf8_lossy(&reply.body), "answers");
    }
    secrets.into_iter().for_each(canary::note_secret);
}

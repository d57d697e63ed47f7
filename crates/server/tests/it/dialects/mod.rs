//! The vendors' wires, called as their clients call them, and what the keys may do afterwards.
// Clippy lets tests unwrap, and takes a helper for part of one by this.
#![cfg(test)]

mod gjirafa;
mod onenet;
mod partoo;
mod replay;
mod schema;
mod sdk;
mod socket;
mod tencent;

use axum::Router;
use keywright_server::dialects::Dialect;
use keywright_testkit::{Reply, TestApp};
use serde_json::{Value, json};

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
        self.app.send(&self.router, method, path, headers, body.into()).await
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

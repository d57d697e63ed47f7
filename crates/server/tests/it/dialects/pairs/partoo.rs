//! Partoo: a key is named by its number.

use serde_json::{Value, json};

use super::super::send_to;
use super::{Secret, Updated, WireDriver, World, ok};

pub(super) struct Partoo;

async fn call(world: &World, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("x-APIKey", world.wired.admin.as_str()), ("content-type", "application/json")];
    ok(&send_to(&world.partoo, method, path, &headers, body).await, status)
}

impl WireDriver for Partoo {
    const NAME: &'static str = "partoo";
    const CHANGES: &'static [&'static str] = &["name"];

    async fn create(world: &World, title: &str) -> Secret {
        let body = json!({"label": title, "has_restricted_permissions": true, "permissions": ["get"]});
        Secret::bearer(&call(world, "POST", "/v2/api_keys", &body, 201).await["api_key"])
    }

    async fn find(world: &World, title: &str) -> Option<String> {
        let path = format!("/v2/api_keys?status=active&search_text={title}");
        let listed = call(world, "GET", &path, &Value::Null, 200).await;
        listed["api_keys"].as_array().unwrap().first().map(|key| key["id"].to_string())
    }

    async fn title(world: &World, name: &str) -> String {
        let shown = call(world, "GET", &format!("/v2/api_keys/{name}"), &Value::Null, 200).await;
        shown["label"].as_str().unwrap().to_owned()
    }

    async fn update(world: &World, name: &str, title: &str) -> Updated {
        call(world, "PUT", &format!("/v2/api_keys/{name}"), &json!({"label": title}), 200).await;
        Updated::title()
    }

    async fn end(world: &World, name: &str) {
        call(world, "POST", &format!("/v2/api_keys/revoke/{name}"), &Value::Null, 200).await;
    }

    async fn present(world: &World, secret: &Secret) -> u16 {
        world.gateway(&[("x-apikey", &secret.secret)]).await
    }
}

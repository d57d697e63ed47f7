//! OneNET: a key is named by itself.

use serde_json::{Value, json};

use super::super::send_to;
use super::{Secret, Updated, WireDriver, World, ok};

pub(super) struct Onenet;

/// Calls it, for `data` of a success.
async fn call(world: &World, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("api-key", world.wired.admin.as_str())];
    let reply = ok(&send_to(&world.onenet, method, path, &headers, body).await, 200);
    assert_eq!(reply["errno"], 0, "{method} {path}: {reply}");
    reply["data"].clone()
}

fn body(title: &str) -> Value {
    json!({"title": title, "permissions": [{"resources": [{"dev_id": "7"}], "access_methods": ["get"]}]})
}

impl WireDriver for Onenet {
    const NAME: &'static str = "onenet";
    const CHANGES: &'static [&'static str] = &["name", "grants"];

    async fn create(world: &World, title: &str) -> Secret {
        Secret::bearer(&call(world, "POST", "/keys", &body(title)).await["key"])
    }

    async fn find(world: &World, title: &str) -> Option<String> {
        let listed = call(world, "GET", &format!("/keys?title={title}"), &Value::Null).await;
        listed["keys"][0]["key"].as_str().map(str::to_owned)
    }

    async fn title(world: &World, name: &str) -> String {
        let listed = call(world, "GET", &format!("/keys?key={name}"), &Value::Null).await;
        assert_eq!(listed["total_count"], 1);
        listed["keys"][0]["title"].as_str().unwrap().to_owned()
    }

    async fn update(world: &World, name: &str, title: &str) -> Updated {
        call(world, "PUT", &format!("/keys/{name}"), &body(title)).await;
        Updated::title()
    }

    async fn end(world: &World, name: &str) {
        call(world, "DELETE", &format!("/keys/{name}"), &Value::Null).await;
    }

    async fn present(world: &World, secret: &Secret) -> u16 {
        world.gateway(&[("api-key", &secret.secret)]).await
    }
}

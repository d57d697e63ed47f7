//! Gjirafa: a key is named by its number, and read in the list.

use serde_json::{Value, json};

use super::super::gjirafa::PATH;
use super::super::send_to;
use super::{Secret, Updated, WireDriver, World, ok};

pub(super) struct Gjirafa;

async fn call(world: &World, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("x-api-key", world.wired.admin.as_str())];
    let reply = ok(&send_to(&world.gjirafa, method, path, &headers, body).await, status);
    assert_eq!(reply["success"], true, "{method} {path}: {reply}");
    reply["result"].clone()
}

async fn listed(world: &World, field: &str, value: &Value) -> Option<Value> {
    let list = call(world, "GET", PATH, &Value::Null, 200).await;
    list.as_array().unwrap().iter().find(|key| &key[field] == value).cloned()
}

impl WireDriver for Gjirafa {
    const NAME: &'static str = "gjirafa";
    const CHANGES: &'static [&'static str] = &["name"];

    async fn create(world: &World, title: &str) -> Secret {
        let body = json!({"roleId": world.role, "userApiKey": {"apiName": title, "hasExpireTime": false}});
        Secret::bearer(&call(world, "POST", PATH, &body, 201).await["apiKey"])
    }

    async fn find(world: &World, title: &str) -> Option<String> {
        let found = listed(world, "apiKeyName", &json!(title)).await?;
        Some(found["apiKeyId"].to_string())
    }

    async fn title(world: &World, name: &str) -> String {
        let number: u64 = name.parse().unwrap();
        let found = listed(world, "apiKeyId", &json!(number)).await.unwrap();
        found["apiKeyName"].as_str().unwrap().to_owned()
    }

    async fn update(world: &World, name: &str, title: &str) -> Updated {
        let number: u64 = name.parse().unwrap();
        call(world, "PUT", PATH, &json!({"id": number, "name": title}), 200).await;
        Updated::title()
    }

    async fn end(world: &World, name: &str) {
        call(world, "DELETE", &format!("{PATH}/{name}"), &Value::Null, 200).await;
    }

    async fn present(world: &World, secret: &Secret) -> u16 {
        world.gateway(&[("x-api-key", &secret.secret)]).await
    }
}

//! REST: a key is named by its id.

use serde_json::{Value, json};

use super::{Secret, Updated, WireDriver, World, ok};

pub(super) struct Rest;

impl WireDriver for Rest {
    const NAME: &'static str = "rest";
    const CHANGES: &'static [&'static str] = &["name"];

    async fn create(world: &World, title: &str) -> Secret {
        let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}]);
        let made = world.wired.app.root("POST", "/v1/keys", json!({"name": title, "grants": grants})).await;
        Secret::bearer(&ok(&made, 201)["secret"])
    }

    async fn find(world: &World, title: &str) -> Option<String> {
        let path = format!("/v1/keys?q={title}&state=active");
        let listed = ok(&world.wired.app.root("GET", &path, Value::Null).await, 200);
        listed["items"][0]["id"].as_str().map(str::to_owned)
    }

    async fn title(world: &World, name: &str) -> String {
        let shown = ok(&world.wired.app.root("GET", &format!("/v1/keys/{name}"), Value::Null).await, 200);
        shown["name"].as_str().unwrap().to_owned()
    }

    async fn update(world: &World, name: &str, title: &str) -> Updated {
        ok(&world.wired.app.root("PATCH", &format!("/v1/keys/{name}"), json!({"name": title})).await, 200);
        Updated::title()
    }

    async fn end(world: &World, name: &str) {
        let path = format!("/v1/keys/{name}/revoke");
        ok(&world.wired.app.root("POST", &path, Value::Null).await, 200);
    }

    async fn present(world: &World, secret: &Secret) -> u16 {
        let bearer = format!("Bearer {}", secret.secret);
        let told = world.gateway(&[("authorization", &bearer)]).await;
        let ask =
            json!({"secret": secret.secret, "action": "get", "resource": "devices/7", "ip": "203.0.113.9"});
        assert_eq!(world.wired.verified(ask).await == "allowed", told == 200, "both say the same");
        told
    }
}

//! Tencent: a key is named by its access id, or its id where it has none; the product's calls are signed.

use keywright_model::signing::hmac_header::{http_date, sign_hmac_header};
use keywright_model::signing::{Algorithm, KeyPair, SignedRequest};
use serde_json::{Value, json};

use super::super::tencent::{now, result};
use super::{Secret, Updated, WireDriver, World};

pub(super) struct Tencent;

async fn listed(world: &World, filter: &str, value: &str) -> Option<Value> {
    let filters = json!({"Filters": [{"Name": filter, "Values": [value]}]});
    let found = result(&world.wired, "DescribeApiKeysStatus", filters).await;
    found["ApiKeySet"].as_array().and_then(|keys| keys.first().cloned())
}

impl WireDriver for Tencent {
    const NAME: &'static str = "tencent";
    const CHANGES: &'static [&'static str] = &["secrets"];

    async fn create(world: &World, title: &str) -> Secret {
        let made = result(&world.wired, "CreateApiKey", json!({"SecretName": title})).await;
        let access_id = made["AccessKeyId"].as_str().unwrap().to_owned();
        // A key pair has no rights of its own.
        let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}]);
        let (id, _) = world.key(title).await;
        world.wired.patch(&id, json!({"grants": grants})).await;
        Secret { access_id: Some(access_id), ..Secret::bearer(&made["AccessKeySecret"]) }
    }

    async fn find(world: &World, title: &str) -> Option<String> {
        Some(listed(world, "SecretName", title).await?["AccessKeyId"].as_str().unwrap().to_owned())
    }

    async fn title(world: &World, name: &str) -> String {
        let shown = result(&world.wired, "DescribeApiKey", json!({"AccessKeyId": name})).await;
        shown["SecretName"].as_str().unwrap().to_owned()
    }

    async fn update(world: &World, name: &str, _title: &str) -> Updated {
        let updated = result(&world.wired, "UpdateApiKey", json!({"AccessKeyId": name})).await;
        Updated { title: false, secret: updated["AccessKeySecret"].as_str().map(str::to_owned) }
    }

    async fn end(world: &World, name: &str) {
        for action in ["DisableApiKey", "DeleteApiKey"] {
            result(&world.wired, action, json!({"AccessKeyId": name})).await;
        }
    }

    async fn present(world: &World, secret: &Secret) -> u16 {
        let Some(access_id) = &secret.access_id else {
            // Without a public half nobody can say who has signed.
            return world.gateway(&[("authorization", &format!("Bearer {}", secret.secret))]).await;
        };
        let date = http_date(now(&world.wired)).unwrap();
        let headers = [("x-date", date.as_str())];
        let request = SignedRequest {
            method: "GET",
            host: "api.example",
            target: "/devices/7",
            headers: &headers,
            parameters: &[],
            body_sha256: None,
        };
        let pair = KeyPair { access_id, secret: secret.secret.as_bytes() };
        let signed = sign_hmac_header(&request, pair, Algorithm::HmacSha1, "x-date").unwrap();
        world.gateway(&[headers[0], ("authorization", &signed)]).await
    }
}

//! Bodies that are hostile, too large or of the wrong type: the documented answer, and nothing changes.

use keywright_testkit::{ROOT, Reply, TestApp};
use serde_json::{Value, json};

use super::{api_key, check, items};

const BEARER: (&str, &str) = ("authorization", "Bearer root-key-of-the-tests-0123456789abcdef");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(app: &TestApp, body: impl Into<Vec<u8>>) -> Reply {
    app.raw("POST", "/v1/keys", &[BEARER, JSON], body).await
}

async fn keys(app: &TestApp) -> usize {
    app.root("GET", "/v1/keys", Value::Null).await.json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_cannot_be_read_is_400_and_changes_nothing() {
    let app = TestApp::start().await;
    assert!(BEARER.1.ends_with(ROOT));
    for body in ["", "{", "nul", "{\"name\":\"a\"}x", "{\"name\":\"\\ud800\"}", "\u{feff}{}"] {
        check(&post(&app, body).await, 400, "invalid_json");
    }
    check(&post(&app, b"{\"name\":\"\xff\"}".to_vec()).await, 400, "invalid_json");
    let twice = post(&app, r#"{"name":"a","metadata":{"x":{"y":1,"y":2}}}"#).await;
    check(&twice, 400, "duplicate_name");
    assert_eq!(items(&twice), ["/metadata/x/y duplicate_name"]);
    let nested = |depth: usize| {
        format!(r#"{{"name":"a","metadata":{{"x":{}1{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    check(&post(&app, nested(31)).await, 400, "too_deep");
    assert_eq!(keys(&app).await, 0);
    let deepest = post(&app, nested(28)).await;
    assert_eq!(deepest.status, 201, "{}", deepest.json());
}

#[tokio::test]
async fn what_is_read_and_not_valid_is_422() {
    let app = TestApp::start().await;
    let nul = post(&app, r#"{"name":"a","metadata":{"x":"\u0000"}}"#).await;
    check(&nul, 422, "invalid_body");
    assert_eq!(items(&nul), ["/metadata/x nul_in_text"]);
    check(&post(&app, r#"{"name":"a","metadata":{"x":9007199254740992}}"#).await, 422, "invalid_body");
    check(&post(&app, "[]").await, 422, "invalid_body");
    check(&post(&app, "\"name\"").await, 422, "invalid_body");
    assert_eq!(keys(&app).await, 0);
}

#[tokio::test]
async fn a_body_may_be_so_large_and_no_larger() {
    let app = TestApp::start().await;
    let padded = |length: usize| {
        let body = r#"{"name":"a"}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    assert_eq!(post(&app, padded(256 * 1024)).await.status, 201);
    check(&post(&app, padded(256 * 1024 + 1)).await, 413, "body_too_large");
    check(&post(&app, padded(10 * 1024 * 1024)).await, 413, "body_too_large");
    let verify = async |path: &str, body: String| app.raw("POST", path, &[BEARER, JSON], body).await;
    let question = |length: usize| format!("{}{}", r#"{"secret":"x"}"#, " ".repeat(length - 14));
    assert_eq!(verify("/v1/verify", question(8 * 1024)).await.status, 200);
    check(&verify("/v1/verify", question(8 * 1024 + 1)).await, 413, "body_too_large");
    let batch = |length: usize| format!("[{}]{}", r#"{"secret":"x"}"#, " ".repeat(length - 16));
    assert_eq!(verify("/v1/verify/batch", batch(1024 * 1024)).await.status, 200);
    check(&verify("/v1/verify/batch", batch(1024 * 1024 + 1)).await, 413, "body_too_large");
}

#[tokio::test]
async fn a_body_says_that_it_is_json() {
    let app = TestApp::start().await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
    {
        let reply =
            app.raw("POST", "/v1/keys", &[BEARER, ("content-type", content_type)], r#"{"name":"a"}"#).await;
        check(&reply, 415, "unsupported_media_type");
    }
    check(&app.raw("POST", "/v1/keys", &[BEARER], r#"{"name":"a"}"#).await, 415, "unsupported_media_type");
    let zipped = app.raw("POST", "/v1/keys", &[BEARER, JSON, ("content-encoding", "gzip")], "x").await;
    check(&zipped, 415, "unsupported_media_type");
    let key = api_key(&app).await;
    let patched = app.call(ROOT, "PATCH", &key.path(), &[JSON], json!({"name": "b"})).await;
    check(&patched, 415, "unsupported_media_type");
    assert_eq!(patched.header("accept-patch"), "application/merge-patch+json, application/json-patch+json");
    // A body that may be left out is still JSON when it is there.
    let revoke = format!("{}/revoke", key.path());
    check(&app.raw("POST", &revoke, &[BEARER], r#"{"reason":"x"}"#).await, 415, "unsupported_media_type");
    assert_eq!(app.raw("POST", &revoke, &[BEARER], "").await.status, 200);
}

#[tokio::test]
async fn texts_and_lists_are_bounded() {
    let app = TestApp::start().await;
    let addresses =
        |count: u32| (0..count).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect::<Vec<_>>();
    let labels =
        |count: usize| (0..count).map(|n| (format!("l{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let limits = |count: usize| {
        (0..count).map(|n| json!({"name": format!("l{n}"), "max": 1, "per_seconds": 1})).collect::<Vec<_>>()
    };
    let patterns = |count: usize| {
        let resources: Vec<_> = (0..count).map(|n| format!("r/{n}")).collect();
        json!([{"effect": "allow", "actions": ["get"], "resources": resources}])
    };
    for (field, inside, outside) in [
        ("name", json!("n".repeat(200)), json!("n".repeat(201))),
        ("description", json!("n".repeat(1000)), json!("n".repeat(1001))),
        ("metadata", json!({"x": "n".repeat(2048 - 8)}), json!({"x": "n".repeat(2048 - 7)})),
        ("labels", json!(labels(32)), json!(labels(33))),
        ("labels", json!({"l".repeat(63): "v".repeat(255)}), json!({"l".repeat(64): "v"})),
        ("labels", json!({"l": ""}), json!({"l": "v".repeat(256)})),
        ("ip_allowlist", json!(addresses(1000)), json!(addresses(1001))),
        ("ip_allowlist", Value::Null, json!([])),
        ("grants", patterns(1000), patterns(1001)),
        ("limits", json!(limits(16)), json!(limits(17))),
        ("access_id", json!("AKID1"), json!("AKID")),
        ("access_id", json!("a".repeat(50)), json!("a".repeat(51))),
    ] {
        let create = async |value: &Value| {
            let mut body = json!({"name": "k"});
            body[field] = value.clone();
            app.root("POST", "/v1/keys", body).await
        };
        let accepted = create(&inside).await;
        assert_eq!(accepted.status, 201, "{field}: {}", accepted.json());
        check(&create(&outside).await, 422, "invalid_body");
    }
}

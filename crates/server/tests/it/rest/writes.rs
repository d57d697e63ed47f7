//! What every write takes: a dry run, a name that makes it repeatable, a preference, the caller's organization.

use keywright_testkit::{ROOT, TestApp};
use serde_json::{Value, json};

use super::{api_key, check, manager, other_org};

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let path = format!("{}?dry_run=true", key.path());
    let wider = json!({"name": "n", "grants": [{"effect": "allow", "actions": ["put"], "resources": ["devices/**"]}]});
    let reply = app.root("PATCH", &path, wider).await;
    let body = reply.json();
    assert_eq!((reply.status, &body["dry_run"]), (200, &json!(true)), "{body}");
    assert_eq!(body["changes"][0], json!({"path": "/name", "from": "plain", "to": "n"}));
    assert!(
        !body["access"]["gained"].as_array().unwrap().is_empty()
            && !body["access"]["lost"].as_array().unwrap().is_empty()
    );
    assert_eq!(app.root("GET", &key.path(), Value::Null).await.json()["version"], 1);
    let created = app.root("POST", "/v1/keys?dry_run=true", json!({"name": "never"})).await;
    assert_eq!((created.status, &created.json()["dry_run"]), (200, &json!(true)));
    assert!(!created.json().to_string().contains("kw_"));
    assert_eq!(app.root("DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(app.root("GET", "/v1/keys", Value::Null).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_named_call_is_made_once() {
    let app = TestApp::start().await;
    let create = async |name: &str, body: Value| {
        app.call(ROOT, "POST", "/v1/keys", &[("idempotency-key", name)], body).await
    };
    let first = create("call-1", json!({"name": "k"})).await;
    let again = create("call-1", json!({"name": "k"})).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"), "{}", again.json());
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(
        (&first.json()["key"]["id"], &first.json()["secret"]),
        (&again.json()["key"]["id"], &again.json()["secret"])
    );
    check(&create("call-1", json!({"name": "other"})).await, 422, "idempotency_mismatch");
    app.node.clock.advance_seconds(15 * 60);
    assert_eq!(create("call-1", json!({"name": "k"})).await.json()["secret"], Value::Null);
    app.node.clock.advance_seconds(24 * 3_600);
    assert_ne!(create("call-1", json!({"name": "k"})).await.json()["key"]["id"], first.json()["key"]["id"]);
    // Another caller's call of this name is another call.
    let caller = manager(&app, "default", &["*"]).await;
    let theirs = app
        .call(&caller.secret, "POST", "/v1/keys", &[("idempotency-key", "call-1")], json!({"name": "k"}))
        .await;
    assert_eq!((theirs.status, theirs.header("idempotent-replayed")), (201, ""));
    // A refused call is not kept.
    check(&create("call-2", json!({})).await, 422, "invalid_body");
    assert_eq!(create("call-2", json!({"name": "k"})).await.status, 201);
    check(&create("", json!({"name": "k"})).await, 400, "invalid_header");
    check(&create(&"x".repeat(256), json!({"name": "k"})).await, 400, "invalid_header");
}

#[tokio::test]
async fn a_preference_is_kept_to_and_said() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let path = format!("{}/revoke", key.path());
    let reply = app.call(ROOT, "POST", &path, &[("prefer", "wait=2")], Value::Null).await;
    assert_eq!(
        (reply.status, reply.header("preference-applied"), reply.header("keywright-enforced")),
        (200, "wait=2", "all")
    );
    let revision = reply.header("keywright-revision");
    let status = app.root("GET", &format!("/v1/revisions/{revision}"), Value::Null).await.json();
    assert_eq!((&status["enforced"], &status["missing"]), (&json!("all"), &json!(0)));
    let answered_at = status["enforced_since"].clone();
    assert!(answered_at.is_string(), "{status}");
    app.node.clock.advance_seconds(60);
    let later = app.root("GET", &format!("/v1/revisions/{revision}"), Value::Null).await.json();
    assert_eq!(later["enforced_since"], answered_at, "since then, not since it was asked");
    check(&app.root("GET", "/v1/revisions/nonsense", Value::Null).await, 404, "not_found");
}

#[tokio::test]
async fn a_call_acts_in_the_organization_that_it_names() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    let there = [("keywright-org", "acme")];
    let reply = app.call(ROOT, "POST", "/v1/keys", &there, json!({"name": "k"})).await;
    assert_eq!((reply.status, &reply.json()["key"]["org"]), (201, &json!("acme")), "{}", reply.json());
    let path = format!("/v1/keys/{}", reply.json()["key"]["id"].as_str().unwrap());
    check(&app.root("GET", &path, Value::Null).await, 404, "not_found");
    assert_eq!(app.call(ROOT, "GET", &path, &there, Value::Null).await.status, 200);
    let bound = manager(&app, "default", &["*"]).await;
    check(&app.call(&bound.secret, "GET", &path, &there, Value::Null).await, 404, "not_found");
    check(
        &app.call(ROOT, "GET", "/v1/keys", &[("keywright-org", "nowhere")], Value::Null).await,
        404,
        "not_found",
    );
}

#[tokio::test]
async fn a_keyspace_may_want_the_version_on_every_write() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "strict", "require_if_match": true})).await;
    let key = super::made(&app, json!({"name": "k", "keyspace": "strict"})).await;
    check(&app.root("PATCH", &key.path(), json!({"name": "x"})).await, 428, "precondition_required");
    check(
        &app.root("POST", &format!("{}/revoke", key.path()), Value::Null).await,
        428,
        "precondition_required",
    );
    let patched = app.call(ROOT, "PATCH", &key.path(), &[("if-match", "\"1\"")], json!({"name": "x"})).await;
    assert_eq!(patched.status, 200, "{}", patched.json());
    check(
        &app.call(ROOT, "POST", "/v1/keys", &[("if-match", "*")], json!({"name": "y"})).await,
        412,
        "precondition_failed",
    );
}

#[tokio::test]
async fn a_request_has_an_identifier_and_failures_are_slowed_down() {
    let app = TestApp::start().await;
    let reply = app.call(ROOT, "GET", "/v1/whoami", &[("x-request-id", "abc-1")], Value::Null).await;
    assert_eq!(reply.header("x-request-id"), "abc-1");
    let bad = app.call(ROOT, "GET", "/v1/whoami", &[("x-request-id", "a b")], Value::Null).await;
    assert_ne!(bad.header("x-request-id"), "a b");
    for _ in 0..20 {
        let refused = app.call("kw_wrong", "GET", "/v1/whoami", &[], Value::Null).await;
        check(&refused, 401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"keywright\", error=\"invalid_token\"");
    }
    let slowed = app.call("kw_wrong", "GET", "/v1/whoami", &[], Value::Null).await;
    check(&slowed, 429, "too_many_requests");
    assert_eq!(slowed.header("retry-after"), "1");
    app.node.clock.advance_ms(1_000);
    assert_eq!(app.root("GET", "/v1/whoami", Value::Null).await.status, 200);
    check(&app.raw("GET", "/v1/whoami", &[], "").await, 401, "unauthenticated");
}

//! Verifying (api.md §4).

use keywright_model::signing::hmac_header::{http_date, sign_hmac_header};
use keywright_model::signing::{Algorithm, KeyPair, SignedRequest};
use keywright_testkit::{ROOT, Reply, START_MS, TestApp};
use serde_json::{Value, json};

use super::{api_key, check, items, made, manager, other_org};

async fn verify(app: &TestApp, body: Value) -> Value {
    let reply = app.root("POST", "/v1/verify", body).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()
}

async fn code(app: &TestApp, body: Value) -> String {
    verify(app, body).await["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_has_everything_that_is_documented() {
    let app = TestApp::start().await;
    let key = made(&app, json!({
        "name": "k", "owner": {"external_id": "user_42"}, "labels": {"a": "b"}, "metadata": {"n": 1},
        "grants": [{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}],
        "limits": [{"name": "burst", "max": 100, "per_seconds": 1}], "quota": {"max": 1000, "period": "month"},
    }))
    .await;
    let answer = verify(
        &app,
        json!({"secret": key.secret, "action": "get", "resource": "devices/7/x", "ip": "10.1.2.3"}),
    )
    .await;
    assert_eq!(
        (&answer["allowed"], &answer["code"], &answer["authorized"]),
        (&json!(true), &json!("allowed"), &json!(true))
    );
    assert_eq!(
        (&answer["key_id"], &answer["org"], &answer["keyspace"]),
        (&json!(key.id), &json!("default"), &json!("default"))
    );
    assert_eq!(
        (&answer["owner"]["id"], &answer["owner"]["external_id"]),
        (&key.view["owner"], &json!("user_42"))
    );
    assert_eq!(
        (&answer["labels"], &answer["metadata"], &answer["expires_at"]),
        (&json!({"a": "b"}), &json!({"n": 1}), &Value::Null)
    );
    assert_eq!(answer["secret_status"], "current");
    assert_eq!(
        (&answer["limits"][0]["name"], &answer["limits"][0]["max"], &answer["limits"][0]["remaining"]),
        (&json!("burst"), &json!(100), &json!(99))
    );
    assert_eq!((&answer["quota"]["max"], &answer["quota"]["remaining"]), (&json!(1000), &json!(999)));
    assert_eq!(
        (&answer["current"], &answer["age_ms"], &answer["detail"]),
        (&json!(true), &json!(0), &Value::Null)
    );
    assert!(answer["revision"].is_string());
    let denied = verify(&app, json!({"secret": key.secret, "action": "put", "resource": "devices/8"})).await;
    assert_eq!((&denied["allowed"], &denied["authorized"]), (&json!(false), &json!(false)));
    assert_eq!(denied["detail"], "no grant covers put on devices/8");
    let unknown = verify(&app, json!({"secret": "kw_unknown"})).await;
    assert_eq!(
        (&unknown["code"], &unknown["authorized"], unknown.get("key_id")),
        (&json!("not_found"), &Value::Null, None)
    );
}

#[tokio::test]
async fn codes_come_as_the_key_changes() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let ask = json!({"secret": key.secret, "action": "get", "resource": "devices/1"});
    let patch = async |body: Value| assert_eq!(app.root("PATCH", &key.path(), body).await.status, 200);
    assert_eq!(code(&app, ask.clone()).await, "allowed");
    assert_eq!(code(&app, json!({"secret": key.secret})).await, "allowed");
    assert_eq!(code(&app, json!({"secret": key.secret, "action": "get"})).await, "insufficient_permission");
    assert_eq!(code(&app, json!({"secret": key.secret, "checks": [{"action": "get", "resource": "devices/1"}, {"action": "put", "resource": "devices/1"}]})).await, "insufficient_permission");
    patch(json!({"ip_allowlist": ["10.0.0.0/8"]})).await;
    assert_eq!(code(&app, ask.clone()).await, "ip_not_allowed");
    patch(json!({"ip_allowlist": null, "not_before": "2026-11-22T13:00:00Z"})).await;
    assert_eq!(code(&app, ask.clone()).await, "not_yet_valid");
    patch(json!({"not_before": null, "expires_at": "2026-11-22T12:00:01Z"})).await;
    app.node.clock.advance_ms(1_000);
    assert_eq!(code(&app, ask.clone()).await, "expired");
    patch(json!({"enabled": false})).await;
    assert_eq!(code(&app, ask.clone()).await, "disabled");
    app.root("POST", &format!("{}/rotate", key.path()), json!({"overlap_seconds": 0})).await;
    assert_eq!(code(&app, ask.clone()).await, "superseded");
    app.root("POST", &format!("{}/revoke", key.path()), Value::Null).await;
    assert_eq!(code(&app, ask).await, "revoked");
    let mut wrong = key.secret.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == 'a' { 'b' } else { 'a' });
    assert_eq!(code(&app, json!({"secret": wrong})).await, "malformed");
    assert_eq!(code(&app, json!({"secret": "x".repeat(257)})).await, "malformed");
    assert_eq!(code(&app, json!({"secret": "x".repeat(256)})).await, "not_found");
}

#[tokio::test]
async fn limits_and_quotas_are_counted_and_a_cost_of_zero_only_asks() {
    let app = TestApp::start().await;
    let limited =
        made(&app, json!({"name": "l", "limits": [{"name": "burst", "max": 3, "per_seconds": 60}]})).await;
    let quota = made(&app, json!({"name": "q", "quota": {"max": 2, "period": "none"}})).await;
    let ask = |key: &super::Made, cost: u64| json!({"secret": key.secret, "cost": cost});
    assert_eq!(code(&app, ask(&limited, 0)).await, "allowed");
    assert_eq!(code(&app, ask(&limited, 3)).await, "allowed");
    let refused = verify(&app, ask(&limited, 1)).await;
    assert_eq!((&refused["code"], &refused["limits"][0]["remaining"]), (&json!("rate_limited"), &json!(0)));
    assert_eq!(code(&app, ask(&quota, 1)).await, "allowed");
    assert_eq!(code(&app, ask(&quota, 2)).await, "quota_exceeded");
    assert_eq!(code(&app, ask(&quota, 1)).await, "allowed");
    assert_eq!(code(&app, ask(&quota, 1)).await, "quota_exceeded");
}

#[tokio::test]
async fn a_question_is_about_the_keyspaces_that_the_asker_reaches() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "live"})).await;
    let live = made(
        &app,
        json!({"name": "k", "keyspace": "live", "limits": [{"name": "b", "max": 2, "per_seconds": 600}]}),
    )
    .await;
    let id = app.root("GET", "/v1/keyspaces/live", Value::Null).await.json()["id"].clone();
    let ask = |keyspace: &Value| json!({"secret": live.secret, "keyspace": keyspace});
    assert_eq!(code(&app, ask(&json!("default"))).await, "not_found");
    assert_eq!(code(&app, ask(&json!("nowhere"))).await, "not_found");
    assert_eq!(code(&app, ask(&json!("live"))).await, "allowed");
    app.root("PATCH", "/v1/keyspaces/live", json!({"name": "lively"})).await;
    assert_eq!(code(&app, ask(&json!("live"))).await, "not_found", "the name that it has now");
    app.root("PATCH", "/v1/keyspaces/lively", json!({"name": "live"})).await;
    let by_id = verify(&app, ask(&id)).await;
    assert_eq!(
        (&by_id["code"], &by_id["limits"][0]["remaining"]),
        (&json!("allowed"), &json!(0)),
        "only asking costs nothing"
    );
    let bound = made(&app, json!({
        "kind": "management", "name": "m", "admin": {"actions": ["keys.verify"], "orgs": ["default"], "keyspaces": ["default"]},
    }))
    .await;
    for keyspace in [Value::Null, json!("live"), id] {
        let reply = app.call(&bound.secret, "POST", "/v1/verify", &[], ask(&keyspace)).await;
        assert_eq!((reply.status, &reply.json()["code"]), (200, &json!("not_found")), "{keyspace}");
    }
}

#[tokio::test]
async fn a_custom_secret_is_proven_with_its_access_id() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "loose", "allow_custom_secrets": true})).await;
    let key = made(
        &app,
        json!({"name": "k", "keyspace": "loose", "access_id": "AKIDcustom", "secret": "my_secret_1234"}),
    )
    .await;
    assert_eq!(key.secret, "my_secret_1234");
    let ask = |secret: &str| json!({"secret": secret, "access_id": "AKIDcustom"});
    assert_eq!(code(&app, json!({"secret": key.secret})).await, "not_found", "never a bare bearer");
    for _ in 0..2 {
        assert_eq!(code(&app, ask(&key.secret)).await, "allowed");
        assert_eq!(code(&app, ask("my_secret_1235")).await, "not_found");
    }
    assert_eq!(code(&app, json!({"secret": key.secret, "access_id": "AKIDnobody"})).await, "not_found");
}

#[tokio::test]
async fn a_signed_request_is_proven_by_the_keys_secret() {
    let app = TestApp::start().await;
    let key = made(&app, json!({"name": "k", "access_id": "AKIDsigner"})).await;
    let date = http_date(START_MS / 1000).unwrap();
    let headers = [("X-Date", date.as_str()), ("Source", "test")];
    let request = SignedRequest {
        method: "GET",
        host: "h",
        target: "/a?b=c",
        headers: &headers,
        parameters: &[],
        body_sha256: None,
    };
    let pair = KeyPair { access_id: "AKIDsigner", secret: key.secret.as_bytes() };
    let authorization = sign_hmac_header(&request, pair, Algorithm::HmacSha256, "x-date source").unwrap();
    let ask = |source: &str| {
        json!({"signed": {
            "method": "GET", "host": "h", "target": "/a?b=c", "body_sha256": null,
            "headers": {"X-Date": date, "Source": source, "Authorization": authorization},
        }})
    };
    assert_eq!(code(&app, ask("test")).await, "allowed");
    assert_eq!(code(&app, ask("other")).await, "signature_invalid");
    app.node.clock.advance_seconds(901);
    assert_eq!(code(&app, ask("test")).await, "signature_expired");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let app = TestApp::start().await;
    let ask = async |body: Value| app.root("POST", "/v1/verify", body).await;
    let refused = ask(json!({"secret": "x", "resource": "a"})).await;
    check(&refused, 422, "invalid_body");
    assert_eq!(items(&refused), ["/resource action_required"]);
    check(&ask(json!({})).await, 422, "invalid_body");
    check(&ask(json!({"secret": "x", "acton": "get"})).await, 422, "invalid_body");
    let twice =
        [("authorization", format!("Bearer {ROOT}")), ("content-type", "application/json".to_owned())];
    let twice: Vec<_> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    check(
        &app.raw("POST", "/v1/verify", &twice, r#"{"secret":"x","secret":"y"}"#).await,
        400,
        "duplicate_name",
    );
    check(
        &app.raw("POST", "/v1/verify", &twice[..1], r#"{"secret":"x"}"#).await,
        415,
        "unsupported_media_type",
    );
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let ask = async |body: Value| -> Reply { app.root("POST", "/v1/verify/batch", body).await };
    let reply =
        ask(json!([{"secret": "nobody"}, {"secret": key.secret}, {"secret": key.secret, "action": "put"}]))
            .await;
    let codes: Vec<_> = reply
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["not_found", "allowed", "insufficient_permission"]);
    let refused = ask(json!([{"secret": key.secret}, {"secret": "x", "ip": "y"}])).await;
    check(&refused, 422, "invalid_body");
    assert_eq!(items(&refused), ["/1/ip invalid_ip"]);
    assert_eq!(ask(json!(vec![json!({"secret": "x"}); 1000])).await.json().as_array().unwrap().len(), 1000);
    check(&ask(json!(vec![json!({"secret": "x"}); 1001])).await, 422, "invalid_body");
    check(&ask(json!({"secret": "x"})).await, 422, "invalid_body");
    assert_eq!(ask(json!([])).await.json(), json!([]));
}

#[tokio::test]
async fn a_revision_that_was_seen_is_waited_for() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let written = app.root("POST", &format!("{}/disable", key.path()), Value::Null).await;
    let revision = written.header("keywright-revision").to_owned();
    let ask = async |revision: &str| {
        app.call(
            ROOT,
            "POST",
            "/v1/verify",
            &[("keywright-at-least", revision)],
            json!({"secret": key.secret}),
        )
        .await
    };
    assert_eq!(ask(&revision).await.json()["code"], "disabled");
    let token: keywright_model::revision::RevisionToken = revision.parse().unwrap();
    let later = keywright_model::revision::RevisionToken { revision: token.revision.next(), ..token };
    check(&ask(&later.to_string()).await, 503, "revision_not_applied");
    check(&ask("nonsense").await, 400, "invalid_header");
}

#[tokio::test]
async fn whoever_asks_needs_the_right_to() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    let key = api_key(&app).await;
    let asker = manager(&app, "default", &["keys.verify"]).await;
    let ask = async |bearer: &str, org: &[(&str, &str)]| {
        app.call(bearer, "POST", "/v1/verify", org, json!({"secret": key.secret})).await
    };
    assert_eq!(ask(&asker.secret, &[]).await.json()["code"], "allowed");
    assert_eq!(ask(&asker.secret, &[("keywright-org", "default")]).await.json()["code"], "allowed");
    check(&ask(&asker.secret, &[("keywright-org", "acme")]).await, 404, "not_found");
    assert_eq!(ask(ROOT, &[("keywright-org", "acme")]).await.json()["code"], "not_found");
    check(&ask(ROOT, &[("keywright-org", "nowhere")]).await, 404, "not_found");
    check(&ask(&key.secret, &[]).await, 401, "unauthenticated");
    check(&ask("kw_nobody", &[]).await, 401, "unauthenticated");
    let reader = manager(&app, "default", &["keys.read"]).await;
    check(&ask(&reader.secret, &[]).await, 403, "forbidden");
    let root = app.node.verifier.digest(ROOT);
    app.state().root_key().set(root);
    assert_eq!(ask(ROOT, &[]).await.json()["code"], "allowed");
    app.state().root_key().set(None);
    check(&ask(ROOT, &[]).await, 401, "unauthenticated");
    app.root("POST", &format!("{}/revoke", asker.path()), Value::Null).await;
    check(&ask(&asker.secret, &[]).await, 401, "unauthenticated");
}

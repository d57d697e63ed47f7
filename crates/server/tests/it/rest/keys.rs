//! The verbs of keys.

use keywright_testkit::{ROOT, TestApp};
use serde_json::{Value, json};

use super::{api_key, check, items, made, manager};

#[tokio::test]
async fn a_key_is_made_shown_and_verified() {
    let app = TestApp::start().await;
    let reply = app.root("POST", "/v1/keys", json!({"name": "k", "labels": {"team": "fleet"}})).await;
    let body = reply.json();
    assert_eq!(reply.status, 201, "{body}");
    let id = body["key"]["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/v1/keys/{id}"));
    assert_eq!((reply.header("etag"), reply.header("keywright-enforced")), ("\"1\"", "all"));
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(
        !reply.header("keywright-revision").is_empty() && body["secret"].as_str().unwrap().starts_with("kw_")
    );
    let shown = app.root("GET", &format!("/v1/keys/{id}"), Value::Null).await;
    assert_eq!((shown.status, shown.header("etag")), (200, "\"1\""));
    assert_eq!(shown.json(), body["key"]);
    assert_eq!(shown.json()["grants"], json!([]));
}

#[tokio::test]
async fn what_does_not_exist_is_404_with_every_verb() {
    let app = TestApp::start().await;
    let other = "/v1/keys/key_01JD0000000000000000000000";
    for path in [other, "/v1/keys/nonsense", "/v1/keys/%00", "/v1/keys/%ff"] {
        check(&app.root("GET", path, Value::Null).await, 404, "not_found");
        check(&app.root("DELETE", path, Value::Null).await, 404, "not_found");
        check(&app.root("PATCH", path, json!({"name": "x"})).await, 404, "not_found");
    }
    for verb in ["revoke", "enable", "disable", "undelete", "secrets/sec_x/expire", "secrets/sec_x/reveal"] {
        check(&app.root("POST", &format!("{other}/{verb}"), Value::Null).await, 404, "not_found");
    }
    for left_out in [
        "/v1/usage",
        "/v1/keys/bulk/x",
        &format!("{other}/versions"),
        &format!("{other}/restore"),
        "/v2",
        "/",
    ] {
        check(&app.root("GET", left_out, Value::Null).await, 404, "not_found");
    }
}

#[tokio::test]
async fn replacing_needs_every_field_and_the_version() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    check(&app.root("PUT", &key.path(), key.view.clone()).await, 428, "precondition_required");
    let put =
        async |tag: &str, body: Value| app.call(ROOT, "PUT", &key.path(), &[("if-match", tag)], body).await;
    let mut body = key.view.clone();
    body["name"] = json!("renamed");
    let reply = put("\"1\"", body.clone()).await;
    assert_eq!(
        (reply.status, reply.json()["name"].as_str(), reply.header("etag")),
        (200, Some("renamed"), "\"2\"")
    );
    check(&put("\"1\"", body.clone()).await, 412, "precondition_failed");
    check(&put("W/\"2\"", body.clone()).await, 412, "precondition_failed");
    let stale = put("\"2\"", body.clone()).await;
    assert_eq!(items(&stale), ["/version read_only_field", "/etag read_only_field"]);
    let mut body = reply.json();
    assert_eq!(put("\"1\", \"2\"", body.clone()).await.status, 200);
    assert_eq!(put("*", body.clone()).await.status, 200);
    check(&put("2", body.clone()).await, 400, "invalid_header");
    body.as_object_mut().unwrap().remove("labels");
    let reply = put("*", body).await;
    check(&reply, 422, "invalid_body");
    assert_eq!(items(&reply), ["/labels missing_field"]);
}

#[tokio::test]
async fn merge_and_edit_change_some_fields() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let merged = app.root("PATCH", &key.path(), json!({"description": "d", "labels": {"a": "b"}})).await;
    assert_eq!((merged.status, &merged.json()["labels"]["a"]), (200, &json!("b")));
    let json_patch = [("content-type", "application/json-patch+json")];
    let operations =
        json!([{"op": "test", "path": "/description", "value": "d"}, {"op": "remove", "path": "/labels/a"}]);
    let edited = app.call(ROOT, "PATCH", &key.path(), &json_patch, operations).await;
    assert_eq!((edited.status, &edited.json()["labels"]), (200, &json!({})));
    let wrong = app
        .call(
            ROOT,
            "PATCH",
            &key.path(),
            &json_patch,
            json!([{"op": "nope"}, {"op": "add", "path": "/name"}]),
        )
        .await;
    check(&wrong, 422, "invalid_body");
    assert_eq!(items(&wrong), ["/0 invalid_patch", "/1 invalid_patch"]);
    let many = vec![json!({"op": "test", "path": "/name", "value": "plain"}); 101];
    check(&app.call(ROOT, "PATCH", &key.path(), &json_patch, json!(many)).await, 422, "invalid_body");
    assert_eq!(app.call(ROOT, "PATCH", &key.path(), &json_patch, json!(many[..100])).await.status, 200);
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({"nam": "x", "ip_allowlist": ["10.0.0.0/8", "x", "10.0.0.1/8"], "expires_at": "soon", "enabled": 1});
    let reply = app.root("POST", "/v1/keys", body).await;
    check(&reply, 422, "invalid_body");
    let named = items(&reply);
    for item in [
        "/nam unknown_field",
        "/name missing_field",
        "/ip_allowlist/1 invalid_cidr",
        "/expires_at invalid_time",
        "/enabled invalid_type",
    ] {
        assert!(named.iter().any(|named| named == item), "{item} in {named:?}");
    }
    assert!(reply.json().to_string().contains("did you mean `name`?"));
}

#[tokio::test]
async fn rotating_gives_a_secret_and_lets_the_old_one_overlap() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let path = format!("{}/rotate", key.path());
    let missing = app.root("POST", &path, json!({})).await;
    assert_eq!(items(&missing), ["/overlap_seconds missing_field"]);
    for (seconds, status) in [
        (json!(-1), 422),
        (json!(2_592_001), 422),
        (json!("1"), 422),
        (json!(2_592_000), 200),
        (json!(0), 200),
    ] {
        let reply = app.root("POST", &path, json!({"overlap_seconds": seconds})).await;
        assert_eq!(reply.status, status, "{seconds}: {}", reply.json());
    }
    let reply = app.root("POST", &path, json!({"overlap_seconds": 60})).await.json();
    assert!(reply["secret"].as_str().unwrap().starts_with("kw_"));
    let secrets = reply["key"]["secrets"].as_array().unwrap();
    let old = secrets[secrets.len() - 2].clone();
    assert_eq!(old["status"], "overlapping");
    let expire = format!("{}/secrets/{}/expire", key.path(), old["id"].as_str().unwrap());
    let reply = app.root("POST", &expire, Value::Null).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    check(&app.root("POST", &expire, json!({"x": 1})).await, 422, "invalid_body");
}

#[tokio::test]
async fn secrets_are_revealed_only_where_they_are_kept() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "kept", "recoverable_secrets": true})).await;
    let kept = made(&app, json!({"name": "k", "keyspace": "kept"})).await;
    let reveal = |key: &super::Made| {
        format!("{}/secrets/{}/reveal", key.path(), key.view["secrets"][0]["id"].as_str().unwrap())
    };
    let reply = app.root("POST", &reveal(&kept), Value::Null).await;
    assert_eq!((reply.status, reply.json()["secret"].as_str()), (200, Some(kept.secret.as_str())));
    let lost = api_key(&app).await;
    check(&app.root("POST", &reveal(&lost), Value::Null).await, 409, "not_recoverable");
}

#[tokio::test]
async fn a_key_is_switched_off_and_on_ended_and_brought_back_as_a_record() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let post =
        async |verb: &str, body: Value| app.root("POST", &format!("{}/{verb}", key.path()), body).await;
    assert_eq!(post("disable", Value::Null).await.json()["state"], "disabled");
    assert_eq!(post("enable", json!({})).await.json()["state"], "active");
    check(&post("undelete", Value::Null).await, 409, "not_deleted");
    let revoked = post("revoke", json!({"reason": "leaked"})).await;
    assert_eq!((revoked.status, revoked.json()["revocation_reason"].as_str()), (200, Some("leaked")));
    check(&post("rotate", json!({"overlap_seconds": 0})).await, 409, "key_revoked");
    check(&app.root("PATCH", &key.path(), json!({"name": "x"})).await, 409, "key_revoked");
    let deleted = app.root("DELETE", &key.path(), Value::Null).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    check(&app.root("GET", &key.path(), Value::Null).await, 404, "not_found");
    assert_eq!(post("undelete", Value::Null).await.json()["state"], "revoked");
}

#[tokio::test]
async fn whoever_finds_a_key_can_name_it_and_end_it() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let found = app.root("POST", "/v1/keys/lookup", json!({"secret": key.secret})).await;
    assert_eq!((found.status, found.json()["id"].as_str()), (200, Some(key.id.as_str())));
    check(&app.root("POST", "/v1/keys/lookup", json!({"secret": "kw_unknown"})).await, 404, "not_found");
    check(&app.root("POST", "/v1/keys/lookup", json!({})).await, 422, "invalid_body");
    let ended = app.call(&key.secret, "POST", "/v1/keys/self/revoke", &[], json!({"reason": "found"})).await;
    assert_eq!((ended.status, ended.json()["state"].as_str()), (200, Some("revoked")));
    check(&app.raw("POST", "/v1/keys/self/revoke", &[], "").await, 401, "unauthenticated");
    check(
        &app.call("kw_unknown", "POST", "/v1/keys/self/revoke", &[], Value::Null).await,
        401,
        "unauthenticated",
    );
}

#[tokio::test]
async fn a_caller_makes_only_what_it_may_hand_out() {
    let app = TestApp::start().await;
    let caller = made(
        &app,
        json!({
            "kind": "management", "name": "narrow",
            "admin": {"actions": ["keys.create", "keys.read"], "orgs": ["default"], "keyspaces": ["default"]},
            "grantable": [{"effect": "allow", "actions": ["get"], "resources": ["devices/**"]}],
        }),
    )
    .await;
    let grant = |action: &str| json!({"name": "k", "grants": [{"effect": "allow", "actions": [action], "resources": ["devices/7/**"]}]});
    assert_eq!(app.call(&caller.secret, "POST", "/v1/keys", &[], grant("get")).await.status, 201);
    check(&app.call(&caller.secret, "POST", "/v1/keys", &[], grant("put")).await, 403, "beyond_grantable");
    let who = app.call(&caller.secret, "GET", "/v1/whoami", &[], Value::Null).await.json();
    assert_eq!((&who["kind"], &who["key"]["id"]), (&json!("management"), &json!(caller.id)));
    assert_eq!(app.root("GET", "/v1/whoami", Value::Null).await.json()["kind"], "root");
}

#[tokio::test]
async fn the_audit_names_who_did_what() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    app.root("POST", &format!("{}/disable", key.path()), Value::Null).await;
    let page = app.root("GET", &format!("/v1/audit?subject={}&limit=1", key.id), Value::Null).await.json();
    assert_eq!(
        (&page["items"][0]["verb"], &page["items"][0]["actor"]),
        (&json!("key.disable"), &json!("root"))
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let next =
        app.root("GET", &format!("/v1/audit?subject={}&cursor={cursor}", key.id), Value::Null).await.json();
    assert_eq!((&next["items"][0]["verb"], &next["next_cursor"]), (&json!("key.create"), &Value::Null));
    check(&app.root("GET", &format!("/v1/audit?cursor={cursor}"), Value::Null).await, 400, "invalid_cursor");
    let outsider = manager(&app, "default", &["keys.read"]).await;
    check(&app.call(&outsider.secret, "GET", "/v1/audit", &[], Value::Null).await, 403, "forbidden");
}

#[tokio::test]
async fn the_audit_shows_every_noun_as_its_own_call_does_and_no_secret() {
    let app = TestApp::start().await;
    let mut shown = Vec::new();
    for (path, body) in [
        ("/v1/orgs", json!({"name": "acme"})),
        ("/v1/keyspaces", json!({"name": "live", "recoverable_secrets": true})),
        ("/v1/plans", json!({"name": "p", "limits": [{"name": "b", "max": 1, "per_seconds": 1}]})),
        (
            "/v1/roles",
            json!({"name": "r", "grants": [{"effect": "allow", "actions": ["a"], "resources": ["b"]}]}),
        ),
        ("/v1/principals", json!({"name": "Ann", "external_id": "user_1"})),
    ] {
        let reply = app.root("POST", path, body).await;
        assert_eq!(reply.status, 201, "{path}");
        shown.push(reply.json());
    }
    let own = made(
        &app,
        json!({"name": "k", "keyspace": "live", "owner": {"external_id": "user_1"},
        "labels": {"team": "fleet"}, "ip_allowlist": ["10.0.0.0/8"]}),
    )
    .await;
    shown.push(own.view.clone());
    shown.push(manager(&app, "default", &["keys.read"]).await.view);
    shown.push(app.root("PATCH", &own.path(), json!({"name": "l"})).await.json());
    shown.push(app.root("POST", &format!("{}/revoke", own.path()), json!({"reason": "lost"})).await.json());
    for noun in &shown {
        let id = noun["id"].as_str().unwrap();
        // An organization's entries stand in its own audit.
        let org = if id.starts_with("org_") { "acme" } else { "default" };
        let of_org = [("keywright-org", org)];
        let path = format!("/v1/audit?subject={id}");
        let reply = app.call(ROOT, "GET", &path, &of_org, Value::Null).await;
        let entries = reply.json()["items"].as_array().unwrap().clone();
        let entry = entries.iter().find(|entry| entry["version"] == noun["version"]).unwrap();
        assert_eq!(entry["after"], *noun, "{}", entry["verb"]);
        let text = String::from_utf8_lossy(&reply.body);
        for hidden in [own.secret.as_str(), "material", "digest", "sealed"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
    app.root("DELETE", "/v1/plans/p", Value::Null).await;
    let gone = app.root("GET", "/v1/audit?verb=plan.delete", Value::Null).await.json();
    assert_eq!(gone["items"][0]["after"], Value::Null);
}

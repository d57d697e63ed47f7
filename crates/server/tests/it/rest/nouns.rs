//! Organizations, keyspaces, principals, roles and plans: the same verbs.

use keywright_testkit::{ROOT, TestApp};
use serde_json::{Value, json};

use super::{check, items, made};

struct Kind {
    path: &'static str,
    first: Value,
    second: Value,
    merge: Value,
}

fn kinds() -> Vec<Kind> {
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
    let limits = json!([{"name": "burst", "max": 10, "per_seconds": 1}]);
    vec![
        Kind {
            path: "/v1/orgs",
            first: json!({"name": "acme"}),
            second: json!({"name": "bravo"}),
            merge: json!({"name": "charlie"}),
        },
        Kind {
            path: "/v1/keyspaces",
            first: json!({"name": "staging", "secret_prefix": "st"}),
            second: json!({"name": "live"}),
            merge: json!({"key_policy": {"require_expiry": true}}),
        },
        Kind {
            path: "/v1/principals",
            first: json!({"external_id": "user_1", "name": "One"}),
            second: json!({"external_id": "user_2", "kind": "bot"}),
            merge: json!({"enabled": false}),
        },
        Kind {
            path: "/v1/roles",
            first: json!({"name": "r1", "grants": grants}),
            second: json!({"name": "r2"}),
            merge: json!({"grants": []}),
        },
        Kind {
            path: "/v1/plans",
            first: json!({"name": "p1", "limits": limits}),
            second: json!({"name": "p2"}),
            merge: json!({"limits": []}),
        },
    ]
}

#[tokio::test]
async fn every_kind_has_the_same_life() {
    let app = TestApp::start().await;
    for Kind { path, first, second, merge } in kinds() {
        let created = app.root("POST", path, first.clone()).await;
        let noun = created.json();
        assert_eq!((created.status, created.header("etag")), (201, "\"1\""), "{path}: {noun}");
        let own = format!("{path}/{}", noun["id"].as_str().unwrap());
        assert_eq!(created.header("location"), own);
        assert_eq!(app.root("GET", &own, Value::Null).await.json(), noun);
        check(&app.root("POST", path, first).await, 409, "taken");
        assert_eq!(app.root("POST", path, second).await.status, 201, "{path}");
        check(&app.root("PUT", &own, noun.clone()).await, 428, "precondition_required");
        let put = app.call(ROOT, "PUT", &own, &[("if-match", "\"1\"")], noun.clone()).await;
        assert_eq!(put.status, 200, "{path}: {}", put.json());
        let merged = app.root("PATCH", &own, merge).await;
        assert_eq!(
            (merged.status, merged.json()["version"].as_u64()),
            (200, Some(2)),
            "{path}: {}",
            merged.json()
        );
        check(
            &app.call(ROOT, "PATCH", &own, &[("if-match", "\"1\"")], json!({"name": "zulu"})).await,
            412,
            "precondition_failed",
        );
        let unknown = app.root("PATCH", &own, json!({"nmae": 1})).await;
        assert_eq!(items(&unknown), ["/nmae unknown_field"], "{path}");
        check(&app.root("GET", &format!("{path}/nothing"), Value::Null).await, 404, "not_found");
        let deleted = app.root("DELETE", &own, Value::Null).await;
        assert_eq!(deleted.status, 204, "{path}: {:?}", deleted.body);
        check(&app.root("GET", &own, Value::Null).await, 404, "not_found");
    }
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let app = TestApp::start().await;
    for number in 0..5 {
        app.node.clock.advance_ms(1);
        app.root("POST", "/v1/roles", json!({"name": format!("role {number}")})).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/roles?limit=2".to_owned();
    loop {
        let page = app.root("GET", &path, Value::Null).await.json();
        names.extend(
            page["items"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/roles?limit=2&cursor={cursor}");
        let elsewhere = format!("/v1/plans?cursor={cursor}");
        check(&app.root("GET", &elsewhere, Value::Null).await, 400, "invalid_cursor");
    }
    assert_eq!(names, ["role 0", "role 1", "role 2", "role 3", "role 4"]);
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let app = TestApp::start().await;
    let role = app.root("POST", "/v1/roles", json!({"name": "r"})).await.json();
    let key = made(&app, json!({"name": "k", "roles": [role["id"]]})).await;
    let path = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    check(&app.root("DELETE", &path, Value::Null).await, 409, "in_use");
    app.root("PATCH", &key.path(), json!({"roles": []})).await;
    assert_eq!(app.root("DELETE", &path, Value::Null).await.status, 204);
}

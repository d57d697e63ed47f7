//! Gjirafa VP: one envelope for everything, three spellings of the credential.

use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};

use super::Wired;

const PATH: &str = "/api/organizations/default/api-keys";

async fn call(wired: &Wired, method: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {}", wired.admin);
    wired.send(method, PATH, &[("authorization", &bearer)], body.to_string()).await
}

fn create(role: &Value) -> Value {
    json!({"listProjectsId": ["p1"], "roleId": role, "userApiKey": {"apiKeyId": 0, "apiName": "ci", "hasExpireTime": true,
        "startDateTime": "2026-11-22T11:00:00.071Z", "expireDateTime": "2026-12-24T12:07:50.071Z"}})
}

#[track_caller]
fn check_refused(reply: &Reply, status: u16, error: &str) {
    let expected = json!({"success": false, "errors": [error], "messages": [], "result": null, "resultInfo": null,
        "statusCode": status});
    assert_eq!((reply.status, reply.json()), (status, expected));
}

#[tokio::test]
async fn a_key_is_made_updated_and_works_by_its_new_rights() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let (view, edit) = (wired.role("viewer", "view").await, wired.role("editor", "edit").await);
    let made = call(&wired, "POST", &create(&view)).await;
    assert_eq!((made.status, &made.json()["statusCode"]), (201, &json!(201)));
    let result = made.json()["result"].clone();
    let secret = result["apiKey"].as_str().unwrap();
    assert_eq!(
        result,
        json!({"id": result["id"], "name": "ci", "apiKey": secret, "startDate": "2026-11-22T11:00:00.071Z",
        "expireDate": "2026-12-24T12:07:50.071Z", "hasExpireTime": true, "roleId": view})
    );
    assert_eq!(wired.verify(secret, "view", "projects/p1/videos/1").await, "allowed");
    assert_eq!(wired.verify(secret, "view", "projects/p2").await, "insufficient_permission");

    let body = json!({"id": result["id"], "name": "string", "startDate": "2026-11-22T11:00:00.071Z", "hasExpireTime": false,
        "expireDate": "2026-12-24T12:07:50.071Z", "roleId": edit});
    let updated = call(&wired, "PUT", &body).await;
    assert_eq!(updated.status, 200, "{:?}", updated.body);
    let shown = updated.json()["result"].clone();
    assert_eq!(
        (&shown["name"], &shown["hasExpireTime"], &shown["expireDate"]),
        (&json!("string"), &json!(false), &Value::Null)
    );
    assert_eq!(shown["roleId"], edit);
    assert_ne!(shown["apiKey"], secret, "the keyspace does not keep secrets");
    assert_eq!(wired.verify(secret, "edit", "projects/p1").await, "allowed");
    assert_eq!(wired.verify(secret, "view", "projects/p1").await, "insufficient_permission");

    let later = json!({"id": result["id"], "startDate": "2026-11-23T00:00:00"});
    assert_eq!(call(&wired, "PUT", &later).await.status, 200);
    assert_eq!(wired.verify(secret, "edit", "projects/p1").await, "not_yet_valid");
}

#[tokio::test]
async fn a_recoverable_secret_is_shown_again() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    wired.set_keyspace(json!({"recoverable_secrets": true})).await;
    let made = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    let again =
        call(&wired, "PUT", &json!({"id": made["id"], "name": "other"})).await.json()["result"].clone();
    assert_eq!(again["apiKey"], made["apiKey"]);
}

#[tokio::test]
async fn the_credential_has_three_spellings() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let (bearer, body) = (format!("bearer {}", wired.admin), create(&Value::Null).to_string());
    for headers in
        [("authorization", bearer.as_str()), ("authorization", &wired.admin), ("x-api-key", &wired.admin)]
    {
        let path = format!("{PATH}?api-version=1.0");
        assert_eq!(wired.send("POST", &path, &[headers], body.clone()).await.status, 201, "{}", headers.0);
    }
    for headers in [&[][..], &[("authorization", "Bearer nobody")], &[("authorization", "")]] {
        check_refused(&wired.send("POST", PATH, headers, body.clone()).await, 401, "Unauthorized");
    }
}

#[tokio::test]
async fn what_the_wire_cannot_show_survives_an_update() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let view = wired.role("viewer", "view").await;
    let made = call(&wired, "POST", &create(&view)).await.json()["result"].clone();
    let before = wired.key_numbered(&made["id"]).await;
    let grants = json!([{"effect": "deny", "actions": ["view"], "resources": ["projects/p1/secret"]}]);
    wired
        .patch(&before["id"], json!({"grants": grants, "description": "d", "ip_allowlist": ["10.0.0.1"]}))
        .await;
    assert_eq!(call(&wired, "PUT", &json!({"id": made["id"], "name": "n"})).await.status, 200);
    let after = wired.key_numbered(&made["id"]).await;
    assert_eq!(
        (&after["grants"], &after["scope"], &after["roles"]),
        (&grants, &before["scope"], &before["roles"])
    );
    assert_eq!((&after["description"], &after["ip_allowlist"]), (&json!("d"), &json!(["10.0.0.1"])));
    assert_eq!((&after["name"], &after["expires_at"]), (&json!("n"), &before["expires_at"]));
}

#[tokio::test]
async fn refusals_have_the_envelope_and_change_nothing() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let made = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    let id = &made["id"];
    let before = wired.key_numbered(id).await;
    for (body, status, error) in [
        (json!({"name": "x"}), 400, "id: must be given"),
        (json!({"id": 999}), 404, "Result Not Found"),
        (json!({"id": id, "roleId": 99}), 400, "roleId: is no role of this organization"),
        (
            json!({"id": id, "expireDate": "2026-11-22T10:00:00Z"}),
            400,
            "expireDate: must lie after the start",
        ),
        (json!({"id": id, "name": ""}), 400, "name: must have 1 to 200 characters"),
    ] {
        check_refused(&call(&wired, "PUT", &body).await, status, error);
    }
    let bearer = format!("Bearer {}", wired.admin);
    let headers = [("authorization", bearer.as_str())];
    let body = json!({"id": id}).to_string();
    let elsewhere = wired.send("PUT", "/api/organizations/other/api-keys", &headers, body.clone()).await;
    check_refused(&elsewhere, 404, "Result Not Found");
    check_refused(&wired.send("PATCH", PATH, &headers, body).await, 404, "Result Not Found");
    check_refused(&wired.send("PUT", PATH, &headers, "{").await, 400, "the body is no valid JSON");
    assert_eq!(wired.key_numbered(id).await, before);
}

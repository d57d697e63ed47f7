//! Gjirafa VP: one envelope for everything, three spellings of the credential.

use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};

use super::Wired;

pub(super) const PATH: &str = "/api/organizations/default/api-keys";

pub(super) async fn call(wired: &Wired, method: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {}", wired.admin);
    wired.send(method, PATH, &[("authorization", &bearer)], body.to_string()).await
}

pub(super) fn create(role: &Value) -> Value {
    json!({"listProjectsId": ["p1"], "roleId": role, "userApiKey": {"apiKeyId": 0, "apiName": "ci", "hasExpireTime": true,
        "startDateTime": "2026-11-22T11:00:00.071Z", "expireDateTime": "2026-12-24T12:07:50.071Z"}})
}

/// Grants of everything.
pub(super) fn everything() -> Value {
    json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}])
}

/// Another management key, with its secret.
pub(super) async fn manager(wired: &Wired, orgs: &[&str], actions: &[&str], grantable: &Value) -> Value {
    let admin = json!({"actions": actions, "orgs": orgs, "keyspaces": ["*"]});
    let body = json!({"name": "other", "kind": "management", "admin": admin, "grantable": grantable});
    let made = wired.app.root("POST", "/v1/keys", body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.json()
}

#[track_caller]
pub(super) fn check_refused(reply: &Reply, status: u16, error: &str) {
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

async fn list(wired: &Wired) -> Value {
    let listed = call(wired, "GET", &Value::Null).await;
    assert_eq!(listed.status, 200, "{:?}", listed.body);
    listed.json()["result"].clone()
}

#[tokio::test]
async fn the_list_has_every_key_oldest_first_in_its_own_words() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    assert_eq!(list(&wired).await, json!([]), "management keys are not of this API");
    let first = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    let second = wired.app.root("POST", "/v1/keys", json!({"name": "by rest"})).await.json()["key"].clone();
    let listed = list(&wired).await;
    assert_eq!(
        listed[0],
        json!({"apiKeyId": first["id"], "apiKeyName": "ci", "apiKey": listed[0]["apiKey"],
            "startDate": "2026-11-22T11:00:00.071Z", "expireDate": "2026-12-24T12:07:50.071Z", "hasExpireTime": true,
            "projectsNameList": [{"publicId": "p1", "name": "p1"}]})
    );
    assert!(listed[0]["apiKey"].as_str().unwrap().starts_with("****"), "{listed}");
    assert_eq!((&listed[1]["apiKeyId"], &listed[1]["apiKeyName"]), (&second["number"], &json!("by rest")));
    assert_eq!(
        (&listed[1]["projectsNameList"], &listed[1]["hasExpireTime"], &listed[1]["expireDate"]),
        (&json!([]), &json!(false), &Value::Null)
    );
    let revoke = format!("/v1/keys/{}/revoke", second["id"].as_str().unwrap());
    assert_eq!(wired.app.root("POST", &revoke, json!({})).await.status, 200);
    assert_eq!(list(&wired).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_list_goes_on_past_what_is_read_at_once() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    for number in 0..203 {
        let made = wired.app.root("POST", "/v1/keys", json!({"name": format!("k{number}")})).await;
        assert_eq!(made.status, 201);
    }
    let listed = list(&wired).await;
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|key| key["apiKeyName"].as_str().unwrap()).collect();
    assert_eq!(names, (0..203).map(|number| format!("k{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_call_that_shows_secrets_again_is_one_entry_of_the_audit() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    wired.set_keyspace(json!({"recoverable_secrets": true})).await;
    let mut made = Vec::new();
    for _ in 0..2 {
        made.push(call(&wired, "POST", &create(&Value::Null)).await.json()["result"]["apiKey"].clone());
    }
    let reveals = async || {
        let audit = wired.app.root("GET", "/v1/audit?verb=key.reveal", Value::Null).await;
        audit.json()["items"].as_array().unwrap().clone()
    };
    assert_eq!(reveals().await, Vec::<Value>::new(), "what is made shows its own secret");
    let shown: Vec<_> =
        list(&wired).await.as_array().unwrap().iter().map(|key| key["apiKey"].clone()).collect();
    assert_eq!(shown, made);
    let entries = reveals().await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["wire"], "gjirafa");

    // Whoever may not reveal sees stars, and nothing is revealed.
    let reader = manager(&wired, &["default"], &["keys.read", "roles.read"], &json!([])).await;
    let reader = reader["secret"].as_str().unwrap();
    let seen = wired.send("GET", PATH, &[("x-api-key", reader)], "").await.json()["result"].clone();
    assert!(seen[0]["apiKey"].as_str().unwrap().starts_with("****"), "{seen}");
    assert_eq!(reveals().await.len(), 1);
}

#[tokio::test]
async fn a_deleted_key_is_gone_for_good() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let view = wired.role("viewer", "view").await;
    let made = call(&wired, "POST", &create(&view)).await.json()["result"].clone();
    let secret = made["apiKey"].as_str().unwrap();
    let rest = wired.key_numbered(&made["id"]).await["id"].as_str().unwrap().to_owned();
    let delete = async |id: &str| {
        wired.send("DELETE", &format!("{PATH}/{id}"), &[("authorization", &wired.admin)], "").await
    };
    for unknown in ["999", "4294967296", "-1", "x", "key_01JD", "%00"] {
        check_refused(&delete(unknown).await, 404, "Result Not Found");
    }
    assert_eq!(wired.verify(secret, "view", "projects/p1").await, "allowed");
    let gone = delete(&made["id"].to_string()).await;
    let envelope = json!({"success": true, "errors": [], "messages": [], "result": true, "resultInfo": null,
        "statusCode": 200});
    assert_eq!((gone.status, gone.json()), (200, envelope));
    assert_eq!(wired.verify(secret, "view", "projects/p1").await, "revoked");
    check_refused(&delete(&made["id"].to_string()).await, 404, "Result Not Found");
    check_refused(&delete(&rest).await, 404, "Result Not Found");
    assert_eq!(list(&wired).await, json!([]));

    // A management key is not this API's to end, the caller's own included.
    let own =
        wired.app.root("GET", "/v1/keys?access_id=AKIDadmin", Value::Null).await.json()["items"][0].clone();
    check_refused(&delete(&own["number"].to_string()).await, 404, "Result Not Found");
}

#[tokio::test]
async fn another_tenants_keys_are_not_there_and_a_revoked_caller_is_nobody() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let made = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    assert_eq!(wired.app.root("POST", "/v1/orgs", json!({"name": "other"})).await.status, 201);
    let theirs = manager(&wired, &["other"], &["*"], &everything()).await;
    let (secret, id) = (theirs["secret"].as_str().unwrap(), theirs["key"]["id"].as_str().unwrap());
    for (method, path) in [("GET", PATH.to_owned()), ("DELETE", format!("{PATH}/{}", made["id"]))] {
        check_refused(
            &wired.send(method, &path, &[("authorization", secret)], "").await,
            404,
            "Result Not Found",
        );
    }
    let revoke = format!("/v1/keys/{id}/revoke");
    assert_eq!(wired.app.root("POST", &revoke, json!({})).await.status, 200);
    for (method, path) in [("GET", PATH.to_owned()), ("DELETE", format!("{PATH}/{}", made["id"]))] {
        check_refused(
            &wired.send(method, &path, &[("authorization", secret)], "").await,
            401,
            "Unauthorized",
        );
    }
    assert_eq!(list(&wired).await.as_array().unwrap().len(), 1);
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

#[tokio::test]
async fn a_key_begins_at_its_start_and_ends_at_its_end() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let view = wired.role("viewer", "view").await;
    let at = |ms: u32| {
        let at = keywright_model::time::Timestamp::from_unix_ms(keywright_testkit::START_MS + i64::from(ms));
        at.to_string()
    };
    let body = json!({"roleId": view, "userApiKey": {"apiName": "later", "hasExpireTime": true,
        "startDateTime": at(60_000), "expireDateTime": at(120_000)}});
    let made = call(&wired, "POST", &body).await.json()["result"].clone();
    let verified = async || wired.verify(made["apiKey"].as_str().unwrap(), "view", "videos/1").await;
    assert_eq!(verified().await, "not_yet_valid");
    wired.app.node.clock.advance_ms(59_999);
    assert_eq!(verified().await, "not_yet_valid");
    wired.app.node.clock.advance_ms(1);
    assert_eq!(verified().await, "allowed");
    wired.app.node.clock.advance_ms(60_000);
    assert_eq!(verified().await, "expired");
    let body = json!({"id": made["id"], "hasExpireTime": false, "startDate": at(180_000)});
    assert_eq!(call(&wired, "PUT", &body).await.status, 200);
    assert_eq!(verified().await, "not_yet_valid");
    wired.app.node.clock.advance_ms(60_000);
    assert_eq!(verified().await, "allowed");
}

/// What .NET clients send for a date that they did not set, and for one that never comes.
#[tokio::test]
async fn the_first_and_the_last_date_of_dotnet_are_dates() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let body = json!({"userApiKey": {"apiName": "k", "hasExpireTime": true,
        "startDateTime": "0001-01-01T00:00:00", "expireDateTime": "9999-12-31T23:59:59.9999999"}});
    let made = call(&wired, "POST", &body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let made = made.json()["result"].clone();
    assert_eq!(
        (&made["startDate"], &made["expireDate"]),
        // The last one that Keywright has.
        (&json!("0001-01-01T00:00:00.000Z"), &json!("9999-12-30T22:00:00.999Z"))
    );
    let body = json!({"id": made["id"], "hasExpireTime": false, "expireDate": "0001-01-01T00:00:00"});
    assert_eq!(call(&wired, "PUT", &body).await.json()["result"]["expireDate"], Value::Null);
    assert_eq!(wired.verified(json!({"secret": made["apiKey"]})).await, "allowed");
}

#[tokio::test]
async fn a_key_made_through_another_wire_is_listed_updated_and_deleted_by_its_number() {
    let mut wired = Wired::start(Dialect::Gjirafa).await;
    let ours = std::mem::replace(&mut wired.router, wired.app.dialect(Dialect::Onenet));
    let body =
        r#"{"title":"theirs","permissions":[{"resources":[{"dev_id":"1"}],"access_methods":["get"]}]}"#;
    let made = wired.send("POST", "/keys", &[("api-key", &wired.admin)], body).await.json();
    let secret = made["data"]["key"].as_str().unwrap();
    wired.router = ours;
    let listed = list(&wired).await[0].clone();
    assert_eq!((&listed["apiKeyName"], &listed["projectsNameList"]), (&json!("theirs"), &json!([])));
    assert_eq!(wired.verify(secret, "get", "devices/1").await, "allowed");

    let id = &listed["apiKeyId"];
    let updated = call(&wired, "PUT", &json!({"id": id, "name": "ours", "hasExpireTime": false})).await;
    assert_eq!((updated.status, &updated.json()["result"]["name"]), (200, &json!("ours")));
    assert_eq!(wired.verify(secret, "get", "devices/1").await, "allowed", "its grants survive");
    let gone = wired.send("DELETE", &format!("{PATH}/{id}"), &[("x-api-key", &wired.admin)], "").await;
    assert_eq!((gone.status, &gone.json()["result"]), (200, &json!(true)));
    assert_eq!(wired.verify(secret, "get", "devices/1").await, "revoked");
}

#[tokio::test]
async fn an_organization_is_named_by_name_or_by_id() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let org = wired.app.root("POST", "/v1/orgs", json!({"name": "other"})).await.json();
    let both = manager(&wired, &["default", "other"], &["*"], &json!([])).await;
    let both = both["secret"].as_str().unwrap();
    let keyspace = json!({"name": "default"});
    let there = wired.app.call(
        keywright_testkit::ROOT,
        "POST",
        "/v1/keyspaces",
        &[("keywright-org", "other")],
        keyspace,
    );
    assert_eq!(there.await.status, 201);
    let id = org["id"].as_str().unwrap();
    for (named, status) in [
        ("default", 200),
        ("other", 200),
        (id, 200),
        ("another", 404),
        ("4711", 404),
        ("org_1", 404),
        ("%ff", 404),
    ] {
        let path = format!("/api/organizations/{named}/api-keys");
        let listed = wired.send("GET", &path, &[("authorization", both)], "").await;
        assert_eq!((listed.status, &listed.json()["statusCode"]), (status, &json!(status)), "{named}");
    }
}

//! Gjirafa VP: input that is no good, and callers that may not. The vendor's envelope, and nothing changed.

use keywright_server::dialects::Dialect;
use serde_json::{Value, json};

use super::Wired;
use super::gjirafa::{PATH, call, check_refused, create, everything, manager};

const INT: &str = "must be an integer from 0 to 2147483647";
const DATE: &str = "must be a date such as 2022-08-24T12:48:29.365Z";

/// All that calls could have changed: every key, and how much the audit tells.
async fn state(wired: &Wired) -> (Value, Value) {
    let keys = wired.app.root("GET", "/v1/keys?limit=200", Value::Null).await.json();
    let audit = wired.app.root("GET", "/v1/audit?limit=1", Value::Null).await.json();
    (keys["items"].clone(), audit["items"].clone())
}

/// Sends each body and tests the faults that its answer names.
async fn check_each(wired: &Wired, method: &str, cases: &[(Value, &[&str])]) {
    for (body, errors) in cases {
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let reply = wired.send(method, PATH, &[("authorization", &wired.admin)], text).await;
        let expected = json!({"success": false, "errors": errors, "messages": [], "result": null,
            "resultInfo": null, "statusCode": 400});
        assert_eq!((reply.status, reply.json()), (400, expected), "{method} {body}");
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
}

#[tokio::test]
async fn a_create_that_is_no_good_names_each_fault_in_its_own_words() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let before = state(&wired).await;
    let key = |more: Value| {
        let mut key = json!({"apiName": "k"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"userApiKey": key})
    };
    let with = |name: &str, value: Value| json!({"userApiKey": {"apiName": "k"}, name: value});
    let deep = "[".repeat(100_000);
    let role = format!("roleId: {INT}");
    let plain = "must be a name without `/` and `*`";
    let (start, end) =
        (format!("userApiKey.startDateTime: {DATE}"), format!("userApiKey.expireDateTime: {DATE}"));
    let cases: &[(Value, &[&str])] = &[
        (json!(""), &["the body is no valid JSON"]),
        (json!("{"), &["the body is no valid JSON"]),
        (json!("roleId=1"), &["the body is no valid JSON"]),
        (json!(deep), &["the body is no valid JSON"]),
        (json!("null"), &["the body must be a JSON object"]),
        (json!([]), &["the body must be a JSON object"]),
        (json!({"roleId": 0, "ROLEID": 1}), &["the body gives a property twice"]),
        (json!({}), &["userApiKey: must be given"]),
        (json!({"userApiKey": null}), &["userApiKey: must be given"]),
        (json!({"userApiKey": "k"}), &["userApiKey: must be an object"]),
        (json!({"userApiKey": {}}), &["userApiKey.apiName: must be given"]),
        (json!({"userApiKey": {"apiName": 1}}), &["userApiKey.apiName: must be a string"]),
        (key(json!({"apiName": ""})), &["userApiKey.apiName: must have 1 to 200 characters"]),
        (key(json!({"apiName": "x".repeat(201)})), &["userApiKey.apiName: must have 1 to 200 characters"]),
        (key(json!({"hasExpireTime": "yes"})), &["userApiKey.hasExpireTime: must be true or false"]),
        (
            key(json!({"hasExpireTime": true})),
            &["userApiKey.expireDateTime: must be given with userApiKey.hasExpireTime"],
        ),
        (key(json!({"startDateTime": "24.08.2022", "expireDateTime": 5})), &[&start, &end]),
        (
            key(json!({"startDateTime": "2030-01-01", "expireDateTime": "2029-01-01"})),
            &["userApiKey.expireDateTime: must lie after the start"],
        ),
        (with("roleId", json!(-1)), &[&role]),
        (with("roleId", json!(2_147_483_648_u32)), &[&role]),
        (with("roleId", json!(1.5)), &[&role]),
        (with("roleId", json!("1")), &[&role]),
        (with("roleId", json!(99)), &["roleId: is no role of this organization"]),
        (with("listProjectsId", json!("p1")), &["listProjectsId: must be a list of strings"]),
        (with("listProjectsId", json!([1])), &["listProjectsId: must be a list of strings"]),
        (
            with("listProjectsId", json!([])),
            &["listProjectsId: must name a project; leave it out for a key of the whole organization"],
        ),
        (
            with("listProjectsId", json!(["p", "a/b", "*"])),
            &[&format!("listProjectsId.1: {plain}"), &format!("listProjectsId.2: {plain}")],
        ),
    ];
    check_each(&wired, "POST", cases).await;
    // Rules that Keywright itself has are told in the vendor's words, too.
    for (name, value) in [
        ("listProjectsId", json!(["x".repeat(600)])),
        ("listProjectsId", json!((0..1_001).map(|n| format!("p{n}")).collect::<Vec<_>>())),
    ] {
        let reply = call(&wired, "POST", &with(name, value)).await;
        let error = reply.json()["errors"][0].as_str().unwrap().to_owned();
        assert!(reply.status == 400 && error.starts_with("listProjectsId: "), "{error}");
    }
    wired.set_keyspace(json!({"key_policy": {"require_expiry": true}})).await;
    let before_policy = state(&wired).await;
    let wants = "userApiKey.expireDateTime: this keyspace wants every key to expire";
    check_each(&wired, "POST", &[(key(json!({"hasExpireTime": false})), &[wants])]).await;
    assert_eq!(state(&wired).await, before_policy);
    assert_eq!(before_policy.0, before.0);
}

#[tokio::test]
async fn an_update_that_is_no_good_names_each_fault_and_changes_nothing() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let made = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    let id = &made["id"];
    let before = state(&wired).await;
    let int = format!("id: {INT}");
    let (start, end) = (format!("startDate: {DATE}"), format!("expireDate: {DATE}"));
    let cases: &[(Value, &[&str])] = &[
        (json!("{"), &["the body is no valid JSON"]),
        (json!([made]), &["the body must be a JSON object"]),
        (json!({"id": id, "Id": id}), &["the body gives a property twice"]),
        (json!({"name": "x"}), &["id: must be given"]),
        (json!({"id": "1"}), &[&int]),
        (json!({"id": -1}), &[&int]),
        (json!({"id": 2_147_483_648_u32}), &[&int]),
        (
            json!({"id": id, "name": 1, "hasExpireTime": 1}),
            &["name: must be a string", "hasExpireTime: must be true or false"],
        ),
        (json!({"id": id, "name": "x".repeat(201)}), &["name: must have 1 to 200 characters"]),
        (
            json!({"id": id, "name": "a\u{7}b"}),
            &["name: must not hold control characters or bidirectional overrides"],
        ),
        (json!({"id": id, "startDate": "", "expireDate": "soon"}), &[&start, &end]),
        (json!({"id": id, "roleId": 99}), &["roleId: is no role of this organization"]),
        (json!({"id": id, "startDate": "2031-01-01"}), &["expireDate: must lie after the start"]),
    ];
    check_each(&wired, "PUT", cases).await;
    for unknown in [json!(0), json!(999), json!(2_147_483_647)] {
        check_refused(&call(&wired, "PUT", &json!({"id": unknown})).await, 404, "Result Not Found");
    }
    assert_eq!(state(&wired).await, before);
    // What is unknown is ignored, as the vendor's framework does.
    let known = json!({"id": id, "name": "ci", "listProjectsId": ["p9"], "enabled": false, "x": {"y": []}});
    assert_eq!(call(&wired, "PUT", &known).await.status, 200);
    assert_eq!(wired.key_numbered(id).await["scope"], before.0[0]["scope"]);
}

#[tokio::test]
async fn what_is_too_large_or_not_there_has_the_envelope() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let before = state(&wired).await;
    let large = format!(r#"{{"userApiKey":{{"apiName":"k"}},"x":"{}"}}"#, "x".repeat(256 * 1024));
    let auth = [("authorization", wired.admin.as_str())];
    for method in ["POST", "PUT"] {
        check_refused(&wired.send(method, PATH, &auth, large.clone()).await, 400, "the body is too large");
    }
    let one = format!("{PATH}/1");
    for (method, path) in [
        ("PATCH", PATH),
        ("DELETE", PATH),
        ("GET", one.as_str()),
        ("PUT", &one),
        ("POST", &one),
        ("GET", "/"),
        ("GET", "/api/organizations"),
        ("POST", "/api/organizations//api-keys"),
        ("GET", "/v1/keys"),
    ] {
        check_refused(&wired.send(method, path, &auth, "").await, 404, "Result Not Found");
    }
    assert_eq!(state(&wired).await, before);
}

#[tokio::test]
async fn whoever_lacks_the_right_is_forbidden_and_changes_nothing() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let view = wired.role("viewer", "view").await;
    let made = call(&wired, "POST", &create(&view)).await.json()["result"].clone();
    let one = format!("{PATH}/{}", made["id"]);
    let (post, put) = (create(&view).to_string(), json!({"id": made["id"], "roleId": 0}).to_string());
    let widen = json!({"id": made["id"], "hasExpireTime": false}).to_string();
    let get = json!([{"effect": "allow", "actions": ["get"], "resources": ["**"]}]);
    let mut callers = Vec::new();
    for (actions, grantable) in [
        (&["keys.verify"][..], json!([])),
        (&["keys.read", "roles.read"], json!([])),
        (&["keys.create", "keys.update"], json!([])),
        (&["*"], get),
    ] {
        let caller = manager(&wired, &["default"], actions, &grantable).await;
        callers.push(caller["secret"].as_str().unwrap().to_owned());
    }
    let before = state(&wired).await;
    let lacking = "Forbidden";
    let beyond = "Forbidden: beyond what this key may grant";
    for (caller, method, path, body, error) in [
        (0, "GET", PATH, "", lacking),
        (1, "POST", PATH, post.as_str(), lacking),
        (1, "PUT", PATH, put.as_str(), lacking),
        (1, "DELETE", &one, "", lacking),
        (2, "POST", PATH, &post, lacking),
        (2, "PUT", PATH, &put, lacking),
        (3, "POST", PATH, &post, beyond),
        (3, "PUT", PATH, &widen, beyond),
    ] {
        let reply = wired.send(method, path, &[("x-api-key", &callers[caller])], body).await;
        check_refused(&reply, 403, error);
    }
    // A key that is no management key is nobody here, whatever it may do elsewhere.
    let secret = made["apiKey"].as_str().unwrap();
    check_refused(&wired.send("GET", PATH, &[("x-api-key", secret)], "").await, 401, "Unauthorized");
    check_refused(
        &wired.send("GET", PATH, &[("x-api-key", keywright_testkit::ROOT)], "").await,
        401,
        "Unauthorized",
    );
    assert_eq!(state(&wired).await, before);
}

#[tokio::test]
async fn another_tenant_cannot_touch_a_key_by_its_id() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let made = call(&wired, "POST", &create(&Value::Null)).await.json()["result"].clone();
    assert_eq!(wired.app.root("POST", "/v1/orgs", json!({"name": "other"})).await.status, 201);
    let theirs = manager(&wired, &["other"], &["*"], &everything()).await;
    let theirs = theirs["secret"].as_str().unwrap();
    let key = wired.key_numbered(&made["id"]).await["id"].as_str().unwrap().to_owned();
    let before = state(&wired).await;
    let put = json!({"id": made["id"], "name": "stolen"}).to_string();
    let elsewhere = "/api/organizations/other/api-keys";
    for (method, path, body) in [
        ("PUT", PATH.to_owned(), put.as_str()),
        ("PUT", elsewhere.to_owned(), &put),
        ("POST", PATH.to_owned(), &create(&Value::Null).to_string()),
        ("DELETE", format!("{elsewhere}/{}", made["id"]), ""),
        ("DELETE", format!("{elsewhere}/{key}"), ""),
        ("DELETE", format!("{PATH}/{key}"), ""),
    ] {
        let reply = wired.send(method, &path, &[("authorization", theirs)], body).await;
        check_refused(&reply, 404, "Result Not Found");
    }
    assert_eq!(state(&wired).await, before);
}

#[tokio::test]
async fn whoever_guesses_is_told_to_come_back_later() {
    let wired = Wired::start(Dialect::Gjirafa).await;
    let mut statuses = Vec::new();
    for _ in 0..21 {
        statuses.push(wired.send("GET", PATH, &[("authorization", "guessed")], "").await.status);
    }
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    let good = wired.send("GET", PATH, &[("authorization", &wired.admin)], "").await;
    check_refused(&good, 503, "Service Unavailable");
    wired.app.node.clock.advance_seconds(60);
    assert_eq!(wired.send("GET", PATH, &[("authorization", &wired.admin)], "").await.status, 200);
}

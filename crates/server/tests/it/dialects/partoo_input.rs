//! Partoo, badly called: every refusal is the vendor's, and nothing is changed by it.

use http::header::CONTENT_TYPE;
use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};

use super::Wired;
use super::partoo::{call, check_valid, created, elsewhere};

const KEYS: &str = "/v2/api_keys";

/// One call of each operation about a key, with a body where it takes one.
fn operations(id: &Value) -> [(&'static str, String, &'static str); 5] {
    [
        ("GET", KEYS.to_owned(), ""),
        ("POST", KEYS.to_owned(), r#"{"label":"x"}"#),
        ("GET", format!("{KEYS}/{id}"), ""),
        ("PUT", format!("{KEYS}/{id}"), r#"{"label":"x"}"#),
        ("POST", format!("{KEYS}/revoke/{id}"), ""),
    ]
}

async fn send(wired: &Wired, secret: &str, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Reply {
    let json = (CONTENT_TYPE.as_str(), "application/json");
    let reply = wired.send(method, path, &[("x-APIKey", secret), json], body).await;
    check_valid(path, &reply);
    reply
}

/// All that there is, as REST shows it.
async fn everything(wired: &Wired) -> Value {
    let mut all = wired.app.root("GET", "/v1/keys?limit=200", Value::Null).await.json();
    all.as_object_mut().unwrap().remove("request_id");
    all
}

#[track_caller]
fn refused(reply: &Reply, status: u16, errors: &Value, what: &str) {
    assert_eq!((reply.status, &reply.json()["errors"]), (status, errors), "{what}");
}

/// Bodies of a create or an update that break a rule, and the field that it is about.
fn broken_bodies() -> Vec<(&'static str, String)> {
    let long = |count: usize| "x".repeat(count);
    let many: Vec<String> = (0..1_001).map(|n| format!("p{n}")).collect();
    let addresses: Vec<String> = (0..1_001).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    vec![
        ("_schema", String::new()),
        ("_schema", "{".to_owned()),
        ("_schema", "nonsense".to_owned()),
        ("_schema", "[]".to_owned()),
        ("_schema", "null".to_owned()),
        ("_schema", r#"{"label":"a","label":"b"}"#.to_owned()),
        ("_schema", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("_schema", format!(r#"{{"label":"x","note":"{}"}}"#, long(300 * 1024))),
        ("label", json!({"label": 1}).to_string()),
        ("label", json!({"label": null}).to_string()),
        ("label", json!({"label": ""}).to_string()),
        ("label", json!({"label": long(201)}).to_string()),
        ("label", json!({"label": "a\u{202e}b"}).to_string()),
        ("_schema", r#"{"label":"a\u0000"}"#.to_owned()),
        ("description", json!({"label": "x", "description": []}).to_string()),
        ("description", json!({"label": "x", "description": long(1_001)}).to_string()),
        ("expiration_date", json!({"label": "x", "expiration_date": 20_300_101}).to_string()),
        ("expiration_date", json!({"label": "x", "expiration_date": "2026-11-22"}).to_string()),
        ("expiration_date", json!({"label": "x", "expiration_date": "2027-02-29"}).to_string()),
        ("expiration_date", json!({"label": "x", "expiration_date": "2027-01-01T00:00:00Z"}).to_string()),
        ("ip_whitelist", json!({"label": "x", "ip_whitelist": "10.0.0.1"}).to_string()),
        ("ip_whitelist", json!({"label": "x", "ip_whitelist": null}).to_string()),
        ("ip_whitelist", json!({"label": "x", "ip_whitelist": ["10.0.0.1/8"]}).to_string()),
        ("ip_whitelist", json!({"label": "x", "ip_whitelist": ["10.0.0.1", 7]}).to_string()),
        ("ip_whitelist", json!({"label": "x", "ip_whitelist": addresses}).to_string()),
        ("permissions", json!({"label": "x", "has_restricted_permissions": true}).to_string()),
        ("has_restricted_permissions", json!({"label": "x", "permissions": ["a"]}).to_string()),
        (
            "has_restricted_permissions",
            json!({"label": "x", "has_restricted_permissions": "true", "permissions": ["a"]}).to_string(),
        ),
        (
            "permissions",
            json!({"label": "x", "has_restricted_permissions": true, "permissions": ["*"]}).to_string(),
        ),
        (
            "permissions",
            json!({"label": "x", "has_restricted_permissions": true, "permissions": "a"}).to_string(),
        ),
        (
            "permissions",
            json!({"label": "x", "has_restricted_permissions": true, "permissions": [long(65)]}).to_string(),
        ),
        (
            "permissions",
            json!({"label": "x", "has_restricted_permissions": true, "permissions": many}).to_string(),
        ),
    ]
}

#[tokio::test]
async fn bodies_that_break_a_rule_are_refused_by_field_and_change_nothing() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let one = format!("{KEYS}/{}", made["id"]);
    let before = everything(&wired).await;
    for (field, body) in &broken_bodies() {
        for (method, path) in [("POST", KEYS), ("PUT", &one)] {
            let reply = send(&wired, &wired.admin, method, path, body.as_str()).await;
            let rules = reply.json()["errors"]["json"][field][0].clone();
            let shown: String = body.chars().take(80).collect();
            assert!(reply.status == 400 && rules.is_string(), "{method} {shown}: {reply:?}");
        }
    }
    refused(
        &send(&wired, &wired.admin, "POST", KEYS, "{}").await,
        400,
        &json!({"json": {"label": ["Missing data for required field."]}}),
        "a create needs a label",
    );
    assert_eq!(everything(&wired).await, before);
    // Unknown fields, also those that a forger would like to set, are as good as not there.
    let body = json!({"label": "API key name", "id": 1, "user_id": "x", "created_by": "root", "disabled": true,
        "api_key": "chosen", "grants": [], "kind": "management", "revoked_at": "2020-10-20 11:46:38.914467+00"});
    assert_eq!(send(&wired, &wired.admin, "PUT", &one, body.to_string()).await.status, 200);
    assert_eq!(everything(&wired).await, before);
}

#[tokio::test]
async fn queries_that_break_a_rule_are_refused_by_name() {
    let wired = Wired::start(Dialect::Partoo).await;
    let id = &created(&wired).await["id"];
    for (name, path) in [
        ("page", format!("{KEYS}?page=-1")),
        ("per_page", format!("{KEYS}?per_page=101")),
        ("status", format!("{KEYS}?status=revoked")),
        ("type", format!("{KEYS}?type=admin")),
        ("search_text", format!("{KEYS}?search_text={}", "x".repeat(1_001))),
        ("include_all_permissions", format!("{KEYS}?include_all_permissions=2")),
        ("include_all_permissions", format!("{KEYS}/{id}?include_all_permissions=")),
    ] {
        let reply = call(&wired, "GET", &path, &Value::Null).await;
        assert!(
            reply.status == 400 && reply.json()["errors"]["json"][name][0].is_string(),
            "{path}: {reply:?}"
        );
    }
    for path in [format!("{KEYS}?unknown=1"), format!("{KEYS}/{id}?unknown=1")] {
        assert_eq!(call(&wired, "GET", &path, &Value::Null).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_for_a_caller_is_not_found() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let theirs = elsewhere(&wired).await;
    let management = wired.app.root("GET", "/v1/keys?kind=management", Value::Null).await.json();
    let management = management["items"][0]["number"].clone();
    let before = everything(&wired).await;
    let missing = json!({"json": "Resource not found"});
    let unknown = [json!(999), json!(0), json!(4_294_967_296_u64), json!(-1), management];
    let strangers = operations(&made["id"]).into_iter().skip(2).map(|operation| (&theirs, operation));
    let unknown = unknown.iter().flat_map(|id| operations(id).into_iter().skip(2));
    for (secret, (method, path, body)) in unknown.map(|operation| (&wired.admin, operation)).chain(strangers)
    {
        refused(&send(&wired, secret, method, &path, body).await, 404, &missing, &path);
    }
    for path in [
        "/v2/api_keys/abc",
        "/v2/api_keys/1.0",
        "/v2/api_keys/%00",
        "/v2/api_keys/1/2",
        "/v2/other",
        "/v2/api_keys/",
        "/",
    ] {
        refused(&send(&wired, &wired.admin, "GET", path, "").await, 404, &missing, path);
    }
    let own = send(&wired, &theirs, "GET", KEYS, "").await.json();
    assert_eq!(own["count"], 0, "another organization's keys are not listed");
    let secret = made["api_key"].as_str().unwrap();
    let found = send(&wired, &theirs, "GET", &format!("{KEYS}?search_text={secret}"), "").await.json();
    assert_eq!(found["count"], 0, "nor found by their secrets");
    for (method, path) in [
        ("DELETE", KEYS.to_owned()),
        ("PATCH", KEYS.to_owned()),
        ("DELETE", format!("{KEYS}/{}", made["id"])),
        ("POST", format!("{KEYS}/{}", made["id"])),
        ("GET", format!("{KEYS}/revoke/{}", made["id"])),
    ] {
        let reply = send(&wired, &wired.admin, method, &path, "").await;
        refused(&reply, 405, &json!({"json": "Method not allowed"}), &format!("{method} {path}"));
    }
    assert_eq!(everything(&wired).await, before);
}

#[tokio::test]
async fn only_a_good_management_key_may_call() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let body = |name: &str, rights: Value| json!({"name": name, "kind": "management", "admin": rights, "grantable": []});
    let reader = json!({"actions": ["keys.read"], "orgs": ["default"], "keyspaces": ["*"]});
    let other = wired.app.root("POST", "/v1/keys", body("revoked", reader.clone())).await.json();
    let reader = wired.app.root("POST", "/v1/keys", body("reader", reader)).await.json();
    let revoke = format!("/v1/keys/{}/revoke", other["key"]["id"].as_str().unwrap());
    assert_eq!(wired.app.root("POST", &revoke, Value::Null).await.status, 200);
    let before = everything(&wired).await;
    let nobody = json!({"authentication": "User not authenticated"});
    // The throttle of guesses, which counts by address, is not what is tested here.
    let pause = || wired.app.node.clock.advance_seconds(10);
    for (what, secret) in [
        ("an API key", made["api_key"].as_str().unwrap()),
        ("a revoked caller", other["secret"].as_str().unwrap()),
        ("the root key", keywright_testkit::ROOT),
        ("an unknown key", "nobody"),
        ("an empty key", ""),
    ] {
        for (method, path, body) in operations(&made["id"]) {
            pause();
            refused(&send(&wired, secret, method, &path, body).await, 401, &nobody, what);
        }
    }
    for (method, path, body) in operations(&made["id"]) {
        let reply = wired.send(method, &path, &[("content-type", "application/json")], body).await;
        refused(&reply, 401, &nobody, "no key");
        let twice = [("x-apikey", wired.admin.as_str()), ("x-apikey", wired.admin.as_str())];
        refused(&wired.send(method, &path, &twice, body).await, 401, &nobody, "two keys");
    }
    let secret = reader["secret"].as_str().unwrap();
    let forbidden = json!({"authorization": "Operation not allowed"});
    for (method, path, body) in operations(&made["id"]) {
        let reply = send(&wired, secret, method, &path, body).await;
        if method == "GET" {
            assert_eq!(reply.status, 200, "{path}");
        } else {
            refused(&reply, 403, &forbidden, &path);
        }
    }
    let gain = json!({"label": "x", "has_restricted_permissions": true, "permissions": ["a"]}).to_string();
    let maker = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["*"]});
    let maker = wired.app.root("POST", "/v1/keys", body("maker", maker)).await.json();
    let before = (before, everything(&wired).await);
    let reply = send(&wired, maker["secret"].as_str().unwrap(), "POST", KEYS, gain).await;
    refused(&reply, 403, &forbidden, "more than it may hand out");
    assert_eq!(everything(&wired).await, before.1);
    let count = |all: &Value| all["items"].as_array().unwrap().len();
    assert_eq!(count(&before.0) + 1, count(&before.1), "only the maker is new");
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let wired = Wired::start(Dialect::Partoo).await;
    let made = created(&wired).await;
    let before = everything(&wired).await;
    let wrong = json!({"json": "Unsupported media type. Please use application/json"});
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
        Some(""),
    ] {
        for (method, path, body) in
            operations(&made["id"]).into_iter().filter(|(method, ..)| *method != "GET")
        {
            // A revoke has nothing to say; with a body it must say what that is.
            let body = if body.is_empty() { "{}" } else { body };
            let headers = [("x-apikey", Some(wired.admin.as_str())), ("content-type", kind)];
            let headers: Vec<(&str, &str)> =
                headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            refused(
                &wired.send(method, &path, &headers, body).await,
                415,
                &wrong,
                &format!("{kind:?} {path}"),
            );
        }
    }
    assert_eq!(everything(&wired).await, before);
    let one = format!("{KEYS}/{}", made["id"]);
    let headers = [("X-APIKEY", wired.admin.as_str()), ("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(wired.send("PUT", &one, &headers, r#"{"label":"x"}"#).await.status, 200);
}

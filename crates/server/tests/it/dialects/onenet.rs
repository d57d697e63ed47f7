//! OneNET: HTTP 200 with `errno`, whatever happens.

use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};

use super::Wired;

/// The body of the vendor's page, its trailing comma aside.
const PAGE: &str = r#"{
    "title": "newapikey",
    "permissions": [{
        "access_methods": ["get", "put", "post", "delete"],
        "resources": [{"dev_id": "39593230", "ds_id": "gps"}, {"dev_id": "39456825"}]
    }]
}"#;

async fn call(wired: &Wired, method: &str, path: &str, body: &str) -> Reply {
    // As the Java client says it.
    let headers = [("api-key", wired.admin.as_str()), ("content-type", "text/plain; charset=UTF-8")];
    wired.send(method, path, &headers, body).await
}

async fn created(wired: &Wired, body: &str) -> String {
    let reply = call(wired, "POST", "/keys", body).await;
    assert_eq!(reply.json()["errno"], 0, "{:?}", reply.body);
    reply.json()["data"]["key"].as_str().unwrap().to_owned()
}

#[track_caller]
fn check(reply: &Reply, errno: u32, error: &str) {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"errno": errno, "error": error}));
}

#[tokio::test]
async fn the_pages_own_update_replaces_all_grants() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(
        &wired,
        r#"{"title":"k","permissions":[{"resources":[{"dev_id":"1"}],"access_methods":["get"]}]}"#,
    )
    .await;
    assert_eq!((key.len(), key.contains(['/', '+', '%', '?', '&', '#'])), (28, false));
    assert_eq!(wired.verify(&key, "get", "devices/1/datastreams/x").await, "allowed");

    let reply = call(&wired, "PUT", &format!("/keys/{key}"), PAGE).await;
    assert_eq!(reply.json(), json!({"errno": 0, "error": "succ", "data": {"key": key}}));
    for (action, resource, code) in [
        ("get", "devices/1/datastreams/x", "insufficient_permission"),
        ("put", "devices/39593230/datastreams/gps", "allowed"),
        ("put", "devices/39593230/datastreams/other", "insufficient_permission"),
        ("delete", "devices/39456825", "allowed"),
        ("post", "devices/39456825/datastreams/any", "allowed"),
    ] {
        assert_eq!(wired.verify(&key, action, resource).await, code, "{action} {resource}");
    }
}

#[tokio::test]
async fn what_the_wire_cannot_show_survives_an_update() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, PAGE).await;
    let found = wired.app.root("POST", "/v1/keys/lookup", json!({"secret": key})).await.json();
    let deny = json!({"effect": "deny", "actions": ["get"], "resources": ["devices/7/**"]});
    let other = json!({"effect": "allow", "actions": ["get"], "resources": ["orders/**"]});
    let change = json!({"grants": [deny, other], "description": "d", "labels": {"a": "b"}, "ip_allowlist": ["10.0.0.1"]});
    wired.patch(&found["id"], change).await;
    let id = found["id"].as_str().unwrap();

    // By its id, as a key is named whose secret the caller does not have; without a title, which then stays.
    let reply = call(
        &wired,
        "PUT",
        &format!("/keys/{id}"),
        r#"{"permissions":[{"resources":[{"dev_id":"7"}],"access_methods":["get"]}]}"#,
    )
    .await;
    assert_eq!(reply.json()["data"]["key"], id);
    let after = wired.app.root("GET", &format!("/v1/keys/{id}"), Value::Null).await.json();
    let new = json!({"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]});
    assert_eq!(after["grants"], json!([deny, other, new]));
    assert_eq!(
        (&after["name"], &after["description"], &after["labels"]),
        (&json!("newapikey"), &json!("d"), &json!({"a": "b"}))
    );
    assert_eq!(after["ip_allowlist"], json!(["10.0.0.1"]));
}

#[tokio::test]
async fn refusals_have_an_errno_and_change_nothing() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, PAGE).await;
    let path = format!("/keys/{key}");
    let trailing = PAGE.trim_end().strip_suffix('}').unwrap().to_owned() + ",}";
    for (method, path, body, errno, error) in [
        ("PUT", path.as_str(), trailing.as_str(), 4, "invalid JSON"),
        ("PUT", &path, "{}", 5108, "invalid parameter: permissions must be given"),
        ("POST", "/keys", r#"{"permissions":[]}"#, 5108, "invalid parameter: title must be given"),
        ("PUT", "/keys/Av0000000000000000000000RHx=", PAGE, 5106, "unsuccess: NOT_FOUND"),
        ("PUT", "/keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV", PAGE, 5106, "unsuccess: NOT_FOUND"),
        ("PATCH", &path, PAGE, 5106, "unsuccess: METHOD_NOT_ALLOWED"),
        ("GET", "/elsewhere", "", 5106, "unsuccess: METHOD_NOT_ALLOWED"),
    ] {
        check(&call(&wired, method, path, body).await, errno, error);
    }
    let big = format!(r#"{{"title":"{}"}}"#, "x".repeat(256 * 1024));
    check(&call(&wired, "PUT", &path, &big).await, 5108, "invalid parameter: the body is too large");
    for headers in [&[][..], &[("api-key", "nobody")], &[("api-key", key.as_str())]] {
        check(&wired.send("PUT", &path, headers, PAGE).await, 3, "auth failed");
    }
    assert_eq!(wired.verify(&key, "get", "devices/39456825").await, "allowed");
}

#[tokio::test]
async fn an_answer_fits_into_the_c_clients_buffers() {
    let wired = Wired::start(Dialect::Onenet).await;
    let reply = call(&wired, "POST", "/keys", PAGE).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.headers.len() <= 8, "{:?}", reply.headers);
    assert!(reply.headers.values().all(|value| value.len() <= 63));
}

#[tokio::test]
async fn a_caller_hands_out_no_more_than_it_may() {
    let wired = Wired::start(Dialect::Onenet).await;
    let body = json!({"name": "narrow", "kind": "management",
        "admin": {"actions": ["keys.create", "keys.update"], "orgs": ["default"], "keyspaces": ["*"]},
        "grantable": [{"effect": "allow", "actions": ["get"], "resources": ["devices/1/**"]}]});
    let narrow = wired.app.root("POST", "/v1/keys", body).await.json()["secret"].as_str().unwrap().to_owned();
    let create = |dev_id: &str| {
        json!({"title": "k", "permissions": [
        {"resources": [{"dev_id": dev_id}], "access_methods": ["get"]}]})
        .to_string()
    };
    let headers = [("api-key", narrow.as_str())];
    assert_eq!(wired.send("POST", "/keys", &headers, create("1")).await.json()["errno"], 0);
    assert_eq!(wired.send("POST", "/keys", &headers, create("2")).await.json()["errno"], 3);
}

const TWO: &str = r#"{"title":"gps 1","permissions":[
    {"resources":[{"dev_id":"1","ds_id":"gps"},{"dev_id":"2"}],"access_methods":["get"]}]}"#;

async fn data(wired: &Wired, path: &str) -> Value {
    let reply = call(wired, "GET", path, "").await;
    assert_eq!(reply.json()["errno"], 0, "{path}: {:?}", reply.body);
    reply.json()["data"].clone()
}

async fn id_of(wired: &Wired, secret: &str) -> String {
    let found = wired.app.root("POST", "/v1/keys/lookup", json!({"secret": secret})).await;
    found.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_list_has_pages_and_filters() {
    let wired = Wired::start(Dialect::Onenet).await;
    let empty = json!({"total_count": 0, "page": 1, "per_page": 10, "keys": []});
    assert_eq!(data(&wired, "/keys").await, empty, "management keys are none of them");
    let key = created(&wired, TWO).await;
    for number in 2..14 {
        created(&wired, &format!(r#"{{"title":"k{number}","permissions":[]}}"#)).await;
    }
    let id = id_of(&wired, &key).await;
    let first = json!({"title": "gps 1", "key": id, "create_time": "2026-11-22 20:00:00", "permissions": [
        {"resources": [{"dev_id": "1", "ds_id": "gps"}, {"dev_id": "2"}], "access_methods": ["get"]}]});
    let page = data(&wired, "/keys").await;
    assert_eq!((&page["total_count"], page["keys"].as_array().unwrap().len()), (&json!(13), 10));
    assert_eq!(page["keys"][0], first);
    let second = data(&wired, "/keys?page=2&per_page=10").await;
    let titles: Vec<_> = second["keys"].as_array().unwrap().iter().map(|key| key["title"].clone()).collect();
    assert_eq!(titles, ["k11", "k12", "k13"]);

    let only = json!({"total_count": 1, "page": 1, "per_page": 10, "keys": [first]});
    for path in [
        "/keys?device_id=2",
        "/keys?dev_id=1",
        "/keys?title=gps%20",
        "/keys?title=gps+&v=2.0&timestamp=1&title=other",
        "/keys?key=&device_id=1&title=gps",
    ] {
        assert_eq!(data(&wired, path).await, only, "{path}");
    }
    for path in ["/keys?device_id=3", "/keys?title=ps", "/keys?key=Av0000000000000000000000RHx="] {
        assert_eq!(data(&wired, path).await["total_count"], 0, "{path}");
    }
    // By itself or by its id, and the path unescaped as the vendor's clients send it.
    let one = json!({"total_count": 1, "page": 1, "per_page": 1, "keys": [first]});
    assert_eq!(data(&wired, &format!("/keys?per_page=10&page=1&key={key}")).await, one);
    assert_eq!(data(&wired, &format!("/keys?key={id}")).await, one);
    assert_eq!(data(&wired, &format!("/keys/{key}")).await, first);
    for (path, error) in [
        ("/keys?page=0", "invalid parameter: page must be 1 to 10000"),
        ("/keys?per_page=101", "invalid parameter: per_page must be 1 to 100"),
        ("/keys?title=%zz", "invalid parameter: query has a bad escape"),
    ] {
        check(&call(&wired, "GET", path, "").await, 5108, error);
    }
}

#[tokio::test]
async fn a_kept_secret_is_the_key_and_showing_it_is_one_entry_of_the_audit() {
    let wired = Wired::start(Dialect::Onenet).await;
    wired.set_keyspace(json!({"recoverable_secrets": true})).await;
    let keys = [created(&wired, TWO).await, created(&wired, TWO).await];
    let listed = data(&wired, "/keys").await;
    assert_eq!([&listed["keys"][0]["key"], &listed["keys"][1]["key"]], [&json!(keys[0]), &json!(keys[1])]);
    let audit = wired.app.root("GET", "/v1/audit?verb=key.reveal", Value::Null).await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
}

#[tokio::test]
async fn a_deleted_key_is_gone() {
    let wired = Wired::start(Dialect::Onenet).await;
    let (key, other) = (created(&wired, TWO).await, created(&wired, TWO).await);
    let path = format!("/keys/{key}");
    assert_eq!(call(&wired, "DELETE", &path, "").await.json(), json!({"errno": 0, "error": "succ"}));
    assert_eq!(wired.verify(&key, "get", "devices/2").await, "revoked");
    for (method, path) in
        [("DELETE", path.clone()), ("GET", path.clone()), ("GET", path.clone() + "/devices")]
    {
        check(&call(&wired, method, &path, "").await, 5106, "unsuccess: NOT_FOUND");
    }
    assert_eq!(data(&wired, "/keys").await["total_count"], 1);
    // Neither the caller's own key nor another management key is one of this API's.
    for method in ["DELETE", "GET"] {
        let own = format!("/keys/{}", wired.admin);
        check(&call(&wired, method, &own, "").await, 5106, "unsuccess: NOT_FOUND");
    }
    assert_eq!(wired.verify(&other, "get", "devices/2").await, "allowed");
}

#[tokio::test]
async fn devices_are_listed_and_changed_and_counted() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, TWO).await;
    let third = r#"{"title":"x","permissions":[{"resources":[{"dev_id":"3"}],"access_methods":["put"]}]}"#;
    let other = created(&wired, third).await;
    let path = format!("/keys/{key}/devices");
    let ids = async |query: &str| {
        let data = data(&wired, &format!("{path}{query}")).await;
        let ids = data["devices"].as_array().unwrap().iter().map(|device| device["id"].clone());
        (data["total_count"].clone(), ids.collect::<Vec<_>>())
    };
    assert_eq!(ids("").await, (json!(2), vec![json!("1"), json!("2")]));
    assert_eq!(ids("?is_related=false").await, (json!(1), vec![json!("3")]));
    assert_eq!(ids("?device_id=2&page=1&per_page=1").await, (json!(1), vec![json!("2")]));
    check(
        &call(&wired, "GET", &format!("{path}?is_related=x"), "").await,
        5108,
        "invalid parameter: is_related must be true or false",
    );

    let body = r#"{"add_dev_ids":["3","2"],"del_dev_ids":["1","9"]}"#;
    let changed = call(&wired, "PUT", &path, body).await.json();
    assert_eq!(changed, json!({"errno": 0, "error": "succ", "data": {"add": 1, "del": 1}}));
    for (action, resource, code) in [
        ("get", "devices/3", "allowed"),
        ("put", "devices/3", "insufficient_permission"),
        ("get", "devices/2/datastreams/x", "allowed"),
        ("get", "devices/1/datastreams/gps", "insufficient_permission"),
    ] {
        assert_eq!(wired.verify(&key, action, resource).await, code, "{action} {resource}");
    }
    assert_eq!(call(&wired, "PUT", &path, "{}").await.json()["data"], json!({"add": 0, "del": 0}));
    for (body, errno, error) in [
        ("{", 4, "invalid JSON"),
        (r#"{"add_dev_ids":"1"}"#, 5108, "invalid parameter: add_dev_ids must be a list of strings"),
        (
            r#"{"add_dev_ids":["a/b"]}"#,
            5108,
            "invalid parameter: add_dev_ids[0] must be a name without `/`, `*` and control characters",
        ),
        (
            r#"{"add_dev_ids":["5"],"del_dev_ids":["5"]}"#,
            5108,
            "invalid parameter: add_dev_ids[0] is in del_dev_ids, too",
        ),
    ] {
        check(&call(&wired, "PUT", &path, body).await, errno, error);
    }
    assert_eq!(ids("").await.1, [json!("2"), json!("3")]);
    assert_eq!(wired.verify(&other, "put", "devices/3").await, "allowed");
}

#[tokio::test]
async fn a_signed_token_stands_for_the_key_that_signed_it_until_it_ends() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let wired = Wired::start(Dialect::Onenet).await;
    let now = super::tencent::now(&wired);
    let token = |et: i64, secret: &str, product: &str| {
        let text = format!("{et}\nsha256\nproducts/{product}\n2018-10-31");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let sign = STANDARD.encode(mac.finalize().into_bytes());
        let sign = sign.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("version=2018-10-31&res=products%2F{product}&et={et}&method=sha256&sign={sign}")
    };
    let list = async |header: String| wired.send("GET", "/keys", &[("authorization", &header)], "").await;
    let good = list(token(now, &wired.admin, super::ADMIN_ID)).await;
    assert_eq!(good.json()["errno"], 0, "{:?}", good.body);
    for bad in [
        token(now - 1, &wired.admin, super::ADMIN_ID),
        token(now, "another secret", super::ADMIN_ID),
        token(now, &wired.admin, "nobody"),
        token(now, &wired.admin, super::ADMIN_ID).replace("sha256", "sha1"),
        "version=2018-10-31".to_owned(),
        wired.admin.clone(),
    ] {
        check(&list(bad).await, 3, "auth failed");
    }
}

#[tokio::test]
async fn what_a_caller_does_not_reach_is_not_there_and_a_revoked_caller_is_nobody() {
    let wired = Wired::start(Dialect::Onenet).await;
    let key = created(&wired, TWO).await;
    let id = id_of(&wired, &key).await;
    let made = {
        let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["*"]});
        let body = json!({"name": "m", "kind": "management", "admin": admin, "grantable": []});
        wired.app.root("POST", "/v1/keys", body).await.json()
    };
    let (secret, own) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    assert_eq!(wired.app.root("POST", &format!("/v1/keys/{own}/revoke"), json!({})).await.status, 200);
    let calls = [
        ("GET", "/keys".to_owned(), ""),
        ("GET", format!("/keys/{id}"), ""),
        ("DELETE", format!("/keys/{id}"), ""),
        ("GET", format!("/keys/{id}/devices"), ""),
        ("PUT", format!("/keys/{id}/devices"), r#"{"add_dev_ids":["9"]}"#),
    ];
    for (method, path, body) in &calls {
        check(&wired.send(method, path, &[("api-key", secret)], *body).await, 3, "auth failed");
    }
    // Bound to another keyspace, a caller of the same organization does not see it either.
    assert_eq!(wired.app.root("POST", "/v1/keyspaces", json!({"name": "elsewhere"})).await.status, 201);
    let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["elsewhere"]});
    let body = json!({"name": "m", "kind": "management", "admin": admin, "grantable": []});
    let bound = wired.app.root("POST", "/v1/keys", body).await.json()["secret"].as_str().unwrap().to_owned();
    for (method, path, body) in &calls[1..] {
        let reply = wired.send(method, path, &[("api-key", &bound)], *body).await;
        check(&reply, 5106, "unsuccess: NOT_FOUND");
    }
    let listed = wired.send("GET", "/keys", &[("api-key", &bound)], "").await.json();
    assert_eq!(listed["data"]["total_count"], 0);
    assert_eq!(wired.verify(&key, "get", "devices/2").await, "allowed");
}

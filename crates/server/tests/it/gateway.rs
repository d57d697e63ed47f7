//! What a gateway is told (api.md §6), through the router.

use keywright_model::signing::hmac_header::{http_date, sign_hmac_header};
use keywright_model::signing::tc3::sign_tc3;
use keywright_model::signing::{Algorithm, KeyPair, SignedRequest};
use keywright_server::gateway::Gateway;
use keywright_testkit::{Reply, START_MS, TestApp, TestNode};
use serde_json::{Value, json};

const AUTH: &str = "/gateway/auth";

async fn key(app: &TestApp, mut body: Value) -> (String, String) {
    body["name"] = json!("k");
    let made = app.root("POST", "/v1/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    (made["key"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

fn allow(actions: &[&str], resources: &[&str]) -> Value {
    json!({"effect": "allow", "actions": actions, "resources": resources})
}

fn deny(actions: &[&str], resources: &[&str]) -> Value {
    json!({"effect": "deny", "actions": actions, "resources": resources})
}

/// Asks as nginx does.
async fn ask(app: &TestApp, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let said = [("x-original-method", method), ("x-original-uri", target), ("host", "api.example")];
    app.raw("GET", AUTH, &[&said[..], headers].concat(), "").await
}

#[track_caller]
fn check(reply: &Reply, status: u16, code: &str) {
    if status == 200 {
        assert_eq!((reply.status, reply.body.as_ref()), (200, &b""[..]));
    } else {
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)), "{}", reply.json());
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["request_id"], reply.header("x-request-id"));
    }
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_gateway_lets_through_what_a_grant_covers_and_learns_whose_key_it_is() {
    let app = TestApp::start().await;
    let grants = json!([allow(&["get"], &["devices/**"])]);
    let (id, secret) = key(&app, json!({"grants": grants, "owner": {"external_id": "user_42"}})).await;
    let (_, unowned) = key(&app, json!({"grants": grants})).await;
    let bearer = format!("Bearer {secret}");
    let held = [("authorization", bearer.as_str())];
    let reply = ask(&app, "GET", "/devices/7?x=1", &held).await;
    check(&reply, 200, "");
    assert_eq!((reply.header("keywright-key-id"), reply.header("keywright-org")), (id.as_str(), "default"));
    assert!(reply.header("keywright-owner").starts_with("prn_"));
    let reply = ask(&app, "GET", "/devices/7", &[("x-api-key", unowned.as_str())]).await;
    check(&reply, 200, "");
    assert!(reply.headers.contains_key("keywright-owner"), "what a client has forged is overwritten");
    let refused = ask(&app, "PUT", "/devices/7", &held).await;
    check(&refused, 403, "insufficient_permission");
    assert_eq!(refused.json()["detail"], "no grant covers put on devices/7");
    check(&ask(&app, "GET", "/", &held).await, 403, "insufficient_permission");
    let forwarded = [
        held[0],
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/devices/7"),
        ("x-forwarded-host", "h"),
    ];
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(app.raw(method, AUTH, &forwarded, "").await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_to_authenticate() {
    let app = TestApp::start().await;
    let nobody = ask(&app, "GET", "/a", &[]).await;
    check(&nobody, 401, "unauthenticated");
    assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"keywright\"");
    check(&ask(&app, "GET", "/a", &[("authorization", "Bearer kw_nobody")]).await, 401, "not_found");
    let (id, secret) = key(&app, json!({"grants": [allow(&["*"], &["**"])]})).await;
    check(&ask(&app, "GET", "/a", &[("x-api-key", secret.as_str())]).await, 200, "");
    app.root("POST", &format!("/v1/keys/{id}/revoke"), Value::Null).await;
    let revoked = ask(&app, "GET", "/a", &[("x-api-key", secret.as_str())]).await;
    check(&revoked, 401, "revoked");
    assert!(revoked.header("www-authenticate").contains("invalid_token"));
    assert!(!revoked.headers.contains_key("keywright-key-id"));
    let two = [("x-api-key", secret.as_str()), ("authorization", "Bearer kw_other")];
    check(&ask(&app, "GET", "/a", &two).await, 401, "unauthenticated");
    let root = format!("Bearer {}", keywright_testkit::ROOT);
    check(&ask(&app, "GET", "/a", &[("authorization", root.as_str())]).await, 401, "not_found");
}

#[tokio::test]
async fn a_full_limit_or_quota_says_when_to_come_back() {
    let app = TestApp::start().await;
    let grants = json!([allow(&["*"], &["**"])]);
    let limits = json!([{"name": "burst", "max": 1, "per_seconds": 60}]);
    let (_, limited) = key(&app, json!({"grants": grants, "limits": limits})).await;
    let (_, metered) = key(&app, json!({"grants": grants, "quota": {"max": 1, "period": "day"}})).await;
    for (secret, code, most) in [(&limited, "rate_limited", 60), (&metered, "quota_exceeded", 86_400)] {
        let held = [("api-key", secret.as_str())];
        check(&ask(&app, "GET", "/a", &held).await, 200, "");
        let refused = ask(&app, "GET", "/a", &held).await;
        check(&refused, 429, code);
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=most).contains(&wait), "{code}: {wait}");
    }
}

#[tokio::test]
async fn only_keys_of_the_default_keyspace_pass() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "live"})).await;
    let (_, live) = key(&app, json!({"keyspace": "live", "grants": [allow(&["*"], &["**"])]})).await;
    check(&ask(&app, "GET", "/a", &[("x-api-key", live.as_str())]).await, 401, "not_found");
    for path in ["/v1/orgs", "/v1/keyspaces"] {
        let headers: &[(&str, &str)] = if path == "/v1/orgs" { &[] } else { &[("keywright-org", "acme")] };
        let name = if path == "/v1/orgs" { "acme" } else { "default" };
        app.call(keywright_testkit::ROOT, "POST", path, headers, json!({"name": name})).await;
    }
    let body = json!({"name": "k", "grants": [allow(&["*"], &["**"])]});
    let made = app
        .call(keywright_testkit::ROOT, "POST", "/v1/keys", &[("keywright-org", "acme")], body)
        .await
        .json();
    let secret = made["secret"].as_str().unwrap();
    let refused = ask(&app, "GET", "/a", &[("x-api-key", secret)]).await;
    check(&refused, 401, "not_found");
    let acme = app
        .call(keywright_testkit::ROOT, "GET", "/v1/keys", &[("keywright-org", "acme")], Value::Null)
        .await
        .json();
    assert_eq!(acme["items"][0]["last_used_at"], Value::Null, "a key that is not asked about is not used");
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_even_to_a_key_that_may_do_everything() {
    let app = TestApp::start().await;
    let (_, secret) = key(&app, json!({"grants": [allow(&["*"], &["**"])]})).await;
    let held = ("x-api-key", secret.as_str());
    for target in ["//a", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a%2Fb", "/a;x/b", "/a\\b", "/%252e", "/a/"] {
        check(&ask(&app, "GET", target, &[held]).await, 403, "ambiguous_request");
    }
    for forged in [("x-forwarded-uri", "/b"), ("x-http-method-override", "DELETE"), ("x-original-url", "/b")]
    {
        check(&ask(&app, "GET", "/a", &[held, forged]).await, 403, "ambiguous_request");
    }
    check(&ask(&app, "get", "/a", &[held]).await, 403, "ambiguous_request");
    let half = [held, ("x-original-uri", "/a")];
    check(&app.raw("GET", AUTH, &half, "").await, 400, "invalid_header");
}

#[tokio::test]
async fn only_allowed_peers_may_ask() {
    let network = |text: &str| text.parse().unwrap();
    let elsewhere = Gateway::new(&[network("10.0.0.0/8")], &[]);
    let app = TestApp::behind(TestNode::start().await, elsewhere);
    let (_, secret) = key(&app, json!({"grants": [allow(&["*"], &["**"])]})).await;
    let forged = [("x-api-key", secret.as_str()), ("x-forwarded-for", "10.0.0.1")];
    check(&ask(&app, "GET", "/a", &forged).await, 403, "forbidden");
    let here = Gateway::new(&[network("10.0.0.0/8"), network("127.0.0.1")], &[]);
    let app = TestApp::behind(app.node, here);
    check(&ask(&app, "GET", "/a", &forged).await, 200, "");
}

#[tokio::test]
async fn a_key_for_some_addresses_is_held_to_the_address_that_trusted_hops_saw() {
    let trusted = Gateway::new(&[], &["172.16.0.0/12".parse().unwrap()]);
    let app = TestApp::behind(TestNode::start().await, trusted);
    let body = json!({"grants": [allow(&["*"], &["**"])], "ip_allowlist": ["203.0.113.0/24", "127.0.0.1"]});
    let (_, secret) = key(&app, body).await;
    for (chain, passes) in [
        (&["203.0.113.9"][..], true),
        (&["8.8.8.8, 203.0.113.9, 172.16.0.1"], true),
        (&["203.0.113.9, 8.8.8.8"], false),
        (&["203.0.113.9, 8.8.8.8, 172.16.0.1"], false),
        (&["203.0.113.9", "8.8.8.8"], false),
        (&["127.0.0.1, 8.8.8.8"], false),
        (&["203.0.113.9, unknown"], false),
        // The gateway's own address is not the client's.
        (&[], false),
    ] {
        let copies = chain.iter().map(|copy| ("x-forwarded-for", *copy));
        let headers: Vec<_> = [("x-api-key", secret.as_str())].into_iter().chain(copies).collect();
        let reply = ask(&app, "GET", "/a", &headers).await;
        check(&reply, if passes { 200 } else { 403 }, "ip_not_allowed");
    }
}

#[tokio::test]
async fn each_vendors_header_is_read_as_its_vendor_means_the_call() {
    let app = TestApp::start().await;
    let streams = allow(&["get"], &["devices/7/datastreams/gps", "devices/7/datastreams/t"]);
    let (_, stream) = key(&app, json!({"grants": [streams]})).await;
    let (_, device) = key(&app, json!({"grants": [allow(&["get"], &["devices/7/**"])]})).await;
    let (_, business) = key(&app, json!({"grants": [allow(&["business_edit"], &["**"])]})).await;
    for (header, secret, method, target, passes) in [
        ("api-key", &stream, "GET", "/devices/7/datastreams/gps", true),
        ("api-key", &stream, "GET", "/devices/7/datapoints?datastream_id=gps,t", true),
        ("api-key", &stream, "GET", "/devices/7/datastreams?datastream_ids=gps", true),
        ("api-key", &stream, "GET", "/devices/7/datapoints?datastream_id=gps,secret", false),
        ("api-key", &stream, "GET", "/devices/7/datapoints", false),
        ("api-key", &stream, "POST", "/devices/7/datapoints?datastream_id=gps", false),
        ("api-key", &stream, "GET", "/devices/8/datapoints?datastream_id=gps", false),
        ("api-key", &device, "GET", "/devices/7/datapoints", true),
        ("api-key", &device, "GET", "/devices/7", true),
        ("x-api-key", &stream, "GET", "/devices/7/datapoints?datastream_id=gps", false),
        ("x-APIKey", &business, "PUT", "/v2/business/1", true),
        ("x-APIKey", &business, "DELETE", "/v2/business/1", false),
        ("x-APIKey", &business, "PUT", "/v2/posts/1", false),
        ("x-api-key", &business, "PUT", "/v2/business/1", false),
    ] {
        let reply = ask(&app, method, target, &[(header, secret)]).await;
        assert_eq!(reply.status == 200, passes, "{header} {method} {target}: {}", reply.status);
    }
}

#[tokio::test]
async fn by_choosing_a_vendors_header_nobody_gets_past_a_deny() {
    let app = TestApp::start().await;
    let denies = deny(&["put"], &["v2/**"]);
    let points = deny(&["get"], &["devices/7/datapoints"]);
    let all = allow(&["*"], &["**"]);
    let (_, own) = key(&app, json!({"grants": [all, denies, points]})).await;
    let role =
        app.root("POST", "/v1/roles", json!({"name": "denies", "grants": [denies, points]})).await.json();
    let role = role["id"].clone();
    let owner = json!({"kind": "user", "external_id": "u", "roles": [role]});
    let owner = app.root("POST", "/v1/principals", owner).await;
    assert_eq!(owner.status, 201, "{}", owner.json());
    let (_, with_role) = key(&app, json!({"grants": [all], "roles": [role]})).await;
    let (_, ceiling) = key(&app, json!({"grants": [all], "owner": owner.json()["id"]})).await;
    for secret in [&own, &with_role, &ceiling] {
        for (header, method, target) in [
            ("x-apikey", "PUT", "/v2/business/1"),
            ("api-key", "GET", "/devices/7/datapoints?datastream_id=gps"),
        ] {
            let reply = ask(&app, method, target, &[(header, secret)]).await;
            check(&reply, 403, "insufficient_permission");
        }
    }
}

fn request<'a>(method: &'a str, target: &'a str, headers: &'a [(&'a str, &'a str)]) -> SignedRequest<'a> {
    SignedRequest { method, host: "api.example", target, headers, parameters: &[], body_sha256: None }
}

#[tokio::test]
async fn a_signed_request_passes_by_its_key_pair() {
    let app = TestApp::start().await;
    let grants = json!([allow(&["get", "post"], &["orders/**"])]);
    let (_, secret) = key(&app, json!({"access_id": "AKIDgateway", "grants": grants})).await;
    let pair = KeyPair { access_id: "AKIDgateway", secret: secret.as_bytes() };
    let date = http_date(START_MS / 1000).unwrap();
    let dated = [("X-Date", date.as_str()), ("Source", "test")];
    let hmac =
        sign_hmac_header(&request("GET", "/orders/1", &dated), pair, Algorithm::HmacSha1, "x-date source")
            .unwrap();
    let signed = |authorization| [("authorization", authorization), dated[0], dated[1]];
    check(&ask(&app, "GET", "/orders/1", &signed(hmac.as_str())).await, 200, "");
    check(&ask(&app, "GET", "/stock/1", &signed(hmac.as_str())).await, 403, "insufficient_permission");
    let other = [("authorization", hmac.as_str()), dated[0], ("source", "other")];
    check(&ask(&app, "GET", "/orders/1", &other).await, 401, "signature_invalid");
    let nobody = KeyPair { access_id: "AKIDnobody", ..pair };
    let nobodys = request("GET", "/orders/1", &dated);
    let nobodys = sign_hmac_header(&nobodys, nobody, Algorithm::HmacSha1, "x-date source").unwrap();
    let unknown = ask(&app, "GET", "/orders/1", &signed(nobodys.as_str())).await;
    check(&unknown, 401, "signature_invalid");

    let seconds = (START_MS / 1000).to_string();
    let stamped = [("content-type", "application/json"), ("x-tc-timestamp", seconds.as_str())];
    let tc3 = |method, target, headers: &[(&str, &str)]| {
        sign_tc3(&request(method, target, headers), pair, "apigateway", START_MS / 1000).unwrap()
    };
    let authorization = tc3("GET", "/orders/1?a=b", &stamped);
    let held = [&stamped[..], &[("authorization", authorization.as_str())]].concat();
    check(&ask(&app, "GET", "/orders/1?a=b", &held).await, 200, "");
    check(&ask(&app, "GET", "/orders/1?a=c", &held).await, 401, "signature_invalid");
    check(&ask(&app, "GET", "/orders/2?a=b", &held).await, 401, "signature_invalid");
    let with_body = [&held[..], &[("content-length", "3")]].concat();
    check(&ask(&app, "GET", "/orders/1?a=b", &with_body).await, 401, "unauthenticated");
    let authorization = tc3("POST", "/orders/1", &stamped);
    let held = [&stamped[..], &[("authorization", authorization.as_str())]].concat();
    check(&ask(&app, "POST", "/orders/1", &held).await, 401, "unauthenticated");
    let unsigned = [&stamped[..], &[("x-tc-content-sha256", "UNSIGNED-PAYLOAD")]].concat();
    let authorization = tc3("POST", "/orders/1", &unsigned);
    let held = [&unsigned[..], &[("authorization", authorization.as_str())]].concat();
    check(&ask(&app, "POST", "/orders/1", &held).await, 200, "");
    app.node.clock.advance_seconds(301);
    check(&ask(&app, "POST", "/orders/1", &held).await, 401, "signature_expired");
}

#[tokio::test]
async fn a_forwarded_request_is_verified_by_rest_too() {
    let app = TestApp::start().await;
    let (_, secret) = key(&app, json!({"grants": [allow(&["get"], &["devices/7/datastreams/gps"])]})).await;
    let verify = async |header: &str, target: &str, more: Value| {
        let mut body = json!({"signed": {
            "method": "GET", "host": "h", "target": target, "headers": {header: secret}, "body_sha256": null,
        }});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.root("POST", "/v1/verify", body).await
    };
    let code = async |header: &str, target: &str, more: Value| {
        let reply = verify(header, target, more).await;
        reply.json()["code"].as_str().unwrap().to_owned()
    };
    let mapped = || json!({"map_request": true});
    for header in ["api-key", "x-APIKey", "X-Api-Key"] {
        assert_eq!(
            code(header, "/anything", json!({})).await,
            "allowed",
            "without an action nothing is checked"
        );
        assert_eq!(code(header, "/devices/7/datastreams/gps", mapped()).await, "allowed");
        assert_eq!(code(header, "/devices/8/datastreams/gps", mapped()).await, "insufficient_permission");
    }
    let points = "/devices/7/datapoints?datastream_id=gps";
    assert_eq!(code("api-key", points, mapped()).await, "allowed");
    assert_eq!(code("x-api-key", points, mapped()).await, "insufficient_permission");
    let refused = verify("x-api-key", points, mapped()).await.json();
    assert_eq!(refused["detail"], "no grant covers get on devices/7/datapoints");
    assert_eq!(verify("api-key", "/a/../b", mapped()).await.json()["errors"][0]["code"], "ambiguous_request");
    let both = json!({"map_request": true, "action": "get"});
    assert_eq!(verify("api-key", "/a", both).await.json()["errors"][0]["code"], "conflicting_fields");
    let alone = app.root("POST", "/v1/verify", json!({"secret": secret, "map_request": true})).await.json();
    assert_eq!(alone["errors"][0]["code"], "signed_required");
    let two = json!({"signed": {"method": "GET", "host": "h", "target": "/a", "headers": {"api-key": "a", "x-api-key": "b"}}});
    let two = app.root("POST", "/v1/verify", two).await.json();
    assert_eq!(two["errors"][0]["code"], "conflicting_credentials");
}

//! Tencent Cloud: signed calls, always HTTP 200, codes in `Response.Error`.

use keywright_model::signing::tc3::sign_tc3;
use keywright_model::signing::tencent_v1::sign_tencent_v1;
use keywright_model::signing::{KeyPair, SignedRequest};
use keywright_server::dialects::Dialect;
use keywright_testkit::Reply;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ADMIN_ID, Wired};

const HOST: &str = "127.0.0.1:7711";

/// One TC3 call over POST, as the vendor's clients make it.
pub(super) struct Tc3<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) timestamp: i64,
    pub(super) language: &'a str,
}

impl Tc3<'_> {
    /// The headers of a call to a host, signed.
    pub(super) fn headers(&self, host: &str, action: &str, body: &str) -> Vec<(&'static str, String)> {
        let timestamp = self.timestamp.to_string();
        let signed = [("content-type", "application/json"), ("x-tc-timestamp", timestamp.as_str())];
        let request = SignedRequest {
            method: "POST",
            host,
            target: "/",
            headers: &signed,
            parameters: &[],
            body_sha256: Some(Sha256::digest(body).into()),
        };
        let pair = KeyPair { access_id: self.id, secret: self.secret.as_bytes() };
        let authorization = sign_tc3(&request, pair, "apigateway", self.timestamp).unwrap();
        vec![
            ("host", host.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("x-tc-timestamp", timestamp),
            ("x-tc-action", action.to_owned()),
            ("x-tc-version", "2018-08-08".to_owned()),
            ("x-tc-language", self.language.to_owned()),
            ("authorization", authorization),
        ]
    }

    pub(super) async fn call(&self, wired: &Wired, action: &str, body: &str) -> Reply {
        let headers = self.headers(HOST, action, body);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = wired.send("POST", "/", &headers, body).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        reply
    }
}

pub(super) fn now(wired: &Wired) -> i64 {
    wired.app.node.now().wall.unix_seconds()
}

pub(super) fn tc3(wired: &Wired) -> Tc3<'_> {
    Tc3 { id: ADMIN_ID, secret: &wired.admin, timestamp: now(wired), language: "en-US" }
}

/// Lets a second pass, so that no signature comes twice and no rate is reached.
pub(super) async fn result(wired: &Wired, action: &str, body: Value) -> Value {
    wired.app.node.clock.advance_seconds(1);
    let reply = tc3(wired).call(wired, action, &body.to_string()).await.json();
    assert!(reply["Response"]["Error"].is_null(), "{action} {body}: {reply}");
    reply["Response"]["Result"].clone()
}

pub(super) async fn refusal(wired: &Wired, action: &str, body: Value) -> String {
    wired.app.node.clock.advance_seconds(1);
    code(&tc3(wired).call(wired, action, &body.to_string()).await)
}

pub(super) fn code(reply: &Reply) -> String {
    let response = &reply.json()["Response"];
    assert_eq!(response["RequestId"].as_str().map(str::len), Some(36), "{response}");
    response["Error"]["Code"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn an_update_is_a_new_secret_and_the_end_of_the_old_one() {
    let wired = Wired::start(Dialect::Tencent).await;
    wired.app.node.clock.advance_seconds(59);
    let made = result(
        &wired,
        "CreateApiKey",
        json!({"SecretName": "ci", "Tags": [{"Key": "team", "Value": "fleet"}]}),
    )
    .await;
    let (id, secret) = (made["AccessKeyId"].as_str().unwrap(), made["AccessKeySecret"].as_str().unwrap());
    assert_eq!((id.len(), &id[..4], secret.len()), (40, "AKID", 40));
    assert_eq!(
        made,
        json!({"AccessKeyId": id, "AccessKeySecret": secret, "AccessKeyType": "auto", "SecretName": "ci",
        "Status": 1, "CreatedTime": "2026-11-22T12:01:00Z", "ModifiedTime": "2026-11-22T12:01:00Z",
        "Tags": [{"Key": "team", "Value": "fleet"}]})
    );
    assert_eq!(wired.verified(json!({"secret": secret})).await, "allowed");

    wired.app.node.clock.advance_seconds(59);
    let updated = result(&wired, "UpdateApiKey", json!({"AccessKeyId": id})).await;
    let other = updated["AccessKeySecret"].as_str().unwrap();
    assert_ne!(secret, other);
    assert_eq!(
        (&updated["SecretName"], &updated["CreatedTime"]),
        (&made["SecretName"], &made["CreatedTime"])
    );
    assert_eq!(updated["ModifiedTime"], "2026-11-22T12:02:00Z");
    assert_eq!(wired.verified(json!({"secret": secret})).await, "superseded");
    assert_eq!(wired.verified(json!({"secret": other})).await, "allowed");
}

#[tokio::test]
async fn a_manual_key_needs_an_allowlisted_keyspace_and_its_secret() {
    let wired = Wired::start(Dialect::Tencent).await;
    let manual = json!({"SecretName": "ci", "AccessKeyType": "manual", "AccessKeyId": "my_id", "AccessKeySecret": "first_secret_1"});
    assert_eq!(
        refusal(&wired, "CreateApiKey", manual.clone()).await,
        "UnsupportedOperation.UinNotInWhiteList"
    );
    wired.set_keyspace(json!({"allow_custom_secrets": true})).await;
    wired.app.node.clock.advance_seconds(1);
    let made = result(&wired, "CreateApiKey", manual.clone()).await;
    assert_eq!(
        (&made["AccessKeyType"], &made["AccessKeySecret"]),
        (&json!("manual"), &json!("first_secret_1"))
    );
    wired.app.node.clock.advance_seconds(1);
    assert_eq!(refusal(&wired, "CreateApiKey", manual).await, "FailedOperation.AccessKeyExist");
    assert_eq!(refusal(&wired, "UpdateApiKey", json!({"AccessKeyId": "my_id"})).await, "MissingParameter");
    let body = json!({"AccessKeyId": "my_id", "AccessKeySecret": "second_secret_2"});
    assert_eq!(result(&wired, "UpdateApiKey", body).await["AccessKeySecret"], "second_secret_2");
}

#[tokio::test]
async fn a_signed_write_is_not_done_twice() {
    let wired = Wired::start(Dialect::Tencent).await;
    let (call, body) = (tc3(&wired), r#"{"SecretName": "ci"}"#);
    assert_eq!(code(&call.call(&wired, "CreateApiKey", body).await), "none");
    assert_eq!(code(&call.call(&wired, "CreateApiKey", body).await), "RequestLimitExceeded");
    // The clients do not sign the action: the same signature under another one is the same call.
    let made = result(&wired, "CreateApiKey", json!({"SecretName": "other"})).await;
    let body = json!({"AccessKeyId": made["AccessKeyId"]}).to_string();
    assert_eq!(code(&call.call(&wired, "UpdateApiKey", &body).await), "none");
    assert_eq!(code(&call.call(&wired, "UpdateApiKey", &body).await), "RequestLimitExceeded");
    // What was refused may be sent again.
    let unknown = json!({"AccessKeyId": "AKIDnobody"}).to_string();
    for _ in 0..2 {
        assert_eq!(
            code(&call.call(&wired, "UpdateApiKey", &unknown).await),
            "ResourceNotFound.InvalidAccessKeyId"
        );
    }
}

#[tokio::test]
async fn who_signed_when_is_tested_in_the_vendors_order() {
    let wired = Wired::start(Dialect::Tencent).await;
    let now = now(&wired);
    let body = r#"{"SecretName": "ci"}"#;
    for (id, secret, timestamp, expected) in [
        ("AKIDnobody", "x", now, "AuthFailure.SecretIdNotFound"),
        ("AKIDnobody", "x", 0, "AuthFailure.SecretIdNotFound"),
        (ADMIN_ID, "x", now - 301, "AuthFailure.SignatureExpire"),
        (ADMIN_ID, wired.admin.as_str(), now - 301, "AuthFailure.SignatureExpire"),
        (ADMIN_ID, wired.admin.as_str(), now + 301, "AuthFailure.SignatureExpire"),
        (ADMIN_ID, "x", now, "AuthFailure.SignatureFailure"),
        (ADMIN_ID, wired.admin.as_str(), now - 300, "none"),
        (ADMIN_ID, wired.admin.as_str(), now + 300, "none"),
    ] {
        let reply = Tc3 { id, secret, timestamp, language: "en-US" }.call(&wired, "CreateApiKey", body).await;
        assert_eq!(code(&reply), expected, "{id} {timestamp}");
    }
    // A key of the product may not sign calls of this API, nor may a switched-off one.
    let made = result(&wired, "CreateApiKey", json!({"SecretName": "product"})).await;
    let product = Tc3 {
        id: made["AccessKeyId"].as_str().unwrap(),
        secret: made["AccessKeySecret"].as_str().unwrap(),
        timestamp: now,
        language: "en-US",
    };
    assert_eq!(code(&product.call(&wired, "CreateApiKey", body).await), "AuthFailure.SecretIdNotFound");
}

#[tokio::test]
async fn parameters_are_known_there_and_well_formed() {
    let wired = Wired::start(Dialect::Tencent).await;
    for (action, body, expected) in [
        ("CreateApiKey", json!({"SecretName": "a", "Extra": 1}), "UnknownParameter"),
        ("CreateApiKey", json!({}), "MissingParameter"),
        ("CreateApiKey", json!({"SecretName": 1}), "InvalidParameter"),
        ("CreateApiKey", json!({"SecretName": "a b"}), "InvalidParameter.FormatError"),
        ("CreateApiKey", json!([]), "InvalidParameter"),
        ("UpdateApiKey", json!({"AccessKeyId": "AKIDnobody"}), "ResourceNotFound.InvalidAccessKeyId"),
        ("UpdateApiKey", json!({"AccessKeyId": ADMIN_ID}), "ResourceNotFound.InvalidAccessKeyId"),
        (
            "UpdateApiKey",
            json!({"AccessKeyId": "a", "AccessKeySecret": "short"}),
            "InvalidParameter.FormatError",
        ),
        ("DescribeApiKey", json!({}), "MissingParameter"),
        ("DescribeApi", json!({}), "InvalidAction"),
    ] {
        assert_eq!(refusal(&wired, action, body.clone()).await, expected, "{action} {body}");
    }
    let headers = [("host", HOST), ("content-type", "application/json")];
    assert_eq!(code(&wired.send("POST", "/", &headers, "{}").await), "MissingParameter");
    assert_eq!(code(&wired.send("PUT", "/", &headers, "{}").await), "UnsupportedProtocol");
    let skipped = [
        &headers[..],
        &[("x-tc-action", "CreateApiKey"), ("x-tc-version", "2018-08-08"), ("authorization", "SKIP")],
    ]
    .concat();
    assert_eq!(code(&wired.send("POST", "/", &skipped, "{}").await), "AuthFailure.InvalidAuthorization");
}

#[tokio::test]
async fn messages_are_in_the_language_that_was_asked_for() {
    let wired = Wired::start(Dialect::Tencent).await;
    let call = Tc3 { secret: "x", ..tc3(&wired) };
    for (language, expected) in [
        ("en-US", "The provided credentials could not be validated. Please check your signature is correct."),
        ("zh-CN", "请求签名验证失败，请检查您的签名计算是否正确。"),
        ("fr-FR", "请求签名验证失败，请检查您的签名计算是否正确。"),
    ] {
        let reply = Tc3 { language, ..call }.call(&wired, "CreateApiKey", "{}").await.json();
        assert_eq!(reply["Response"]["Error"]["Message"], expected, "{language}");
    }
}

/// Signature v1 over the parameters, as a query or a form.
async fn v1(wired: &Wired, method: &str, algorithm: &str, own: &[(&str, &str)]) -> Reply {
    let timestamp = now(wired).to_string();
    let common = [
        ("Action", "CreateApiKey"),
        ("Version", "2018-08-08"),
        ("SecretId", ADMIN_ID),
        ("Nonce", "11886"),
        ("Timestamp", timestamp.as_str()),
        ("SignatureMethod", algorithm),
        ("Language", "en-US"),
        ("RequestClient", "SDK"),
    ];
    let parameters = [&common[..], own].concat();
    let request = SignedRequest {
        method,
        host: HOST,
        target: "/",
        headers: &[],
        parameters: &parameters,
        body_sha256: None,
    };
    let signature = sign_tencent_v1(&request, wired.admin.as_bytes()).unwrap();
    let all = [&parameters[..], &[("Signature", signature.as_str())]].concat();
    let encode = |text: &str| {
        text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('/', "%2F").replace(' ', "+")
    };
    let pairs: Vec<String> = all.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let text = pairs.join("&");
    let headers = [("host", HOST), ("content-type", "application/x-www-form-urlencoded")];
    match method {
        "GET" => wired.send("GET", &format!("/?{text}"), &headers[..1], "").await,
        _ => wired.send("POST", "/", &headers, text).await,
    }
}

#[tokio::test]
async fn the_older_signature_works_in_queries_and_forms_with_dotted_lists() {
    let wired = Wired::start(Dialect::Tencent).await;
    let own = [("SecretName", "ci"), ("Tags.0.Key", "team"), ("Tags.0.Value", "fleet and co")];
    for method in ["GET", "POST"] {
        for algorithm in ["HmacSHA1", "HmacSHA256"] {
            let reply = v1(&wired, method, algorithm, &own).await.json();
            let tags = &reply["Response"]["Result"]["Tags"];
            assert_eq!(
                tags,
                &json!([{"Key": "team", "Value": "fleet and co"}]),
                "{method} {algorithm}: {reply}"
            );
        }
    }
    assert_eq!(
        code(&v1(&wired, "GET", "HmacSHA1", &[("SecretName", "ci"), ("Other", "x")]).await),
        "UnknownParameter"
    );
}

#[tokio::test]
async fn a_key_made_elsewhere_is_updated_by_its_id() {
    let wired = Wired::start(Dialect::Tencent).await;
    let made = wired
        .app
        .root("POST", "/v1/keys", json!({"name": "elsewhere", "labels": {"a": "b"}, "description": "d"}))
        .await
        .json();
    let updated = result(&wired, "UpdateApiKey", json!({"AccessKeyId": made["key"]["id"]})).await;
    assert_eq!(updated["AccessKeyId"], made["key"]["id"]);
    let after = wired.key_numbered(&made["key"]["number"]).await;
    for field in ["name", "labels", "description", "grants", "enabled"] {
        assert_eq!(after[field], made["key"][field], "{field}");
    }
    assert_eq!(wired.verified(json!({"secret": updated["AccessKeySecret"]})).await, "allowed");
}

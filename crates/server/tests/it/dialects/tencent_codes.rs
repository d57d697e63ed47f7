//! Every error code that Tencent Cloud documents is reached here, or stands in `docs/dialects/tencent.md` as never sent with
//! the reason.

use std::collections::BTreeSet;

use keywright_server::dialects::Dialect;
use keywright_testkit::TestApp;
use serde_json::{Value, json};

use super::tencent::{Tc3, code, now, refusal, result, tc3};
use super::tencent_keys::pair;
use super::{ADMIN_ID, Wired};

/// What the common errors stand under: they can come from any action.
const ANY: &str = "any";

/// The codes that the vendor's pages list for each action, and those common to all (vendors.md 3.7 to 3.9).
const DOCUMENTED: &[(&str, &str)] = &[
    (
        "CreateApiKey",
        "FailedOperation.AccessKeyExist InternalError.ApigwException InternalError.OssException \
         InvalidParameter.FormatError LimitExceeded.ApiKeyCountLimitExceeded UnauthorizedOperation.UncertifiedUser \
         UnsupportedOperation.UnpackError",
    ),
    ("DescribeApiKey", "FailedOperation.CamException ResourceNotFound.InvalidAccessKeyId"),
    (
        "DescribeApiKeysStatus",
        "FailedOperation.CamException InternalError.CamException \
         InvalidParameterValue.InvalidFilterNotSupportedName InvalidParameterValue.InvalidRegion",
    ),
    (
        "EnableApiKey",
        "ResourceNotFound.InvalidAccessKeyId UnsupportedOperation.UinNotInWhiteList \
         UnsupportedOperation.UnsupportedUpdateApiKey",
    ),
    (
        "DisableApiKey",
        "InternalError.OssException ResourceNotFound.InvalidAccessKeyId UnsupportedOperation.UinNotInWhiteList \
         UnsupportedOperation.UnsupportedUpdateApiKey",
    ),
    (
        "UpdateApiKey",
        "InternalError.OssException InvalidParameter.FormatError ResourceNotFound.InvalidAccessKeyId \
         UnsupportedOperation.UinNotInWhiteList",
    ),
    (
        "DeleteApiKey",
        "InvalidParameterValue.InvalidRegion ResourceNotFound.InvalidAccessKeyId UnsupportedOperation.InvalidStatus \
         UnsupportedOperation.ResourceIsInUse",
    ),
    (
        "CreateUsagePlan",
        "InvalidParameter.FormatError InvalidParameterValue.InvalidMaxRequestNum InvalidParameterValue.InvalidRegion \
         LimitExceeded.UsagePlanLimitExceeded UnsupportedOperation.UnpackError",
    ),
    ("DescribeUsagePlan", "InvalidParameterValue.InvalidRegion ResourceNotFound.InvalidUsagePlan"),
    (
        "DescribeUsagePlansStatus",
        "InvalidParameterValue.InvalidFilterNotSupportedName InvalidParameterValue.InvalidRegion",
    ),
    (
        "ModifyUsagePlan",
        "InternalError.OssException InvalidParameter.FormatError ResourceNotFound.InvalidUsagePlan",
    ),
    (
        "DeleteUsagePlan",
        "InternalError.OssException ResourceNotFound.InvalidUsagePlan UnsupportedOperation.UsagePlanInUse",
    ),
    (
        "BindSecretIds",
        "InternalError.OssException InvalidParameterValue.InvalidAccessKeyIds InvalidParameterValue.InvalidRegion \
         LimitExceeded.AccessKeyCountInUsagePlanLimitExceeded ResourceNotFound.InvalidAccessKeyId \
         ResourceNotFound.InvalidUsagePlan UnsupportedOperation.AlreadyBindUsagePlan \
         UnsupportedOperation.InvalidStatus UnsupportedOperation.UnsupportedBindApiKey",
    ),
    (
        "UnBindSecretIds",
        "InternalError.OssException ResourceNotFound.InvalidAccessKeyId ResourceNotFound.InvalidUsagePlan \
         UnsupportedOperation.RequestPostError",
    ),
    ("DescribeUsagePlanSecretIds", "InvalidParameterValue.InvalidRegion ResourceNotFound.InvalidUsagePlan"),
    (
        ANY,
        "MissingParameter UnknownParameter InvalidParameter InvalidParameterValue InvalidAction NoSuchVersion \
         NoSuchProduct ActionOffline AuthFailure.SignatureFailure AuthFailure.SignatureExpire \
         AuthFailure.SecretIdNotFound AuthFailure.InvalidSecretId AuthFailure.InvalidAuthorization \
         AuthFailure.TokenFailure AuthFailure.MFAFailure AuthFailure.UnauthorizedOperation RequestLimitExceeded \
         RequestLimitExceeded.UinLimitExceeded RequestLimitExceeded.IPLimitExceeded \
         RequestLimitExceeded.GlobalRegionUinLimitExceeded RequestSizeLimitExceeded ResponseSizeLimitExceeded \
         LimitExceeded ResourceInUse ResourceInsufficient ResourceNotFound ResourceUnavailable UnauthorizedOperation \
         UnsupportedOperation UnsupportedProtocol UnsupportedRegion FailedOperation InternalError ServiceUnavailable \
         InvalidRequest IpInBlacklist IpNotInWhitelist DryRunOperation OperationDenied ResourcesSoldOut",
    ),
];

/// The codes that were answered, each with its action.
#[derive(Default)]
struct Seen(BTreeSet<(&'static str, String)>);

impl Seen {
    fn note(&mut self, action: &'static str, code: String) {
        self.0.insert((action, code));
    }

    async fn refused(&mut self, wired: &Wired, action: &'static str, body: Value) {
        let code = refusal(wired, action, body.clone()).await;
        assert_ne!(code, "none", "{action} {body}");
        self.0.insert((ANY, code.clone()));
        self.note(action, code);
    }
}

/// What the documentation lists as never sent: lines `| code | action, action | reason |`, with `any` for the common ones.
fn never_sent() -> BTreeSet<(String, String)> {
    let docs = include_str!("../../../../../docs/dialects/tencent.md");
    let (_, section) = docs.split_once("\n## Never sent\n").expect("a section of what is never sent");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [code, actions, reason] = cells[..] else { panic!("{row}") };
        assert!(!reason.is_empty(), "{row}");
        let code = code.trim_matches('`').to_owned();
        actions.split(", ").map(move |action| (action.to_owned(), code.clone())).collect::<Vec<_>>()
    })
    .collect()
}

#[tokio::test]
async fn every_documented_code_is_reached_or_listed_as_never_sent() {
    let mut seen = Seen::default();
    business(&mut seen).await;
    common(&mut seen).await;
    unenforced(&mut seen).await;
    let never = never_sent();
    for (action, codes) in DOCUMENTED {
        for code in codes.split_whitespace() {
            let reached = seen.0.contains(&(*action, code.to_owned()));
            let listed = never.contains(&((*action).to_owned(), code.to_owned()));
            assert!(reached != listed, "{action} {code}: reached {reached}, listed as never sent {listed}");
        }
    }
    for (action, code) in &never {
        let of_action = DOCUMENTED.iter().find(|(documented, _)| documented == action);
        let known = of_action.is_some_and(|(_, codes)| codes.split_whitespace().any(|other| other == code));
        assert!(known, "{action} {code} is listed as never sent and not documented by the vendor");
    }
}

async fn business(seen: &mut Seen) {
    let wired = Wired::start(Dialect::Tencent).await;
    let (a, _) = pair(&wired, "a").await;
    let (off, _) = pair(&wired, "off").await;
    result(&wired, "DisableApiKey", json!({"AccessKeyId": off})).await;
    let plan = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "p"})).await["UsagePlanId"].clone();
    let manual = json!({"SecretName": "m", "AccessKeyType": "manual", "AccessKeyId": "my_id", "AccessKeySecret": "first_secret_1"});
    let unknown = json!({"AccessKeyId": "AKIDnobody"});
    let chosen = json!({"AccessKeyId": a, "AccessKeySecret": "first_secret_1"});
    seen.refused(&wired, "UpdateApiKey", chosen).await;
    wired.set_keyspace(json!({"allow_custom_secrets": true})).await;
    result(&wired, "CreateApiKey", manual.clone()).await;
    seen.refused(&wired, "CreateApiKey", manual).await;
    seen.refused(&wired, "CreateApiKey", json!({"SecretName": "a b"})).await;
    seen.refused(&wired, "UpdateApiKey", json!({"AccessKeyId": a, "AccessKeySecret": "short"})).await;
    for action in ["DescribeApiKey", "EnableApiKey", "DisableApiKey", "UpdateApiKey", "DeleteApiKey"] {
        seen.refused(&wired, action, unknown.clone()).await;
    }
    seen.refused(&wired, "EnableApiKey", json!({"AccessKeyId": a})).await;
    seen.refused(&wired, "DisableApiKey", json!({"AccessKeyId": off})).await;
    seen.refused(&wired, "DeleteApiKey", json!({"AccessKeyId": a})).await;
    let filter = json!({"Filters": [{"Name": "Colour", "Values": ["red"]}]});
    seen.refused(&wired, "DescribeApiKeysStatus", filter.clone()).await;
    seen.refused(&wired, "DescribeUsagePlansStatus", filter).await;

    seen.refused(&wired, "CreateUsagePlan", json!({"UsagePlanName": ""})).await;
    for max in [-2, 0, 100_000_000] {
        let body = json!({"UsagePlanName": "x", "MaxRequestNum": max});
        seen.refused(&wired, "CreateUsagePlan", body).await;
    }
    seen.refused(&wired, "ModifyUsagePlan", json!({"UsagePlanId": plan, "MaxRequestNumPreSec": 2001})).await;
    let nowhere = json!({"UsagePlanId": "usagePlan-abcdefgh"});
    for action in ["DescribeUsagePlan", "ModifyUsagePlan", "DeleteUsagePlan", "DescribeUsagePlanSecretIds"] {
        seen.refused(&wired, action, nowhere.clone()).await;
    }
    let bind = |plan: &Value, keys: Value| json!({"UsagePlanId": plan, "AccessKeyIds": keys});
    for action in ["BindSecretIds", "UnBindSecretIds"] {
        seen.refused(&wired, action, bind(&json!("usagePlan-abcdefgh"), json!([a]))).await;
        seen.refused(&wired, action, bind(&plan, json!(["AKIDnobody"]))).await;
    }
    seen.refused(&wired, "BindSecretIds", bind(&plan, json!([]))).await;
    seen.refused(&wired, "BindSecretIds", bind(&plan, json!(vec!["AKIDnobody"; 101]))).await;
    seen.refused(&wired, "BindSecretIds", bind(&plan, json!([off]))).await;
    result(&wired, "BindSecretIds", bind(&plan, json!([a, a]))).await;
    seen.refused(&wired, "BindSecretIds", bind(&plan, json!([a]))).await;
    seen.refused(&wired, "DeleteUsagePlan", json!({"UsagePlanId": plan})).await;
    for number in 0..16 {
        let body = json!({"UsagePlanName": format!("more {number}")});
        let more = result(&wired, "CreateUsagePlan", body).await["UsagePlanId"].clone();
        if number < 15 {
            result(&wired, "BindSecretIds", bind(&more, json!([a]))).await;
        } else {
            seen.refused(&wired, "BindSecretIds", bind(&more, json!([a]))).await;
        }
    }
    result(&wired, "DisableApiKey", json!({"AccessKeyId": a})).await;
    seen.refused(&wired, "DeleteApiKey", json!({"AccessKeyId": a})).await;
    // A name that another plan has.
    seen.refused(&wired, "CreateUsagePlan", json!({"UsagePlanName": "p"})).await;
}

async fn common(seen: &mut Seen) {
    let wired = Wired::start(Dialect::Tencent).await;
    for (action, body) in [
        ("DescribeApiKey", json!({})),
        ("DescribeApiKey", json!({"AccessKeyId": "a", "Other": 1})),
        ("DescribeApiKey", json!({"AccessKeyId": 1})),
        ("DescribeApiKeysStatus", json!({"Limit": 101})),
        ("DescribeApi", json!({})),
        ("CreateUsagePlan", json!({"UsagePlanName": "a", "Tags": [{"Key": "a", "Value": "b"}]})),
    ] {
        seen.refused(&wired, action, body).await;
    }
    let admin = wired.admin.clone();
    for (id, secret, timestamp) in [
        (ADMIN_ID, "x", now(&wired)),
        (ADMIN_ID, admin.as_str(), now(&wired) - 301),
        ("AKIDnobody", "x", now(&wired)),
    ] {
        let call = Tc3 { id, secret, timestamp, language: "en-US" };
        seen.note(ANY, code(&call.call(&wired, "DescribeApiKeysStatus", "{}").await));
    }
    for _ in 0..21 {
        seen.note(ANY, code(&tc3(&wired).call(&wired, "DescribeApiKeysStatus", "{}").await));
    }
    let headers = |more: &[(&'static str, &'static str)]| {
        [&[("content-type", "application/json"), ("x-tc-action", "CreateApiKey")][..], more].concat()
    };
    let body = vec![b' '; 300 * 1024];
    for (method, path, headers, body) in [
        ("POST", "/", headers(&[("x-tc-version", "2017-03-12")]), "{}".into()),
        ("POST", "/", headers(&[("x-tc-version", "2018-08-08"), ("authorization", "SKIP")]), "{}".into()),
        ("POST", "/", headers(&[("x-tc-version", "2018-08-08"), ("x-tc-token", "t")]), "{}".into()),
        ("PUT", "/", headers(&[]), "{}".into()),
        ("POST", "/elsewhere", headers(&[]), "{}".into()),
        ("POST", "/", headers(&[]), body),
    ] {
        seen.note(ANY, code(&wired.send(method, path, &headers, body).await));
    }
    // A reader may not write, and one from elsewhere may not call at all.
    let rights = json!({"actions": ["keys.read"], "orgs": ["default"], "keyspaces": ["*"]});
    for (id, more) in [("AKIDreader", json!({})), ("AKIDelsewhere", json!({"ip_allowlist": ["10.0.0.0/8"]}))]
    {
        let mut key =
            json!({"name": id, "kind": "management", "access_id": id, "admin": rights, "grantable": []});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = wired.app.root("POST", "/v1/keys", key).await.json();
        let secret = made["secret"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let call = Tc3 { id, secret: &secret, timestamp: now(&wired), language: "en-US" };
        seen.note(ANY, code(&call.call(&wired, "CreateApiKey", r#"{"SecretName":"a"}"#).await));
    }
}

/// No verifier follows: what takes access away is done, but cannot be said to be in force.
async fn unenforced(seen: &mut Seen) {
    let wired = Wired::start(Dialect::Tencent).await;
    let (a, _) = pair(&wired, "a").await;
    let (b, _) = pair(&wired, "b").await;
    let plan = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "p"})).await["UsagePlanId"].clone();
    let other = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "q"})).await["UsagePlanId"].clone();
    result(&wired, "BindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [b]})).await;
    let Wired { app, admin, .. } = wired;
    let app = TestApp::around(app.node.stalled());
    let router = app.dialect(Dialect::Tencent);
    let wired = Wired { app, router, admin };
    tokio::time::pause();
    for (action, body) in [
        ("BindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [a]})),
        ("UnBindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [b]})),
        ("ModifyUsagePlan", json!({"UsagePlanId": plan, "MaxRequestNum": 1})),
        ("DeleteUsagePlan", json!({"UsagePlanId": other})),
        ("UpdateApiKey", json!({"AccessKeyId": a})),
        ("DisableApiKey", json!({"AccessKeyId": a})),
    ] {
        seen.refused(&wired, action, body).await;
    }
    tokio::time::resume();
}

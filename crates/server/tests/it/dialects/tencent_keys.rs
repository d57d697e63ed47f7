//! Tencent Cloud's API keys from their making to their end.

use keywright_server::dialects::Dialect;
use serde_json::{Value, json};

use super::tencent::{Tc3, code, refusal, result, tc3};
use super::{ADMIN_ID, Wired};

/// Makes a key pair and gives its id and secret.
pub(super) async fn pair(wired: &Wired, name: &str) -> (String, String) {
    let made = result(wired, "CreateApiKey", json!({"SecretName": name})).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("AccessKeyId"), text("AccessKeySecret"))
}

fn names(listed: &Value) -> Vec<&str> {
    let set = listed["ApiKeySet"].as_array().unwrap();
    set.iter().map(|key| key["SecretName"].as_str().unwrap()).collect()
}

async fn listed(wired: &Wired, filters: Value) -> Vec<String> {
    let found = result(wired, "DescribeApiKeysStatus", json!({"Filters": filters})).await;
    names(&found).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_disabled_key_is_refused_until_it_is_enabled_and_goes_only_disabled() {
    let wired = Wired::start(Dialect::Tencent).await;
    let (id, secret) = pair(&wired, "ci").await;
    let key = json!({"AccessKeyId": id});
    assert_eq!(
        refusal(&wired, "EnableApiKey", key.clone()).await,
        "UnsupportedOperation.UnsupportedUpdateApiKey"
    );
    assert_eq!(refusal(&wired, "DeleteApiKey", key.clone()).await, "UnsupportedOperation.InvalidStatus");
    assert_eq!(result(&wired, "DisableApiKey", key.clone()).await, true);
    assert_eq!(wired.verified(json!({"secret": secret})).await, "disabled");
    assert_eq!(
        refusal(&wired, "DisableApiKey", key.clone()).await,
        "UnsupportedOperation.UnsupportedUpdateApiKey"
    );
    assert_eq!(result(&wired, "DescribeApiKey", key.clone()).await["Status"], 0);
    assert_eq!(result(&wired, "EnableApiKey", key.clone()).await, true);
    assert_eq!(wired.verified(json!({"secret": secret})).await, "allowed");
    assert_eq!(result(&wired, "DisableApiKey", key.clone()).await, true);
    assert_eq!(result(&wired, "DeleteApiKey", key.clone()).await, true);
    assert_eq!(wired.verified(json!({"secret": secret})).await, "revoked");
    for action in ["DescribeApiKey", "EnableApiKey", "DisableApiKey", "UpdateApiKey", "DeleteApiKey"] {
        assert_eq!(
            refusal(&wired, action, key.clone()).await,
            "ResourceNotFound.InvalidAccessKeyId",
            "{action}"
        );
    }
    assert_eq!(result(&wired, "DescribeApiKeysStatus", json!({})).await["TotalCount"], 0);
}

#[tokio::test]
async fn a_secret_is_shown_again_where_it_is_kept_and_masked_where_it_is_not() {
    let wired = Wired::start(Dialect::Tencent).await;
    let (lost, lost_secret) = pair(&wired, "lost").await;
    wired.set_keyspace(json!({"recoverable_secrets": true})).await;
    let (kept, kept_secret) = pair(&wired, "kept").await;
    let shown = async |id: &str| {
        let key = result(&wired, "DescribeApiKey", json!({"AccessKeyId": id})).await;
        key["AccessKeySecret"].as_str().unwrap().to_owned()
    };
    let masked = shown(&lost).await;
    assert!(masked.starts_with("****") && lost_secret.ends_with(masked.trim_start_matches('*')), "{masked}");
    assert!(!lost.ends_with(masked.trim_start_matches('*')));
    assert_eq!(shown(&kept).await, kept_secret);
    let before = reveals(&wired).await;
    let listed = result(&wired, "DescribeApiKeysStatus", json!({})).await;
    assert_eq!(listed["ApiKeySet"][0]["AccessKeySecret"], kept_secret);
    assert_eq!(listed["ApiKeySet"][1]["AccessKeySecret"], masked);
    assert_eq!(reveals(&wired).await, before + 1);
}

async fn reveals(wired: &Wired) -> usize {
    let audit = wired.app.root("GET", "/v1/audit?verb=key.reveal", Value::Null).await;
    audit.json()["items"].as_array().unwrap().len()
}

/// The newest entry of the audit: every write makes one.
async fn newest(wired: &Wired) -> Value {
    let audit = wired.app.root("GET", "/v1/audit?limit=1", Value::Null).await.json();
    audit["items"][0]["number"].clone()
}

#[tokio::test]
async fn filters_hold_all_together_and_each_with_one_of_its_values() {
    let wired = Wired::start(Dialect::Tencent).await;
    let (a, a_secret) = pair(&wired, "alpha").await;
    let (b, _) = pair(&wired, "beta").await;
    pair(&wired, "alphabet").await;
    result(&wired, "DisableApiKey", json!({"AccessKeyId": b})).await;
    let plan = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "p"})).await["UsagePlanId"].clone();
    result(&wired, "BindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [a]})).await;
    for (filters, expected) in [
        (json!([]), vec!["alphabet", "beta", "alpha"]),
        (json!([{"Name": "SecretName", "Values": ["alpha"]}]), vec!["alpha"]),
        (json!([{"Name": "SecretName", "Values": ["alpha", "beta"]}]), vec!["beta", "alpha"]),
        (json!([{"Name": "AccessKeyId", "Values": [b]}]), vec!["beta"]),
        (json!([{"Name": "AccessKeySecret", "Values": [a_secret, "nobodys"]}]), vec!["alpha"]),
        (json!([{"Name": "Status", "Values": ["1"]}]), vec!["alphabet", "alpha"]),
        (json!([{"Name": "Status", "Values": ["0", "1"]}]), vec!["alphabet", "beta", "alpha"]),
        (json!([{"Name": "KeyWord", "Values": ["ALPHA"]}]), vec!["alphabet", "alpha"]),
        (json!([{"Name": "NotUsagePlanId", "Values": [plan]}]), vec!["alphabet", "beta"]),
        (
            json!([{"Name": "KeyWord", "Values": ["alpha", "beta"]}, {"Name": "Status", "Values": ["0"]}]),
            vec!["beta"],
        ),
        (json!([{"Name": "Status", "Values": []}]), vec![]),
    ] {
        assert_eq!(listed(&wired, filters.clone()).await, expected, "{filters}");
    }
    let page = result(&wired, "DescribeApiKeysStatus", json!({"Limit": 1, "Offset": 1})).await;
    assert_eq!((&page["TotalCount"], names(&page)), (&json!(3), vec!["beta"]));
    let past = result(&wired, "DescribeApiKeysStatus", json!({"Limit": 100, "Offset": 7})).await;
    assert_eq!((&past["TotalCount"], names(&past)), (&json!(3), vec![]));
}

#[tokio::test]
async fn no_write_is_done_twice_with_one_signature() {
    let wired = Wired::start(Dialect::Tencent).await;
    let (a, _) = pair(&wired, "a").await;
    let (b, _) = pair(&wired, "b").await;
    let plan = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "p"})).await["UsagePlanId"].clone();
    let other = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "q"})).await["UsagePlanId"].clone();
    let bind = json!({"UsagePlanId": plan, "AccessKeyIds": [a, b]});
    for (action, body) in [
        ("CreateApiKey", json!({"SecretName": "c"})),
        ("UpdateApiKey", json!({"AccessKeyId": a})),
        ("DisableApiKey", json!({"AccessKeyId": a})),
        ("EnableApiKey", json!({"AccessKeyId": a, })),
        ("CreateUsagePlan", json!({"UsagePlanName": "r"})),
        ("ModifyUsagePlan", json!({"UsagePlanId": plan, "MaxRequestNum": 5})),
        // Nothing is different after these two, and they are still done only once.
        ("ModifyUsagePlan", json!({"UsagePlanId": plan, "MaxRequestNum": 5, "UsagePlanName": "p"})),
        ("UnBindSecretIds", bind.clone()),
        ("BindSecretIds", bind.clone()),
        ("UnBindSecretIds", bind),
        ("DeleteUsagePlan", json!({"UsagePlanId": other})),
        ("DisableApiKey", json!({"AccessKeyId": b})),
        ("DeleteApiKey", json!({"AccessKeyId": b})),
    ] {
        wired.app.node.clock.advance_seconds(1);
        let (call, body) = (tc3(&wired), body.to_string());
        assert_eq!(code(&call.call(&wired, action, &body).await), "none", "{action} {body}");
        let revision = newest(&wired).await;
        wired.app.node.clock.advance_seconds(200);
        let again = call.call(&wired, action, &body).await;
        assert_eq!(code(&again), "RequestLimitExceeded", "{action} {body}");
        assert_eq!(newest(&wired).await, revision, "{action}");
    }
}

#[tokio::test]
async fn twenty_calls_of_an_action_pass_in_a_second() {
    let wired = Wired::start(Dialect::Tencent).await;
    let call = tc3(&wired);
    for round in 0..2 {
        for number in 0..25 {
            let expected = if number < 20 { "none" } else { "RequestLimitExceeded" };
            assert_eq!(
                code(&call.call(&wired, "DescribeApiKeysStatus", "{}").await),
                expected,
                "{round} {number}"
            );
        }
        // Another action has a count of its own, and a wrong signature counts for nobody.
        assert_eq!(code(&call.call(&wired, "DescribeUsagePlansStatus", "{}").await), "none");
        wired.app.node.clock.advance_seconds(1);
        let stranger = Tc3 { secret: "x", ..tc3(&wired) };
        for _ in 0..3 {
            assert_eq!(
                code(&stranger.call(&wired, "DescribeApiKeysStatus", "{}").await),
                "AuthFailure.SignatureFailure"
            );
        }
    }
}

#[tokio::test]
async fn another_tenants_keys_and_plans_do_not_exist_and_a_revoked_caller_is_nobody() {
    let wired = Wired::start(Dialect::Tencent).await;
    assert_eq!(wired.app.root("POST", "/v1/orgs", json!({"name": "acme"})).await.status, 201);
    let acme = async |path: &str, body: Value| {
        let headers = [("keywright-org", "acme")];
        wired.app.call(keywright_testkit::ROOT, "POST", path, &headers, body).await.json()
    };
    acme("/v1/keyspaces", json!({"name": "default"})).await;
    let key = acme("/v1/keys", json!({"name": "theirs", "access_id": "AKIDtheirs"})).await["key"].clone();
    let plan = acme("/v1/plans", json!({"name": "theirs", "limits": [], "quota": null})).await["id"].clone();
    assert!(key["id"].is_string() && plan.is_string(), "{key} {plan}");
    for id in [json!("AKIDtheirs"), key["id"].clone()] {
        for action in ["DescribeApiKey", "EnableApiKey", "DisableApiKey", "UpdateApiKey", "DeleteApiKey"] {
            let refused = refusal(&wired, action, json!({"AccessKeyId": id})).await;
            assert_eq!(refused, "ResourceNotFound.InvalidAccessKeyId", "{action}");
        }
    }
    for action in ["DescribeUsagePlan", "ModifyUsagePlan", "DeleteUsagePlan", "DescribeUsagePlanSecretIds"] {
        let refused = refusal(&wired, action, json!({"UsagePlanId": plan})).await;
        assert_eq!(refused, "ResourceNotFound.InvalidUsagePlan", "{action}");
    }
    assert_eq!(listed(&wired, json!([])).await, Vec::<String>::new());
    let (mine, _) = pair(&wired, "mine").await;
    let bind = async |keys: Value, plan: &Value| {
        refusal(&wired, "BindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": keys})).await
    };
    assert_eq!(bind(json!([mine]), &plan).await, "ResourceNotFound.InvalidUsagePlan");
    let own = result(&wired, "CreateUsagePlan", json!({"UsagePlanName": "own"})).await["UsagePlanId"].clone();
    // All or nothing: the key that is there stays unbound.
    assert_eq!(bind(json!([mine, "AKIDtheirs"]), &own).await, "ResourceNotFound.InvalidAccessKeyId");
    assert_eq!(
        result(&wired, "DescribeUsagePlan", json!({"UsagePlanId": own})).await["BindSecretIdTotalCount"],
        0
    );

    let admin = wired.app.root("GET", &format!("/v1/keys?access_id={ADMIN_ID}"), Value::Null).await.json();
    let path = format!("/v1/keys/{}/revoke", admin["items"][0]["id"].as_str().unwrap());
    assert_eq!(wired.app.root("POST", &path, json!({})).await.status, 200);
    assert_eq!(refusal(&wired, "DescribeApiKeysStatus", json!({})).await, "AuthFailure.SecretIdNotFound");
}

#[tokio::test]
async fn bad_input_gets_the_vendors_code_and_changes_nothing() {
    let wired = Wired::start(Dialect::Tencent).await;
    pair(&wired, "there").await;
    let head = newest(&wired).await;
    let long = "x".repeat(300);
    for (action, body, expected) in [
        ("CreateApiKey", "{".to_owned(), "InvalidParameter"),
        ("CreateApiKey", "[1]".to_owned(), "InvalidParameter"),
        ("CreateApiKey", r#"{"SecretName":"a","SecretName":"b"}"#.to_owned(), "InvalidParameter"),
        ("CreateApiKey", json!({"SecretName": long}).to_string(), "InvalidParameter.FormatError"),
        ("CreateApiKey", json!({"SecretName": {"a": 1}}).to_string(), "InvalidParameter"),
        ("DescribeApiKeysStatus", json!({"Limit": "x"}).to_string(), "InvalidParameter"),
        ("DescribeApiKeysStatus", json!({"Limit": 1.5}).to_string(), "InvalidParameter"),
        ("DescribeApiKeysStatus", json!({"Limit": 101}).to_string(), "InvalidParameterValue"),
        ("DescribeApiKeysStatus", json!({"Limit": 0}).to_string(), "InvalidParameterValue"),
        ("DescribeApiKeysStatus", json!({"Offset": -1}).to_string(), "InvalidParameterValue"),
        ("DescribeApiKeysStatus", json!({"Filters": "x"}).to_string(), "InvalidParameter"),
        ("DescribeApiKeysStatus", json!({"Filters": [{"Name": "Status"}]}).to_string(), "MissingParameter"),
        (
            "DescribeApiKeysStatus",
            json!({"Filters": [{"Name": "Status", "Values": [1]}]}).to_string(),
            "InvalidParameter",
        ),
        (
            "DescribeApiKeysStatus",
            json!({"Filters": [{"Name": "Status", "Values": [], "x": 1}]}).to_string(),
            "UnknownParameter",
        ),
        ("DeleteApiKey", json!({"AccessKeyId": "a", "Force": true}).to_string(), "UnknownParameter"),
        ("DeleteApiKey", json!({"AccessKeyId": long}).to_string(), "ResourceNotFound.InvalidAccessKeyId"),
        ("EnableApiKey", json!({"AccessKeyId": 7}).to_string(), "InvalidParameter"),
        ("DisableApiKey", "{}".to_owned(), "MissingParameter"),
        (
            "DisableApiKey",
            json!({"AccessKeyId": ADMIN_ID}).to_string(),
            "ResourceNotFound.InvalidAccessKeyId",
        ),
        ("DeleteApiKey", json!({"AccessKeyId": ADMIN_ID}).to_string(), "ResourceNotFound.InvalidAccessKeyId"),
        ("CreateUsagePlan", json!({"UsagePlanName": long}).to_string(), "InvalidParameter.FormatError"),
        (
            "CreateUsagePlan",
            json!({"UsagePlanName": "a", "MaxRequestNum": "many"}).to_string(),
            "InvalidParameter",
        ),
        (
            "CreateUsagePlan",
            json!({"UsagePlanName": "a", "Tags": [{"Key": "a", "Value": "b"}]}).to_string(),
            "UnsupportedOperation",
        ),
        ("BindSecretIds", json!({"UsagePlanId": "usagePlan-abcdefgh"}).to_string(), "MissingParameter"),
        ("BindSecretIds", json!({"UsagePlanId": "x", "AccessKeyIds": "x"}).to_string(), "InvalidParameter"),
        ("BindSecretIds", json!({"AccessKeyIds": ["x"]}).to_string(), "MissingParameter"),
    ] {
        wired.app.node.clock.advance_seconds(1);
        assert_eq!(code(&tc3(&wired).call(&wired, action, &body).await), expected, "{action} {body}");
    }
    assert_eq!(newest(&wired).await, head, "nothing was changed");
}

//! Tencent Cloud's usage plans: how they bind keys and limit them.

use keywright_server::dialects::Dialect;
use serde_json::{Value, json};

use super::Wired;
use super::tencent::{refusal, result};
use super::tencent_keys::pair;

async fn plan(wired: &Wired, body: Value) -> Value {
    result(wired, "CreateUsagePlan", body).await["UsagePlanId"].clone()
}

#[tokio::test]
async fn a_plan_is_made_shown_changed_and_deleted_when_nothing_is_bound() {
    let wired = Wired::start(Dialect::Tencent).await;
    let made = result(
        &wired,
        "CreateUsagePlan",
        json!({"UsagePlanName": "gold", "UsagePlanDesc": "for friends", "MaxRequestNum": 100, "MaxRequestNumPreSec": 5}),
    )
    .await;
    let id = &made["UsagePlanId"];
    assert_eq!(
        made,
        json!({"UsagePlanId": id, "UsagePlanName": "gold", "UsagePlanDesc": null, "MaxRequestNum": 100,
            "MaxRequestNumPreSec": 5, "CreatedTime": "2026-11-22T12:00:01Z", "ModifiedTime": "2026-11-22T12:00:01Z",
            "BindSecretIdTotalCount": 0, "BindSecretIds": [], "BindEnvironmentTotalCount": 0, "BindEnvironments": [],
            "Tags": null})
    );
    let rest =
        wired.app.root("GET", &format!("/v1/plans/{}", id.as_str().unwrap()), Value::Null).await.json();
    assert_eq!(rest["quota"]["max"], 100);
    assert_eq!((&rest["limits"][0]["max"], &rest["limits"][0]["per_seconds"]), (&json!(5), &json!(1)));

    let (a, _) = pair(&wired, "a").await;
    let (b, _) = pair(&wired, "b").await;
    let both = json!({"UsagePlanId": id, "AccessKeyIds": [a, b]});
    assert_eq!(result(&wired, "BindSecretIds", both.clone()).await, true);
    assert_eq!(
        refusal(&wired, "BindSecretIds", both.clone()).await,
        "UnsupportedOperation.AlreadyBindUsagePlan"
    );
    let shown = result(&wired, "DescribeUsagePlan", json!({"UsagePlanId": id})).await;
    assert_eq!((&shown["BindSecretIdTotalCount"], &shown["BindSecretIds"]), (&json!(2), &json!([b, a])));
    let keys = result(&wired, "DescribeUsagePlanSecretIds", json!({"UsagePlanId": id, "Limit": 1})).await;
    let expected =
        json!({"TotalCount": 2, "AccessKeyList": [{"SecretName": "b", "AccessKeyId": b, "Status": 1}]});
    assert_eq!(keys, expected);

    let changed =
        result(&wired, "ModifyUsagePlan", json!({"UsagePlanId": id, "UsagePlanName": "silver"})).await;
    assert_eq!((&changed["UsagePlanName"], &changed["MaxRequestNum"]), (&json!("silver"), &json!(100)));
    let off = json!({"UsagePlanId": id, "MaxRequestNum": -1, "MaxRequestNumPreSec": -1});
    let changed = result(&wired, "ModifyUsagePlan", off).await;
    assert_eq!((&changed["MaxRequestNumPreSec"], &changed["MaxRequestNum"]), (&json!(-1), &json!(-1)));
    assert_eq!(changed["BindSecretIds"], Value::Null);

    let only = json!({"UsagePlanId": id});
    assert_eq!(refusal(&wired, "DeleteUsagePlan", only.clone()).await, "UnsupportedOperation.UsagePlanInUse");
    result(&wired, "DisableApiKey", json!({"AccessKeyId": a})).await;
    assert_eq!(
        refusal(&wired, "DeleteApiKey", json!({"AccessKeyId": a})).await,
        "UnsupportedOperation.ResourceIsInUse"
    );
    assert_eq!(result(&wired, "UnBindSecretIds", both).await, true);
    assert_eq!(result(&wired, "DeleteUsagePlan", only.clone()).await, true);
    assert_eq!(refusal(&wired, "DescribeUsagePlan", only).await, "ResourceNotFound.InvalidUsagePlan");
    assert_eq!(result(&wired, "DeleteApiKey", json!({"AccessKeyId": a})).await, true);
}

#[tokio::test]
async fn a_bound_plan_limits_each_of_its_keys_at_verification() {
    let wired = Wired::start(Dialect::Tencent).await;
    let plan =
        plan(&wired, json!({"UsagePlanName": "p", "MaxRequestNum": 5, "MaxRequestNumPreSec": 2})).await;
    let (a, a_secret) = pair(&wired, "a").await;
    let (b, b_secret) = pair(&wired, "b").await;
    result(&wired, "BindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [a, b]})).await;
    let verify = async |secret: &str| wired.verified(json!({"secret": secret})).await;
    for (secret, expected) in
        [(&a_secret, "allowed"), (&a_secret, "allowed"), (&a_secret, "rate_limited"), (&b_secret, "allowed")]
    {
        assert_eq!(verify(secret).await, expected);
    }
    let mut answers = Vec::new();
    for _ in 0..5 {
        wired.app.node.clock.advance_seconds(2);
        answers.push(verify(&a_secret).await);
    }
    assert_eq!(answers, ["allowed", "allowed", "allowed", "quota_exceeded", "quota_exceeded"]);
    // Thirty days on it is still used up: the count never begins anew.
    wired.app.node.clock.advance_seconds(30 * 86_400);
    assert_eq!(verify(&a_secret).await, "quota_exceeded");
    result(&wired, "UnBindSecretIds", json!({"UsagePlanId": plan, "AccessKeyIds": [a]})).await;
    assert_eq!(verify(&a_secret).await, "allowed");
}

#[tokio::test]
async fn what_another_wire_set_on_a_plan_survives() {
    let wired = Wired::start(Dialect::Tencent).await;
    let limits = json!([{"name": "hourly", "max": 9, "per_seconds": 3600}]);
    let quota = json!({"max": 7, "period": "month", "time_zone": "Europe/Berlin"});
    let made = wired
        .app
        .root("POST", "/v1/plans", json!({"name": "p", "limits": limits, "quota": quota}))
        .await
        .json();
    let id = &made["id"];
    let shown = result(&wired, "DescribeUsagePlan", json!({"UsagePlanId": id})).await;
    assert_eq!((&shown["MaxRequestNumPreSec"], &shown["MaxRequestNum"]), (&json!(-1), &json!(-1)));
    let as_shown =
        json!({"UsagePlanId": id, "UsagePlanName": "p", "MaxRequestNum": -1, "MaxRequestNumPreSec": -1});
    result(&wired, "ModifyUsagePlan", as_shown).await;
    result(&wired, "ModifyUsagePlan", json!({"UsagePlanId": id, "MaxRequestNumPreSec": 3})).await;
    let after =
        wired.app.root("GET", &format!("/v1/plans/{}", id.as_str().unwrap()), Value::Null).await.json();
    assert_eq!(after["quota"], made["quota"]);
    let expected = json!([limits[0], {"name": "per_second", "max": 3, "per_seconds": 1}]);
    assert_eq!(after["limits"], expected);
}

#[tokio::test]
async fn plans_are_listed_by_their_filters() {
    let wired = Wired::start(Dialect::Tencent).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(plan(&wired, json!({"UsagePlanName": name})).await);
    }
    for (filters, expected) in [
        (json!([]), vec!["one", "two", "three"]),
        (json!([{"Name": "UsagePlanId", "Values": [ids[1]]}]), vec!["two"]),
        (json!([{"Name": "UsagePlanName", "Values": ["one", "three"]}]), vec!["one", "three"]),
        (json!([{"Name": "NotServiceId", "Values": ["service-x"]}]), vec!["one", "two", "three"]),
        (json!([{"Name": "NotApiId", "Values": ["api-x"]}]), vec!["one", "two", "three"]),
        (json!([{"Name": "Environment", "Values": ["release"]}]), vec![]),
    ] {
        let found = result(&wired, "DescribeUsagePlansStatus", json!({"Filters": filters})).await;
        let set = found["UsagePlanStatusSet"].as_array().unwrap();
        let names: Vec<&str> = set.iter().map(|plan| plan["UsagePlanName"].as_str().unwrap()).collect();
        assert_eq!((names.len(), names), (expected.len(), expected), "{filters}");
    }
    let page = result(&wired, "DescribeUsagePlansStatus", json!({"Limit": 1, "Offset": 2})).await;
    assert_eq!(page["TotalCount"], 3);
    assert_eq!(page["UsagePlanStatusSet"][0]["UsagePlanName"], "three");
}

//! Lists of keys: filters, pages and cursors; parameters that are refused.

use keywright_testkit::TestApp;
use serde_json::{Value, json};

use super::{check, items, made, other_org};

async fn names(app: &TestApp, query: &str) -> Vec<String> {
    let reply = app.root("GET", &format!("/v1/keys?{query}"), Value::Null).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.json());
    let mut names: Vec<_> = reply.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_filter_narrows_the_list() {
    let app = TestApp::start().await;
    app.root("POST", "/v1/keyspaces", json!({"name": "live", "secret_prefix": "lv"})).await;
    let role = app
        .root(
            "POST",
            "/v1/roles",
            json!({"name": "r", "grants": [{"effect": "allow", "actions": ["put"], "resources": ["b/**"]}]}),
        )
        .await
        .json();
    let plan = app.root("POST", "/v1/plans", json!({"name": "p"})).await.json();
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
    let alpha = made(&app, json!({"name": "alpha", "grants": grants, "labels": {"team": "x"}, "external_id": "e1", "access_id": "AKID-1"})).await;
    made(&app, json!({"name": "beta", "keyspace": "live", "roles": [role["id"]], "plans": [plan["id"]]}))
        .await;
    let owned = json!({"name": "gamma", "owner": {"external_id": "u"}, "expires_at": "2027-01-01T00:00:00Z", "ip_allowlist": ["10.0.0.0/8"], "grants": grants});
    let gamma = made(&app, owned).await;
    app.root("POST", &format!("{}/disable", gamma.path()), Value::Null).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), vec!["alpha", "beta", "gamma"]),
        ("keyspace=live".to_owned(), vec!["beta"]),
        ("state=disabled".to_owned(), vec!["gamma"]),
        ("state=active&limit=200".to_owned(), vec!["alpha", "beta"]),
        (format!("owner={}", text(&gamma.view["owner"])), vec!["gamma"]),
        (format!("role={}", text(&role["id"])), vec!["beta"]),
        (format!("plan={}", text(&plan["id"])), vec!["beta"]),
        (format!("number={}", alpha.view["number"]), vec!["alpha"]),
        ("access_id=AKID-1".to_owned(), vec!["alpha"]),
        ("external_id=e1".to_owned(), vec!["alpha"]),
        ("q=ALP".to_owned(), vec!["alpha"]),
        (format!("q={}", gamma.id), vec!["gamma"]),
        ("label.team=x".to_owned(), vec!["alpha"]),
        ("label.team=y".to_owned(), vec![]),
        ("expires_before=2027-06-01T00:00:00Z".to_owned(), vec!["gamma"]),
        ("created_by=root&kind=api".to_owned(), vec!["alpha", "beta", "gamma"]),
        ("kind=management".to_owned(), vec![]),
        ("updated_since=2030-01-01T00:00:00Z".to_owned(), vec![]),
        ("last_used_before=2030-01-01T00:00:00Z".to_owned(), vec!["alpha", "beta", "gamma"]),
        ("can_action=get&can_resource=a/7".to_owned(), vec!["alpha"]),
        ("can_action=put&can_resource=b".to_owned(), vec!["beta"]),
        ("can_ip=11.0.0.1".to_owned(), vec!["alpha", "beta"]),
    ] {
        assert_eq!(names(&app, &query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_cursors_stay_in_their_list() {
    let app = TestApp::start().await;
    other_org(&app, "acme").await;
    for number in 0..5 {
        app.node.clock.advance_ms(2);
        made(&app, json!({"name": format!("k{number}")})).await;
    }
    let first = app.root("GET", "/v1/keys?limit=2&q=k", Value::Null).await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(first["items"][0]["name"], "k4", "newest first");
    assert_eq!(names(&app, &format!("limit=2&q=k&cursor={cursor}")).await, ["k1", "k2"]);
    for wrong in
        [format!("cursor={cursor}"), format!("q=k&state=active&cursor={cursor}"), "cursor=x".to_owned()]
    {
        check(&app.root("GET", &format!("/v1/keys?{wrong}"), Value::Null).await, 400, "invalid_cursor");
    }
    let path = format!("/v1/keys?limit=2&q=k&cursor={cursor}");
    let elsewhere =
        app.call(keywright_testkit::ROOT, "GET", &path, &[("keywright-org", "acme")], Value::Null).await;
    check(&elsewhere, 400, "invalid_cursor");
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let app = TestApp::start().await;
    let get = async |query: &str| app.root("GET", &format!("/v1/keys?{query}"), Value::Null).await;
    let unknown = get("stat=active&ownr=x").await;
    check(&unknown, 400, "unknown_parameter");
    assert_eq!(items(&unknown), ["stat unknown_parameter", "ownr unknown_parameter"]);
    assert!(unknown.json().to_string().contains("did you mean `state`?"));
    check(&get("state=active&state=active").await, 400, "duplicate_parameter");
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "state=on",
        "owner=x",
        "number=0x1",
        "expires_before=tomorrow",
        "can_ip=1",
        "can_action=a%20b",
        "can_resource=a",
        "created_by=me",
        "keyspace=nothing",
    ] {
        check(&get(query).await, 400, "invalid_parameter");
    }
    for (query, detail) in [
        ("number=0x1", "must be a whole number"),
        ("limit=x", "must be a whole number from 1 to 200"),
        ("can_ip=1", "must be an IPv4 or IPv6 address"),
        ("label=x", "did you mean `label.NAME`?"),
    ] {
        let said = get(query).await.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(said.contains(detail), "{query}: {said}");
    }
    check(&app.root("GET", "/v1/whoami?x=1", Value::Null).await, 400, "unknown_parameter");
    check(&app.root("POST", "/v1/keys?dryrun=true", json!({"name": "k"})).await, 400, "unknown_parameter");
    check(&app.root("POST", "/v1/keys?dry_run=yes", json!({"name": "k"})).await, 400, "invalid_parameter");
    assert_eq!(names(&app, "").await, [""; 0], "nothing was made");
}

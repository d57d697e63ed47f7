//! What is not in force everywhere yet, and a node that may not answer.

use keywright_testkit::{ROOT, TestApp, TestNode};
use serde_json::{Value, json};

use super::{api_key, check, manager};

#[tokio::test]
async fn a_write_that_takes_away_and_is_not_in_force_everywhere_says_so_with_its_monitor() {
    let app = TestApp::around(TestNode::start().await.stalled());
    let made = app.root("POST", "/v1/keys", json!({"name": "k"})).await;
    // Nothing is taken away by it: the status stays as it is.
    assert_eq!((made.status, made.header("keywright-enforced"), made.header("link")), (201, "pending", ""));
    let path = format!("/v1/keys/{}", made.json()["key"]["id"].as_str().unwrap());
    let now = [("prefer", "wait=0")];
    let reply = app.call(ROOT, "PATCH", &path, &now, json!({"enabled": false})).await;
    assert_eq!((reply.status, reply.header("keywright-enforced")), (202, "pending"));
    assert_eq!((&reply.json()["enabled"], reply.header("etag")), (&json!(false), "\"2\""), "the same body");
    let revision = reply.header("keywright-revision").to_owned();
    let monitor = format!("/v1/revisions/{revision}");
    assert_eq!(reply.header("link"), format!("<{monitor}>; rel=\"monitor\""));
    let status = app.root("GET", &monitor, Value::Null).await.json();
    assert_eq!(
        (&status["revision"], &status["enforced"], &status["missing"], &status["enforced_since"]),
        (&json!(revision), &json!("pending"), &json!(1), &Value::Null),
        "{status}"
    );
    let other = app.root("POST", "/v1/keys", json!({"name": "l"})).await.json()["key"]["id"].clone();
    let other = format!("/v1/keys/{}", other.as_str().unwrap());
    let rotate = json!({"overlap_seconds": 0});
    for (verb, path, body) in [
        ("POST", format!("{other}/rotate"), rotate),
        ("POST", format!("{path}/revoke"), json!({})),
        ("DELETE", other, Value::Null),
    ] {
        let reply = app.call(ROOT, verb, &path, &now, body).await;
        assert_eq!((reply.status, reply.header("keywright-enforced")), (202, "pending"), "{verb} {path}");
        assert!(reply.header("link").ends_with("; rel=\"monitor\""), "{verb} {path}");
    }
}

#[tokio::test]
async fn a_monitor_tells_since_when_a_write_is_in_force() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let reply = app.root("PATCH", &key.path(), json!({"enabled": false})).await;
    assert_eq!((reply.status, reply.header("keywright-enforced"), reply.header("link")), (200, "all", ""));
    let since = app.root("GET", &key.path(), Value::Null).await.json()["updated_at"].clone();
    app.node.clock.advance_seconds(60);
    let monitor = format!("/v1/revisions/{}", reply.header("keywright-revision"));
    let status = app.root("GET", &monitor, Value::Null).await.json();
    assert_eq!(
        (&status["enforced"], &status["missing"], &status["enforced_since"]),
        (&json!("all"), &json!(0), &since),
        "{status}"
    );
    check(&app.root("GET", "/v1/revisions/none", Value::Null).await, 404, "not_found");
}

#[tokio::test]
async fn a_node_without_its_lease_verifies_nothing_and_still_manages() {
    let app = TestApp::start().await;
    let key = api_key(&app).await;
    let asker = manager(&app, "default", &["keys.verify"]).await;
    let question = json!({"secret": key.secret, "action": "get", "resource": "devices/1"});
    app.node.verifier.lease().drop_now();
    for bearer in [ROOT, &asker.secret] {
        for (path, body) in [("/v1/verify", question.clone()), ("/v1/verify/batch", json!([question]))] {
            let reply = app.call(bearer, "POST", path, &[], body).await;
            check(&reply, 503, "verifier_not_current");
            assert_eq!(reply.header("retry-after"), "1", "{path}");
        }
    }
    let wrong = json!({"secret": "kw_nobody"});
    check(&app.root("POST", "/v1/verify", wrong).await, 503, "verifier_not_current");
    assert_eq!(app.root("GET", &key.path(), Value::Null).await.status, 200);
    app.node.verifier.lease().renew(u64::MAX, u64::MAX);
    assert_eq!(app.root("POST", "/v1/verify", question).await.json()["allowed"], true);
}

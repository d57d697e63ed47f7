//! How many calls of the feed are under way at once, and how long one may take.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use keywright_server::listen::Peer;
use keywright_testkit::TestApp;
use serde_json::json;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::feed::{ask, asking, end, follower, lines, since};
use super::{api_key, check, manager, other_org};

#[tokio::test]
async fn an_organizations_followers_have_so_many_calls_under_way_and_the_others_their_own() {
    let app = Arc::new(TestApp::start().await);
    other_org(&app, "other").await;
    let (ours, theirs) =
        (manager(&app, "default", &["feed.read"]).await, manager(&app, "other", &["feed.read"]).await);
    let at = end(&lines(&ask(&app, &ours.secret, json!({})).await));
    let mut waiting = JoinSet::new();
    for _ in 0..260 {
        let (app, bearer, at) = (Arc::clone(&app), ours.secret.clone(), at.clone());
        waiting.spawn(async move { ask(&app, &bearer, json!({"after": at, "wait_seconds": 5})).await });
    }
    for _ in 256..260 {
        let refused = waiting.join_next().await.unwrap().unwrap();
        check(&refused, 429, "too_many_requests");
        assert_eq!(refused.header("retry-after"), "1");
    }
    assert_eq!(since(&ask(&app, &theirs.secret, json!({"after": at})).await).len(), 1);
    api_key(&app).await;
    while let Some(told) = waiting.join_next().await {
        assert_eq!(since(&told.unwrap()).len(), 2);
    }
    assert_eq!(since(&ask(&app, &ours.secret, json!({"after": at})).await).len(), 2);
}

/// Asks for everything, and leaves the answer lying.
async fn leave_lying(app: &TestApp, bearer: &str) -> Response {
    let request = Request::post("/v1/feed")
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", "application/json")
        .extension(Peer(([127, 0, 0, 1], 40_000).into()));
    let request = request.body(Body::from(asking(json!({})).to_string())).unwrap();
    keywright_server::router(app.state().clone()).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_that_nobody_takes_is_cut_off_and_holds_the_next_one_up_no_longer() {
    let app = TestApp::start().await;
    // More lines than are made ahead.
    for _ in 0..400 {
        api_key(&app).await;
    }
    let follower = follower(&app, &["*"]).await;
    tokio::time::pause();
    let lying = leave_lying(&app, &follower.secret).await;
    assert_eq!(lying.status(), 200);
    let busy = ask(&app, &follower.secret, json!({})).await;
    check(&busy, 429, "too_many_requests");
    tokio::time::sleep(Duration::from_secs(31)).await;
    end(&lines(&ask(&app, &follower.secret, json!({})).await));
    let taken = lying.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(taken.to_vec()).unwrap();
    assert!(text.starts_with("{\"snapshot\"") && !text.contains("\"end\""), "{text}");
}

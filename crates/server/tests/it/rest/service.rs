//! What needs no key, and what every path does.

use keywright_testkit::TestApp;

use super::{api_key, check};

#[tokio::test]
async fn health_figures_and_documents_are_open() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.raw("GET", path, &[], "").await.json()["status"], "ok", "{path}");
    }
    let key = api_key(&app).await;
    app.root("POST", "/v1/verify", serde_json::json!({"secret": key.secret})).await;
    let figures = app.raw("GET", "/metrics", &[], "").await;
    let text = String::from_utf8(figures.body.to_vec()).unwrap();
    for line in [
        "keywright_verdicts_total{code=\"allowed\"} 1",
        "keywright_http_requests_total{route=\"createKey\",status=\"201\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains(&key.id) && !text.contains(&key.secret));
    let document = app.raw("GET", "/openapi.json", &[], "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_pages_are_in_the_binary_and_keep_to_a_strict_policy() {
    let app = TestApp::start().await;
    let page = app.raw("GET", "/docs", &[], "").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    let linked = text.split('"').filter(|part| part.starts_with("/docs/"));
    for path in linked {
        let file = app.raw("GET", path, &[], "").await;
        assert!(file.status == 200 && file.body.len() > 100, "{path}");
    }
    check(&app.raw("GET", "/docs/nothing.js", &[], "").await, 404, "not_found");
}

#[tokio::test]
async fn a_path_says_which_methods_it_has() {
    let app = TestApp::start().await;
    let reply = app.raw("PUT", "/v1/keys", &[], "").await;
    check(&reply, 405, "method_not_allowed");
    assert_eq!((reply.header("allow"), reply.header("cache-control")), ("GET, HEAD, POST", "no-store"));
    check(&app.raw("GET", "/v1/verify", &[], "").await, 405, "method_not_allowed");
    check(&app.raw("BREW", "/v1/keys/self/revoke", &[], "").await, 405, "method_not_allowed");
    assert_eq!(app.raw("HEAD", "/healthz", &[], "").await.status, 200);
    check(&app.raw("GET", "/v1/keys/", &[], "").await, 404, "not_found");
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..65).map(|number| format!("x-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    check(&app.raw("GET", "/healthz", &headers, "").await, 431, "headers_too_large");
    assert_eq!(app.raw("GET", "/healthz", &headers[..64], "").await.status, 200);
    assert_eq!(app.raw("GET", "/healthz", &[("x", &"v".repeat(15_000))], "").await.status, 200);
    check(&app.raw("GET", "/healthz", &[("x", &"v".repeat(17_000))], "").await, 431, "headers_too_large");
}

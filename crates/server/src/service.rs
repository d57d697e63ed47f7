//! What needs no key: the document and its pages, health, figures.

use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::rest::answer;
use crate::rest::call::OpenCall;
use crate::rest::problem::{NOT_FOUND, Problem, STORE_UNAVAILABLE, VERIFIER_NOT_CURRENT};
use crate::{assets, metrics as figures, openapi};

/// Scripts and styles from here only. The page sets styles on elements, which is all that is allowed inline.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Keywright</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

const START: &str = r##"window.onload = function () {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null
  });
};
"##;

/// The OpenAPI document.
pub(crate) async fn openapi(_call: OpenCall) -> Result<Response, Problem> {
    answer::ok(openapi::document())
}

/// The page of `/docs`.
pub(crate) async fn docs_page(_call: OpenCall) -> Result<Response, Problem> {
    Ok(guarded(([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()))
}

/// What the page is made of.
pub(crate) async fn docs_file(call: OpenCall) -> Result<Response, Problem> {
    let name = call.asked.segment("file")?;
    if name == "start.js" {
        return Ok(guarded(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], START).into_response()));
    }
    let asset = assets::asset(name).ok_or_else(|| Problem::new(NOT_FOUND).detail("no such file"))?;
    let mut response = ([(CONTENT_TYPE, asset.content_type)], asset.bytes.as_slice()).into_response();
    // Whatever `Accept-Encoding` says: every browser reads gzip, and nothing else is stored.
    if asset.gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    Ok(guarded(response))
}

fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

/// Whether the process runs.
pub(crate) async fn healthz(_call: OpenCall) -> Result<Response, Problem> {
    answer::ok(&json!({"status": "ok"}))
}

/// Whether it can answer: the store can be reached, the index is loaded, and this node holds a lease.
pub(crate) async fn readyz(call: OpenCall) -> Result<Response, Problem> {
    let until_ns = call.state.verifier().lease().until_ns();
    if until_ns <= call.state.clock().boot_ns() {
        return Err(Problem::new(VERIFIER_NOT_CURRENT).retry_after(1));
    }
    match call.state.control().ready().await {
        Ok(()) => answer::ok(&json!({"status": "ok"})),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Problem::new(STORE_UNAVAILABLE).retry_after(1))
        }
    }
}

/// Figures for Prometheus.
pub(crate) async fn metrics(call: OpenCall) -> Result<Response, Problem> {
    let text = call.state.common().metrics.text(&call.state.gauges());
    Ok((StatusCode::OK, [(CONTENT_TYPE, figures::CONTENT_TYPE)], text).into_response())
}

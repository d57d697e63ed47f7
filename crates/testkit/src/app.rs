//! A node with its wires, called in process: what a client sends and what it gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use keywright_model::secret::Entropy;
use keywright_server::dialects::{self, Dialect};
use keywright_server::gateway::Gateway;
use keywright_server::listen::Peer;
use keywright_server::{BODY_TIMEOUT, Parts, ServerState};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{ROOT, SeededEntropy, TestNode, canary};

/// A node with REST and every dialect.
pub struct TestApp {
    /// The node behind the wires.
    pub node: TestNode,
    state: ServerState,
    rest: Router,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: axum::http::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; `null` when it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }
}

impl TestApp {
    /// A new installation with its wires.
    pub async fn start() -> Self {
        Self::around(TestNode::start().await)
    }

    /// The wires of a node.
    pub fn around(node: TestNode) -> Self {
        Self::behind(node, Gateway::default())
    }

    /// The wires of a node that answers these gateways.
    pub fn behind(node: TestNode, gateway: Gateway) -> Self {
        let state = ServerState::new(Parts {
            control: node.control.clone(),
            verifier: Arc::clone(&node.verifier),
            clock: Arc::<crate::ManualClock>::clone(&node.clock),
            boot: [1; 8],
            body_timeout: BODY_TIMEOUT,
            gateway,
            gauges: Box::new(Vec::new),
        });
        let rest = keywright_server::router(state.clone());
        Self { node, state, rest }
    }

    /// What the wires work with.
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// One dialect at `/`, as its clients expect.
    pub fn dialect(&self, dialect: Dialect) -> Router {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(99));
        dialects::router(dialect, self.state.clone(), entropy)
    }

    /// Calls REST as root with a JSON body, or with none when it is `null`.
    pub async fn root(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call(ROOT, method, path, &[], body).await
    }

    /// Calls REST with a bearer credential, more headers and a JSON body, or with none when it is `null`.
    pub async fn call(
        &self,
        bearer: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let authorization = format!("Bearer {bearer}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !body.is_null() && !has_type {
            all.push((
                "content-type",
                if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
            ));
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(&self.rest, method, path, &all, body).await
    }

    /// Calls REST with exactly these headers and bytes.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        self.send(&self.rest, method, path, headers, body.into()).await
    }

    /// Sends a request to a router, from 127.0.0.1.
    pub async fn send(
        &self,
        router: &Router,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).expect("a request is well formed");
        let address: IpAddr = [127, 0, 0, 1].into();
        request.extensions_mut().insert(Peer(SocketAddr::new(address, 40_000)));
        let response = router.clone().oneshot(request).await.expect("a router always answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("an answer is whole").to_bytes();
        let reply = Reply { status: parts.status.as_u16(), headers: parts.headers, body };
        note(&reply);
        reply
    }
}

/// Notes an issued secret for the leak sweep, and keeps what may not hold one.
fn note(reply: &Reply) {
    let issued = serde_json::from_slice::<Value>(&reply.body).ok();
    match issued.as_ref().and_then(|body| body.get("secret")).and_then(Value::as_str) {
        Some(secret) => canary::note_secret(secret),
        None => canary::keep_text(&String::from_utf8_lossy(&reply.body), "answers"),
    }
}

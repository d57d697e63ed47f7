//! The node behind a follower, which decides what the follower's memory cannot: a chosen secret, a signature, a quota.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use axum::response::Response;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use keywright_control::Error;
use keywright_model::id::OrgId;
use keywright_verifier::{AllowanceNeed, QuotaBlock, WeakSecret};

use super::resolver::{Figure, Resolver, Resolving};
use crate::rest::call::Asked;
use crate::rest::headers::{KEYWRIGHT_AT_LEAST, KEYWRIGHT_ORG};
use crate::rest::problem::{Problem, STORE_UNAVAILABLE};
use crate::rest::request_id::X_REQUEST_ID;

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Questions {
    /// `/v1/verify`.
    One,
    /// `/v1/verify/batch`.
    Batch,
}

/// A call that is passed on as it came.
#[derive(Clone, Debug)]
pub struct Passing {
    /// Which call it is.
    pub questions: Questions,
    /// Who asks, and what else the node must know of it.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The node gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the node gave no answer")]
pub struct NodeAway(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What a node answered, or why it did not.
pub type Passed<'a> = Pin<Box<dyn Future<Output = Result<(StatusCode, Bytes), NodeAway>> + Send + 'a>>;

/// The node behind a follower. Bounded in time.
pub trait Node: Send + Sync + std::fmt::Debug {
    /// Has it answer a call.
    fn pass_on(&self, call: Passing) -> Passed<'_>;
}

/// Asks the node with the caller's own credential, and answers what it says.
pub(super) async fn pass_on(
    node: &dyn Node,
    questions: Questions,
    asked: &Asked,
) -> Result<Response, Problem> {
    let kept = [AUTHORIZATION, CONTENT_TYPE, KEYWRIGHT_ORG, KEYWRIGHT_AT_LEAST];
    let mut headers: HeaderMap =
        kept.into_iter().filter_map(|name| Some((name.clone(), asked.headers.get(&name)?.clone()))).collect();
    headers.insert(X_REQUEST_ID, asked.id.clone().into_header());
    let passed = node.pass_on(Passing { questions, headers, body: asked.body.clone() }).await;
    let (status, body) = passed.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "what memory cannot decide was not decided");
        Problem::new(STORE_UNAVAILABLE).detail("the node that decides this cannot be reached").retry_after(1)
    })?;
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Resolves nothing: a follower has no store.
#[derive(Debug)]
pub(super) struct Nowhere;

fn no_store<'a, T: Send + 'a>() -> Resolving<'a, T> {
    Box::pin(std::future::ready(Err(Error::Unavailable("a follower has no store".into()))))
}

impl Resolver for Nowhere {
    fn prove<'a>(&'a self, _asked: &'a WeakSecret, _secret: &'a str) -> Resolving<'a, bool> {
        no_store()
    }

    fn reserve<'a>(&'a self, _block: &'a QuotaBlock) -> Resolving<'a, ()> {
        no_store()
    }

    fn allow<'a>(&'a self, _needs: &'a [AllowanceNeed]) -> Resolving<'a, ()> {
        no_store()
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// A follower answers for one organization, whose keys need not name it. By identifier they may.
    fn org_named<'a>(
        &'a self,
        _bearer: &'a str,
        name: &'a str,
        _address: Option<IpAddr>,
    ) -> Resolving<'a, OrgId> {
        let named = name.parse().map_err(|_| Error::NotFound("organization"));
        Box::pin(std::future::ready(named))
    }

    fn is_root<'a>(&'a self, _bearer: &'a str, _address: Option<IpAddr>) -> Resolving<'a, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

//! From a request to the handler of its route, and back: what every route shares, in one order.
//!
//! Identifier, sizes of headers, route, method · throttling, credential, right · query · body · handler · headers of the
//! answer, figures.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::Response;
use axum::routing::any;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use keywright_control::{Caller, Control, Error};
use keywright_model::secret::Secret;

use crate::gateway;
use crate::listen::Peer;
use crate::metrics::RouteFigures;
use crate::rest::body::{self, PatchType};
use crate::rest::call::{Asked, Call, OpenCall, SelfCall};
use crate::rest::error::is_failed_authentication;
use crate::rest::headers::{KEYWRIGHT_ORG, text};
use crate::rest::problem::{FORBIDDEN, HEADERS_TOO_LARGE, NOT_FOUND, Problem, TOO_MANY_REQUESTS};
use crate::rest::query::Query;
use crate::rest::request_id::{RequestId, X_REQUEST_ID};
use crate::routes::{self, Access, Body, Route};
use crate::state::{Common, ServerState};

/// How many headers a request may have.
pub(crate) const HEADERS_MAX: usize = 64;
/// How many bytes of headers a request may have.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// REST and what needs no key, at `/`.
pub fn router(state: ServerState) -> Router {
    let mut paths: BTreeMap<&'static str, Vec<&'static Route>> = BTreeMap::new();
    for route in routes::all() {
        paths.entry(route.path).or_default().push(route);
    }
    let mut rest = Router::new();
    for (path, routes) in paths {
        let served = Served::new(state.clone(), routes);
        rest = rest.route(path, any(move |request: Request| answer(Arc::clone(&served), request)));
    }
    let asked = Arc::new((state.clone(), RouteFigures::new("gatewayAuth", 200)));
    rest =
        rest.route(gateway::PATH, any(move |request: Request| answer_gateway(Arc::clone(&asked), request)));
    let nowhere = Served::new(state, Vec::new());
    rest.fallback(move |request: Request| answer(Arc::clone(&nowhere), request))
}

/// What is served at one path.
struct Served {
    state: ServerState,
    routes: Vec<(&'static Route, RouteFigures)>,
    /// Of requests for none of them.
    none: RouteFigures,
}

impl Served {
    fn new(state: ServerState, routes: Vec<&'static Route>) -> Arc<Self> {
        let routes = routes.into_iter().map(|route| (route, RouteFigures::new(route.id, route.status)));
        let none = RouteFigures::new("none", http::StatusCode::NOT_FOUND.as_u16());
        Arc::new(Self { state, routes: routes.collect(), none })
    }

    fn find(&self, method: &Method) -> (Option<&'static Route>, &RouteFigures) {
        let found = self.routes.iter().find(|(route, _)| route.verb.matches(method));
        found.map_or((None, &self.none), |(route, figures)| (Some(*route), figures))
    }
}

/// Answers a request to a path.
async fn answer(served: Arc<Served>, request: Request) -> Response {
    let state = &served.state;
    let common = state.common();
    let began = common.clock.boot_ns();
    let id = common.request_ids.of(request.headers());
    let under_v1 = request.uri().path().starts_with("/v1/") || request.uri().path() == "/v1";
    let (route, figures) = served.find(request.method());
    let answered = match route {
        None => Err(missing(&served.routes)),
        Some(route) => answer_route(state, route, request, &id).await,
    };
    let mut response = answered.unwrap_or_else(|problem| problem.respond(&id));
    if under_v1 {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    finished(common, response, id, figures, began)
}

/// Answers a gateway, whatever method it asks with.
async fn answer_gateway(asked: Arc<(ServerState, RouteFigures)>, request: Request) -> Response {
    let (state, figures) = &*asked;
    let common = state.common();
    let began = common.clock.boot_ns();
    let id = common.request_ids.of(request.headers());
    let (parts, _body) = request.into_parts();
    let answered = match check_header_sizes(&parts.headers) {
        Ok(()) => gateway::auth(state.verify(), state.gateway(), &parts).await,
        Err(problem) => Err(problem),
    };
    let mut response = answered.unwrap_or_else(|problem| problem.respond(&id));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    finished(common, response, id, figures, began)
}

pub(crate) fn finished(
    common: &Common,
    mut response: Response,
    id: RequestId,
    figures: &RouteFigures,
    began: u64,
) -> Response {
    response.headers_mut().insert(X_REQUEST_ID, id.into_header());
    let took = common.clock.boot_ns().saturating_sub(began);
    common.metrics.answered(figures, response.status().as_u16(), took);
    response
}

fn missing(routes: &[(&'static Route, RouteFigures)]) -> Problem {
    if routes.is_empty() {
        return Problem::new(NOT_FOUND).detail("no such path");
    }
    Problem::method_not_allowed(&routes::allow(routes.iter().map(|(route, _)| *route)))
}

async fn answer_route(
    state: &ServerState,
    route: &'static Route,
    request: Request,
    id: &RequestId,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    check_header_sizes(&parts.headers)?;
    let address = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let incoming = Incoming { common: state.common(), route, id, address };
    match route.access {
        Access::Open(handler) => {
            let asked = incoming.asked(&mut parts, body).await?;
            handler(OpenCall { asked, state: state.clone() }).await
        }
        Access::Management(action, handler) => {
            let caller = incoming.authenticate(state.control(), &parts.headers).await?;
            // The use case tests it again, on the noun itself and inside its transaction.
            if !caller.may(action) {
                return Err(
                    Problem::new(FORBIDDEN).detail(format!("this key may not do that: it lacks `{action}`"))
                );
            }
            let asked = incoming.asked(&mut parts, body).await?;
            handler(Call { asked, control: state.control().clone(), caller }).await
        }
        Access::Authenticated(handler) => {
            let caller = incoming.authenticate(state.control(), &parts.headers).await?;
            let asked = incoming.asked(&mut parts, body).await?;
            handler(Call { asked, control: state.control().clone(), caller }).await
        }
        Access::KeyItself(handler) => {
            incoming.throttled()?;
            let presented = Secret::new(bearer(&parts.headers)?);
            let asked = incoming.asked(&mut parts, body).await?;
            handler(SelfCall { asked, control: state.control().clone(), presented })
                .await
                .inspect_err(|problem| incoming.note(problem.status() == http::StatusCode::UNAUTHORIZED))
        }
        Access::Verify(handler) => {
            let verify = state.verify();
            let caller = verify.authenticate(&parts.headers, address).await?;
            let asked = incoming.asked(&mut parts, body).await?;
            handler(verify.call(asked, caller)).await
        }
    }
}

pub(crate) fn check_header_sizes(headers: &HeaderMap) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() <= HEADERS_MAX && bytes <= HEADER_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new(HEADERS_TOO_LARGE)
        .detail(format!("at most {HEADERS_MAX} headers and {HEADER_BYTES_MAX} bytes of them")))
}

/// A request that is being taken in.
pub(crate) struct Incoming<'a> {
    pub(crate) common: &'a Common,
    pub(crate) route: &'static Route,
    pub(crate) id: &'a RequestId,
    pub(crate) address: Option<IpAddr>,
}

impl Incoming<'_> {
    /// Finds out who calls.
    async fn authenticate(&self, control: &Control, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.throttled()?;
        let bearer = bearer(headers)?;
        let org = text(headers, &KEYWRIGHT_ORG, "Keywright-Org")?;
        let origin = keywright_control::Origin {
            wire: keywright_control::REST,
            address: self.address,
            request_id: Some(self.id.as_str().to_owned()),
        };
        let caller: Result<Caller, Error> = control.authenticate(bearer, org, origin).await;
        Ok(caller.inspect_err(|error| self.note(is_failed_authentication(error)))?)
    }

    fn throttled(&self) -> Result<(), Problem> {
        throttled(self.common, self.address)
    }

    fn note(&self, failed: bool) {
        if failed {
            note_failure(self.common, self.address);
        }
    }

    /// Reads the rest of the request: path, query, then the body within its bounds.
    pub(crate) async fn asked(&self, parts: &mut Parts, body: axum::body::Body) -> Result<Asked, Problem> {
        let segments = segments(self.route, parts).await?;
        let query = match parts.uri.query() {
            None => Query::default(),
            Some(_) => Query::read(&parts.uri, self.route.query)?,
        };
        let (body, patch) = self.body(&parts.headers, body).await?;
        Ok(Asked {
            route: self.route,
            uri: std::mem::take(&mut parts.uri),
            headers: std::mem::take(&mut parts.headers),
            path: segments,
            query,
            body,
            patch,
            id: self.id.clone(),
            address: self.address,
        })
    }

    async fn body(
        &self,
        headers: &HeaderMap,
        body: axum::body::Body,
    ) -> Result<(bytes::Bytes, Option<PatchType>), Problem> {
        let Some(limit) = self.route.body.limit() else { return Ok((bytes::Bytes::new(), None)) };
        let patch = match self.route.body {
            Body::Patch(_) => Some(body::require_patch(headers)?),
            Body::Json(_) | Body::Verify(_) | Body::Batch(_) => {
                body::require_json(headers)?;
                None
            }
            Body::None | Body::Optional(_) => None,
        };
        let taken = body::take(body, headers, limit, self.common.body_timeout).await?;
        if matches!(self.route.body, Body::Optional(_)) && !taken.is_empty() {
            body::require_json(headers)?;
        }
        Ok((taken, patch))
    }
}

/// Refuses an address that has failed too often lately.
pub(crate) fn throttled(common: &Common, address: Option<IpAddr>) -> Result<(), Problem> {
    let wait = address.and_then(|address| common.throttle.wait_seconds(address, common.clock.boot_ns()));
    let Some(seconds) = wait else { return Ok(()) };
    common.metrics.throttled();
    Err(Problem::new(TOO_MANY_REQUESTS)
        .detail("too many failed authentications from this address")
        .retry_after(seconds))
}

/// Counts a failed authentication.
pub(crate) fn note_failure(common: &Common, address: Option<IpAddr>) {
    if let Some(address) = address {
        common.throttle.failed(address, common.clock.boot_ns());
    }
}

/// The credential of `Authorization: Bearer` (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::unauthenticated(None, "send `Authorization: Bearer` with a management key"));
    };
    let only = values.next().is_none().then(|| value.to_str().ok()).flatten();
    let split = only.and_then(|text| text.split_once(' '));
    match split.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim()) {
        Some(token) if !token.is_empty() => Ok(token),
        _ => Err(Problem::unauthenticated(
            Some("invalid_request"),
            "send `Authorization: Bearer` once, with a management key",
        )),
    }
}

async fn segments(route: &Route, parts: &mut Parts) -> Result<Vec<(String, String)>, Problem> {
    if !route.path.contains('{') {
        return Ok(Vec::new());
    }
    // What does not decode names nothing.
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Problem::new(NOT_FOUND).detail("no such path"))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bearer(values: &[&'static str], expected: Option<&str>) {
        let headers: HeaderMap =
            values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect();
        assert_eq!(bearer(&headers).ok(), expected, "{values:?}");
    }

    #[test]
    fn a_bearer_credential_is_given_once() {
        check_bearer(&["Bearer kw_x"], Some("kw_x"));
        check_bearer(&["bearer  kw_x"], Some("kw_x"));
        check_bearer(&["Bearer "], None);
        check_bearer(&["Basic kw_x"], None);
        check_bearer(&["kw_x"], None);
        check_bearer(&["Bearer a", "Bearer a"], None);
        check_bearer(&[], None);
    }

    #[test]
    fn headers_are_bounded_in_number_and_bytes() {
        let many = |count: usize, length: usize| -> HeaderMap {
            let value = HeaderValue::try_from("v".repeat(length)).unwrap();
            (0..count)
                .map(|n| (http::HeaderName::try_from(format!("x-{n:02}")).unwrap(), value.clone()))
                .collect()
        };
        assert!(check_header_sizes(&many(HEADERS_MAX, 1)).is_ok());
        assert!(check_header_sizes(&many(HEADERS_MAX + 1, 1)).is_err());
        assert!(check_header_sizes(&many(1, HEADER_BYTES_MAX - 8)).is_ok());
        assert!(check_header_sizes(&many(1, HEADER_BYTES_MAX - 7)).is_err());
    }
}

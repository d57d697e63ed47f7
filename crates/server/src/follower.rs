//! What a follower serves beside its application: verifications, a gateway's questions, health and figures. All of it from
//! memory; it has no store and no use cases.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method};
use keywright_control::Clock;
use keywright_verifier::Verifier;
use serde_json::json;

use crate::dispatch::{Incoming, check_header_sizes, finished};
use crate::gateway::{self, Gateway};
use crate::listen::Peer;
use crate::metrics::{self, Gauges, Metrics, RouteFigures};
use crate::rest::answer;
use crate::rest::problem::{NOT_FOUND, Problem, VERIFIER_NOT_CURRENT};
use crate::rest::request_id::{RequestId, RequestIds};
use crate::rest::verify::{Node, VerifyState};
use crate::routes::{self, Access, Route};
use crate::state::Common;
use crate::throttle::Throttle;

/// What the binary, or a test, gives a follower's server.
pub struct FollowerParts {
    /// The follower's index.
    pub verifier: Arc<Verifier>,
    /// Who decides what the index cannot.
    pub node: Arc<dyn Node>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Random bytes of this boot, for request identifiers.
    pub boot: [u8; 8],
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Who may ask at `/gateway/auth`.
    pub gateway: Gateway,
    /// Figures that the binary keeps.
    pub gauges: Gauges,
}

impl std::fmt::Debug for FollowerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FollowerParts(..)")
    }
}

struct Shared {
    verify: VerifyState,
    common: Arc<Common>,
    gateway: Gateway,
    gauges: Gauges,
}

/// What is served at one path.
#[derive(Clone, Copy)]
enum Served {
    Verify(&'static Route),
    Gateway,
    Health,
    Readiness,
    Figures,
    Nothing,
}

/// Every route of a follower, at `/`.
pub fn router(parts: FollowerParts) -> Router {
    let FollowerParts { verifier, node, clock, boot, body_timeout, gateway, gauges } = parts;
    let common = Arc::new(Common {
        clock,
        throttle: Throttle::default(),
        metrics: Metrics::default(),
        request_ids: RequestIds::new(boot),
        body_timeout,
    });
    let verify = VerifyState::following(verifier, node, Arc::clone(&common));
    let shared = Arc::new(Shared { verify, common, gateway, gauges });
    let mut served = vec![
        (gateway::PATH, "gatewayAuth", Served::Gateway),
        ("/healthz", "healthz", Served::Health),
        ("/readyz", "readyz", Served::Readiness),
        ("/metrics", "metrics", Served::Figures),
    ];
    let verifying = routes::all().filter(|route| matches!(route.access, Access::Verify(_)));
    served.extend(verifying.map(|route| (route.path, route.id, Served::Verify(route))));
    let mut router = Router::new();
    for (path, id, what) in served {
        let here = Arc::new((Arc::clone(&shared), what, RouteFigures::new(id, 200)));
        router = router.route(path, any(move |request: Request| answer(Arc::clone(&here), request)));
    }
    let nowhere = Arc::new((shared, Served::Nothing, RouteFigures::new("none", 404)));
    router.fallback(move |request: Request| answer(Arc::clone(&nowhere), request))
}

async fn answer(here: Arc<(Arc<Shared>, Served, RouteFigures)>, request: Request) -> Response {
    let (shared, what, figures) = &*here;
    let began = shared.common.clock.boot_ns();
    let id = shared.common.request_ids.of(request.headers());
    let answered = shared.answer(*what, request, &id).await;
    let mut response = answered.unwrap_or_else(|problem| problem.respond(&id));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    finished(&shared.common, response, id, figures, began)
}

impl Shared {
    async fn answer(&self, what: Served, request: Request, id: &RequestId) -> Result<Response, Problem> {
        let (mut parts, body) = request.into_parts();
        check_header_sizes(&parts.headers)?;
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        match what {
            Served::Gateway => gateway::auth(&self.verify, &self.gateway, &parts).await,
            Served::Verify(route) => {
                let Access::Verify(handler) = route.access else { return Err(Problem::new(NOT_FOUND)) };
                if !route.verb.matches(&parts.method) {
                    return Err(Problem::method_not_allowed(&routes::allow(std::iter::once(route))));
                }
                let address = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
                let caller = self.verify.authenticate(&parts.headers, address).await?;
                let incoming = Incoming { common: &self.common, route, id, address };
                let asked = incoming.asked(&mut parts, body).await?;
                handler(self.verify.call(asked, caller)).await
            }
            Served::Health if reads => answer::ok(&json!({"status": "ok"})),
            Served::Readiness if reads => self.readiness(),
            Served::Figures if reads => {
                let mut gauges = self.verify.figures();
                gauges.extend((self.gauges)());
                let text = self.common.metrics.text(&gauges);
                Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
            }
            Served::Health | Served::Readiness | Served::Figures => {
                Err(Problem::method_not_allowed("GET, HEAD"))
            }
            Served::Nothing => Err(Problem::new(NOT_FOUND).detail("a follower has no such path")),
        }
    }

    /// Whether what is in memory is young enough to answer by.
    fn readiness(&self) -> Result<Response, Problem> {
        if self.verify.verifier().lease().until_ns() > self.common.clock.boot_ns() {
            return answer::ok(&json!({"status": "ok"}));
        }
        Err(Problem::new(VERIFIER_NOT_CURRENT).retry_after(1))
    }
}

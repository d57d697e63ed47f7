//! What every wire works with, and what verifying alone works with.

use std::sync::Arc;
use std::time::Duration;

use keywright_control::{Clock, Control};
use keywright_verifier::Verifier;

use crate::gateway::Gateway;
use crate::metrics::{Gauges, Metrics};
use crate::rest::request_id::RequestIds;
use crate::rest::verify::{ControlResolver, Limiter, RootKey, VerifyState};
use crate::throttle::Throttle;

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the binary, or a test, gives the server.
pub struct Parts {
    /// The use cases.
    pub control: Control,
    /// This node's index.
    pub verifier: Arc<Verifier>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Random bytes of this boot, for request identifiers.
    pub boot: [u8; 8],
    /// How long a body may take to arrive: [`BODY_TIMEOUT`] but in tests.
    pub body_timeout: Duration,
    /// Who may ask at `/gateway/auth`.
    pub gateway: Gateway,
    /// Figures that the binary keeps.
    pub gauges: Gauges,
}

/// The server's state, for every wire. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerState(Arc<Shared>);

struct Shared {
    control: Control,
    verify: VerifyState,
    common: Arc<Common>,
    gateway: Gateway,
    gauges: Gauges,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// What needs no database: for every wire and for verifying.
pub struct Common {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who failed to authenticate how often.
    pub throttle: Throttle,
    /// Figures.
    pub metrics: Metrics,
    /// Makes identifiers for requests.
    pub request_ids: RequestIds,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

impl std::fmt::Debug for Common {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Common(..)")
    }
}

impl ServerState {
    /// Puts the parts together, for a node that counts limits by itself.
    pub fn new(parts: Parts) -> Self {
        Self::with_limiter(parts, None)
    }

    /// Puts the parts together, for a node whose verifier shares limits with others through a limiter.
    pub fn with_limiter(parts: Parts, limiter: Option<Arc<dyn Limiter>>) -> Self {
        let Parts { control, verifier, clock, boot, body_timeout, gateway, gauges } = parts;
        let metrics = Metrics::default();
        control.barrier().observe(metrics.enforcement());
        let common = Arc::new(Common {
            clock,
            throttle: Throttle::default(),
            metrics,
            request_ids: RequestIds::new(boot),
            body_timeout,
        });
        let resolver = ControlResolver::new(control.clone(), Arc::clone(&verifier), limiter);
        let verify = VerifyState::new(verifier, Arc::new(resolver), Arc::clone(&common));
        Self(Arc::new(Shared { control, verify, common, gateway, gauges }))
    }

    /// The use cases.
    pub fn control(&self) -> &Control {
        &self.0.control
    }

    /// What verifying works with.
    pub fn verify(&self) -> &VerifyState {
        &self.0.verify
    }

    /// This node's index.
    pub fn verifier(&self) -> &Arc<Verifier> {
        self.0.verify.verifier()
    }

    /// The root key's digest in memory: set it at the start, and when the root key changes.
    pub fn root_key(&self) -> &RootKey {
        self.0.verify.root_key()
    }

    /// Figures of this moment.
    pub(crate) fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut gauges = self.0.verify.figures();
        let (barrier, count) = (self.0.control.barrier(), std::sync::atomic::Ordering::Relaxed);
        let owed = u64::try_from(barrier.owed()).unwrap_or(u64::MAX);
        gauges.extend([
            ("writes_pending", "Writes that take access away and are not enforced yet", owed),
            (
                "writes_answered_pending_total",
                "Writes answered before they were enforced",
                barrier.figures().pending.load(count),
            ),
            (
                "followers",
                "Followers that hold a lease or ask for one",
                u64::try_from(barrier.followers()).unwrap_or(u64::MAX),
            ),
            ("fences_total", "Verifiers that this node has fenced", barrier.figures().fences.load(count)),
        ]);
        gauges.extend((self.0.gauges)());
        gauges
    }

    /// Who may ask at `/gateway/auth`.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    /// The clocks.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.common.clock
    }

    /// What needs no database.
    pub fn common(&self) -> &Arc<Common> {
        &self.0.common
    }
}

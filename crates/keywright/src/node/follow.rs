//! `keywright follow`: a sidecar that follows a node's feed and answers verifications from its own memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use keywright_client::Client;
use keywright_client::embedded::{Ambient, Embedded, LeaseOptions, Options};
use keywright_model::secret::Entropy as _;
use keywright_model::time::Timestamp;
use keywright_server::follower::{FollowerParts, router};
use keywright_server::gateway::Gateway;
use keywright_server::{BODY_TIMEOUT, Gauges, Node, NodeAway, Passed, Passing, Questions};

use super::logs;
use super::serve::{main_listener, shutdown_signal, stopped, tell_listening_on};
use crate::ambient::{SystemClock, SystemEntropy, UNENDING, boot_ns, ignores_leases, now};
use crate::commands::{Outcome, Session};
use crate::settings::{
    FOLLOW_KEYSPACES, FOLLOW_LEASE, FOLLOW_NAME, FOLLOW_STALENESS, GATEWAY_PEERS, TRUSTED_PROXIES,
};

/// This machine's clocks and randomness.
#[derive(Debug)]
struct Machine {
    /// How far the clock that leases are counted by is ahead of the one that answers are judged by.
    ahead: Duration,
}

impl Machine {
    fn new() -> Self {
        // A debug build that was told so holds a lease that does not end.
        Self { ahead: if ignores_leases() { UNENDING } else { Duration::ZERO } }
    }
}

impl keywright_feed::Clocks for Machine {
    fn boot_ns(&self) -> u64 {
        boot_ns().saturating_add(u64::try_from(self.ahead.as_nanos()).unwrap_or(u64::MAX))
    }

    fn raw_ns(&self) -> u64 {
        SystemClock.raw_ns()
    }
}

impl keywright_model::secret::Entropy for Machine {
    fn fill(&self, bytes: &mut [u8]) {
        SystemEntropy.fill(bytes);
    }
}

impl Ambient for Machine {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// The node behind this follower.
#[derive(Debug)]
struct Behind(Client);

impl Node for Behind {
    fn pass_on(&self, call: Passing) -> Passed<'_> {
        Box::pin(async move {
            let path: &[&str] = match call.questions {
                Questions::One => &["verify"],
                Questions::Batch => &["verify", "batch"],
            };
            let passed = self.0.pass_on(path, call.headers, call.body).await;
            let (status, body) = passed.map_err(|error| NodeAway(error.into()))?;
            Ok((status, Bytes::copy_from_slice(&body)))
        })
    }
}

/// Follows and serves until SIGTERM or SIGINT.
pub(crate) async fn follow(session: &Session) -> anyhow::Result<Outcome> {
    let settings = &session.settings;
    logs::begin(settings)?;
    let client = session.client()?;
    let listener = main_listener(settings).await?;
    let shutdown = shutdown_signal()?;
    let options = Options {
        keyspaces: settings.texts(&FOLLOW_KEYSPACES).map(str::to_owned).collect(),
        max_staleness: settings.duration(&FOLLOW_STALENESS),
        lease: settings
            .flag(&FOLLOW_LEASE)
            .then(|| LeaseOptions { name: settings.text(&FOLLOW_NAME).map(str::to_owned) }),
        ..Options::new(Arc::new(Machine::new()))
    };
    let embedded = Arc::new(Embedded::start(&client, options).await.context("the node cannot be followed")?);
    let mut boot = [0; 8];
    SystemEntropy.fill(&mut boot);
    let routes = router(FollowerParts {
        verifier: Arc::clone(embedded.verifier()),
        node: Arc::new(Behind(client)),
        clock: Arc::new(SystemClock),
        boot,
        body_timeout: BODY_TIMEOUT,
        gateway: Gateway::new(&settings.networks(&GATEWAY_PEERS), &settings.networks(&TRUSTED_PROXIES)),
        gauges: gauges(&embedded),
    });
    tell_listening_on(session, &listener);
    let draining = Arc::clone(&embedded);
    let stop = async move {
        stopped(shutdown).await;
        draining.drain();
    };
    let over = tokio::select! {
        () = listener.serve(routes, stop) => None,
        why = embedded.over() => Some(why),
    };
    if let Some(embedded) = Arc::into_inner(embedded) {
        embedded.leave().await;
    }
    if let Some(why) = over {
        bail!("{why}: start this follower anew");
    }
    tracing::info!("stopped");
    Ok(Outcome::Done)
}

fn gauges(embedded: &Arc<Embedded>) -> Gauges {
    let (figures, verifier) = (Arc::clone(embedded.figures()), Arc::clone(embedded.verifier()));
    Box::new(move || {
        let margin_ns = verifier.lease().until_ns().saturating_sub(boot_ns());
        let count = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        vec![
            (
                "follow_margin_ms",
                "How long this follower may still answer without its node",
                margin_ns / 1_000_000,
            ),
            ("follow_answers_total", "Answers of the feed that were whole", count(&figures.answers)),
            ("follow_failures_total", "Calls of the feed that failed", count(&figures.failures)),
            (
                "follow_snapshots_total",
                "Snapshots loaded: more than one are reloads",
                count(&figures.snapshots),
            ),
        ]
    })
}

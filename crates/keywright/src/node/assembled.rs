//! Store, keyring, index, feed, lease and use cases of a node, put together and taken apart in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use keywright_control::source::{StoreMembership, StoreReports, StoreSource};
use keywright_control::{Barrier, Contact, Control, Parts, Settings as ControlSettings, Vault};
use keywright_feed::keeper::Options as KeeperOptions;
use keywright_feed::{Follower, Keeper};
use keywright_model::id::NodeId;
use keywright_model::secret::Entropy as _;
use keywright_server::Gauges;
use keywright_store::postgres::{Signals, Timeline};
use keywright_store::{Members, NewMember, Store};
use keywright_verifier::{Lease, Options, Verifier};
use zeroize::Zeroizing;

use super::data::entropy;
use super::door::{self, Started};
use super::limiter;
use crate::ambient::{SystemClock, SystemEntropy, UNENDING, boot_ns, ignores_leases, now};
use crate::settings::{ENFORCE_TIMEOUT, FEED_RETENTION, MAX_STALENESS, NODE_NAME, Settings};

/// How long a start waits for its first lease before it listens without one.
const FIRST_LEASE_MAX: Duration = Duration::from_secs(10);

/// A node without its wires.
pub(super) struct Node {
    pub(super) control: Control,
    pub(super) verifier: Arc<Verifier>,
    pub(super) store: Arc<dyn Store>,
    follower: Follower,
    keeper: Option<Keeper>,
    timeline: Option<Timeline>,
    signals: Option<Signals>,
    barrier: tokio::task::JoinHandle<()>,
    pub(super) retention: Duration,
}

impl Node {
    /// Loads the index, follows, and takes a lease where one is needed.
    pub(super) async fn start(
        settings: &Settings,
        started: Started,
        vault: Arc<Vault>,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let Started { store, members, lease, timeline, signals, shares: _ } = started;
        let index = index(&vault, lease.is_some())?;
        let verifier =
            Arc::new(if limiter::is_set(settings) || lease.is_some() { index.share_limits() } else { index });
        // Registered before it loads, so that an operator sees that it does.
        let keeper = lease.map(|lease| keep(settings, lease, &verifier, address)).transpose()?;
        let source = Arc::new(StoreSource::new(Arc::clone(&store), Arc::clone(&vault)));
        let follower = Follower::start(source, Arc::clone(&verifier)).await?;
        let barrier = Barrier::new(members, follower.applied(), Arc::new(SystemClock));
        let control = Control::new(Parts {
            store: Arc::clone(&store),
            vault,
            barrier: barrier.clone(),
            clock: Arc::new(SystemClock),
            entropy: entropy(),
            history: door::history(timeline.as_ref()),
            contact: contact(&verifier),
            settings: ControlSettings { enforce_timeout: settings.duration(&ENFORCE_TIMEOUT) },
        });
        let barrier = tokio::spawn(barrier.run());
        let retention = settings.duration(&FEED_RETENTION);
        let node = Self { control, verifier, store, follower, keeper, timeline, signals, barrier, retention };
        node.first_lease().await;
        Ok(node)
    }

    async fn first_lease(&self) {
        let Some(keeper) = &self.keeper else { return };
        keeper.loaded(self.follower.applied());
        if !keeper.first_lease(FIRST_LEASE_MAX).await {
            tracing::warn!("no lease yet: verifications are refused until there is one");
        }
    }

    /// Why this process is of no use any more, if it is not.
    pub(super) fn cannot_go_on(&self) -> Option<&'static str> {
        if !self.follower.is_running() {
            return Some("the index follows no more");
        }
        if self.timeline.as_ref().is_some_and(Timeline::is_left) {
            return Some(
                "another PostgreSQL took over, or a backup: what this node has applied may not be in it",
            );
        }
        let ended = self.keeper.as_ref().and_then(|keeper| *keeper.ended().borrow());
        match ended {
            Some(keywright_feed::keeper::Ended::OtherIncarnation) => {
                Some("the database was restored and is another installation's now: start this node anew")
            }
            Some(keywright_feed::keeper::Ended::Left) | None => None,
        }
    }

    /// Figures of the lease and the feed.
    pub(super) fn gauges(&self) -> Gauges {
        let Some(keeper) = &self.keeper else { return Box::new(Vec::new) };
        let (figures, verifier) = (keeper.figures(), Arc::clone(&self.verifier));
        let signals = self.signals.clone();
        Box::new(move || {
            let margin_ns = verifier.lease().until_ns().saturating_sub(boot_ns());
            vec![
                (
                    "lease_margin_ms",
                    "How long this node may still answer without a renewal",
                    margin_ns / 1_000_000,
                ),
                ("lease_renewals_total", "Renewals of the lease", figures.renewals.load(Ordering::Relaxed)),
                ("lease_failures_total", "Renewals that failed", figures.failures.load(Ordering::Relaxed)),
                (
                    "lease_joins_total",
                    "Lives begun: more than one are re-joins",
                    figures.joins.load(Ordering::Relaxed),
                ),
                (
                    "signals_total",
                    "Signals of other nodes that were taken: of their commits, and of what they apply",
                    signals.as_ref().map_or(0, Signals::taken),
                ),
                ("feed_lag", "Revisions that are there and not applied", figures.lag.load(Ordering::Relaxed)),
            ]
        })
    }

    /// Asks for no lease any more; the one that there is runs on while open requests are answered.
    pub(super) fn drain(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.drain();
        }
    }

    /// Ends the lease at once and says so, for a process that is of no use any more.
    pub(super) async fn give_up(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.give_up().await;
        }
    }

    /// Nothing is answered any more: ends the lease and says so, so that no write waits for this node.
    pub(super) async fn leave(self) {
        if let Some(keeper) = self.keeper {
            keeper.leave().await;
        }
        self.barrier.abort();
    }
}

fn keep(
    settings: &Settings,
    members: Arc<dyn Members>,
    verifier: &Arc<Verifier>,
    address: SocketAddr,
) -> anyhow::Result<Keeper> {
    let lease = settings.duration(&MAX_STALENESS);
    let row = NewMember {
        id: fresh_id(),
        name: settings.text(&NODE_NAME).map(str::to_owned),
        scope: None,
        lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
        address: address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let keeper = Keeper::start(KeeperOptions {
        reports: Arc::new(StoreReports(Arc::clone(&members))),
        membership: Box::new(StoreMembership::new(members, row)),
        verifier: Arc::clone(verifier),
        clocks: Arc::new(SystemClock),
        fresh_id: Box::new(fresh_id),
        lease: if ignores_leases() { UNENDING } else { lease },
    });
    keeper.context("a lease cannot be kept")
}

pub(super) fn fresh_id() -> NodeId {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random);
    NodeId::new(now().unix_ms(), u128::from_le_bytes(random))
}

fn contact(verifier: &Arc<Verifier>) -> Contact {
    let verifier = Arc::clone(verifier);
    Arc::new(move || Some(verifier.lease().current_age_ns(boot_ns())?.div_ceil(1_000_000)))
}

fn index(vault: &Arc<Vault>, is_cluster: bool) -> anyhow::Result<Verifier> {
    let mut boot_key = Zeroizing::new([0; 32]);
    SystemEntropy.fill(boot_key.as_mut_slice());
    let unsealing = Arc::clone(vault);
    Ok(Verifier::new(Options {
        peppers: vault.peppers(),
        boot_key,
        dummy_argon2: vault.dummy_argon2().context("Argon2id cannot be set up")?.into(),
        unseal: Box::new(move |key, secret| {
            let secret = unsealing.reveal(key, secret)?;
            Some(Zeroizing::new(secret.expose().as_bytes().to_vec()))
        }),
        lease: if is_cluster { Lease::none() } else { Lease::embedded() },
    }))
}

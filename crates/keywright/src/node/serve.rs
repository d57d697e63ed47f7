//! `keywright serve`: store, feed, verifier, control and server put together, and taken apart in order.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use keywright_model::secret::Entropy as _;
use keywright_server::dialects::{self, Dialect};
use keywright_server::gateway::Gateway;
use keywright_server::listen::{Bounds, Listen, Listener, TlsFiles, bind};
use keywright_server::{BODY_TIMEOUT, ServerState, router};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::assembled::Node;
use super::data::{Data, entropy};
use super::door::Door;
use super::master::{self, Place};
use super::{door, limiter, logs, tasks};
use crate::ambient::{SystemClock, SystemEntropy};
use crate::commands::{Outcome, Session};
use crate::settings::{
    DIALECT, GATEWAY_PEERS, LISTEN, PLAINTEXT_OK, SIGNALS, Settings, TLS_CERT, TLS_KEY, TRUSTED_PROXIES,
    dialect,
};

/// A dialect with a listener of its own.
struct OwnDialect {
    dialect: Dialect,
    listener: Listener,
}

/// Every address that is bound.
struct Bound {
    main: Listener,
    below: Vec<Dialect>,
    own: Vec<OwnDialect>,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(session: &Session) -> anyhow::Result<Outcome> {
    let settings = &session.settings;
    logs::begin(settings)?;
    // The state first, so that a second server is told so; then the addresses, before anything is made in it.
    let door = Door::open(settings).await?;
    let bound = listeners(settings).await?;
    let data = Data::open_or_make(settings, door).await?;
    tell_start(session, &data);
    let shutdown = shutdown_signal()?;
    let signals = signals(settings, bound.main.address())?;
    let (mut started, vault, installation) = data.start(signals).await?;
    let shares = started.shares.take();
    let is_cluster = started.lease.is_some();
    let parts = Node::start(settings, started, vault, bound.main.address()).await?;
    let mut boot = [0; 8];
    SystemEntropy.fill(&mut boot);
    let limiter = limiter::start(settings, &parts.verifier, installation.incarnation, shares).await?;
    let server = keywright_server::Parts {
        control: parts.control.clone(),
        verifier: Arc::clone(&parts.verifier),
        clock: Arc::new(SystemClock),
        boot,
        body_timeout: BODY_TIMEOUT,
        gateway: Gateway::new(&settings.networks(&GATEWAY_PEERS), &settings.networks(&TRUSTED_PROXIES)),
        gauges: parts.gauges(),
    };
    let state = ServerState::with_limiter(server, limiter);
    // Other nodes' operators can change the root key beside this process, so that it is asked for each time.
    if !is_cluster {
        state.root_key().set(installation.root_digest);
    }
    tell_listening(session, &bound);
    run(bound, state, parts, shutdown).await?;
    Ok(Outcome::Done)
}

/// Where signals of other nodes are taken, if they are.
fn signals(settings: &Settings, listen: SocketAddr) -> anyhow::Result<Option<SocketAddr>> {
    match settings.text(&SIGNALS) {
        None => Ok(Some(SocketAddr::new(listen.ip(), 0))),
        Some("off") => Ok(None),
        Some(address) => Ok(Some(address.parse().context("`signals`")?)),
    }
}

/// The address that every service has.
pub(super) async fn main_listener(settings: &Settings) -> anyhow::Result<Listener> {
    let address = settings.text(&LISTEN).unwrap_or_default().parse().context("`listen`")?;
    Ok(bind(listen(settings, address)?).await?)
}

fn listen(settings: &Settings, address: SocketAddr) -> anyhow::Result<Listen> {
    let tls = match (settings.path(&TLS_CERT), settings.path(&TLS_KEY)) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        _ => bail!("`tls-cert` and `tls-key` go together: the certificate and its key"),
    };
    Ok(Listen { address, tls, plaintext_ok: settings.flag(&PLAINTEXT_OK), bounds: Bounds::default() })
}

async fn listeners(settings: &Settings) -> anyhow::Result<Bound> {
    let main = main_listener(settings).await?;
    let (mut below, mut own) = (Vec::new(), Vec::new());
    for text in settings.texts(&DIALECT) {
        let (name, address) = dialect(text).map_err(anyhow::Error::msg)?;
        let dialect: Dialect = name.parse()?;
        match address {
            None if !below.contains(&dialect) => below.push(dialect),
            None => {}
            Some(address) => {
                own.push(OwnDialect { dialect, listener: bind(listen(settings, address)?).await? });
            }
        }
    }
    Ok(Bound { main, below, own })
}

/// Serves every address until the signal, then gives back what was borrowed and lets go of the store.
async fn run(
    bound: Bound,
    state: ServerState,
    node: Node,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let node = Arc::new(node);
    let mut routes = router(state.clone());
    for dialect in &bound.below {
        let calls = dialects::router(*dialect, state.clone(), entropy());
        routes = routes.nest(&format!("/dialects/{dialect}"), calls);
    }
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(bound.main.serve(routes, stopped(shutdown.clone())));
    for own in bound.own {
        let calls = dialects::router(own.dialect, state.clone(), entropy());
        serving.spawn(own.listener.serve(calls, stopped(shutdown.clone())));
    }
    let mut background = tokio::spawn(tasks::run(Arc::clone(&node), stopped(shutdown.clone())));
    let draining = Arc::clone(&node);
    tokio::spawn(async move {
        stopped(shutdown).await;
        draining.drain();
    });
    loop {
        tokio::select! {
            served = serving.join_next() => match served {
                Some(served) => served.context("a listener broke")?,
                None => break,
            },
            // Before the signal it ends only when this node cannot go on.
            ended = &mut background, if !background.is_finished() => {
                ended.context("the background tasks broke")??;
            }
        }
    }
    drop(state);
    if !background.is_finished() {
        background.await.context("the background tasks broke")??;
    }
    if let Some(node) = Arc::into_inner(node) {
        node.leave().await;
    }
    tracing::info!("stopped");
    Ok(())
}

pub(super) async fn stopped(mut shutdown: watch::Receiver<bool>) {
    // The sender lives as long as the signals are waited for; its end is an end too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Turns true at SIGTERM or SIGINT. A second one ends the process at once.
pub(super) fn shutdown_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for again in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if again {
                tracing::warn!(signal = name, "ending at once");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "draining");
            sender.send_replace(true);
        }
    });
    Ok(receiver)
}

/// What people must know, before anything else can go wrong: above all the root key, which is shown once.
fn tell_start(session: &Session, data: &Data) {
    let output = session.output;
    if data.is_new {
        tracing::info!(place = %door::place(&session.settings), "made a new installation");
        if let Place::Beside(path) = &data.master.place {
            output.note(&format!(
                "The master key is in {}. Without it every key of this installation is lost: see `keywright master-key export`.",
                path.display()
            ));
        }
    }
    if let (Place::Beside(path) | Place::Named(path), true) =
        (&data.master.place, place_is_open(&data.master.place))
    {
        output.warn(&format!("{} can be read by others than its owner: chmod 600", path.display()));
    }
    if let Some(root_key) = &data.new_root_key {
        output.note("The root key, which is shown only this once (export it as KEYWRIGHT_KEY):");
        if output.json {
            output.say(&json!({"root_key": root_key.expose()}).to_string());
        } else {
            output.say(&format!("root key: {}", root_key.expose()));
        }
    }
}

fn place_is_open(place: &Place) -> bool {
    match place {
        Place::Setting => false,
        Place::Named(path) | Place::Beside(path) => master::is_open_to_others(path),
    }
}

/// Where it listens, with the ports that were taken.
pub(super) fn tell_listening_on(session: &Session, listener: &Listener) {
    let main = url(listener);
    if session.output.json {
        session.output.say(&json!({"listening": main}).to_string());
    } else {
        session.output.say(&format!("listening on {main}"));
    }
}

fn url(listener: &Listener) -> String {
    let scheme = if listener.is_tls() { "https" } else { "http" };
    format!("{scheme}://{}", listener.address())
}

/// The same of a server, with its dialects.
fn tell_listening(session: &Session, bound: &Bound) {
    let main = url(&bound.main);
    let below = bound.below.iter().map(|dialect| (dialect.to_string(), format!("{main}/dialects/{dialect}")));
    let own = bound.own.iter().map(|own| (own.dialect.to_string(), url(&own.listener)));
    let dialects: Vec<(String, String)> = below.chain(own).collect();
    if session.output.json {
        let list: Vec<_> = dialects.iter().map(|(name, url)| json!({"name": name, "url": url})).collect();
        session.output.say(&json!({"listening": main, "dialects": list}).to_string());
        return;
    }
    session.output.say(&format!("listening on {main}"));
    for (name, url) in dialects {
        session.output.say(&format!("dialect {name} on {url}"));
    }
}

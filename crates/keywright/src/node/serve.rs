//! `keywright serve`: store, feed, verifier, control and server put together, and taken apart in order.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use keywright_control::source::StoreSource;
use keywright_control::{Barrier, Control, Parts, Settings as ControlSettings, Vault};
use keywright_feed::Follower;
use keywright_model::secret::Entropy as _;
use keywright_server::dialects::{self, Dialect};
use keywright_server::gateway::Gateway;
use keywright_server::listen::{Bounds, Listen, Listener, TlsFiles, bind};
use keywright_server::{BODY_TIMEOUT, ServerState, router};
use keywright_store::sqlite::SqliteFile;
use keywright_store::{Alone, Store};
use keywright_verifier::{Lease, Options, Verifier};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::data::{Data, entropy};
use super::master::{self, Place};
use super::{limiter, logs, tasks};
use crate::ambient::{SystemClock, SystemEntropy};
use crate::commands::{Outcome, Session};
use crate::settings::{
    DIALECT, ENFORCE_TIMEOUT, FEED_RETENTION, GATEWAY_PEERS, LISTEN, PLAINTEXT_OK, Settings, TLS_CERT,
    TLS_KEY, TRUSTED_PROXIES, dialect,
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
    // The directory first, so that a second server is told so; then the addresses, before anything is made in it.
    let file = SqliteFile::open(&master::data_dir(settings))?;
    let bound = listeners(settings).await?;
    let data = Data::open_or_make(settings, file)?;
    tell_start(session, &data);
    let shutdown = shutdown_signal()?;
    let (store, vault, installation) = data.start()?;
    let store: Arc<dyn Store> = store;
    let index = verifier(&vault)?;
    let index = if limiter::is_shared(settings) { index.share_limits() } else { index };
    let verifier = Arc::new(index);
    let source = Arc::new(StoreSource::new(Arc::clone(&store), Arc::clone(&vault)));
    let follower = Follower::start(source, Arc::clone(&verifier)).await?;
    let control = Control::new(Parts {
        store: Arc::clone(&store),
        vault,
        barrier: Barrier::new(Arc::new(Alone::default()), follower.applied(), Arc::new(SystemClock)),
        clock: Arc::new(SystemClock),
        entropy: entropy(),
        settings: ControlSettings { enforce_timeout: settings.duration(&ENFORCE_TIMEOUT) },
    });
    let mut boot = [0; 8];
    SystemEntropy.fill(&mut boot);
    let limiter = limiter::start(settings, &verifier, installation.incarnation)?;
    let parts = keywright_server::Parts {
        control: control.clone(),
        verifier: Arc::clone(&verifier),
        clock: Arc::new(SystemClock),
        boot,
        body_timeout: BODY_TIMEOUT,
        gateway: Gateway::new(&settings.networks(&GATEWAY_PEERS), &settings.networks(&TRUSTED_PROXIES)),
    };
    let state = ServerState::with_limiter(parts, limiter);
    state.root_key().set(installation.root_digest);
    tell_listening(session, &bound);
    let node =
        tasks::Node { control, verifier, store, follower, retention: settings.duration(&FEED_RETENTION) };
    run(bound, state, node, shutdown).await?;
    Ok(Outcome::Done)
}

fn verifier(vault: &Arc<Vault>) -> anyhow::Result<Verifier> {
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
        lease: Lease::embedded(),
    }))
}

async fn listeners(settings: &Settings) -> anyhow::Result<Bound> {
    let tls = match (settings.path(&TLS_CERT), settings.path(&TLS_KEY)) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        _ => bail!("`tls-cert` and `tls-key` go together: the certificate and its key"),
    };
    let plaintext_ok = settings.flag(&PLAINTEXT_OK);
    let listen =
        |address: SocketAddr| Listen { address, tls: tls.clone(), plaintext_ok, bounds: Bounds::default() };
    let address = settings.text(&LISTEN).unwrap_or_default().parse().context("`listen`")?;
    let main = bind(listen(address)).await?;
    let (mut below, mut own) = (Vec::new(), Vec::new());
    for text in settings.texts(&DIALECT) {
        let (name, address) = dialect(text).map_err(anyhow::Error::msg)?;
        let dialect: Dialect = name.parse()?;
        match address {
            None if !below.contains(&dialect) => below.push(dialect),
            None => {}
            Some(address) => own.push(OwnDialect { dialect, listener: bind(listen(address)).await? }),
        }
    }
    Ok(Bound { main, below, own })
}

/// Serves every address until the signal, then gives back what was borrowed and lets go of the store.
async fn run(
    bound: Bound,
    state: ServerState,
    node: tasks::Node,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
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
    let background = tokio::spawn(tasks::run(node, stopped(shutdown)));
    while let Some(served) = serving.join_next().await {
        served.context("a listener broke")?;
    }
    drop(state);
    background.await.context("the background tasks broke")??;
    tracing::info!("stopped");
    Ok(())
}

async fn stopped(mut shutdown: watch::Receiver<bool>) {
    // The sender lives as long as the signals are waited for; its end is an end too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Turns true at SIGTERM or SIGINT. A second one ends the process at once.
fn shutdown_signal() -> anyhow::Result<watch::Receiver<bool>> {
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
        tracing::info!(directory = %data.directory.display(), "made a new installation");
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
fn tell_listening(session: &Session, bound: &Bound) {
    let url = |listener: &Listener| {
        let scheme = if listener.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}", listener.address())
    };
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

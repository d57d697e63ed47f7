//! `cargo xtask measure`: what a cluster costs, each figure against something bare in the same run.
//!
//! Machines are shared and noisy: sides of a ratio take turns, and only ratios and differences are worth anything.

mod load;
mod start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::cluster::{self, Cluster, Enforced, Lease, Postgres, Rest, Scratch, Shape};
use crate::out::say;
use crate::workspace::Workspace;

/// How long a node may answer without its database: the default of `--max-staleness`.
const MAX_STALENESS: Duration = Duration::from_secs(5);
const WRITE_WAIT: Duration = Duration::from_secs(10);
const WRITERS: usize = 8;
/// How often the sides of a figure take turns.
const TURNS: usize = 3;

/// What to measure with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server: a release build, `cargo build --release --bin keywright`
    #[arg(long, default_value = "target/release/keywright")]
    bin: PathBuf,
    /// How long each turn of a side takes
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many keys a node loads at its start; 0 leaves that out
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
}

/// Every figure of a run.
#[derive(Debug, Default, Serialize)]
struct Figures {
    enforced_update: Vec<Latency>,
    enforced_writes: Option<Rate>,
    verify: Option<Rate>,
    start: Option<start::Start>,
}

/// A change that takes access away, from the call to `Keywright-Enforced: all`, against one bare commit.
#[derive(Debug, Serialize)]
struct Latency {
    nodes: usize,
    p50_ms: f64,
    bare_p50_ms: f64,
    more_ms: f64,
}

/// How many a second, against something bare.
#[derive(Debug, Serialize)]
struct Rate {
    per_second: f64,
    against: f64,
    ratio: f64,
}

impl Rate {
    fn new(per_second: f64, against: f64) -> Self {
        Self { per_second, against, ratio: per_second / against }
    }
}

/// Measures everything and prints one line of JSON.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let bin = cluster::server(Some(workspace.root.join(&arguments.bin)), &workspace.target)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(measure(&bin, arguments))?;
    say(serde_json::to_string(&figures)?);
    Ok(Outcome::Passed)
}

async fn measure(bin: &Path, arguments: &Arguments) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let turn = Duration::from_secs(arguments.seconds);
    for nodes in [3, 16] {
        let cluster = cluster(bin, nodes).await?;
        figures.enforced_update.push(latency(&cluster, nodes, turn).await?);
        if nodes == 3 {
            figures.enforced_writes = Some(writes(&cluster, turn).await?);
            figures.verify = Some(load::verify(&cluster, bin, turn).await?);
        }
        cluster.stop().await?;
    }
    if arguments.keys > 0 {
        figures.start = Some(start::measure(&*cluster(bin, 1).await?, arguments.keys).await?);
    }
    Ok(figures)
}

async fn cluster(bin: &Path, nodes: usize) -> anyhow::Result<Arc<Cluster>> {
    let shape = Shape {
        bin: bin.to_owned(),
        nodes,
        followers: 0,
        named: true,
        max_staleness: MAX_STALENESS,
        by_proxy: false,
        some_deaf: false,
        lease: Lease::Tested,
        failover: "none",
    };
    let scratch = Scratch::new(None)?;
    let database = Postgres::make(scratch.path(), "database").await?;
    database.start().await?;
    Ok(Arc::new(Cluster::start(&shape, scratch, database).await?))
}

/// A key that one writer changes: its path and its secret.
async fn key(rest: &Rest, node: SocketAddr, number: usize) -> anyhow::Result<(String, String)> {
    let body = json!({"name": format!("measured {number}"), "grants": grants(true)});
    let made = rest.send(Method::POST, node, "/v1/keys", &body, &[], WRITE_WAIT).await;
    let made = made.ok().context("a key was not made in time")?;
    let text = |at: &str| made.body.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let named = text("/key/id").zip(text("/secret"));
    let (id, secret) = named.with_context(|| format!("a new key was answered {}", made.status))?;
    Ok((format!("/v1/keys/{id}"), secret))
}

fn grants(wide: bool) -> Value {
    let actions: &[&str] = if wide { &["get", "put"] } else { &["get"] };
    json!([{"effect": "allow", "actions": actions, "resources": ["devices/**"]}])
}

/// Narrows and widens one key through one node until the time is up; the milliseconds of each narrowing.
async fn narrow(
    cluster: &Cluster,
    place: usize,
    path: &str,
    turn: Duration,
) -> anyhow::Result<(Vec<f64>, u32)> {
    let addresses = cluster.addresses();
    let (_, node) = addresses.get(place % addresses.len()).copied().context("no node")?;
    let (begun, mut waits, mut writes) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < turn {
        for wide in [false, true] {
            let (sent, body) = (Instant::now(), json!({"grants": grants(wide)}));
            let reply = cluster.rest.send(Method::PATCH, node, path, &body, &[], WRITE_WAIT).await;
            let reply = reply.ok().context("a write had no answer")?;
            if reply.enforced != Some(Enforced::All) {
                bail!("a write was answered {} and is not enforced", reply.status);
            }
            writes += 1;
            if !wide {
                waits.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
        }
    }
    Ok((waits, writes))
}

async fn latency(cluster: &Cluster, nodes: usize, turn: Duration) -> anyhow::Result<Latency> {
    let (_, node) = cluster.addresses().first().copied().context("no node")?;
    let (path, _) = key(&cluster.rest, node, 0).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare.extend(cluster.bare_commits(1, turn).await?.1);
        ours.extend(narrow(cluster, 1, &path, turn).await?.0);
    }
    let (p50_ms, bare_p50_ms) = (median(ours)?, median(bare)?);
    Ok(Latency { nodes, p50_ms, bare_p50_ms, more_ms: p50_ms - bare_p50_ms })
}

fn median(mut values: Vec<f64>) -> anyhow::Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("nothing was measured")
}

/// Changes that are enforced, of eight writers at once, against bare commits of eight clients.
async fn writes(cluster: &Arc<Cluster>, turn: Duration) -> anyhow::Result<Rate> {
    let (_, node) = cluster.addresses().first().copied().context("no node")?;
    let mut paths = Vec::new();
    for number in 0..WRITERS {
        paths.push(key(&cluster.rest, node, number).await?.0);
    }
    let (mut ours, mut bare) = (0.0, 0.0);
    for _ in 0..TURNS {
        bare += cluster.bare_commits(WRITERS, turn).await?.0;
        let begun = Instant::now();
        let mut writers = JoinSet::new();
        for (place, path) in paths.iter().cloned().enumerate() {
            let cluster = Arc::clone(cluster);
            writers.spawn(async move { narrow(&cluster, place, &path, turn).await });
        }
        let mut written = 0;
        while let Some(writer) = writers.join_next().await {
            written += writer??.1;
        }
        ours += f64::from(written) / begun.elapsed().as_secs_f64();
    }
    let turns = f64::from(u8::try_from(TURNS)?);
    Ok(Rate::new(ours / turns, bare / turns))
}

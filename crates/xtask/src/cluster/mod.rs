//! A cluster of real processes to try things on: a PostgreSQL of its own, nodes, followers of them, and before each a proxy
//! that can cut, slow or reset its link to the database or to its node.
//!
//! It must not know what is tried, nor the inside of the service. Every process dies with this one.

mod dice;
mod follower;
mod node;
mod postgres;
mod process;
mod proxy;
mod rest;
mod scratch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};

pub(crate) use dice::Dice;
pub(crate) use node::{Alone, Lease, Node};
use node::{Role, Serving};
pub(crate) use postgres::Postgres;
pub(crate) use proxy::{Flow, Proxy};
pub(crate) use rest::{Enforced, Reply, Rest, number_of};
pub(crate) use scratch::Scratch;

/// What a root key begins with that the server makes by itself, and that it looks for first.
const ROOT: &str = "kwroot";

/// How a cluster is made.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The server.
    pub(crate) bin: PathBuf,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// How many followers of them, each with a lease.
    pub(crate) followers: usize,
    /// Whether each has a slot (`--node-name`, `--follow-name`), so that its next life says that the one before is over.
    pub(crate) named: bool,
    /// How long one renewal is trusted; followers' leases are of whole seconds.
    pub(crate) max_staleness: Duration,
    /// Whether the proxies carry the links to the database: they cost, so that what is measured goes without.
    pub(crate) by_proxy: bool,
    /// Whether every third node takes no signals: what they save is not what is relied on.
    pub(crate) some_deaf: bool,
    /// Whether nodes and followers test their lease.
    pub(crate) lease: Lease,
    /// What the operator declares about PostgreSQL's failover.
    pub(crate) failover: &'static str,
}

/// The nodes and what they stand on. The nodes talk to the database only through their proxies.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) followers: Vec<Arc<Node>>,
    pub(crate) rest: Rest,
    database: Mutex<Arc<Postgres>>,
    scratch: Scratch,
}

impl Cluster {
    /// Starts every node on a database that runs, then the followers; the first node makes the installation.
    pub(crate) async fn start(shape: &Shape, scratch: Scratch, database: Postgres) -> anyhow::Result<Self> {
        let target = database.address();
        let root = scratch.fresh_secret(ROOT);
        let rest = Rest::new(root.clone())?;
        let mut nodes = Vec::new();
        for index in 0..shape.nodes {
            let proxy = Proxy::start(target).await?;
            let reached = if shape.by_proxy { proxy.address() } else { target };
            let serving = Role::Serves(Serving::new(shape, index, reached, root.clone()));
            nodes.push(Arc::new(Node::new(index, format!("node-{index}"), serving, proxy, scratch.path())));
        }
        let followers = Vec::new();
        let mut cluster = Self { nodes, followers, rest, database: Mutex::new(Arc::new(database)), scratch };
        for node in &cluster.nodes {
            node.start(1.0).await?;
        }
        cluster.wait_until_all_answer(Duration::from_mins(1)).await?;
        if shape.followers > 0 {
            cluster.add_followers(shape).await?;
        }
        Ok(cluster)
    }

    /// The PostgreSQL that is the primary now.
    pub(crate) fn database(&self) -> Arc<Postgres> {
        Arc::clone(&self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another PostgreSQL is the primary from now on. The proxies are told apart from this.
    pub(crate) fn set_database(&self, database: Arc<Postgres>) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
    }

    /// Commits that write a row and a log entry of an update's size, of so many clients: how many a second, and how many
    /// milliseconds each took.
    pub(crate) async fn bare_commits(
        &self,
        clients: usize,
        time: Duration,
    ) -> anyhow::Result<(f64, Vec<f64>)> {
        self.database().bench(self.scratch.path(), clients, time).await
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Has the leak sweep look for a secret that a node gave out.
    pub(crate) fn note_secret(&self, secret: &str) {
        self.scratch.note_secret(secret);
    }

    /// All who verify: the nodes, then the followers.
    pub(crate) fn verifiers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().chain(&self.followers)
    }

    /// The addresses of the nodes that run.
    pub(crate) fn addresses(&self) -> Vec<(usize, SocketAddr)> {
        self.nodes.iter().filter_map(|node| node.place()).collect()
    }

    /// The addresses of all who verify and run.
    pub(crate) fn verifiers_addresses(&self) -> Vec<(usize, SocketAddr)> {
        self.verifiers().filter_map(|verifier| verifier.place()).collect()
    }

    /// Waits until every node and follower is ready, which it is when it holds a lease.
    pub(crate) async fn wait_until_all_answer(&self, most: Duration) -> anyhow::Result<()> {
        let all = async {
            for node in self.verifiers() {
                while !self.answers(node).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let late = || format!("not every verifier was ready in {most:?}: {}", self.last_words());
        tokio::time::timeout(most, all).await.with_context(late)
    }

    async fn answers(&self, verifier: &Node) -> bool {
        match verifier.address() {
            Some(address) => self.is_ready(address).await,
            None => false,
        }
    }

    /// Whether who listens there holds a lease.
    pub(crate) async fn is_ready(&self, address: SocketAddr) -> bool {
        let asked = self.rest.get(address, "/readyz", Duration::from_secs(2)).await;
        asked.is_ok_and(|reply| reply.status == 200)
    }

    /// The end of each process's log, for a person who has to find out why.
    pub(crate) fn last_words(&self) -> String {
        self.verifiers().map(|node| node.last_words()).collect::<Vec<_>>().join("\n")
    }

    /// Ends everything. What the processes left behind is kept for the leak sweep.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        for node in self.verifiers() {
            node.kill().await;
        }
        let database = self.database();
        if database.is_running().await {
            self.scratch.keep_text("dump.sql", &database.dump().await?)?;
        }
        database.kill().await?;
        self.scratch.keep_logs()
    }
}

/// The server that is tried: the one that is named, or the one that cargo has built.
pub(crate) fn server(named: Option<PathBuf>, target: &Path) -> anyhow::Result<PathBuf> {
    let bin = named.unwrap_or_else(|| target.join("debug").join("keywright"));
    if !bin.exists() {
        bail!("{} is not there: `cargo build --bin keywright` makes it", bin.display());
    }
    Ok(bin)
}

//! One process that verifies, a node or a follower of one, behind its proxy: started, held, killed, started again, with a clock that may be wrong.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;

use super::follower::Following;
use super::process::{self, Account};
use super::{Postgres, Proxy, Rest, Scratch, Shape};

/// How long a node may take until it listens.
const START_MAX: Duration = Duration::from_mins(1);
const LISTENING: &str = "listening on http://";
/// Debug builds then answer without testing their lease.
const NO_LEASE_CHECK: &str = "CHAOS_KEYWRIGHT_NO_LEASE_CHECK";
/// The same on every node, and worth nothing: the folder goes.
const MASTER_KEY: &str = "6b6579777269676874206368616f73206d6173746572206b6579203031323334";

/// Whether nodes test their lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    Tested,
    /// The control: stale answers must then be found.
    Ignored,
}

impl Lease {
    /// Has a debug build ignore it.
    pub(super) fn tell(self, command: &mut Command) {
        if self == Self::Ignored {
            command.env(NO_LEASE_CHECK, "1");
        }
    }
}

/// One process that verifies. A follower is one of a node, and is called one where both are meant.
#[derive(Debug)]
pub(crate) struct Node {
    index: usize,
    name: String,
    role: Role,
    proxy: Proxy,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    address: StdMutex<Option<SocketAddr>>,
}

/// What it is started as.
#[derive(Debug)]
pub(super) enum Role {
    Serves(Serving),
    Follows(Following),
}

/// How a server is started.
#[derive(Debug)]
pub(super) struct Serving {
    bin: PathBuf,
    /// Where it reaches the database.
    reached: SocketAddr,
    root: String,
    slot: Option<String>,
    max_staleness: Duration,
    deaf: bool,
    lease: Lease,
    failover: &'static str,
}

impl Serving {
    pub(super) fn new(shape: &Shape, index: usize, reached: SocketAddr, root: String) -> Self {
        Self {
            bin: shape.bin.clone(),
            reached,
            root,
            slot: shape.named.then(|| format!("node-{index}")),
            max_staleness: shape.max_staleness,
            deaf: shape.some_deaf && index % 3 == 2,
            lease: shape.lease,
            failover: shape.failover,
        }
    }

    fn command(&self) -> Command {
        let mut command = process::command(&Account::Own, &self.bin);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        if let Some(slot) = &self.slot {
            command.args(["--node-name", slot]);
        }
        command.args(["--database", &Postgres::url(self.reached)]);
        command.args(["--max-staleness", &format!("{}ms", self.max_staleness.as_millis())]);
        command.args(["--postgres-failover", self.failover]);
        if self.deaf {
            command.args(["--signals", "off"]);
        }
        command.env("KEYWRIGHT_ROOT_KEY", &self.root).env("KEYWRIGHT_MASTER_KEY", MASTER_KEY);
        self.lease.tell(&mut command);
        command
    }
}

impl Node {
    pub(super) fn new(index: usize, name: String, role: Role, proxy: Proxy, scratch: &Path) -> Self {
        let log = scratch.join(format!("{name}.log"));
        Self { index, name, role, proxy, log, child: Mutex::default(), address: StdMutex::default() }
    }

    /// Its place among all who verify: nodes come first, then followers.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(crate) const fn is_follower(&self) -> bool {
        matches!(self.role, Role::Follows(_))
    }

    /// Its link to the database, or to the node that it follows.
    pub(crate) const fn link(&self) -> &Proxy {
        &self.proxy
    }

    /// Where it listens; `None` while it does not run.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which it is and where it listens.
    pub(super) fn place(&self) -> Option<(usize, SocketAddr)> {
        Some((self.index, self.address()?))
    }

    fn set_address(&self, address: Option<SocketAddr>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Starts it with clocks that run at `rate`, and waits until it listens. One that runs is left as it is.
    pub(crate) async fn start(&self, rate: f64) -> anyhow::Result<()> {
        let mut running = self.child.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = match &self.role {
            Role::Serves(serving) => serving.command(),
            Role::Follows(following) => following.command(),
        };
        if (rate - 1.0).abs() > f64::EPSILON {
            command.env("LD_PRELOAD", faketime()?).env("FAKETIME", format!("+0 x{rate}"));
        }
        let (child, address) = started(command.stderr(log)).await.with_context(|| self.last_words())?;
        *running = Some(child);
        self.set_address(Some(address));
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&self) {
        let Some(mut child) = self.child.lock().await.take() else { return };
        self.set_address(None);
        // A process that cannot be killed has ended by itself.
        let _ = child.kill().await;
    }

    /// SIGSTOP or SIGCONT. It stays where it was: callers find a node that does not answer.
    pub(crate) async fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.lock().await.as_ref().and_then(Child::id) {
            process::signal(pid, signal);
        }
    }

    /// Whether it ended though nobody killed it. Then it can be started again.
    pub(crate) async fn has_ended_by_itself(&self) -> bool {
        let mut running = self.child.lock().await;
        let ended = running.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        if ended {
            *running = None;
            self.set_address(None);
        }
        ended
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last: Vec<&str> = lines.iter().rev().take(10).rev().copied().collect();
        format!("{} said last:\n{}", self.name, last.join("\n"))
    }
}

/// A server that is alone, on its embedded store.
pub(crate) struct Alone {
    pub(crate) address: SocketAddr,
    pub(crate) rest: Rest,
    _child: Child,
}

impl Alone {
    pub(crate) async fn start(bin: &Path, scratch: &Scratch) -> anyhow::Result<Self> {
        let root = scratch.fresh_secret("root");
        let mut command = process::command(&Account::Own, bin);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(scratch.path().join("alone"));
        command.env("KEYWRIGHT_ROOT_KEY", &root).env("KEYWRIGHT_MASTER_KEY", MASTER_KEY);
        let (child, address) = started(command.stderr(Stdio::null())).await?;
        Ok(Self { address, rest: Rest::new(root)?, _child: child })
    }
}

/// Starts a server and waits until it says where it listens.
async fn started(command: &mut Command) -> anyhow::Result<(Child, SocketAddr)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("the server did not start")?;
    let printed = child.stdout.take().context("a server without an output")?;
    let mut lines = BufReader::new(printed).lines();
    let listening = tokio::time::timeout(START_MAX, listening(&mut lines)).await;
    let address = listening.context("it did not listen in time").flatten()?;
    tokio::spawn(async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
    Ok((child, address))
}

async fn listening(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<SocketAddr> {
    loop {
        let line = lines.next_line().await?.context("it ended before it listened")?;
        if let Some((_, address)) = line.split_once(LISTENING) {
            return address.trim().parse().context("an address that is none");
        }
    }
}

/// Debian's libfaketime, whose folder has the machine's name in it. It slows or hastens every clock of a process,
/// `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC_RAW` included.
fn faketime() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("no libraries")?;
    let there = |entry: fs::DirEntry| {
        Some(entry.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists())
    };
    folders.flatten().find_map(there).context("libfaketime is not installed: `cargo xtask tools`")
}

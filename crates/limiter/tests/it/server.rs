//! A `redis-server` of the test's own, on a socket in a scratch folder, and nodes that use it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keywright_limiter::{Allowances, Clock, Limiter, Parts, Policy, RedisAllowances, RedisUrl, Source};
use keywright_model::limit::Limit;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::{Credential, Decided, Deferred, Lease, Now, Request, Verdict, Verifier};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::fixture::{at, key_with, plain, secret_of, tenancy, verifier_with};

pub(crate) struct Server {
    folder: TempDir,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), process: None };
        server.run();
        server
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn url(&self) -> RedisUrl {
        RedisUrl::parse(&format!("unix://{}", self.socket().display())).unwrap()
    }

    /// Starts it, with nothing in its memory.
    pub(crate) fn run(&mut self) {
        let (folder, socket): (&Path, _) = (self.folder.path(), self.socket());
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        command.arg(&socket).arg("--dir").arg(folder);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        self.process = Some(started.expect("redis-server of Debian: `cargo xtask tools` installs it"));
        for _ in 0..500 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops it, so that it takes calls and never answers, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A test's time: real, and as long since the boot as this process has been running.
pub(crate) fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || 3_600_000_000_000 + u64::try_from(start.elapsed().as_nanos()).unwrap())
}

pub(crate) struct Node {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) limiter: Limiter,
    pub(crate) clock: Clock,
}

pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

impl Node {
    /// A node with a key 1 that has these limits and a key 2 that has none.
    pub(crate) fn start(server: &Server, name: &str, limits: &[Limit], policy: Policy) -> Self {
        let allowances = RedisAllowances::new(&server.url(), name, "test", TIMEOUT).unwrap();
        Self::with(Arc::new(allowances), limits, policy)
    }

    pub(crate) fn with(server: Arc<dyn Allowances>, limits: &[Limit], policy: Policy) -> Self {
        let limited = key_with(1, |key| key.spec.limits = limits.to_vec());
        let verifier = verifier_with(Lease::embedded()).share_limits();
        let changes = tenancy().into_iter().chain([limited, key_with(2, |_| {})]);
        verifier.load(changes, Revision(1), Incarnation(1));
        let (verifier, clock, source) = (Arc::new(verifier), clock(), Source::Server(server));
        let parts = Parts {
            verifier: Arc::clone(&verifier),
            source,
            policy,
            timeout: TIMEOUT,
            clock: Arc::clone(&clock),
        };
        Self { verifier, limiter: Limiter::start(parts), clock }
    }

    fn decide(&self, key: u128, cost: u64) -> Decided {
        let now = Now { wall: at(1_795_348_800_000), boot_ns: (self.clock)() };
        let secret = secret_of(key, 1);
        self.verifier.verify(&Credential::Bearer(&secret), &Request { cost, ..plain() }, now)
    }

    /// What the server does with a question.
    pub(crate) async fn verify(&self, key: u128, cost: u64) -> Verdict {
        for _ in 0..1_000 {
            let needs = match self.decide(key, cost) {
                Decided::Verdict(verdict) => return verdict,
                Decided::Deferred(Deferred::Allowances(needs)) => needs,
                other => panic!("neither an answer nor a question: {other:?}"),
            };
            self.limiter.allow(&needs).await;
        }
        panic!("deferred for ever")
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.limiter.figures().into_iter().find(|(known, ..)| *known == name).unwrap().2
    }

    /// Waits until it counts with the others, or no longer does.
    pub(crate) async fn until_away_is(&self, away: u64) {
        let waiting = async {
            while self.figure("limiter_nodes") == 0 || self.figure("limiter_away") != away {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never changed");
    }
}

//! A verifier in the caller's own process: it follows a node's feed and answers from its own memory.
//!
//! By default it is current to within a stated bound (5 s, [`Options::max_staleness`]) and holds up no writer. Beyond the
//! bound it refuses. With [`Options::lease`] it is as current as a node is: writers wait for it. What memory cannot decide is
//! the node's to answer: a secret that somebody chose, a signed request, a quota. Limits it counts by itself, so that each of
//! N embedded verifiers admits as much as a node does.
//!
//! ```no_run
//! use std::sync::Arc;
//! use keywright_client::embedded::{Ambient, Embedded, Options};
//! use keywright_client::{Client, Error, Secret, VerifyRequest};
//!
//! # async fn example(ambient: Arc<dyn Ambient>, secret: Secret) -> Result<(), Error> {
//! let client = Client::new("http://127.0.0.1:7700", Secret::new("kw_…"))?;
//! let options = Options { keyspaces: vec!["orders".to_owned()], ..Options::new(ambient) };
//! let keys = Embedded::start(&client, options).await?;
//! let verdict = keys.ask(&VerifyRequest::of(secret)).await?;
//! assert!(verdict.allowed);
//! # Ok(())
//! # }
//! ```

mod answer;
mod following;
mod lease;
mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keywright_feed::keeper::{Ended, Options as KeeperOptions};
use keywright_feed::{Applied, Keeper};
use keywright_model::admin::Reach;
use keywright_model::digest::Pepper;
use keywright_model::feed::{DIGEST_KEY_VERSION, Scope};
use keywright_model::id::NodeId;
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use keywright_verifier::{Lease, Now, Verifier};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::following::{Following, Held, Parts};
use self::lines::Asking;
use crate::{Client, Error};

pub use self::answer::Local;
pub use keywright_feed::Clocks;

/// What this library is lent of the world outside: it reads no clock and no randomness of its own.
pub trait Ambient: Clocks + Entropy {
    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// How to follow.
#[derive(Clone)]
pub struct Options {
    /// Keyspaces by name or id; empty is every one that the key reaches.
    pub keyspaces: Vec<String>,
    /// How old what is answered by may be: 1 s at least. Beyond it nothing is answered. With a lease it is how long one
    /// renewal is trusted, in whole seconds, 60 at most.
    pub max_staleness: Duration,
    /// Has writers wait for it, as they do for a node; the key needs `feed.lease` then.
    pub lease: Option<LeaseOptions>,
    /// Clocks and randomness.
    pub ambient: Arc<dyn Ambient>,
}

/// How long the node may take to answer what memory cannot decide.
const PASSED_ON_MAX: Duration = Duration::from_secs(5);

/// How to hold a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The supervisor's slot that this process runs in. Starting says that whoever ran in it before with the same key is
    /// dead, so that no write waits for it.
    pub name: Option<String>,
}

/// How long a start waits for its first lease.
const FIRST_LEASE_MAX: Duration = Duration::from_secs(10);
/// How long one call about the lease may take.
const LEASE_CALL_MAX: Duration = Duration::from_secs(4);
/// No lease is longer: no write waits for a follower for longer.
const LEASE_SECONDS_MAX: u64 = 60;

/// How old what is answered by may be, unless said otherwise.
pub const MAX_STALENESS: Duration = Duration::from_secs(5);

impl Options {
    /// Everything that the key reaches, within the usual bound.
    pub fn new(ambient: Arc<dyn Ambient>) -> Self {
        Self { keyspaces: Vec::new(), max_staleness: MAX_STALENESS, lease: None, ambient }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("keyspaces", &self.keyspaces)
            .field("max_staleness", &self.max_staleness)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// What has happened so far, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Answers of the feed that were whole.
    pub answers: AtomicU64,
    /// Calls of the feed that failed.
    pub failures: AtomicU64,
    /// Snapshots that were loaded, the first included.
    pub snapshots: AtomicU64,
    /// Verifications that memory could not decide and the node was asked.
    pub passed_on: AtomicU64,
}

impl Figures {
    fn count(figure: &AtomicU64) {
        figure.fetch_add(1, Ordering::Relaxed);
    }
}

/// A verifier that follows a node. It stops following when it is dropped.
pub struct Embedded {
    client: Client,
    verifier: Arc<Verifier>,
    ambient: Arc<dyn Ambient>,
    held: watch::Receiver<Held>,
    applied: Applied,
    figures: Arc<Figures>,
    keeper: Option<Keeper>,
    /// Turns true when it follows no more.
    over: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("revision", &self.applied.revision()).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Loads everything, then follows in a task of its own. On return it can answer.
    ///
    /// The client's key needs `feed.read`.
    pub async fn start(client: &Client, options: Options) -> Result<Self, Error> {
        let Options { keyspaces, max_staleness, lease, ambient } = options;
        let mut digest_key = Zeroizing::new([0; 32]);
        ambient.fill(digest_key.as_mut_slice());
        let verifier = Arc::new(verifier(&digest_key, ambient.as_ref()));
        let asking = Asking::new(Arc::clone(&client.0), &digest_key, keyspaces.clone());
        let figures = Arc::new(Figures::default());
        let (progress, _) = watch::channel(Revision(0));
        let applied = Applied::following(&progress);
        let (ending, over) = watch::channel(false);
        let parts = Parts {
            asking,
            verifier: Arc::clone(&verifier),
            ambient: Arc::clone(&ambient),
            staleness: lease.is_none().then_some(max_staleness),
            progress,
            figures: Arc::clone(&figures),
            ending,
        };
        let (following, held) = Following::load(parts).await?;
        let task = tokio::spawn(following.run());
        let client = client.clone();
        let mut embedded =
            Self { client, verifier, ambient, held, applied, figures, keeper: None, over, task };
        if let Some(LeaseOptions { name }) = lease {
            let lease_seconds = max_staleness.as_secs().clamp(1, LEASE_SECONDS_MAX);
            let held = embedded.held.borrow().clone();
            let keyspaces = match &held.scope.keyspaces {
                Reach::Only(named) if !keyspaces.is_empty() => {
                    named.iter().map(ToString::to_string).collect()
                }
                Reach::Only(_) | Reach::All => keyspaces,
            };
            let keeper = embedded.keep(lease::Asked { keyspaces, lease_seconds, name, held })?;
            if !embedded.keeper.insert(keeper).first_lease(FIRST_LEASE_MAX).await {
                return Err(Error::Unexpected(
                    "the node gives no lease: the key needs `feed.lease`, and 16 followers hold one at most",
                ));
            }
        }
        Ok(embedded)
    }

    fn keep(&self, asked: lease::Asked) -> Result<Keeper, Error> {
        let apart = || self.client.0.apart(LEASE_CALL_MAX).map(Arc::new);
        let lease = Duration::from_secs(asked.lease_seconds);
        let (membership, reports) = lease::remote((apart()?, apart()?), &self.verifier, asked);
        let (clocks, ambient) = (Arc::clone(&self.ambient), Arc::clone(&self.ambient));
        let keeper = Keeper::start(KeeperOptions {
            membership: Box::new(membership),
            reports: Arc::new(reports),
            verifier: Arc::clone(&self.verifier),
            clocks,
            fresh_id: Box::new(move || {
                let mut random = [0; 16];
                ambient.fill(&mut random);
                NodeId::new(ambient.now().unix_ms(), u128::from_le_bytes(random))
            }),
            lease,
        });
        let keeper = keeper.map_err(|_| Error::Unexpected("the lease's thread cannot be started"))?;
        keeper.loaded(self.applied.clone());
        Ok(keeper)
    }

    /// Waits until it cannot go on, and says why. Start anew then.
    pub async fn over(&self) -> &'static str {
        let mut over = self.over.clone();
        let scope = async move {
            if over.wait_for(|over| *over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = self.keeper.as_ref().map(Keeper::ended);
        let incarnation = async move {
            let Some(mut ended) = ended else { return std::future::pending().await };
            if ended.wait_for(|ended| *ended == Some(Ended::OtherIncarnation)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = scope => "what the key may follow is another thing now, or another database took over",
            () = incarnation => "the installation was restored and is in another life now",
        }
    }

    /// Asks for no lease any more; the one that there is runs on while open requests are answered.
    pub fn drain(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.drain();
        }
    }

    /// Nothing is answered any more: ends the lease and says so, so that no write waits for this process.
    pub async fn leave(mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.leave().await;
        }
    }

    /// The index, for whoever serves its answers.
    pub const fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// What it answers for.
    pub fn scope(&self) -> Scope {
        self.held.borrow().scope.clone()
    }

    /// How far it has come.
    pub const fn applied(&self) -> &Applied {
        &self.applied
    }

    /// What has happened so far.
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    fn now(&self) -> Now {
        Now { wall: self.ambient.now(), boot_ns: self.ambient.boot_ns() }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
        self.verifier.lease().drop_now();
    }
}

/// What a call came to that was passed on: its status and its body, a refusal's too.
pub type PassedOn = (http::StatusCode, Zeroizing<Vec<u8>>);

impl Client {
    /// Has the node answer a call of a path below `/v1` as it came, with the credential that is among its headers.
    pub async fn pass_on(
        &self,
        path: &[&str],
        headers: http::HeaderMap,
        body: bytes::Bytes,
    ) -> Result<PassedOn, Error> {
        let passed = self.0.pass_on(path, headers, body);
        let late = |_| Error::Timeout { server: self.0.server().to_owned() };
        tokio::time::timeout(PASSED_ON_MAX, passed).await.map_err(late)?
    }
}

fn verifier(digest_key: &[u8; 32], entropy: &dyn Entropy) -> Verifier {
    let mut boot_key = Zeroizing::new([0; 32]);
    entropy.fill(boot_key.as_mut_slice());
    Verifier::new(keywright_verifier::Options {
        peppers: vec![(DIGEST_KEY_VERSION, Pepper::new(digest_key))],
        boot_key,
        // Chosen secrets are not among what is told, so nothing is ever compared with it.
        dummy_argon2: "".into(),
        unseal: Box::new(|_, _| None),
        lease: Lease::none(),
    })
}

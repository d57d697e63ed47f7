//! A verifier in the caller's own process: it follows a node's feed and answers from its own memory.
//!
//! By default it is current to within a stated bound (5 s, [`Options::max_staleness`]) and holds up no writer. Beyond the
//! bound it refuses. What memory cannot decide is the node's to answer: a secret that somebody chose, a signed request, a
//! quota. Limits it counts by itself, so that each of N embedded verifiers admits as much as a node does.
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
mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keywright_feed::Applied;
use keywright_model::digest::Pepper;
use keywright_model::feed::{DIGEST_KEY_VERSION, Scope};
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use keywright_verifier::{Lease, Now, Verifier};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::following::Following;
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
    /// How old what is answered by may be: 1 s at least. Beyond it nothing is answered.
    pub max_staleness: Duration,
    /// Clocks and randomness.
    pub ambient: Arc<dyn Ambient>,
}

/// How long the node may take to answer what memory cannot decide.
const PASSED_ON_MAX: Duration = Duration::from_secs(5);

/// How old what is answered by may be, unless said otherwise.
pub const MAX_STALENESS: Duration = Duration::from_secs(5);

impl Options {
    /// Everything that the key reaches, within the usual bound.
    pub fn new(ambient: Arc<dyn Ambient>) -> Self {
        Self { keyspaces: Vec::new(), max_staleness: MAX_STALENESS, ambient }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("keyspaces", &self.keyspaces)
            .field("max_staleness", &self.max_staleness)
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
    scope: watch::Receiver<Scope>,
    applied: Applied,
    figures: Arc<Figures>,
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
        let Options { keyspaces, max_staleness, ambient } = options;
        let mut digest_key = Zeroizing::new([0; 32]);
        ambient.fill(digest_key.as_mut_slice());
        let verifier = Arc::new(verifier(&digest_key, ambient.as_ref()));
        let asking = Asking::new(Arc::clone(&client.0), &digest_key, keyspaces);
        let figures = Arc::new(Figures::default());
        let (progress, _) = watch::channel(Revision(0));
        let applied = Applied::following(&progress);
        let clocks = Arc::clone(&ambient);
        let mut following = Following::new(asking, Arc::clone(&verifier), clocks, max_staleness, progress);
        following.count_in(Arc::clone(&figures));
        let scope = following.load_first().await?;
        let task = tokio::spawn(following.run());
        Ok(Self { client: client.clone(), verifier, ambient, scope, applied, figures, task })
    }

    /// The index, for whoever serves its answers.
    pub const fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// What it answers for.
    pub fn scope(&self) -> Scope {
        self.scope.borrow().clone()
    }

    /// How far it has come.
    pub const fn applied(&self) -> &Applied {
        &self.applied
    }

    /// What has happened so far.
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Whether it still follows.
    pub fn is_following(&self) -> bool {
        !self.task.is_finished()
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

//! Use cases: who may do what, what changes, commit, wait until enforced. One file a verb.
//!
//! This crate must not know HTTP or SQL. Five callers share each verb: REST, the dialects, the console, the gateways and
//! the command line.

mod audit;
pub mod barrier;
pub mod bootstrap;
mod caller;
mod clock;
mod deferred;
mod error;
pub mod feed;
mod housekeeping;
pub mod keys;
pub mod leases;
mod lookup;
mod nouns;
mod reads;
mod rights;
pub mod source;
mod vault;
mod write;

use std::sync::Arc;
use std::time::Duration;

use keywright_model::secret::Entropy;
use keywright_store::Store;

pub use barrier::Barrier;
pub use caller::{Caller, Origin, REST};
pub use clock::Clock;
pub use error::Error;
pub use keywright_store::audit::AuditEntry;
pub use keywright_store::query::NounKind;
pub use keywright_store::{AuditQuery, KeyQuery, Noun, Page, QuotaBlock, QuotaSubject, Standing};
pub use nouns::{NounPage, NounRecord};
pub use reads::{AuditFilter, RevisionStatus};
pub use vault::{Vault, VaultError};
pub use write::{Answer, Done, Enforced, Idempotency, Plan, WriteOptions};

/// What the use cases work with; built once by the binary, or by a test.
pub struct Parts {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// What seals and digests secrets.
    pub vault: Arc<Vault>,
    /// Waits until every verifier answers by a write.
    pub barrier: Barrier,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Which history of the database this process is part of, as a text that nothing is read from: a promotion or a restore
    /// to a moment begins another, in which the same revisions may be other writes.
    pub history: String,
    /// How current this node is.
    pub contact: Contact,
    /// What the operator has set.
    pub settings: Settings,
}

/// How many milliseconds ago this node's lease was renewed: a store that nobody writes to any more, because another took over,
/// renews none. `None` where it is no longer current.
pub type Contact = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// What the operator has set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a write that takes access away waits to be enforced before it is answered as pending.
    pub enforce_timeout: Duration,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

/// What [`Control`] shares; see [`Parts`].
pub struct Inner {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    barrier: Barrier,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    history: String,
    contact: Contact,
    settings: Settings,
    incarnation: tokio::sync::OnceCell<keywright_model::revision::Incarnation>,
    in_progress: write::InProgress,
    moments: reads::Moments,
    /// Held by the one write that is run again after others came in between; see [`mod@write`].
    contended: tokio::sync::Mutex<()>,
    argon2: deferred::Workers,
    /// One place for each snapshot that is being told to a follower.
    feed_turns: feed::Turns,
}

impl Control {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, vault, barrier, clock, entropy, history, contact, settings } = parts;
        let (incarnation, in_progress) = (tokio::sync::OnceCell::new(), write::InProgress::default());
        let argon2 = deferred::Workers::default();
        Self(Arc::new(Inner {
            store,
            vault,
            barrier,
            clock,
            entropy,
            history,
            contact,
            settings,
            incarnation,
            in_progress,
            moments: reads::Moments::default(),
            contended: tokio::sync::Mutex::new(()),
            argon2,
            feed_turns: feed::Turns::default(),
        }))
    }

    /// The wait of every write.
    pub fn barrier(&self) -> &Barrier {
        &self.0.barrier
    }

    /// The rows of who verifies.
    fn members(&self) -> &dyn keywright_store::Members {
        self.0.barrier.members()
    }

    /// 128 random bits, for identifiers.
    fn random_bits(&self) -> u128 {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}

impl std::ops::Deref for Control {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control(..)")
    }
}

//! The typed client of the REST API; the command line is its first user.
//!
//! This crate must not know how the service works inside: it speaks what `/openapi.json` says and nothing else. Fields
//! that a newer server adds are kept in `other`; a verdict's code that it does not know is still a denial.
//!
//! ```no_run
//! use keywright_client::{Client, Error, Secret, VerifyRequest, WriteOptions};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::new("http://127.0.0.1:7700", Secret::new("kw_…"))?;
//!
//! // A key, and its secret: the only time that it is shown.
//! let body = json!({
//!     "name": "gps uploader",
//!     "grants": [{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}],
//! });
//! let made = client.keys().create(&body, &WriteOptions::default()).await?.written()?;
//!
//! // What would an update do? Nothing is written.
//! let narrower = json!({"ip_allowlist": ["10.0.0.0/8"]});
//! let plan = client.keys().merge(&made.value.key.id, &narrower, &WriteOptions::dry_run()).await?.planned()?;
//! assert_eq!(plan.changes.len(), 1);
//!
//! // Do it, but only if nobody changed the key meanwhile; then ask what holds now.
//! let options = WriteOptions { if_match: Some(made.value.key.etag.clone()), ..WriteOptions::default() };
//! let changed = client.keys().merge(&made.value.key.id, &narrower, &options).await?.written()?;
//! assert!(changed.enforced.is_all());
//!
//! if let Some(secret) = made.value.secret {
//!     let verdict = client.verify(&VerifyRequest { ip: Some("10.1.2.3".into()), ..VerifyRequest::of(secret) }).await?;
//!     assert!(verdict.allowed);
//! }
//! # Ok(())
//! # }
//! ```

mod audit;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod http;
mod key;
mod keys;
mod nouns;
mod pages;
mod secret;
mod verify;
mod write;

use std::sync::Arc;
use std::time::Duration;

pub use audit::{AuditEntry, AuditFilter};
pub use error::{Error, Problem, ProblemItem};
pub use key::{AdminRights, Grant, Key, KeySecret, KeyWithSecret, Limit, OwnGrants, Quota};
pub use keys::{KeyFilter, Keys};
pub use nouns::{Keyspace, Noun, Nouns, Org, Plan, Principal, Role};
pub use pages::{Page, Pages};
pub use secret::Secret;
pub use verify::{Check, LimitState, OwnerRef, QuotaState, Verdict, VerifyRequest};
pub use write::{
    AccessDifference, AccessRegion, Answer, DryRun, Enforced, FieldChange, WriteOptions, Written,
};

/// Makes a fresh `Idempotency-Key`: unpredictable, at most 255 printable ASCII characters.
pub type IdempotencyKeys = Arc<dyn Fn() -> String + Send + Sync>;

/// A connection to one server, with one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<http::Transport>);

/// What a [`Client`] can be told besides the server and the key.
#[derive(Clone)]
pub struct Options {
    /// The organization to act in, by name or id; `None` is the key's own, and `default` for the root key.
    pub org: Option<String>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a call may take in all. A write may wait up to 30 s until it is enforced.
    pub timeout: Duration,
    /// How often a call is made that may be made again: 3 is one call and two more.
    pub attempts: u32,
    /// Gives every write without an `Idempotency-Key` of its own a fresh one, so that it too may be made again when the
    /// connection breaks. Without it only reads, and calls that never reached the server, are.
    pub idempotency_keys: Option<IdempotencyKeys>,
    /// The revision that answers must have seen (`Keywright-At-Least`).
    pub at_least: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            org: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_mins(1),
            attempts: 3,
            idempotency_keys: None,
            at_least: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("org", &self.org)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at a base address such as `http://127.0.0.1:7700`, calling with a management key.
    pub fn new(server: &str, key: Secret) -> Result<Self, Error> {
        Self::with(server, Some(key), Options::default())
    }

    /// A client with options. Without a key only what needs none can be called.
    pub fn with(server: &str, key: Option<Secret>, options: Options) -> Result<Self, Error> {
        http::Transport::new(server, key, options).map(|transport| Self(Arc::new(transport)))
    }

    /// Keys.
    pub fn keys(&self) -> Keys<'_> {
        Keys(&self.0)
    }

    /// Another kind of noun: `client.nouns::<Role>()`.
    pub fn nouns<N: Noun>(&self) -> Nouns<'_, N> {
        Nouns::new(&self.0)
    }

    /// Organizations.
    pub fn orgs(&self) -> Nouns<'_, Org> {
        self.nouns()
    }

    /// Keyspaces.
    pub fn keyspaces(&self) -> Nouns<'_, Keyspace> {
        self.nouns()
    }

    /// Principals.
    pub fn principals(&self) -> Nouns<'_, Principal> {
        self.nouns()
    }

    /// Roles.
    pub fn roles(&self) -> Nouns<'_, Role> {
        self.nouns()
    }

    /// Plans.
    pub fn plans(&self) -> Nouns<'_, Plan> {
        self.nouns()
    }

    /// Whose key this is and what it may do.
    pub async fn whoami(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        self.0.get(&["whoami"], &[]).await
    }

    /// How far a write has come: the answer's `enforced` says whether every verifier answers by it.
    pub async fn revision(
        &self,
        revision: &str,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        self.0.get(&["revisions", revision], &[]).await
    }

    /// Who did what, newest first.
    pub fn audit(&self, filter: &AuditFilter) -> Pages<AuditEntry> {
        Pages::new(Arc::clone(&self.0), "audit", filter.query())
    }
}

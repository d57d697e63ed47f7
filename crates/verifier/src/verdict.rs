//! The answer. Everything in it is borrowed by reference count or copied: making one allocates nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::denial::Denial;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, SecretId};
use keywright_model::key::SecretStatus;
use keywright_model::limit::Period;
use keywright_model::revision::Revision;
use keywright_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::directory::{KeyspaceRow, OrgRow, OwnerRow};
use crate::inline::Inline;
use crate::pairs::Weak;
use crate::quota::QuotaBlock;
use crate::terms::{CompiledRights, Terms};

/// What a verification came to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and a box would allocate")]
pub enum Decided {
    /// An answer.
    Verdict(Verdict),
    /// Memory alone cannot tell: do what it says, then ask again.
    Deferred(Deferred),
    /// This node may not answer now: nothing is loaded, or it has been without the store for too long.
    NotCurrent {
        /// How long ago the store was last heard of, in milliseconds.
        age_ms: u64,
    },
}

/// What has to be done before the question can be answered.
#[derive(Debug)]
pub enum Deferred {
    /// Prove a custom secret by Argon2id, on a bounded worker.
    WeakSecret(WeakSecret),
    /// Reserve units in the store.
    QuotaBlock(QuotaBlock),
}

/// A custom secret that was not proven since the start. An access id that leads nowhere gives a fixed dummy, so that
/// both cost one Argon2id and then the same answer.
#[derive(Clone, Debug)]
pub struct WeakSecret {
    pub(crate) argon2: Arc<str>,
    pub(crate) weak: Option<Arc<Weak>>,
    pub(crate) others: Vec<Arc<Weak>>,
    pub(crate) key: Option<KeyId>,
}

impl WeakSecret {
    /// The Argon2id hashes (PHC) over `SHA-256(secret)` to try, newest secret first. More than one only of a key
    /// whose custom secret was rotated.
    pub fn hashes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.argon2).chain(self.others.iter().map(|weak| &*weak.argon2))
    }

    /// The key whose secret it may be, for counting guesses; `None` for the dummy.
    pub const fn key(&self) -> Option<KeyId> {
        self.key
    }
}

/// The answer to a verification.
#[derive(Debug)]
pub struct Verdict {
    /// Whether the call may go on.
    pub allowed: bool,
    /// Why not: the first reason that applies.
    pub denial: Option<Denial>,
    /// Which of the checks failed first.
    pub check_failed: Option<usize>,
    /// Whether all checks hold; `None` when there were none, or it never came to them.
    pub authorized: Option<bool>,
    /// The key; `None` for `malformed` and `not_found`, which say nothing about any key, and for bad signatures.
    pub key: Option<FoundKey>,
    /// What is left of each limit after this call.
    pub limits: Inline<LimitState, 4>,
    /// What is left of the quota that has least left after this call.
    pub quota: Option<QuotaState>,
    /// When a `rate_limited` call would fit; `None` when it never will.
    pub retry_ms: Option<u64>,
    /// The revision that it was answered by.
    pub revision: Revision,
    /// Whether the store was heard of within 3 s.
    pub current: bool,
    /// How long ago otherwise; 0 when the store is embedded.
    pub age_ms: u64,
    pub(crate) valid_until_ns: u64,
}

impl Verdict {
    /// Whether the answer still counts at a moment (nanoseconds since boot). In a cluster the caller reads the clock
    /// **after** verifying, once a batch, and answers `verifier_not_current` otherwise. Embedded it always counts.
    pub const fn holds_at(&self, boot_ns: u64) -> bool {
        boot_ns < self.valid_until_ns
    }
}

/// The key that a credential belongs to.
#[derive(Clone, Debug)]
pub struct FoundKey {
    pub(crate) id: KeyId,
    pub(crate) secret: SecretId,
    pub(crate) status: SecretStatus,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) org: Option<Arc<OrgRow>>,
    pub(crate) keyspace: Option<Arc<KeyspaceRow>>,
    pub(crate) owner: Option<Arc<OwnerRow>>,
}

impl FoundKey {
    /// Its identifier.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The secret that was presented.
    pub const fn secret_id(&self) -> SecretId {
        self.secret
    }

    /// What that secret is good for.
    pub const fn secret_status(&self) -> SecretStatus {
        self.status
    }

    /// When the key ends.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Its organization.
    pub fn org_id(&self) -> OrgId {
        self.terms.org
    }

    /// Its organization's name.
    pub fn org_name(&self) -> &str {
        self.org.as_ref().map_or("", |org| &org.name)
    }

    /// Its keyspace.
    pub fn keyspace_id(&self) -> KeyspaceId {
        self.terms.keyspace
    }

    /// Its keyspace's name.
    pub fn keyspace_name(&self) -> &str {
        self.keyspace.as_ref().map_or("", |keyspace| &keyspace.name)
    }

    /// Its owner.
    pub fn owner_id(&self) -> Option<PrincipalId> {
        self.owner.as_ref().map(|owner| owner.id)
    }

    /// The caller's own name for its owner.
    pub fn owner_external_id(&self) -> Option<&str> {
        self.owner.as_ref()?.external_id.as_deref()
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.terms.notes.labels
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.terms.notes.metadata
    }

    /// Whether it is a management key.
    pub fn is_management(&self) -> bool {
        matches!(self.terms.rights, CompiledRights::Management(_))
    }
}

/// What is left of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// Its name.
    pub name: Arc<str>,
    /// Its size.
    pub max: u64,
    /// Units that would be admitted now.
    pub remaining: u64,
    /// Milliseconds until all of it is there again.
    pub reset_ms: u64,
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// Its size.
    pub max: u64,
    /// Its period.
    pub period: Period,
    /// Units left: `max` less what is reserved, plus what this node has reserved and not spent.
    pub remaining: u64,
    /// When it begins anew; `None` for never, and before the period's first block was fetched.
    pub resets_at: Option<Timestamp>,
}

//! The answer. What it says about the key is read on demand from the state that it was answered by, which it keeps:
//! making one allocates nothing, and counts no reference of what many cores share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arc_swap::Guard;
use keywright_model::denial::Denial;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, SecretId};
use keywright_model::key::SecretStatus;
use keywright_model::limit::Period;
use keywright_model::revision::Revision;
use keywright_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::allowance::{AllowanceNeed, Counting};
use crate::ask::Check;
use crate::directory::OwnerRow;
use crate::inline::Inline;
use crate::pairs::Weak;
use crate::quota::QuotaBlock;
use crate::state::State;
use crate::table::Place;
use crate::terms::{Notes, Terms};
use crate::verify::denies;

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
    /// Ask the limiter for units of limits that nodes share.
    Allowances(Vec<AllowanceNeed>),
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

impl Decided {
    /// Lets the answer keep the state that it was answered by.
    pub(crate) fn by(mut self, state: Guard<Arc<State>>) -> Self {
        if let Self::Verdict(Verdict { key: Some(key), .. }) = &mut self {
            key.state = Some(state);
        }
        self
    }
}

/// The key that a credential belongs to.
pub struct FoundKey {
    pub(crate) id: KeyId,
    pub(crate) secret: SecretId,
    pub(crate) status: SecretStatus,
    pub(crate) is_management: bool,
    pub(crate) expires_at: i64,
    pub(crate) org: OrgId,
    pub(crate) keyspace: KeyspaceId,
    pub(crate) org_place: u32,
    pub(crate) keyspace_place: u32,
    pub(crate) owner_place: u32,
    pub(crate) terms: TermsAt,
    /// Set by [`Decided::by`].
    pub(crate) state: Option<Guard<Arc<State>>>,
}

/// Where the terms of a key are that was found.
#[derive(Clone, Debug)]
pub(crate) enum TermsAt {
    /// In the record at a place of the state's table.
    Table(Place),
    /// The key was found by its access id, which is rare.
    Held(Arc<Terms>),
}

impl fmt::Debug for FoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundKey").field("id", &self.id).field("secret", &self.secret).finish_non_exhaustive()
    }
}

impl Clone for FoundKey {
    fn clone(&self) -> Self {
        let state = self.state.as_ref().map(|state| Guard::from_inner(Arc::clone(state)));
        Self { terms: self.terms.clone(), state, ..*self }
    }
}

impl FoundKey {
    fn owner(&self) -> Option<&OwnerRow> {
        self.state.as_ref()?.directory.owners.at(self.owner_place).map(|owner| &**owner)
    }

    fn terms(&self) -> Option<&Terms> {
        match &self.terms {
            TermsAt::Held(terms) => Some(&**terms),
            TermsAt::Table(place) => {
                self.state.as_ref().and_then(|state| state.table.at(*place)).map(|record| &*record.terms)
            }
        }
    }

    fn notes(&self) -> &Notes {
        /// Of a key without a state: there is none.
        static NONE: LazyLock<Notes> = LazyLock::new(Notes::default);
        self.terms().map_or_else(|| &*NONE, |terms| &terms.notes)
    }

    /// Whether a deny covers this, in the key's own grants or in a role of its own or its owner's.
    pub fn is_denied(&self, check: &Check<'_>) -> bool {
        let said = self.state.as_ref().zip(self.terms());
        said.is_none_or(|(state, terms)| denies(&state.directory, terms, self.owner(), check))
    }

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
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.expires_at != i64::MAX).then(|| Timestamp::from_unix_ms(self.expires_at))
    }

    /// Its organization.
    pub const fn org_id(&self) -> OrgId {
        self.org
    }

    /// Its organization's name.
    pub fn org_name(&self) -> &str {
        let org = self.state.as_ref().and_then(|state| state.directory.orgs.at(self.org_place));
        org.map_or("", |org| &org.name)
    }

    /// Its keyspace.
    pub const fn keyspace_id(&self) -> KeyspaceId {
        self.keyspace
    }

    /// Its keyspace's name.
    pub fn keyspace_name(&self) -> &str {
        let keyspace =
            self.state.as_ref().and_then(|state| state.directory.keyspaces.at(self.keyspace_place));
        keyspace.map_or("", |keyspace| &keyspace.name)
    }

    /// Its owner.
    pub fn owner_id(&self) -> Option<PrincipalId> {
        self.owner().map(|owner| owner.id)
    }

    /// The caller's own name for its owner.
    pub fn owner_external_id(&self) -> Option<&str> {
        self.owner()?.external_id.as_deref()
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.notes().labels
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.notes().metadata
    }

    /// Whether it is a management key.
    pub const fn is_management(&self) -> bool {
        self.is_management
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
    /// Who counts it now.
    pub counting: Counting,
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

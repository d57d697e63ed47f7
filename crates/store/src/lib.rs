//! The one door to durable state: a narrow trait, its backends and the contract that both must pass.
//!
//! This crate must not know who may do what, what a right means, or HTTP. It keeps facts: a write is a list of
//! [`Change`]s that is committed whole, together with its audit entries, its feed entry and its idempotent answer.

#[cfg(test)]
mod alike;
pub mod audit;
mod bookkeeping;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod copy;
mod error;
mod key_row;
pub mod members;
pub mod postgres;
pub mod query;
pub mod sqlite;
mod value;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use keywright_model::change::{Batch, Change, NounRef};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, SecretId};
use keywright_model::key::Key;
use keywright_model::noun::{Actor, Keyspace, Org, Plan, Principal, Role};
use keywright_model::revision::{Incarnation, Revision, Version};
use keywright_model::seal::Sealed;
use keywright_model::time::Timestamp;

pub use crate::error::{CommitError, StoreError};
pub use crate::members::{Followed, Member, MemberStatus, Members, NewMember, Renewal, Report, Touched};
pub use crate::query::{AuditQuery, KeyQuery, NounKind, NounQuery, Page, Standing};

/// One noun of any kind, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Noun {
    /// An organization.
    Org(Org),
    /// A keyspace.
    Keyspace(Keyspace),
    /// A principal.
    Principal(Principal),
    /// A role.
    Role(Role),
    /// A plan.
    Plan(Plan),
    /// A key, with what proves its secrets.
    Key(Arc<Key>),
}

impl Noun {
    /// Its version.
    pub fn version(&self) -> Version {
        match self {
            Self::Org(org) => org.meta.version,
            Self::Keyspace(keyspace) => keyspace.meta.version,
            Self::Principal(principal) => principal.meta.version,
            Self::Role(role) => role.meta.version,
            Self::Plan(plan) => plan.meta.version,
            Self::Key(key) => key.meta.version,
        }
    }
}

/// Finds a noun by something other than its identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// A key by the digest of one of its secrets.
    KeyByDigest(Digest),
    /// A key by its public half.
    KeyByAccessId(String),
    /// A key by its number in an organization.
    KeyByNumber(OrgId, u32),
    /// A key by the caller's own name for it.
    KeyByExternalId(KeyspaceId, String),
    /// An organization by name.
    OrgByName(String),
    /// A keyspace by name.
    KeyspaceByName(OrgId, String),
    /// A principal by the caller's own name for it.
    PrincipalByExternalId(OrgId, String),
    /// A role by its number in an organization.
    RoleByNumber(OrgId, u32),
    /// A role by name.
    RoleByName(OrgId, String),
    /// A plan by name.
    PlanByName(OrgId, String),
}

/// What a write relies on: tested again inside its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The noun still has this version.
    Version(NounRef, Version),
    /// The noun does not exist.
    Absent(NounRef),
    /// Nothing refers to the noun any more (a role, plan, principal, keyspace or organization about to be deleted):
    /// else [`CommitError::InUse`]. Keys whose record is hidden count too until they are purged.
    Unused(NounRef),
    /// So many keys that are not revoked belong to the principal. With the version of each of them, it says that none has
    /// come to it meanwhile: else [`CommitError::Conflict`] about the principal.
    Owns(PrincipalId, u64),
    /// The installation's root key is the one with this digest.
    Root(Digest),
}

/// One write: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What must still be so.
    pub expect: Vec<Expect>,
    /// What changes. Numbers that are 0 are assigned here, inside the transaction.
    pub changes: Vec<Change>,
    /// Who did it and how, for the audit: one entry a change; with no change (a reveal) one entry by itself.
    pub audit: AuditContext,
    /// The answer to keep for a repeated call, if it named a key for that.
    pub idempotency: Option<IdempotentWrite>,
    /// Data keys that come into being with this write, wrapped under the master key.
    pub wrapped_keys: Vec<WrappedKey>,
}

/// Who did something, through which wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditContext {
    /// When, by the caller's clock.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// In which organization, when no change says it.
    pub org: OrgId,
    /// Through which wire: `rest`, `onenet`, …
    pub wire: &'static str,
    /// What was done, as a verb: `key.create`, `key.reveal`, …
    pub verb: &'static str,
    /// To which noun.
    pub subject: NounRef,
    /// From which address, when known. A personal field.
    pub address: Option<std::net::IpAddr>,
    /// The request's identifier.
    pub request_id: Option<String>,
}

/// A call that may be repeated: kept in the write's own transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentWrite {
    /// A hash over the caller, the call's method and path, and the `Idempotency-Key`.
    pub scope: [u8; 32],
    /// A hash over the body.
    pub request: [u8; 32],
    /// The secret that the answer carried, sealed.
    pub secret: Option<Sealed>,
    /// Until when the secret is replayed; the store drops it afterwards.
    pub secret_until: Timestamp,
    /// Until when the call is remembered at all.
    pub until: Timestamp,
}

/// What was answered to a call that is now repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct IdempotentAnswer {
    /// The body's hash then.
    pub request: [u8; 32],
    /// The write's revision.
    pub revision: Revision,
    /// What the call was about (the commit's `audit.subject`).
    pub subject: NounRef,
    /// What the write changed, as it was then (from the audit: without what proves secrets).
    pub changes: Vec<Change>,
    /// The secret, while it is replayed.
    pub secret: Option<Sealed>,
}

/// What a commit came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The batch with its revision, numbers assigned. Without changes no revision is taken: `revision` is the newest.
    pub batch: Arc<Batch>,
}

/// A key of the keyring as it is stored: wrapped under the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// What it is for: `pepper`, `audit`, `root-hash`, or `data:<keyspace id>`.
    pub purpose: String,
    /// Counts from 1 for each purpose.
    pub version: u32,
    /// The key itself.
    pub wrapped: Sealed,
}

/// What an installation is, apart from its nouns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// This life of the data.
    pub incarnation: Incarnation,
    /// The master key's fingerprint (first 16 hex digits of SHA-256 over a label and the key).
    pub master_fingerprint: String,
    /// The root key's digest; `None` when it was disabled.
    pub root_digest: Option<Digest>,
    /// When the master key was exported last.
    pub master_exported_at: Option<Timestamp>,
}

/// From which step of the schema to which a database was brought; 0 is an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// What it had.
    pub from: usize,
    /// What it has now.
    pub to: usize,
}

/// When a key and its secrets were used last. Bookkeeping: takes no revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastUsed {
    /// Each secret that was used.
    pub secrets: BTreeMap<SecretId, Timestamp>,
}

impl LastUsed {
    /// When the key was used last, with any of its secrets.
    pub fn key(&self) -> Option<Timestamp> {
        self.secrets.values().max().copied()
    }
}

/// One use of a secret, to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The key.
    pub key: KeyId,
    /// Its secret.
    pub secret: SecretId,
    /// When.
    pub at: Timestamp,
}

/// Whose quota it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaSubject {
    /// A key's own quota.
    Key(KeyId),
    /// A plan's quota, counted for one key.
    PlanOfKey(keywright_model::id::PlanId, KeyId),
    /// A principal's quota, shared by its keys.
    Principal(PrincipalId),
}

/// Units taken out of a quota ahead of use, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaBlock {
    /// How many units this reservation gave; 0 when the period's are used up.
    pub granted: u64,
    /// How many of the period's units are reserved now, these included.
    pub reserved: u64,
}

/// Everything at one revision, in the order in which an index can take it: organizations, keyspaces, roles, plans,
/// principals, keys.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The life of the data.
    pub incarnation: Incarnation,
    /// The revision that it shows.
    pub revision: Revision,
    /// Every noun as a change.
    pub changes: Vec<Change>,
}

/// Durable state. Object-safe; every method is one round trip or one transaction.
#[async_trait]
pub trait Store: Send + Sync {
    /// What this installation is.
    async fn installation(&self) -> Result<Installation, StoreError>;
    /// Reads nouns in one snapshot, in the order asked for; `None` for what does not exist.
    async fn nouns(&self, refs: &[NounRef]) -> Result<Vec<Option<Noun>>, StoreError>;
    /// Finds nouns in one snapshot, in the order asked for.
    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Option<Noun>>, StoreError>;
    /// A page of keys, newest first, hidden ones left out unless the query says otherwise.
    async fn keys_page(&self, query: &KeyQuery) -> Result<Page<Key>, StoreError>;
    /// How many keys a query finds in all: its `after`, `skip` and `limit` do not matter.
    async fn keys_count(&self, query: &KeyQuery) -> Result<u64, StoreError>;
    /// A page of another kind of noun of an organization (or of organizations), oldest first.
    async fn nouns_page(&self, query: &NounQuery) -> Result<Page<Noun>, StoreError>;
    /// When these keys were used last, in the order asked for.
    async fn last_used(&self, keys: &[KeyId]) -> Result<Vec<LastUsed>, StoreError>;
    /// A key, and when it was used last. In one snapshot where that saves a round trip.
    async fn key_and_uses(&self, key: KeyId) -> Result<Option<(Arc<Key>, LastUsed)>, StoreError> {
        let Some(Noun::Key(found)) = self.nouns(&[NounRef::Key(key)]).await?.pop().flatten() else {
            return Ok(None);
        };
        let uses = self.last_used(&[key]).await?.pop().unwrap_or_default();
        Ok(Some((found, uses)))
    }
    /// A page of an organization's audit, newest first.
    async fn audit_page(&self, query: &AuditQuery) -> Result<Page<audit::AuditEntry>, StoreError>;
    /// Compares the whole audit with itself, with the rows and with the feed.
    async fn audit_verify(&self) -> Result<audit::AuditReport, StoreError>;
    /// Commits a write: rows, audit, feed, idempotent answer and revision in one transaction, durable on return.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;
    /// What was answered to a call, if it is remembered at `now`.
    async fn idempotent_answer(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotentAnswer>, StoreError>;
    /// The newest revision.
    async fn head(&self) -> Result<Revision, StoreError>;
    /// Everything at one revision.
    async fn snapshot(&self) -> Result<Snapshot, StoreError>;
    /// The batches after a revision, oldest first, at most `limit`; `None` when the feed no longer reaches back that far.
    async fn batches_after(&self, revision: Revision, limit: usize)
    -> Result<Option<Vec<Batch>>, StoreError>;
    /// A hint for each commit of this process, in commit order, carrying the batch; `None` says only that there is
    /// something to read. Losing one costs only time.
    fn committed(&self) -> tokio::sync::broadcast::Receiver<Option<Arc<Batch>>>;
    /// Takes up to `units` out of a quota's period (named by its start), never beyond `max` in all. Durable on return.
    async fn reserve_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
        max: u64,
    ) -> Result<QuotaBlock, StoreError>;
    /// Gives back units that were reserved and not used.
    async fn return_quota(
        &self,
        subject: QuotaSubject,
        period_start: Timestamp,
        units: u64,
    ) -> Result<(), StoreError>;
    /// Writes uses down.
    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError>;
    /// The keyring, every version.
    async fn keyring(&self) -> Result<Vec<WrappedKey>, StoreError>;
    /// Changes what the installation is: a new root digest, a re-wrapped keyring, an export. All or nothing.
    async fn reconfigure(&self, change: InstallationChange) -> Result<(), StoreError>;
    /// Drops what has run out: replayed secrets, remembered calls, feed entries older than `feed_before`.
    async fn sweep(&self, now: Timestamp, feed_before: Timestamp) -> Result<(), StoreError>;
}

/// A change of the installation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallationChange {
    /// Another root key, or none.
    Root(Option<Digest>),
    /// The keyring wrapped under another master key, which was not exported yet.
    Rewrap {
        /// Every key of the ring, wrapped anew.
        keyring: Vec<WrappedKey>,
        /// The new master key's fingerprint.
        master_fingerprint: String,
    },
    /// The master key was exported.
    MasterExported(Timestamp),
}

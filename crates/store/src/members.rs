//! Who verifies in this installation: the nodes, and the followers that hold a lease. What a write waits for.
//!
//! Rows here are never part of a revision. Each names one life of a verifier: an id is never used again, so a process that
//! was thought dead cannot hide behind its successor's row.

use std::collections::BTreeSet;

use async_trait::async_trait;
use keywright_model::feed::Scope;
use keywright_model::id::{KeyspaceId, NodeId, OrgId};
use keywright_model::noun::Actor;
use keywright_model::revision::{Incarnation, Revision};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::StoreError;

/// How far a verifier's life has come. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberStatus {
    /// It is loading: it holds no lease and nobody waits for it.
    Joining,
    /// It may hold a lease: a write waits until it has applied it.
    Live,
    /// No lease is given to it any more; those it had may still run.
    Fenced,
    /// It answers nothing any more.
    Gone,
}

impl MemberStatus {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Live => "live",
            Self::Fenced => "fenced",
            Self::Gone => "gone",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Joining, Self::Live, Self::Fenced, Self::Gone]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Whether a lease of it may still run.
    pub const fn may_answer(self) -> bool {
        matches!(self, Self::Live | Self::Fenced)
    }
}

/// What a follower answers for, and with whose key it registered: nobody else speaks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Whose life it is.
    pub by: Actor,
    /// The keyspaces that it answers for.
    #[serde(flatten)]
    pub scope: Scope,
}

/// A verifier that registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// Fresh, random, never used before.
    pub id: NodeId,
    /// The supervisor's slot that it runs in, if it has one. Registering says that whoever ran in it before is dead.
    pub name: Option<String>,
    /// What it answers for; `None` is everything, as a node does.
    pub scope: Option<Followed>,
    /// How long it trusts one renewal, in milliseconds.
    pub lease_ms: u64,
    /// Where it can be reached, for people.
    pub address: String,
    /// The program's version, for people.
    pub version: String,
}

/// A verifier as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This life of it.
    pub id: NodeId,
    /// The supervisor's slot, if any.
    pub name: Option<String>,
    /// What it answers for; `None` is everything, as a node does.
    pub scope: Option<Followed>,
    /// How far it has come.
    pub status: MemberStatus,
    /// The newest revision that it has reported to answer by.
    pub applied: Revision,
    /// How long it trusts one renewal, in milliseconds.
    pub lease_ms: u64,
    /// Where it can be reached, for people.
    pub address: String,
    /// The program's version, for people.
    pub version: String,
    /// How long ago its lease was renewed, in milliseconds by the store's clock: for people, never for a decision.
    pub renewed_ago_ms: Option<u64>,
}

impl Member {
    /// Whether a write may change its answers.
    pub fn answers_for(&self, touched: &Touched) -> bool {
        match (&self.scope, touched) {
            (None, _) | (_, Touched::Everything) => true,
            (Some(Followed { scope, .. }), Touched::Orgs(orgs)) => orgs.contains(&scope.org),
            (Some(Followed { scope, .. }), Touched::Keyspaces(touched)) => {
                touched.iter().any(|(org, keyspace)| scope.includes(*org, *keyspace))
            }
        }
    }
}

/// Whose answers a write may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Anybody's.
    Everything,
    /// Only those about keys of these organizations.
    Orgs(BTreeSet<OrgId>),
    /// Only those about keys of these keyspaces, each of an organization.
    Keyspaces(BTreeSet<(OrgId, KeyspaceId)>),
}

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease may run on from the moment before the renewal was sent.
    Renewed {
        /// The newest revision then.
        head: Revision,
        /// The life of the data then: another one ends this process.
        incarnation: Incarnation,
    },
    /// No lease is given to this life any more.
    Refused,
}

/// A verifier has reported how far it has come; `None` says only that something has changed.
pub type Report = Option<(NodeId, Revision)>;

/// How many reports a slow listener may fall behind before it loses some.
const REPORTS_MAX: usize = 1_024;

/// Where reports are told to those who listen.
pub(crate) fn report_channel() -> broadcast::Sender<Report> {
    broadcast::channel(REPORTS_MAX).0
}

/// The rows of who verifies. Fences, registrations and renewals are as durable as writes; reports need not be.
#[async_trait]
pub trait Members: Send + Sync {
    /// Whether it is certain, without asking anybody, that nobody but this process verifies.
    fn is_alone(&self) -> bool;
    /// Registers a life as [`MemberStatus::Joining`]. Whoever ran in the same slot before is gone.
    async fn register(&self, member: &NewMember) -> Result<(), StoreError>;
    /// Makes a joining life live, with what it has applied, and then, in a snapshot taken after that is committed, reads
    /// the newest revision: the one to catch up to before the first lease. `None` when the life is not joining any more.
    async fn go_live(&self, id: NodeId, applied: Revision) -> Result<Option<Revision>, StoreError>;
    /// Asks for the lease of a life to run on.
    async fn renew(&self, id: NodeId) -> Result<Renewal, StoreError>;
    /// Tells those who wait for it at once that a life of this process answers by this revision, where there is a way to.
    /// Whether there is one: then [`Self::report`] is for those who did not hear it, and may say several steps at once.
    fn signal(&self, _id: NodeId, _applied: Revision) -> bool {
        false
    }
    /// Says that a life answers by this revision. Called only once it does.
    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), StoreError>;
    /// Gives a life no further lease.
    async fn fence(&self, id: NodeId) -> Result<(), StoreError>;
    /// Says that a life answers nothing any more: it said so itself, its last lease has run out, or an operator knows.
    /// Whether it was there and not gone already.
    async fn bury(&self, id: NodeId) -> Result<bool, StoreError>;
    /// The same, only if the life is still fenced: one that a failover made live again may hold a newer lease.
    async fn bury_fenced(&self, id: NodeId) -> Result<bool, StoreError>;
    /// Every life that is not gone, as of a moment after this call began.
    async fn members(&self) -> Result<Vec<Member>, StoreError>;
    /// Reports as they come. Losing one costs only time.
    fn reports(&self) -> broadcast::Receiver<Report>;
}

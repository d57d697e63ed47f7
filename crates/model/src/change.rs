//! A write as a fact. The rows, the audit, the feed and the index all read the same value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use crate::key::Key;
use crate::noun::{Keyspace, Org, Plan, Principal, Role};
use crate::revision::{Revision, Version};
use crate::time::Timestamp;

/// What became of one noun: the whole of it after the write, or that it is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An organization was made or changed.
    OrgChanged(Arc<Org>),
    /// An organization is gone.
    OrgDeleted(OrgId),
    /// A keyspace was made or changed.
    KeyspaceChanged(Arc<Keyspace>),
    /// A keyspace is gone.
    KeyspaceDeleted(OrgId, KeyspaceId),
    /// A principal was made or changed.
    PrincipalChanged(Arc<Principal>),
    /// A principal is gone.
    PrincipalDeleted(OrgId, PrincipalId),
    /// A role was made or changed.
    RoleChanged(Arc<Role>),
    /// A role is gone.
    RoleDeleted(OrgId, RoleId),
    /// A plan was made or changed.
    PlanChanged(Arc<Plan>),
    /// A plan is gone.
    PlanDeleted(OrgId, PlanId),
    /// A key was made or changed; a deleted one is still there, with `deleted_at`.
    KeyChanged(Arc<Key>),
    /// A deleted key's record is gone for good. Its keyspace says whose followers hear of it.
    KeyPurged(OrgId, KeyspaceId, KeyId),
}

/// Names one noun of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NounRef {
    /// An organization.
    Org(OrgId),
    /// A keyspace.
    Keyspace(KeyspaceId),
    /// A principal.
    Principal(PrincipalId),
    /// A role.
    Role(RoleId),
    /// A plan.
    Plan(PlanId),
    /// A key.
    Key(KeyId),
}

impl std::fmt::Display for NounRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Org(id) => id.fmt(f),
            Self::Keyspace(id) => id.fmt(f),
            Self::Principal(id) => id.fmt(f),
            Self::Role(id) => id.fmt(f),
            Self::Plan(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
        }
    }
}

impl Change {
    /// The noun that it is about.
    pub fn noun(&self) -> NounRef {
        match self {
            Self::OrgChanged(org) => NounRef::Org(org.id),
            Self::OrgDeleted(id) => NounRef::Org(*id),
            Self::KeyspaceChanged(keyspace) => NounRef::Keyspace(keyspace.id),
            Self::KeyspaceDeleted(_, id) => NounRef::Keyspace(*id),
            Self::PrincipalChanged(principal) => NounRef::Principal(principal.id),
            Self::PrincipalDeleted(_, id) => NounRef::Principal(*id),
            Self::RoleChanged(role) => NounRef::Role(role.id),
            Self::RoleDeleted(_, id) => NounRef::Role(*id),
            Self::PlanChanged(plan) => NounRef::Plan(plan.id),
            Self::PlanDeleted(_, id) => NounRef::Plan(*id),
            Self::KeyChanged(key) => NounRef::Key(key.id),
            Self::KeyPurged(_, _, id) => NounRef::Key(*id),
        }
    }

    /// The keyspace that it is about, with its organization; `None` for what belongs to an organization as a whole.
    pub fn keyspace(&self) -> Option<(OrgId, KeyspaceId)> {
        match self {
            Self::KeyChanged(key) => Some((key.org, key.keyspace)),
            Self::KeyspaceChanged(keyspace) => Some((keyspace.org, keyspace.id)),
            Self::KeyspaceDeleted(org, id) | Self::KeyPurged(org, id, _) => Some((*org, *id)),
            Self::OrgChanged(_)
            | Self::OrgDeleted(_)
            | Self::PrincipalChanged(_)
            | Self::PrincipalDeleted(..)
            | Self::RoleChanged(_)
            | Self::RoleDeleted(..)
            | Self::PlanChanged(_)
            | Self::PlanDeleted(..) => None,
        }
    }

    /// The organization whose audit it belongs to.
    pub fn org(&self) -> OrgId {
        match self {
            Self::OrgChanged(org) => org.id,
            Self::KeyspaceChanged(keyspace) => keyspace.org,
            Self::PrincipalChanged(principal) => principal.org,
            Self::RoleChanged(role) => role.org,
            Self::PlanChanged(plan) => plan.org,
            Self::KeyChanged(key) => key.org,
            Self::OrgDeleted(org)
            | Self::KeyspaceDeleted(org, _)
            | Self::PrincipalDeleted(org, _)
            | Self::RoleDeleted(org, _)
            | Self::PlanDeleted(org, _)
            | Self::KeyPurged(org, ..) => *org,
        }
    }

    /// The noun's version after the write; `None` when it is gone.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::OrgChanged(org) => Some(org.meta.version),
            Self::KeyspaceChanged(keyspace) => Some(keyspace.meta.version),
            Self::PrincipalChanged(principal) => Some(principal.meta.version),
            Self::RoleChanged(role) => Some(role.meta.version),
            Self::PlanChanged(plan) => Some(plan.meta.version),
            Self::KeyChanged(key) => Some(key.meta.version),
            Self::OrgDeleted(_)
            | Self::KeyspaceDeleted(..)
            | Self::PrincipalDeleted(..)
            | Self::RoleDeleted(..)
            | Self::PlanDeleted(..)
            | Self::KeyPurged(..) => None,
        }
    }
}

/// All that one write changed. Seen whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its place among all writes.
    pub revision: Revision,
    /// When it was committed, by the writer's clock.
    pub at: Timestamp,
    /// What changed, each noun once.
    pub changes: Vec<Change>,
}

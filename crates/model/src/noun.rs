//! Every noun but the key: organizations, keyspaces, principals, roles and plans; who made them and when.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::grant::Grant;
use crate::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use crate::limit::{Limit, Quota};
use crate::revision::Version;
use crate::time::Timestamp;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// The installation's root key.
    Root,
    /// A management key, or a key that ended itself.
    Key(KeyId),
    /// Keywright itself: the first start, housekeeping.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Key(id) => fmt::Display::fmt(id, f),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Actor {
    type Err = crate::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "root" => Ok(Self::Root),
            "system" => Ok(Self::System),
            id => id.parse().map(Self::Key),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How often and by whom a noun was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When its writable state changed last.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: Actor,
    /// 1 at creation, one more with each change.
    pub version: Version,
}

impl Meta {
    /// Of a noun made now.
    pub const fn new(at: Timestamp, by: Actor) -> Self {
        Self { created_at: at, created_by: by, updated_at: at, updated_by: by, version: Version::FIRST }
    }

    /// After one more change. Its moment is never before that of the change before, whoever's clock made which: what had
    /// come to an end by then has ended.
    #[must_use]
    pub fn changed(self, at: Timestamp, by: Actor) -> Self {
        Self { updated_at: at.max(self.updated_at), updated_by: by, version: self.version.next(), ..self }
    }
}

/// A tenant. Nothing in one is visible from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Org {
    /// Its identifier.
    pub id: OrgId,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: OrgSpec,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// The writable state of an [`Org`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrgSpec {
    /// `[a-z][a-z0-9_-]{0,62}`, once in an installation.
    pub name: String,
}

/// One API or environment of an organization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its identifier.
    pub id: KeyspaceId,
    /// Whose it is.
    pub org: OrgId,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: KeyspaceSpec,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// The writable state of a [`Keyspace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyspaceSpec {
    /// `[a-z][a-z0-9_-]{0,62}`, once in an organization.
    pub name: String,
    /// What its secrets begin with: `[a-z][a-z0-9_]{0,10}`.
    pub secret_prefix: String,
    /// Whether secrets are kept sealed, so that they can be shown again.
    pub recoverable_secrets: bool,
    /// Whether callers may choose secrets.
    pub allow_custom_secrets: bool,
    /// Whether every write needs `If-Match`.
    pub require_if_match: bool,
    /// After how many seconds without the store nodes stop answering for it, where less than the installation's.
    pub max_staleness_seconds: Option<u32>,
    /// What its keys must be like.
    pub key_policy: KeyPolicy,
}

/// What the keys of a keyspace must be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPolicy {
    /// Whether `expires_at` must be set.
    pub require_expiry: bool,
    /// How long after the write `expires_at` may lie, in seconds.
    pub max_lifetime_seconds: Option<u64>,
    /// Whether grants may hold `*` or `**`.
    pub forbid_wildcards: bool,
}

/// A person or program that owns keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    /// Its identifier.
    pub id: PrincipalId,
    /// Whose it is.
    pub org: OrgId,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: PrincipalSpec,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// The writable state of a [`Principal`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrincipalSpec {
    /// The installation's users' own name for it, once in an organization; 1 to 255 characters.
    pub external_id: Option<String>,
    /// A person or a program.
    pub kind: PrincipalKind,
    /// What people read.
    pub name: Option<String>,
    /// Its roles: the ceiling of what its keys may do.
    pub roles: Vec<RoleId>,
    /// Disabled, none of its keys verifies.
    pub enabled: bool,
    /// Shared by all of its keys.
    pub limits: Vec<Limit>,
    /// Shared by all of its keys.
    pub quota: Option<Quota>,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
}

/// A person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program.
    Bot,
}

/// Grants with a name, given to keys and principals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its identifier.
    pub id: RoleId,
    /// Counts per organization from 1, never reused; 0 until the store has assigned it.
    pub number: u32,
    /// Whose it is.
    pub org: OrgId,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: RoleSpec,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// The writable state of a [`Role`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// 1 to 200 characters, once in an organization.
    pub name: String,
    /// What it gives and denies.
    pub grants: Vec<Grant>,
}

/// Limits with a name, applied to each key bound to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its identifier.
    pub id: PlanId,
    /// Whose it is.
    pub org: OrgId,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: PlanSpec,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// The writable state of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// 1 to 200 characters, once in an organization.
    pub name: String,
    /// Counted for each key apart.
    pub limits: Vec<Limit>,
    /// Counted for each key apart.
    pub quota: Option<Quota>,
}

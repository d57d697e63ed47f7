//! What can be asked of lists.

use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::{KeyKind, KeyState};
use keywright_model::noun::{Actor, PrincipalKind};
use keywright_model::time::Timestamp;

/// Some of a list, and where it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more after the last item.
    pub more: bool,
}

/// How a key stands for those to whom a start in the future makes no difference. Unlike [`KeyState`]s these overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Neither revoked nor switched off.
    On,
    /// Revoked or switched off.
    Off,
    /// Past its expiry.
    Expired,
    /// On, and not expired.
    Good,
    /// Off, expired, or both.
    NotGood,
}

/// Which keys, newest first (by identifier, descending). Every filter that is set must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyQuery {
    /// Of this organization.
    pub org: OrgId,
    /// In these keyspaces; `None` is every one.
    pub keyspaces: Option<Vec<KeyspaceId>>,
    /// After this key in the order of the list.
    pub after: Option<KeyId>,
    /// Not the first so many of what is left: for pages that have numbers.
    pub skip: usize,
    /// At most this many.
    pub limit: usize,
    /// The moment that `state` and `standing` are judged at.
    pub now: Timestamp,
    /// In this state at `now`.
    pub state: Option<KeyState>,
    /// Standing so at `now`.
    pub standing: Option<Standing>,
    /// Of this kind.
    pub kind: Option<KeyKind>,
    /// Owned by this principal.
    pub owner: Option<PrincipalId>,
    /// Whose owner is of this kind; a key without an owner is as good as a program's.
    pub owner_kind: Option<PrincipalKind>,
    /// With this role of its own.
    pub role: Option<RoleId>,
    /// Bound to this plan.
    pub plan: Option<PlanId>,
    /// With this number.
    pub number: Option<u32>,
    /// With this access id.
    pub access_id: Option<String>,
    /// With this external id.
    pub external_id: Option<String>,
    /// Whose name begins with this (after case folding of ASCII), or whose id is this, or one of whose hints contains this.
    pub text: Option<String>,
    /// Whose name has this in it (after case folding of ASCII).
    pub name_part: Option<String>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With an expiry before this.
    pub expires_before: Option<Timestamp>,
    /// Used last before this, or never.
    pub last_used_before: Option<Timestamp>,
    /// Changed at or after this.
    pub updated_since: Option<Timestamp>,
    /// Made by this.
    pub created_by: Option<Actor>,
    /// Whether deleted ones are listed too.
    pub deleted: bool,
    /// Only those that were deleted before this.
    pub deleted_before: Option<Timestamp>,
}

impl KeyQuery {
    /// Every key of an organization.
    pub const fn all(org: OrgId, now: Timestamp, limit: usize) -> Self {
        Self {
            org,
            keyspaces: None,
            after: None,
            skip: 0,
            limit,
            now,
            state: None,
            standing: None,
            kind: None,
            owner: None,
            owner_kind: None,
            role: None,
            plan: None,
            number: None,
            access_id: None,
            external_id: None,
            text: None,
            name_part: None,
            labels: Vec::new(),
            expires_before: None,
            last_used_before: None,
            updated_since: None,
            created_by: None,
            deleted: false,
            deleted_before: None,
        }
    }
}

/// Which kind of noun is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NounKind {
    /// Organizations; the query's `org` is not looked at.
    Org,
    /// Keyspaces.
    Keyspace,
    /// Principals.
    Principal,
    /// Roles.
    Role,
    /// Plans.
    Plan,
}

/// Which nouns, oldest first (by identifier, ascending).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NounQuery {
    /// Of which kind.
    pub kind: NounKind,
    /// Of which organization; `None` only with [`NounKind::Org`].
    pub org: Option<OrgId>,
    /// After the noun with these bits.
    pub after: Option<u128>,
    /// At most this many.
    pub limit: usize,
}

/// Which audit entries of an organization, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Of this organization.
    pub org: OrgId,
    /// Older than this entry's number.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
    /// About this noun (its id as text).
    pub subject: Option<String>,
    /// By this actor.
    pub actor: Option<Actor>,
    /// With this verb.
    pub verb: Option<String>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

//! What a management key may do to Keywright itself. Product grants never reach it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{KeyspaceId, OrgId};

macro_rules! admin_actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that can be done to Keywright.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AdminAction { $($(#[$doc])* $name,)* }

        impl AdminAction {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As api.md §2 spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

admin_actions! {
    /// See keys.
    KeysRead = "keys.read",
    /// Make keys.
    KeysCreate = "keys.create",
    /// Change keys' writable fields.
    KeysUpdate = "keys.update",
    /// Give keys a new secret, and end old ones.
    KeysRotate = "keys.rotate",
    /// Switch keys off and on.
    KeysDisable = "keys.disable",
    /// End keys for ever.
    KeysRevoke = "keys.revoke",
    /// Hide keys, and bring their records back.
    KeysDelete = "keys.delete",
    /// See recoverable secrets.
    KeysReveal = "keys.reveal",
    /// Ask whether a credential is good.
    KeysVerify = "keys.verify",
    /// See organizations.
    OrgsRead = "orgs.read",
    /// Make, change and delete organizations.
    OrgsWrite = "orgs.write",
    /// See keyspaces.
    KeyspacesRead = "keyspaces.read",
    /// Make, change and delete keyspaces.
    KeyspacesWrite = "keyspaces.write",
    /// See principals.
    PrincipalsRead = "principals.read",
    /// Make, change and delete principals.
    PrincipalsWrite = "principals.write",
    /// See roles.
    RolesRead = "roles.read",
    /// Make, change and delete roles.
    RolesWrite = "roles.write",
    /// See plans.
    PlansRead = "plans.read",
    /// Make, change and delete plans.
    PlansWrite = "plans.write",
    /// See the audit log.
    AuditRead = "audit.read",
    /// See usage.
    UsageRead = "usage.read",
    /// Follow the feed with a stated bound on staleness.
    FeedRead = "feed.read",
    /// Follow the feed so that writers wait. Only root hands it out, and `*` does not include it.
    FeedLease = "feed.lease",
}

impl fmt::Display for AdminAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AdminAction {
    /// The actions that a text names: one, or both of a noun (`orgs.*` is `orgs.read` and `orgs.write`).
    pub fn named(text: &str) -> Result<Vec<Self>, AdminActionError> {
        let nouns = ["orgs", "keyspaces", "principals", "roles", "plans"];
        match text.strip_suffix(".*").filter(|noun| nouns.contains(noun)) {
            Some(noun) => [".read", ".write"].iter().map(|verb| format!("{noun}{verb}").parse()).collect(),
            None => Ok(vec![text.parse()?]),
        }
    }
}

/// A text that is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an action of a management key")]
pub struct AdminActionError;

impl FromStr for AdminAction {
    type Err = AdminActionError;

    fn from_str(text: &str) -> Result<Self, AdminActionError> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or(AdminActionError)
    }
}

/// A set of actions: `*` (all but `feed.lease`, those of later versions included) and the ones listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AdminActions {
    /// Whether `*` is in it.
    pub all: bool,
    /// The actions listed by name.
    pub listed: BTreeSet<AdminAction>,
}

impl AdminActions {
    /// `*` alone.
    pub fn star() -> Self {
        Self { all: true, listed: BTreeSet::new() }
    }

    /// Whether the set includes an action.
    pub fn includes(&self, action: AdminAction) -> bool {
        self.listed.contains(&action) || (self.all && action != AdminAction::FeedLease)
    }

    /// Whether every action of `other`, those of later versions included, is in this set.
    pub fn covers(&self, other: &Self) -> bool {
        (self.all || !other.all) && other.listed.iter().all(|action| self.includes(*action))
    }
}

impl Serialize for AdminActions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let star = self.all.then_some("*");
        serializer.collect_seq(star.into_iter().chain(self.listed.iter().map(|action| action.as_str())))
    }
}

impl<'de> Deserialize<'de> for AdminActions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut actions = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            if text == "*" {
                actions.all = true;
            } else {
                actions.listed.insert(text.parse().map_err(serde::de::Error::custom)?);
            }
        }
        Ok(actions)
    }
}

/// The nouns that something reaches: every one, those made later included, or the listed ones.
///
/// Kept by identifier, so that renaming an organization hands nobody's reach to another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reach<Id: Ord> {
    /// `["*"]`.
    All,
    /// These.
    Only(BTreeSet<Id>),
}

impl<Id: Ord + Copy> Reach<Id> {
    /// Nothing.
    pub const fn nothing() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether it reaches this one.
    pub fn includes(&self, id: Id) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&id),
        }
    }

    /// Whether it reaches all that `other` reaches.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }

    /// The one noun that it reaches, when it is exactly one.
    pub fn single(&self) -> Option<Id> {
        match self {
            Self::Only(ids) if ids.len() == 1 => ids.first().copied(),
            Self::All | Self::Only(_) => None,
        }
    }
}

impl<Id: Ord + Serialize> Serialize for Reach<Id> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.collect_seq(["*"]),
            Self::Only(ids) => serializer.collect_seq(ids),
        }
    }
}

impl<'de, Id: Ord + FromStr> Deserialize<'de> for Reach<Id> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ids = BTreeSet::new();
        for text in Vec::<String>::deserialize(deserializer)? {
            if text == "*" {
                return Ok(Self::All);
            }
            ids.insert(text.parse().map_err(|_| serde::de::Error::custom("not an identifier"))?);
        }
        Ok(Self::Only(ids))
    }
}

/// A management key's rights: which actions, in which organizations and keyspaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdminRights {
    /// What it may do.
    pub actions: AdminActions,
    /// In which organizations.
    pub orgs: Reach<OrgId>,
    /// In which keyspaces of those.
    pub keyspaces: Reach<KeyspaceId>,
}

impl AdminRights {
    /// Whether these rights include all of `other`'s.
    pub fn covers(&self, other: &Self) -> bool {
        self.actions.covers(&other.actions)
            && self.orgs.covers(&other.orgs)
            && self.keyspaces.covers(&other.keyspaces)
    }

    /// Whether they allow an action on a noun of an organization, and of a keyspace where there is one.
    pub fn allow(&self, action: AdminAction, org: OrgId, keyspace: Option<KeyspaceId>) -> bool {
        self.actions.includes(action)
            && self.orgs.includes(org)
            && keyspace.is_none_or(|keyspace| self.keyspaces.includes(keyspace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(texts: &[&str]) -> AdminActions {
        serde_json::from_value(serde_json::json!(texts)).unwrap()
    }

    #[test]
    fn the_star_is_everything_but_the_lease() {
        for action in AdminAction::ALL {
            assert_eq!(AdminActions::star().includes(*action), *action != AdminAction::FeedLease, "{action}");
        }
    }

    #[test]
    fn a_noun_with_a_star_is_both_of_its_actions() {
        for noun in ["orgs", "keyspaces", "principals", "roles", "plans"] {
            let named = AdminAction::named(&format!("{noun}.*")).unwrap();
            let texts: Vec<_> = named.into_iter().map(AdminAction::as_str).collect();
            assert_eq!(texts, [format!("{noun}.read"), format!("{noun}.write")]);
        }
        for text in ["keys.*", "feed.*", "audit.*", "*.read", ".*", "orgs", "orgs.**", "*"] {
            assert_eq!(AdminAction::named(text), Err(AdminActionError), "{text}");
        }
    }

    #[test]
    fn only_a_star_covers_a_star() {
        let all_by_name = AdminActions { all: false, listed: AdminAction::ALL.iter().copied().collect() };
        assert!(!all_by_name.covers(&AdminActions::star()));
        assert!(AdminActions::star().covers(&actions(&["keys.read", "audit.read"])));
        assert!(!AdminActions::star().covers(&actions(&["feed.lease"])));
        assert!(actions(&["keys.read"]).covers(&AdminActions::default()));
    }

    #[test]
    fn reach_reads_back_and_covers_as_sets_do() {
        let one = OrgId::new(1, 1);
        let only: Reach<OrgId> = serde_json::from_value(serde_json::json!([one])).unwrap();
        assert_eq!(
            (only.single(), only.includes(one), only.includes(OrgId::new(2, 2))),
            (Some(one), true, false)
        );
        assert!(Reach::All.covers(&only) && !only.covers(&Reach::All) && only.covers(&Reach::nothing()));
        assert_eq!(serde_json::to_string(&Reach::<OrgId>::All).unwrap(), r#"["*"]"#);
    }
}

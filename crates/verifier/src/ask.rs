//! The question: with what, about what, when.

use std::fmt;
use std::net::IpAddr;

use keywright_model::admin::Reach;
use keywright_model::id::{KeyspaceId, OrgId};
use keywright_model::time::Timestamp;

/// The moment of a verification, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For expiry and periods: what people's calendars say. May be the kernel's coarse clock.
    pub wall: Timestamp,
    /// For limits and leases: nanoseconds since boot (`CLOCK_BOOTTIME`), which never steps.
    pub boot_ns: u64,
}

/// What somebody presents to prove who they are.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A secret alone. Custom secrets are never found this way.
    Bearer(&'a str),
    /// A secret with the public half of its key: a custom one, or a generated one of a key that has an access id.
    Custom {
        /// The public half.
        access_id: &'a str,
        /// The secret.
        secret: &'a str,
    },
    /// A signed request.
    Signed {
        /// The public half.
        access_id: &'a str,
        /// Decides with a secret's bytes whether it signed the request. Called once a live secret, or once with a
        /// fixed one when the access id is unknown, so that both cost the same.
        check: &'a dyn Fn(&[u8]) -> Result<(), SignatureDenial>,
    },
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureDenial {
    /// It does not match.
    Invalid,
    /// Its time is outside the window.
    Expired,
}

/// What is asked about a credential.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which keyspaces the asker may ask about. A key of another one does not exist.
    pub keyspaces: Asked<'a>,
    /// What the caller wants to do: all must hold. Empty: permission is not checked.
    pub checks: &'a [Check<'a>],
    /// Where the caller is, if known.
    pub ip: Option<IpAddr>,
    /// How much it counts against limits and quotas. 0 asks what would be answered and consumes nothing.
    pub cost: u64,
}

/// One thing that the caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// The action.
    pub action: &'a str,
    /// The resource; empty is the root.
    pub resource: &'a str,
}

/// The keyspaces that an asker may ask about, and at most one that it does ask about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `None` is any: for finding out who calls.
    org: Option<OrgId>,
    reach: &'a Reach<KeyspaceId>,
    only: Option<Only<'a>>,
}

/// The one keyspace that is asked about.
#[derive(Clone, Copy, Debug)]
enum Only<'a> {
    Id(KeyspaceId),
    /// The one that has this name while the question is answered.
    Named(&'a str),
}

impl<'a> Asked<'a> {
    /// Every keyspace of the organization that the asker reaches.
    pub const fn within(org: OrgId, reach: &'a Reach<KeyspaceId>) -> Self {
        Self { org: Some(org), reach, only: None }
    }

    /// Every keyspace of the organization.
    pub const fn whole(org: OrgId) -> Self {
        Self { org: Some(org), reach: &Reach::All, only: None }
    }

    /// Every keyspace of every organization: for whoever finds out first which one a credential is of.
    pub const fn anywhere() -> Self {
        Self { org: None, reach: &Reach::All, only: None }
    }

    /// Of those, just this one.
    #[must_use]
    pub const fn only(self, keyspace: KeyspaceId) -> Self {
        Self { only: Some(Only::Id(keyspace)), ..self }
    }

    /// Of those, just the one with this name.
    #[must_use]
    pub const fn only_named(self, name: &'a str) -> Self {
        Self { only: Some(Only::Named(name)), ..self }
    }

    /// Whether keys of this keyspace exist for the asker. `name` looks its name up, where that matters.
    pub fn includes<'n>(
        &self,
        org: OrgId,
        keyspace: KeyspaceId,
        name: impl FnOnce() -> Option<&'n str>,
    ) -> bool {
        let this = match self.only {
            None => true,
            Some(Only::Id(only)) => only == keyspace,
            Some(Only::Named(only)) => name() == Some(only),
        };
        this && self.org.is_none_or(|own| own == org) && self.reach.includes(keyspace)
    }
}

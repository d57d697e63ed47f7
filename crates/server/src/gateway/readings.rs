//! What a request means: the plain reading that every request has, and what the vendor whose header carries the key would
//! read in it besides.
//!
//! A caller chooses the header, so a vendor's reading must not open what the plain one forbids: it is asked only where the
//! plain one is allowed by nothing and denied by nothing. `VerifyState::ask_within` keeps to that.

use keywright_verifier::Check;

use super::target::{Ambiguous, Target};
use crate::dialects::Dialect;

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) action: String,
    pub(crate) resource: String,
}

impl Meant {
    pub(crate) fn check(&self) -> Check<'_> {
        Check { action: &self.action, resource: &self.resource }
    }
}

/// What a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readings {
    /// The method in lower case, on the path.
    pub(crate) plain: Meant,
    /// What the vendor reads in it, all of which must hold; empty when that is nothing else.
    pub(crate) vendors: Vec<Meant>,
}

impl Readings {
    /// Reads a request whose key stood in this vendor's header.
    // A route (host, path template, method) will name the keyspace, the action and the resource in place of the plain
    // reading: it is looked up here.
    pub(crate) fn of(method: &str, target: &str, vendor: Option<Dialect>) -> Result<Self, Ambiguous> {
        let target = Target::read(method, target)?;
        let vendors = vendor.map(|vendor| vendor.meaning(&target)).unwrap_or_default();
        let Target { action, resource, .. } = target;
        Ok(Self { plain: Meant { action, resource }, vendors })
    }
}

//! Effective access: what a key may do, by all that is said about it.
//!
//! The rule is `api.md` §2: ((own grants) ∪ (its roles' grants, within `scope` if set)) ∩ (its owner's roles' grants,
//! if the owner has roles) − denies. Verification, differences, `can_*` and every escalation check use [`combine`],
//! which is that sentence. [`CompiledGrants`] answers for one list and one request, fast; [`difference`], [`covers`]
//! and [`gained_beyond`] answer for all requests at once, exactly, by what grants mean and not by how they are
//! written.

mod classes;
mod compiled;
#[cfg(any(test, feature = "naive"))]
pub mod naive;
mod region;
mod render;
mod request;
mod set;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_random;
mod walk;

use std::iter;
use std::sync::{Arc, OnceLock};

pub use compiled::{CompiledGrants, CompiledScope, Decision};
pub use region::{AccessChange, AccessRegion};
pub use request::CheckedRequest;

use crate::grant::{Action, ActionPattern, Actions, Effect, Grant, Resource, ResourcePattern, Segment};

/// The grants would take too long to compare exactly, as only contrived ones do. Treat it as "not covered".
///
/// Hundreds of patterns that mix `*` and names at every level can mean exponentially many different sets, so the work
/// is bounded, to some tens of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these grants are too complex to compare: use fewer patterns with `*` in the middle")]
pub struct TooComplex;

impl TooComplex {
    /// The stable `snake_case` code for the wire.
    pub fn code(self) -> &'static str {
        "grants_too_complex"
    }
}

/// All that is said about what one key may do, borrowed from where it is kept (`api.md` §2, "Effective access").
#[derive(Clone, Debug, Default)]
pub struct AccessSource<'a> {
    /// The key's own grants; `None` is `"grants": null`: what the owner's roles give.
    pub own: Option<&'a [Grant]>,
    /// The grants of each of the key's roles.
    pub roles: Vec<&'a [Grant]>,
    /// Where the key's roles apply; `None` is everywhere.
    pub scope: Option<&'a [ResourcePattern]>,
    /// The grants of each of the owner's roles; `None` (or none) when there is no owner or it has no roles.
    pub owner_roles: Option<Vec<&'a [Grant]>>,
}

/// Effective access = ((own) ∪ (roles, in scope)) ∩ (owner's roles, if any) − denies (`api.md` §2).
///
/// Each decision is what one list says about one request; a deny counts wherever it is written, in scope or not.
/// `own` is `None` for `"grants": null`, which means: what the owner's roles give. An owner without roles, `None` or an
/// empty iterator, is no ceiling (and gives nothing).
pub fn combine(
    own: Option<Decision>,
    roles: impl IntoIterator<Item = Decision>,
    in_scope: bool,
    owner_roles: Option<impl IntoIterator<Item = Decision>>,
) -> bool {
    let mut role_allows = false;
    for decision in roles {
        match decision {
            Decision::Denied => return false,
            Decision::Allowed => role_allows = true,
            Decision::Silent => {}
        }
    }
    let mut ceiling = None;
    for decision in owner_roles.into_iter().flatten() {
        match decision {
            Decision::Denied => return false,
            Decision::Allowed => ceiling = Some(true),
            Decision::Silent => ceiling = Some(ceiling.unwrap_or(false)),
        }
    }
    let own_allows = match own {
        Some(Decision::Denied) => return false,
        Some(decision) => decision == Decision::Allowed,
        None => ceiling.unwrap_or(false),
    };
    (own_allows || role_allows && in_scope) && ceiling.unwrap_or(true)
}

/// What one key may do, or what a management key may hand out. Cheap to clone.
///
/// Two values are compared with [`difference`], never by how they are written.
#[derive(Clone, Debug)]
pub struct Access(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    own: Option<Vec<Grant>>,
    roles: Vec<Grant>,
    scope: Option<Vec<ResourcePattern>>,
    owner_roles: Option<Vec<Grant>>,
    compiled: OnceLock<CompiledParts>,
}

#[derive(Debug)]
struct CompiledParts {
    own: Option<CompiledGrants>,
    roles: CompiledGrants,
    scope: Option<CompiledScope>,
    owner_roles: Option<CompiledGrants>,
}

impl Access {
    /// The access that all of `source` amounts to.
    pub fn new(source: &AccessSource<'_>) -> Self {
        // One list says Denied, Allowed or Silent exactly as the strongest of its parts, so roles can be joined.
        let owner_roles = source.owner_roles.as_ref().filter(|roles| !roles.is_empty());
        Self(Arc::new(Parts {
            own: source.own.map(<[Grant]>::to_vec),
            roles: source.roles.concat(),
            scope: source.scope.map(<[ResourcePattern]>::to_vec),
            owner_roles: owner_roles.map(|roles| roles.concat()),
            compiled: OnceLock::new(),
        }))
    }

    /// What a plain list gives: its allows less its denies. For a management key's `grantable` (`api.md` §2).
    pub fn from_grants(grants: &[Grant]) -> Self {
        Self::new(&AccessSource { own: Some(grants), ..AccessSource::default() })
    }

    /// Every action on every resource: what the root key may hand out.
    pub fn everything() -> Self {
        Self::from_grants(&[Grant {
            effect: Effect::Allow,
            actions: vec![ActionPattern::from_parts(Actions::Any)],
            resources: vec![ResourcePattern::from_segments(iter::once(Segment::Rest))],
        }])
    }

    /// Nothing at all.
    pub fn nothing() -> Self {
        Self::from_grants(&[])
    }

    /// Says whether this one request is allowed.
    pub fn allows(&self, action: &Action, resource: &Resource) -> bool {
        self.allows_request(&CheckedRequest::of(action, resource))
    }

    /// Says whether this one request is allowed.
    pub fn allows_request(&self, request: &CheckedRequest<'_>) -> bool {
        let compiled = self.0.compiled.get_or_init(|| self.0.compile());
        combine(
            compiled.own.as_ref().map(|own| own.decide(request)),
            iter::once(compiled.roles.decide(request)),
            compiled.scope.as_ref().is_none_or(|scope| scope.covers(request)),
            compiled.owner_roles.as_ref().map(|roles| iter::once(roles.decide(request))),
        )
    }

    /// Says whether no request at all is allowed.
    pub fn is_empty(&self) -> Result<bool, TooComplex> {
        Ok(walk::solve(&[self], |allowed| allowed == 0b1)?.is_empty())
    }

    /// Everything that is allowed, for people to read.
    pub fn regions(&self) -> Result<Vec<AccessRegion>, TooComplex> {
        render::regions(walk::solve(&[self], |allowed| allowed == 0b1)?)
    }
}

impl Parts {
    /// Whether both have the same lists: then they mean the same, however complex that is.
    fn are(&self, other: &Self) -> bool {
        (&self.own, &self.roles, &self.scope, &self.owner_roles)
            == (&other.own, &other.roles, &other.scope, &other.owner_roles)
    }

    fn compile(&self) -> CompiledParts {
        CompiledParts {
            own: self.own.as_deref().map(CompiledGrants::new),
            roles: CompiledGrants::new(&self.roles),
            scope: self.scope.as_deref().map(CompiledScope::new),
            owner_roles: self.owner_roles.as_deref().map(CompiledGrants::new),
        }
    }
}

/// What changes when `old` becomes `new`: exact, and empty when both mean the same (`api.md` §3, `dry_run`).
pub fn difference(old: &Access, new: &Access) -> Result<AccessChange, TooComplex> {
    if old.0.are(&new.0) {
        return Ok(AccessChange::default());
    }
    Ok(AccessChange {
        gained: render::regions(walk::solve(&[old, new], |allowed| allowed == 0b10)?)?,
        lost: render::regions(walk::solve(&[old, new], |allowed| allowed == 0b01)?)?,
    })
}

/// Says whether all of `of` lies within `ceiling`: who rotates, reveals or restores a key must cover it (`api.md` §2).
pub fn covers(ceiling: &Access, of: &Access) -> Result<bool, TooComplex> {
    Ok(walk::solve(&[ceiling, of], |allowed| allowed == 0b10)?.is_empty())
}

/// What `new` gives that neither `old` gave nor `ceiling` does: empty when the write is allowed (`api.md` §2: a caller
/// may change a key only if the access *gained* lies within its `grantable`).
pub fn gained_beyond(old: &Access, new: &Access, ceiling: &Access) -> Result<Vec<AccessRegion>, TooComplex> {
    // Most writes change something else.
    if old.0.are(&new.0) {
        return Ok(Vec::new());
    }
    render::regions(walk::solve(&[old, new, ceiling], |allowed| allowed == 0b010)?)
}

//! Who may hand out what. Every check goes through the model's effective access.

use keywright_model::access::{Access, AccessSource, covers, gained_beyond};
use keywright_model::admin::{AdminAction, AdminRights};
use keywright_model::grant::{Effect, Grant};
use keywright_model::id::RoleId;
use keywright_model::key::{Key, KeySpec, KeyState, Rights};
use keywright_model::noun::{Principal, Role};
use keywright_model::time::Timestamp;

use crate::caller::Who;
use crate::lookup::Surroundings;
use crate::{Caller, Error};

/// The effective access of a key with these rights, whatever state it is in.
pub(crate) fn access_of(spec: &KeySpec, around: &Surroundings) -> Access {
    let Rights::Api { grants } = &spec.rights else {
        // Product grants never reach Keywright, and a management key has none.
        return Access::nothing();
    };
    let role_grants = |id: &RoleId| around.roles.get(id).map(|role: &Role| role.spec.grants.as_slice());
    let owner_roles = around
        .owner
        .as_ref()
        .map(|owner: &Principal| owner.spec.roles.iter().filter_map(role_grants).collect());
    Access::new(&AccessSource {
        own: grants.as_deref(),
        roles: spec.roles.iter().filter_map(role_grants).collect(),
        scope: spec.scope.as_deref(),
        owner_roles: owner_roles.filter(|roles: &Vec<&[Grant]>| !roles.is_empty()),
    })
}

/// A key's rights before or after a write, with what they rest on.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) key: &'a Key,
    pub(crate) around: &'a Surroundings,
}

impl Held<'_> {
    pub(crate) fn access(self) -> Access {
        access_of(&self.key.spec, self.around)
    }

    /// Whether it verifies at a moment, as far as it and its owner decide.
    pub(crate) fn is_usable_at(self, now: Timestamp) -> bool {
        self.key.state_at(now) == KeyState::Active && self.is_owned_well()
    }

    /// What a difference shows: nothing while the key does not verify, but what it will have where it only has to begin.
    pub(crate) fn access_shown_at(self, now: Timestamp) -> Access {
        let begins = matches!(self.key.state_at(now), KeyState::Active | KeyState::Scheduled);
        if begins && self.key.spec.enabled && self.is_owned_well() {
            self.access()
        } else {
            Access::nothing()
        }
    }

    fn is_owned_well(self) -> bool {
        self.around.owner.as_ref().is_none_or(|owner| owner.spec.enabled)
    }
}

/// Refuses a write by which the caller would hand out more than it may, or raise itself.
///
/// Product access gained must lie within the caller's `grantable`. Whoever loosens when or from where a key is good
/// (its expiry, start, addresses, switch or owner) must hold all of its access, since all of it is given again.
/// So must whoever adds to a management key's `admin` or `grantable`: each counts only together with the other.
pub(crate) fn check_gain(
    caller: &Caller,
    before: Option<Held<'_>>,
    after: Held<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let Who::Key { key: own, admin, grantable, .. } = &caller.who else { return Ok(()) };
    let loosened = before.is_none_or(|before| loosens(before.key, after.key, now));
    let held_before = before.filter(|_| !loosened);
    within(&held_before.map_or_else(Access::nothing, Held::access), &after.access(), grantable)?;
    let Rights::Management { admin: to, grantable: hands_out } = &after.key.spec.rights else {
        return Ok(());
    };
    if let Some(Rights::Management { admin: from, grantable }) = held_before.map(|held| &held.key.spec.rights)
    {
        let same_grants = grantable == hands_out
            || covers(&Access::from_grants(grantable), &Access::from_grants(hands_out))?;
        if from.covers(to) && same_grants {
            return Ok(());
        }
    }
    // Itself it gives nothing, not even what it has.
    if own.id == after.key.id {
        return Err(Error::BeyondGrantable { gained: Vec::new() });
    }
    check_holds_admin(admin, to)?;
    within(&Access::nothing(), &Access::from_grants(hands_out), grantable)
}

/// Refuses what reaches beyond the caller's own `admin`.
fn check_holds_admin(mine: &AdminRights, to: &AdminRights) -> Result<(), Error> {
    // Only root hands the lease out: a key that holds it cannot pass it on.
    let lease = to.actions.includes(AdminAction::FeedLease);
    if lease || !mine.covers(to) { Err(Error::BeyondGrantable { gained: Vec::new() }) } else { Ok(()) }
}

/// Refuses a use of a key (a new secret, seeing one, bringing it back) by whoever does not hold all of its access.
pub(crate) fn check_holds_all(caller: &Caller, held: Held<'_>) -> Result<(), Error> {
    let Who::Key { key: own, admin, grantable, .. } = &caller.who else { return Ok(()) };
    if own.id == held.key.id {
        return Ok(());
    }
    within(&Access::nothing(), &held.access(), grantable)?;
    let Rights::Management { admin: to, grantable: hands_out } = &held.key.spec.rights else { return Ok(()) };
    check_holds_admin(admin, to)?;
    within(&Access::nothing(), &Access::from_grants(hands_out), grantable)
}

/// Refuses a change of a list of grants by which keys could gain more than the caller may hand out: an allow that is new,
/// or a deny that is gone. A role's grants may be anybody's, so this asks for more than any one key would gain.
///
/// Roles and principals belong to the whole organization: whoever is bound to keyspaces may add nothing to one that is
/// there (`before`), since keys of other keyspaces may gain by it.
pub(crate) fn check_grants_change(
    caller: &Caller,
    before: Option<&[Grant]>,
    after: &[Grant],
) -> Result<(), Error> {
    let Who::Key { grantable, .. } = &caller.who else { return Ok(()) };
    let nothing = Access::nothing();
    let ceiling = if before.is_some() && !caller.reaches_all() { &nothing } else { grantable };
    let before = before.unwrap_or_default();
    within(&allows(before), &allows(after), ceiling)?;
    within(&denies(after), &denies(before), ceiling)
}

/// Refuses what reaches beyond the caller's `grantable` in what is gained from one access to another.
pub(crate) fn within(before: &Access, after: &Access, ceiling: &Access) -> Result<(), Error> {
    let gained = gained_beyond(before, after, ceiling)?;
    if gained.is_empty() { Ok(()) } else { Err(Error::BeyondGrantable { gained }) }
}

fn allows(grants: &[Grant]) -> Access {
    Access::from_grants(&with_effect(grants, Effect::Allow))
}

/// What the denies cover, as an access of its own.
fn denies(grants: &[Grant]) -> Access {
    Access::from_grants(&with_effect(grants, Effect::Deny))
}

fn with_effect(grants: &[Grant], effect: Effect) -> Vec<Grant> {
    let chosen = grants.iter().filter(|grant| grant.effect == effect);
    chosen.map(|grant| Grant { effect: Effect::Allow, ..grant.clone() }).collect()
}

/// Whether a write makes a key good at moments or from addresses where it was not.
fn loosens(before: &Key, after: &Key, now: Timestamp) -> bool {
    let (was, is) = (&before.spec, &after.spec);
    let enabled = is.enabled && !was.enabled;
    let later = match (was.expires_at, is.expires_at) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(from), Some(to)) => to > from,
    };
    let earlier = was.not_before.is_some_and(|from| from > now && is.not_before.is_none_or(|to| to < from));
    let addresses = match (&was.ip_allowlist, &is.ip_allowlist) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(from), Some(to)) => to.iter().any(|range| !from.contains(range)),
    };
    let owner = was.owner != is.owner;
    let revived = before.revocation.is_some() && after.revocation.is_none();
    enabled || later || earlier || addresses || owner || revived
}

/// Whether a write may make some verifier's old answer too generous, so that its caller must know when it is in force.
pub(crate) fn takes_away(before: Held<'_>, after: Held<'_>) -> bool {
    let (was, is) = (&before.key.spec, &after.key.spec);
    let same_rights =
        (&was.rights, &was.roles, &was.scope, was.owner) == (&is.rights, &is.roles, &is.scope, is.owner);
    // What cannot be compared may have been lost.
    let access_kept = same_rights || covers(&after.access(), &before.access()).unwrap_or(false);
    let (before, after) = (before.key, after.key);
    let only_adds = was.enabled <= is.enabled
        && was.expires_at == is.expires_at
        && was.not_before == is.not_before
        && was.ip_allowlist == is.ip_allowlist
        && was.limits == is.limits
        && was.quota == is.quota
        && was.plans == is.plans
        && was.owner == is.owner
        && before.revocation == after.revocation
        && before.secrets.iter().all(|secret| {
            after.secrets.iter().any(|kept| kept.id == secret.id && kept.expires_at == secret.expires_at)
        });
    let admin = match (&was.rights, &is.rights) {
        (Rights::Management { admin: was, .. }, Rights::Management { admin: is, .. }) => is.covers(was),
        _ => true,
    };
    !access_kept || !only_adds || !admin
}

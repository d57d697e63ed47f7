//! The one question. Reads the lease, then the state, then decides; takes no lock, allocates nothing.

use std::net::IpAddr;

use keywright_model::access::{CheckedRequest, CompiledGrants, Decision, combine};
use keywright_model::denial::Denial;
use keywright_model::digest::SecretHash;
use keywright_model::grant::PatternError;
use keywright_model::key::SecretStatus;
use keywright_model::revision::Revision;
use keywright_model::secret::{Form, SECRET_BYTES_MAX, form};
use keywright_model::time::Timestamp;

use crate::Verifier;
use crate::allowance::Counted;
use crate::ask::{Asked, Check, Credential, Now, Request};
use crate::directory::{Directory, OwnerRow};
use crate::inline::Inline;
use crate::lease::LeaseRead;
use crate::meters::{Charged, Charges};
use crate::prefetch::prefetch;
use crate::seats::{self, Seat};
use crate::spending::needs;
use crate::state::State;
use crate::table::{Place, Record};
use crate::terms::{CompiledRights, Terms};
use crate::verdict::{Decided, Deferred, FoundKey, TermsAt, Verdict};

/// One verification under way.
pub(crate) struct Asking<'a> {
    pub(crate) verifier: &'a Verifier,
    pub(crate) state: &'a State,
    pub(crate) revision: Revision,
    pub(crate) request: &'a Request<'a>,
    pub(crate) now: Now,
    pub(crate) lease: LeaseRead,
}

/// What the checks say.
#[derive(Clone, Copy, Default)]
struct Permission {
    authorized: Option<bool>,
    check_failed: Option<usize>,
}

impl<'a> Asking<'a> {
    pub(crate) fn decide(&self, credential: &Credential<'_>) -> Decided {
        match credential {
            Credential::Bearer(text) => self.bearer(text),
            Credential::Custom { access_id, secret } => self.pair(access_id, secret),
            Credential::Signed { access_id, check } => self.signed(access_id, *check),
        }
    }

    fn bearer(&self, text: &str) -> Decided {
        if form(text) == Form::Malformed {
            return self.without_key(Denial::Malformed);
        }
        match self.find(text) {
            None => self.without_key(Denial::NotFound),
            Some((record, place)) => self.judge(record, TermsAt::Table(place)),
        }
    }

    /// The record of a generated secret, if its keyspace is asked about.
    pub(crate) fn find(&self, text: &str) -> Option<(&'a Record, Place)> {
        let hash = SecretHash::of_text(text);
        self.verifier.peppers.iter().find_map(|(_, pepper)| {
            self.state.table.find(&pepper.digest(&hash), |record| self.is_asked_about(record))
        })
    }

    pub(crate) fn is_asked_about(&self, record: &Record) -> bool {
        asked_about(&self.request.keyspaces, &self.state.directory, &record.terms)
    }

    pub(crate) fn without_key(&self, denial: Denial) -> Decided {
        let found = None;
        self.verdict(found, Some(denial), Permission::default(), None)
    }

    /// Everything after the credential was proven, in the order of api.md §4.
    pub(crate) fn judge(&self, record: &Record, terms_at: TermsAt) -> Decided {
        let Some(seat) = self.verifier.seats.at(record.seat) else {
            return self.without_key(Denial::NotFound);
        };
        // Counters and seat come in together while permission is tested. At a million keys both are far from the
        // processor, and one after the other they cost a quarter of a verification.
        prefetch(seat);
        if let Some(meters) = &record.meters {
            prefetch(&meters.limits);
        }
        let terms = &*record.terms;
        let owner = self.state.directory.owners.at(record.owner);
        let owner_row = owner.map(|owner| &**owner);
        let status = status_at(terms, self.now.wall);
        let mut permission = Permission::default();
        let mut denial = self.standing(record, owner_row, status);
        if denial.is_none() {
            permission = self.permission(terms, owner_row);
            denial = (permission.authorized == Some(false)).then_some(Denial::InsufficientPermission);
        }
        let mut charges = Charges::default();
        add_charges(&mut charges, record, seat, owner_row, &self.state.directory);
        let shared = self.verifier.shared_counting();
        let mut retry_ms = None;
        if denial.is_none() {
            let outcome = match shared {
                None => charges.charge(self.request.cost, self.now),
                Some(counting) => charges.charge_shared(self.request.cost, self.now, counting),
            };
            match outcome {
                Charged::Yes => self.verifier.seats.touch(record.seat, self.now.wall),
                Charged::No(reason, wait) => (denial, retry_ms) = (Some(reason), wait),
                Charged::Needs(block) => return Decided::Deferred(Deferred::QuotaBlock(block)),
                Charged::NeedsAllowances => {
                    let wanted = (self.request.cost, Counted::new(shared.unwrap_or_default(), self.now));
                    let needs = needs((record, seat), owner_row, &self.state.directory, wanted);
                    return Decided::Deferred(Deferred::Allowances(needs));
                }
            }
        }
        let found = Found { record, terms_at, seat, status, charges: &charges };
        self.verdict(Some(found), denial, permission, retry_ms)
    }

    /// Why the key itself may not be used now, from here.
    fn standing(&self, record: &Record, owner: Option<&OwnerRow>, status: SecretStatus) -> Option<Denial> {
        let terms = &*record.terms;
        let now = self.now.wall.unix_ms();
        if terms.ended {
            Some(Denial::Revoked)
        } else if status == SecretStatus::Ended {
            Some(Denial::Superseded)
        } else if !terms.enabled {
            Some(Denial::Disabled)
        } else if record.owner != seats::NONE && owner.is_none_or(|owner| !owner.enabled) {
            // An owner that the index does not know is as good as switched off.
            Some(Denial::OwnerDisabled)
        } else if record.expires_at <= now {
            Some(Denial::Expired)
        } else if now < terms.not_before {
            Some(Denial::NotYetValid)
        } else if !is_allowed_from(terms, self.request.ip) {
            Some(Denial::IpNotAllowed)
        } else {
            None
        }
    }

    fn permission(&self, terms: &Terms, owner: Option<&OwnerRow>) -> Permission {
        let checks = self.request.checks;
        let failed = checks.iter().position(|check| !self.allows(terms, owner, check));
        Permission { authorized: (!checks.is_empty()).then_some(failed.is_none()), check_failed: failed }
    }

    /// Effective access (api.md §2). What does not read as an action or a resource is covered by nothing.
    fn allows(&self, terms: &Terms, owner: Option<&OwnerRow>, check: &Check<'_>) -> bool {
        let CompiledRights::Api(own) = &terms.rights else { return false };
        let Ok(request) = checked(check) else { return false };
        let roles = &self.state.directory.roles;
        // A role that the index does not know may hold any deny.
        let decide = |place: &u32| {
            roles
                .at(*place)
                .map_or(Decision::Denied, |role: &std::sync::Arc<CompiledGrants>| role.decide(&request))
        };
        let owner_roles = owner.map(|owner| &owner.roles).filter(|roles| !roles.is_empty());
        combine(
            own.as_ref().map(|own| own.decide(&request)),
            terms.roles.iter().map(decide),
            terms.scope.as_ref().is_none_or(|scope| scope.covers(&request)),
            owner_roles.map(|roles| roles.iter().map(decide)),
        )
    }

    fn verdict(
        &self,
        found: Option<Found<'_>>,
        denial: Option<Denial>,
        permission: Permission,
        retry_ms: Option<u64>,
    ) -> Decided {
        let keyspaces = &self.state.directory.keyspaces;
        let keyspace = found.as_ref().and_then(|found| keyspaces.at(found.record.terms.keyspace_place));
        let valid_until_ns = self.lease.valid_until(keyspace.and_then(|keyspace| keyspace.max_staleness_ns));
        let age_ms = self.lease.age_ns(self.now.boot_ns) / 1_000_000;
        if valid_until_ns <= self.now.boot_ns {
            return Decided::NotCurrent { age_ms };
        }
        let mut decided = Decided::Verdict(Verdict {
            allowed: denial.is_none(),
            denial,
            check_failed: permission.check_failed,
            authorized: permission.authorized,
            limits: Inline::default(),
            quota: found.as_ref().and_then(|found| found.charges.quota_state(self.now.wall)),
            key: found.as_ref().map(Found::key),
            retry_ms,
            revision: self.revision,
            current: self.lease.is_current(self.now.boot_ns),
            age_ms,
            valid_until_ns,
        });
        // Written where they stay: an answer is large, and moving parts of it costs more than filling them.
        if let (Decided::Verdict(verdict), Some(found)) = (&mut decided, found) {
            found.charges.limit_states(self.now, self.verifier.shared_counting(), &mut verdict.limits);
        }
        decided
    }

    /// Why a management key may not call from here; its limits are for the product's API.
    pub(crate) fn management_denial(&self, record: &Record) -> Option<Denial> {
        let owner = self.state.directory.owners.at(record.owner);
        self.standing(record, owner.map(|owner| &**owner), status_at(&record.terms, self.now.wall))
    }
}

/// A credential's record with what its answer is made of.
struct Found<'a> {
    record: &'a Record,
    terms_at: TermsAt,
    seat: &'a Seat,
    status: SecretStatus,
    charges: &'a Charges<'a>,
}

impl Found<'_> {
    fn key(&self) -> FoundKey {
        let terms = &self.record.terms;
        FoundKey {
            id: self.seat.key(),
            secret: self.seat.secret(),
            status: self.status,
            is_management: matches!(terms.rights, CompiledRights::Management(_)),
            expires_at: self.record.expires_at,
            org: terms.org,
            keyspace: terms.keyspace,
            org_place: terms.org_place,
            keyspace_place: terms.keyspace_place,
            owner_place: self.record.owner,
            terms: self.terms_at.clone(),
            state: None,
        }
    }
}

/// Whether something that is said about a key denies this, whatever allows it. What cannot be read is denied.
pub(crate) fn denies(
    directory: &Directory,
    terms: &Terms,
    owner: Option<&OwnerRow>,
    check: &Check<'_>,
) -> bool {
    let CompiledRights::Api(own) = &terms.rights else { return true };
    let Ok(request) = checked(check) else { return true };
    let denied = |grants: &std::sync::Arc<CompiledGrants>| grants.decide(&request) == Decision::Denied;
    let owner_roles = owner.map_or(&[][..], |owner| &owner.roles);
    own.as_ref().is_some_and(denied)
        || terms.roles.iter().chain(owner_roles).any(|place| directory.roles.at(*place).is_none_or(denied))
}

fn checked<'c>(check: &Check<'c>) -> Result<CheckedRequest<'c>, PatternError> {
    CheckedRequest::new(check.action, (!check.resource.is_empty()).then_some(check.resource))
}

pub(crate) fn asked_about(asked: &Asked<'_>, directory: &Directory, terms: &Terms) -> bool {
    let name = || directory.keyspaces.at(terms.keyspace_place).map(|keyspace| &*keyspace.name);
    asked.includes(terms.org, terms.keyspace, name)
}

pub(crate) fn is_too_long(text: &str) -> bool {
    text.len() > SECRET_BYTES_MAX
}

pub(crate) fn status_at(terms: &Terms, now: Timestamp) -> SecretStatus {
    if terms.secret_ends <= now.unix_ms() {
        SecretStatus::Ended
    } else if terms.is_newest {
        SecretStatus::Current
    } else {
        SecretStatus::Overlapping
    }
}

fn is_allowed_from(terms: &Terms, address: Option<IpAddr>) -> bool {
    terms.addresses.as_ref().is_none_or(|list| address.is_some_and(|address| list.contains(address)))
}

/// All that a call with this secret counts against: the key's own, its plans', its owner's.
fn add_charges<'a>(
    charges: &mut Charges<'a>,
    record: &'a Record,
    seat: &'a Seat,
    owner: Option<&'a OwnerRow>,
    directory: &'a Directory,
) {
    let own = &record.terms.limits;
    if let Some(meters) = &record.meters {
        charges.add(&own.limits, own.quota.as_ref(), meters);
        for plan in &meters.plans {
            if let Some(row) = directory.plans.at(plan.plan) {
                charges.add_plan(row, &plan.cells);
            }
        }
    } else if let Some(limit) = own.limits.first() {
        charges.add_one(limit, seat.limit());
    }
    if let Some((owner, meters)) = owner.and_then(|owner| owner.meters.as_ref().map(|meters| (owner, meters)))
    {
        charges.add(&owner.limits, owner.quota.as_ref(), meters);
    }
}

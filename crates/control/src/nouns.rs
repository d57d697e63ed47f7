//! Organizations, keyspaces, principals, roles and plans: the same five verbs for each.

mod delete;
mod edit;

use std::collections::BTreeSet;
use std::sync::Arc;

use keywright_model::admin::AdminAction;
use keywright_model::change::{Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::view::{Names, keyspace_view, org_view, plan_view, principal_view, role_view};
use keywright_store::query::NounKind;
use keywright_store::{Lookup, Noun, NounQuery};
use serde_json::{Map, Value};

use crate::caller::Who;
use crate::write::Outcome;
use crate::{Caller, Control, Error};

/// A noun as it stands, and as clients see it.
#[derive(Clone, Debug)]
pub struct NounRecord {
    /// The noun.
    pub noun: Noun,
    /// Its JSON (api.md §2).
    pub view: Map<String, Value>,
}

/// Some nouns of a kind, oldest first.
#[derive(Clone, Debug)]
pub struct NounPage {
    /// The nouns.
    pub items: Vec<NounRecord>,
    /// The bits of the identifier after which the list goes on.
    pub next: Option<u128>,
}

/// How many nouns are read at a time, at least: some may not exist for the caller.
const PAGE_MIN: usize = 100;

/// What a kind of noun is called and which rights it takes.
pub(crate) struct Kind {
    pub(crate) noun: &'static str,
    pub(crate) read: AdminAction,
    pub(crate) write: AdminAction,
}

pub(crate) const fn kind(kind: NounKind) -> Kind {
    match kind {
        NounKind::Org => {
            Kind { noun: "organization", read: AdminAction::OrgsRead, write: AdminAction::OrgsWrite }
        }
        NounKind::Keyspace => {
            Kind { noun: "keyspace", read: AdminAction::KeyspacesRead, write: AdminAction::KeyspacesWrite }
        }
        NounKind::Principal => {
            Kind { noun: "principal", read: AdminAction::PrincipalsRead, write: AdminAction::PrincipalsWrite }
        }
        NounKind::Role => Kind { noun: "role", read: AdminAction::RolesRead, write: AdminAction::RolesWrite },
        NounKind::Plan => Kind { noun: "plan", read: AdminAction::PlansRead, write: AdminAction::PlansWrite },
    }
}

/// Where a noun lies: its organization, and for a keyspace itself.
pub(crate) fn place(noun: &Noun) -> (OrgId, NounRef) {
    match noun {
        Noun::Org(org) => (org.id, NounRef::Org(org.id)),
        Noun::Keyspace(keyspace) => (keyspace.org, NounRef::Keyspace(keyspace.id)),
        Noun::Principal(principal) => (principal.org, NounRef::Principal(principal.id)),
        Noun::Role(role) => (role.org, NounRef::Role(role.id)),
        Noun::Plan(plan) => (plan.org, NounRef::Plan(plan.id)),
        Noun::Key(key) => (key.org, NounRef::Key(key.id)),
    }
}

/// A noun as clients see it. Keys have a view of their own.
pub(crate) fn view_of(noun: &Noun, names: &Names) -> Map<String, Value> {
    match noun {
        Noun::Org(org) => org_view(org),
        Noun::Keyspace(keyspace) => keyspace_view(keyspace, names),
        Noun::Principal(principal) => principal_view(principal, names),
        Noun::Role(role) => role_view(role, names),
        Noun::Plan(plan) => plan_view(plan, names),
        Noun::Key(_) => Map::new(),
    }
}

/// The change that makes a noun what it is.
pub(crate) fn changed(noun: Noun) -> Change {
    match noun {
        Noun::Org(org) => Change::OrgChanged(Arc::new(org)),
        Noun::Keyspace(keyspace) => Change::KeyspaceChanged(Arc::new(keyspace)),
        Noun::Principal(principal) => Change::PrincipalChanged(Arc::new(principal)),
        Noun::Role(role) => Change::RoleChanged(Arc::new(role)),
        Noun::Plan(plan) => Change::PlanChanged(Arc::new(plan)),
        Noun::Key(key) => Change::KeyChanged(key),
    }
}

fn unchanged(change: &Change) -> Option<Noun> {
    match change {
        Change::OrgChanged(org) => Some(Noun::Org(Org::clone(org))),
        Change::KeyspaceChanged(keyspace) => Some(Noun::Keyspace(Keyspace::clone(keyspace))),
        Change::PrincipalChanged(principal) => Some(Noun::Principal(Principal::clone(principal))),
        Change::RoleChanged(role) => Some(Noun::Role(Role::clone(role))),
        Change::PlanChanged(plan) => Some(Noun::Plan(Plan::clone(plan))),
        Change::KeyChanged(_)
        | Change::OrgDeleted(_)
        | Change::KeyspaceDeleted(..)
        | Change::PrincipalDeleted(..)
        | Change::RoleDeleted(..)
        | Change::PlanDeleted(..)
        | Change::KeyPurged(..) => None,
    }
}

use keywright_model::noun::{Keyspace, Org, Plan, Principal, Role};

impl Control {
    /// One noun, by identifier or name (a principal: by identifier or external id).
    pub async fn noun(&self, caller: &Caller, of: NounKind, id: &str) -> Result<NounRecord, Error> {
        let noun = self.noun_for(caller, of, id, kind(of).read).await?;
        self.noun_record(noun).await
    }

    /// Some nouns of a kind.
    pub async fn nouns(
        &self,
        caller: &Caller,
        of: NounKind,
        after: Option<u128>,
        limit: usize,
    ) -> Result<NounPage, Error> {
        caller.require(kind(of).read)?;
        let org = (of != NounKind::Org).then_some(caller.org);
        let wanted = limit.max(1);
        // One more than is wanted tells whether the list goes on.
        let mut query = NounQuery { kind: of, org, after, limit: wanted.saturating_add(1).max(PAGE_MIN) };
        let mut items = Vec::new();
        loop {
            let page = self.store.nouns_page(&query).await?;
            query.after = page.items.last().map(bits).or(query.after);
            items.extend(page.items.into_iter().filter(|noun| exists_for(caller, noun)));
            if items.len() > wanted || !page.more {
                let more = items.len() > wanted;
                items.truncate(wanted);
                let next = items.last().filter(|_| more).map(bits);
                return Ok(NounPage { items: self.noun_records(items).await?, next });
            }
        }
    }

    /// Finds a noun that exists for the caller and that it may do `action` to.
    pub(crate) async fn noun_for(
        &self,
        caller: &Caller,
        of: NounKind,
        id: &str,
        action: AdminAction,
    ) -> Result<Noun, Error> {
        let found = match noun_ref(of, id) {
            Some(noun) => self.noun_by_ref(noun).await?,
            None => self.find_one(lookup(caller, of, id)).await?,
        };
        let noun = found.filter(|noun| exists_for(caller, noun)).ok_or(Error::NotFound(kind(of).noun))?;
        let keyspace = match &noun {
            Noun::Keyspace(keyspace) => Some(keyspace.id),
            Noun::Org(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) | Noun::Key(_) => None,
        };
        if caller.may_in(action, keyspace) { Ok(noun) } else { Err(Error::Forbidden { action }) }
    }

    pub(crate) async fn noun_record(&self, noun: Noun) -> Result<NounRecord, Error> {
        let mut records = self.noun_records(vec![noun]).await?;
        records.pop().ok_or_else(|| Error::internal("a noun without a record"))
    }

    async fn noun_records(&self, nouns: Vec<Noun>) -> Result<Vec<NounRecord>, Error> {
        let orgs: BTreeSet<NounRef> = nouns.iter().map(|noun| NounRef::Org(place(noun).0)).collect();
        let names = self.names_of(&orgs.into_iter().collect::<Vec<_>>()).await?;
        Ok(nouns.into_iter().map(|noun| NounRecord { view: view_of(&noun, &names), noun }).collect())
    }

    pub(crate) async fn written_noun(&self, outcome: &Outcome) -> Result<NounRecord, Error> {
        let written =
            outcome.changes.iter().find(|change| change.noun() == outcome.subject).and_then(unchanged);
        let noun = match written {
            Some(noun) => noun,
            None => self.noun_by_ref(outcome.subject).await?.ok_or(Error::NotFound("noun"))?,
        };
        self.noun_record(noun).await
    }
}

/// Whether a noun is a keyspace that wants `If-Match` on every write.
const fn wants_if_match(noun: &Noun) -> bool {
    match noun {
        Noun::Keyspace(keyspace) => keyspace.spec.require_if_match,
        Noun::Org(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) | Noun::Key(_) => false,
    }
}

/// Whether a noun exists as far as the caller can see.
fn exists_for(caller: &Caller, noun: &Noun) -> bool {
    match (&caller.who, noun) {
        (Who::Root, Noun::Org(_)) => true,
        (Who::Key { .. }, Noun::Org(org)) => caller.reaches_org(org.id),
        (_, Noun::Keyspace(keyspace)) => keyspace.org == caller.org && caller.reaches(keyspace.id),
        (_, noun) => place(noun).0 == caller.org,
    }
}

fn bits(noun: &Noun) -> u128 {
    match place(noun).1 {
        NounRef::Org(id) => id.bits(),
        NounRef::Keyspace(id) => id.bits(),
        NounRef::Principal(id) => id.bits(),
        NounRef::Role(id) => id.bits(),
        NounRef::Plan(id) => id.bits(),
        NounRef::Key(id) => id.bits(),
    }
}

fn noun_ref(of: NounKind, id: &str) -> Option<NounRef> {
    match of {
        NounKind::Org => id.parse().ok().map(NounRef::Org),
        NounKind::Keyspace => id.parse().ok().map(NounRef::Keyspace),
        NounKind::Principal => id.parse().ok().map(NounRef::Principal),
        NounKind::Role => id.parse().ok().map(NounRef::Role),
        NounKind::Plan => id.parse().ok().map(NounRef::Plan),
    }
}

fn lookup(caller: &Caller, of: NounKind, name: &str) -> Lookup {
    let name = name.to_owned();
    match of {
        NounKind::Org => Lookup::OrgByName(name),
        NounKind::Keyspace => Lookup::KeyspaceByName(caller.org, name),
        NounKind::Principal => Lookup::PrincipalByExternalId(caller.org, name),
        NounKind::Role => Lookup::RoleByName(caller.org, name),
        NounKind::Plan => Lookup::PlanByName(caller.org, name),
    }
}

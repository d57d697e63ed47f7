//! From what a client wrote to what a key is: owners, roles, plans, names and the keyspace's policy. Every fault at once.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use keywright_model::admin::{AdminRights, Reach};
use keywright_model::change::NounRef;
use keywright_model::document::{KeyDraft, OwnerDraft, ReachDraft};
use keywright_model::fault::Faults;
use keywright_model::grant::{ActionPattern, Effect, Grant, ResourcePattern};
use keywright_model::id::{KeyspaceId, OrgId, PrincipalId, RoleId};
use keywright_model::key::{Key, KeySpec, Rights};
use keywright_model::noun::{Keyspace, Meta, Org, Principal, PrincipalKind, PrincipalSpec, Role};
use keywright_model::time::Timestamp;
use keywright_model::view::Names;
use keywright_store::{Lookup, Noun};
use serde_json::Map;

use super::LoadedKey;
use crate::lookup::{Surroundings, into_keyspace, into_principal, into_role};
use crate::{Caller, Control, Error};

/// A draft with everything looked up.
pub(crate) struct Resolved {
    pub(crate) spec: KeySpec,
    pub(crate) around: Surroundings,
    /// An owner that was named and does not exist yet: made by the same write.
    pub(crate) new_owner: Option<Principal>,
}

/// What the rights of some keys rest on.
#[derive(Default)]
pub(crate) struct ReadAround {
    orgs: BTreeMap<OrgId, Org>,
    keyspaces: BTreeMap<KeyspaceId, Keyspace>,
    owners: BTreeMap<PrincipalId, Principal>,
    roles: BTreeMap<RoleId, Role>,
}

impl ReadAround {
    /// What one of the keys' rights rest on.
    pub(crate) fn around(&self, key: &Key) -> Option<Surroundings> {
        let keyspace = self.keyspaces.get(&key.keyspace)?.clone();
        let owner = key.spec.owner.and_then(|id| self.owners.get(&id)).cloned();
        let ids = key.spec.roles.iter().chain(owner.iter().flat_map(|owner| &owner.spec.roles));
        let roles = ids.filter_map(|id| Some((*id, self.roles.get(id)?.clone()))).collect();
        Some(Surroundings { keyspace, owner, roles })
    }
}

impl Control {
    /// Looks up what a draft names, within the caller's organization.
    pub(crate) async fn resolve(
        &self,
        caller: &Caller,
        draft: KeyDraft,
        keyspace: &Keyspace,
        before: Option<&LoadedKey>,
    ) -> Result<Resolved, Error> {
        let KeyDraft { mut spec, owner, reach } = draft;
        spec.owner = None;
        let mut faults = Faults::new();
        let mut new_owner = None;
        match owner {
            None => {}
            Some(OwnerDraft::Id(id)) => spec.owner = Some(id),
            Some(OwnerDraft::ExternalId(external_id)) => {
                let known =
                    self.find_one(Lookup::PrincipalByExternalId(caller.org, external_id.clone())).await?;
                let owner = known.and_then(into_principal).unwrap_or_else(|| {
                    let made = self.new_principal(caller, external_id);
                    new_owner = Some(made.clone());
                    made
                });
                spec.owner = Some(owner.id);
            }
        }
        if let Some((reach, Rights::Management { admin, .. })) = reach.map(|reach| (reach, &mut spec.rights))
        {
            let kept = before.and_then(|before| match &before.key.spec.rights {
                Rights::Management { admin, .. } => Some(admin),
                Rights::Api { .. } => None,
            });
            (admin.orgs, admin.keyspaces) = self.resolve_reach(caller, &reach, kept, &mut faults).await?;
        }
        // What a key refers to stays there while it does.
        let same = before.filter(|before| refers_to_the_same(&before.key.spec, &spec));
        if same.is_none() {
            self.check_references(caller, &spec, new_owner.as_ref(), &mut faults).await?;
        }
        check_policy(keyspace, &spec, before.map(|before| &before.key.spec), self.clock.now(), &mut faults);
        faults.into_result()?;
        let mut around = match (same, before) {
            (Some(same), _) => same.around.clone(),
            (None, Some(before)) => self.surroundings(keyspace.id, &spec).await?.judged_with(&before.around),
            (None, None) => self.surroundings(keyspace.id, &spec).await?,
        };
        if new_owner.is_some() {
            around.owner.clone_from(&new_owner);
        }
        Ok(Resolved { spec, around, new_owner })
    }

    fn new_principal(&self, caller: &Caller, external_id: String) -> Principal {
        let now = self.clock.now();
        Principal {
            id: PrincipalId::new(now.unix_ms(), self.random_bits()),
            org: caller.org,
            spec: PrincipalSpec {
                external_id: Some(external_id),
                kind: PrincipalKind::User,
                name: None,
                roles: Vec::new(),
                enabled: true,
                limits: Vec::new(),
                quota: None,
                metadata: Map::new(),
            },
            meta: Meta::new(now, caller.actor()),
        }
    }

    /// Reads what a key's rights rest on. What it refers to exists: [`Self::check_references`] or the store saw to it.
    pub(crate) async fn surroundings(
        &self,
        keyspace: KeyspaceId,
        spec: &KeySpec,
    ) -> Result<Surroundings, Error> {
        Ok(self.surroundings_and(None, keyspace, spec).await?.0)
    }

    /// The same of a key that is there, with the names of its organization and its keyspace.
    pub(crate) async fn surroundings_and_home(&self, key: &Key) -> Result<(Surroundings, Names), Error> {
        let (around, org) = self.surroundings_and(Some(key.org), key.keyspace, &key.spec).await?;
        let keyspace = (key.org, around.keyspace.spec.name.clone());
        let home = Names {
            orgs: org.into_iter().map(|org| (org.id, org.spec.name)).collect(),
            keyspaces: BTreeMap::from([(key.keyspace, keyspace)]),
        };
        Ok((around, home))
    }

    async fn surroundings_and(
        &self,
        org: Option<OrgId>,
        keyspace: KeyspaceId,
        spec: &KeySpec,
    ) -> Result<(Surroundings, Option<Org>), Error> {
        let mut refs = vec![NounRef::Keyspace(keyspace)];
        refs.extend(org.map(NounRef::Org));
        refs.extend(spec.owner.map(NounRef::Principal));
        refs.extend(spec.roles.iter().copied().map(NounRef::Role));
        let mut read = self.read_around(&refs).await?;
        let found = read.keyspaces.remove(&keyspace);
        let keyspace =
            found.ok_or_else(|| Error::internal("a key refers to a keyspace that is not there"))?;
        let owner = spec.owner.and_then(|id| read.owners.remove(&id));
        let home = org.and_then(|id| read.orgs.remove(&id));
        Ok((Surroundings { keyspace, owner, roles: read.roles }, home))
    }

    /// Reads what the rights of many keys rest on: two round trips, however many they are.
    pub(crate) async fn surroundings_of(&self, keys: &[&Key]) -> Result<ReadAround, Error> {
        let mut refs = BTreeSet::new();
        for key in keys {
            refs.insert(NounRef::Keyspace(key.keyspace));
            refs.extend(key.spec.owner.map(NounRef::Principal));
            refs.extend(key.spec.roles.iter().copied().map(NounRef::Role));
        }
        self.read_around(&refs.into_iter().collect::<Vec<_>>()).await
    }

    /// Reads nouns around keys, and the roles of the owners among them.
    async fn read_around(&self, refs: &[NounRef]) -> Result<ReadAround, Error> {
        let mut read = ReadAround::default();
        if refs.is_empty() {
            return Ok(read);
        }
        for noun in self.store.nouns(refs).await?.into_iter().flatten() {
            match noun {
                Noun::Keyspace(keyspace) => drop(read.keyspaces.insert(keyspace.id, keyspace)),
                Noun::Principal(owner) => drop(read.owners.insert(owner.id, owner)),
                Noun::Role(role) => drop(read.roles.insert(role.id, role)),
                Noun::Org(org) => drop(read.orgs.insert(org.id, org)),
                Noun::Plan(_) | Noun::Key(_) => {}
            }
        }
        let owner_roles = read.owners.values().flat_map(|owner| &owner.spec.roles);
        let missing: BTreeSet<NounRef> =
            owner_roles.filter(|id| !read.roles.contains_key(id)).map(|id| NounRef::Role(*id)).collect();
        if !missing.is_empty() {
            let missing: Vec<NounRef> = missing.into_iter().collect();
            let more = self.store.nouns(&missing).await?.into_iter().flatten().filter_map(into_role);
            read.roles.extend(more.map(|role| (role.id, role)));
        }
        Ok(read)
    }

    async fn check_references(
        &self,
        caller: &Caller,
        spec: &KeySpec,
        new_owner: Option<&Principal>,
        faults: &mut Faults,
    ) -> Result<(), Error> {
        let roles = spec.roles.iter().map(|id| NounRef::Role(*id));
        let plans = spec.plans.iter().map(|id| NounRef::Plan(*id));
        let owner = spec.owner.filter(|_| new_owner.is_none()).map(NounRef::Principal);
        let refs: Vec<NounRef> = roles.chain(plans).chain(owner).collect();
        if refs.is_empty() {
            return Ok(());
        }
        let ours = |noun: &Noun| match noun {
            Noun::Role(role) => role.org == caller.org,
            Noun::Plan(plan) => plan.org == caller.org,
            Noun::Principal(principal) => principal.org == caller.org,
            Noun::Org(_) | Noun::Keyspace(_) | Noun::Key(_) => false,
        };
        for (index, noun) in self.store.nouns(&refs).await?.into_iter().enumerate() {
            if noun.is_some_and(|noun| ours(&noun)) {
                continue;
            }
            let plan_index = index.checked_sub(spec.roles.len());
            match plan_index {
                None => {
                    faults.add(
                        format!("/roles/{index}"),
                        "unknown_role",
                        "no such role in this organization",
                    );
                }
                Some(at) if at < spec.plans.len() => {
                    faults.add(format!("/plans/{at}"), "unknown_plan", "no such plan in this organization");
                }
                Some(_) => {
                    faults.add("/owner", "unknown_principal", "no such principal in this organization");
                }
            }
        }
        Ok(())
    }

    /// Names become identifiers once, here, so that renaming a noun later hands nobody's reach to another. A caller names
    /// what exists for it; what a key reached before (`kept`) stays, by identifier, whoever changes the key.
    async fn resolve_reach(
        &self,
        caller: &Caller,
        reach: &ReachDraft,
        kept: Option<&AdminRights>,
        faults: &mut Faults,
    ) -> Result<(Reach<OrgId>, Reach<KeyspaceId>), Error> {
        let mut orgs = BTreeSet::new();
        for (index, name) in reach.orgs.iter().enumerate().filter(|(_, name)| *name != "*") {
            let id = self.visible_org(caller, name).await?;
            match id.or_else(|| kept_id(kept.map(|kept| &kept.orgs), name)) {
                Some(id) => drop(orgs.insert(id)),
                None => {
                    faults.add(
                        format!("/admin/orgs/{index}"),
                        "unknown_organization",
                        "no such organization",
                    );
                }
            }
        }
        let all_orgs = reach.orgs.iter().any(|name| name == "*");
        let homes = if all_orgs { BTreeSet::from([caller.org]) } else { orgs.clone() };
        let mut keyspaces = BTreeSet::new();
        for (index, name) in reach.keyspaces.iter().enumerate().filter(|(_, name)| *name != "*") {
            let mut ids = self.visible_keyspaces(caller, &homes, all_orgs, name).await?;
            ids.extend(kept_id(kept.map(|kept| &kept.keyspaces), name));
            if ids.is_empty() {
                let detail = "no such keyspace in these organizations";
                faults.add(format!("/admin/keyspaces/{index}"), "unknown_keyspace", detail);
            }
            keyspaces.extend(ids);
        }
        let all_keyspaces = reach.keyspaces.iter().any(|name| name == "*");
        Ok((
            if all_orgs { Reach::All } else { Reach::Only(orgs) },
            if all_keyspaces { Reach::All } else { Reach::Only(keyspaces) },
        ))
    }

    async fn visible_org(&self, caller: &Caller, name: &str) -> Result<Option<OrgId>, Error> {
        let org = self.org_named(name).await?.map(|org| org.id);
        Ok(org.filter(|id| *id == caller.org || caller.reaches_org(*id)))
    }

    /// The keyspaces that a text means: one by identifier, or by name one in each organization that is reached.
    async fn visible_keyspaces(
        &self,
        caller: &Caller,
        homes: &BTreeSet<OrgId>,
        anywhere: bool,
        name: &str,
    ) -> Result<Vec<KeyspaceId>, Error> {
        let mut found = Vec::new();
        if let Ok(id) = name.parse() {
            let keyspace = self.noun_by_ref(NounRef::Keyspace(id)).await?.and_then(into_keyspace);
            found.extend(keyspace.filter(|keyspace| anywhere || homes.contains(&keyspace.org)));
        } else {
            for home in homes {
                found.extend(self.keyspace_named(*home, name).await?);
            }
        }
        let visible = found.iter().filter(|keyspace| caller.reaches_in(keyspace.org, keyspace.id));
        Ok(visible.map(|keyspace| keyspace.id).collect())
    }
}

fn refers_to_the_same(before: &KeySpec, after: &KeySpec) -> bool {
    before.owner == after.owner && before.roles == after.roles && before.plans == after.plans
}

/// The noun of an old reach that a text names by identifier.
fn kept_id<Id: Ord + Copy + FromStr>(kept: Option<&Reach<Id>>, text: &str) -> Option<Id> {
    let Reach::Only(ids) = kept? else { return None };
    text.parse().ok().filter(|id| ids.contains(id))
}

/// Tests a key against its keyspace's policy: what the write changes, not what older keys were allowed.
///
/// The policy is about what is written on the key itself. Roles are the organization's and may change at any time: what
/// they bring is not looked at, and neither is `scope`, which gives nothing.
fn check_policy(
    keyspace: &Keyspace,
    spec: &KeySpec,
    before: Option<&KeySpec>,
    now: Timestamp,
    faults: &mut Faults,
) {
    let policy = &keyspace.spec.key_policy;
    if before.is_none_or(|before| before.expires_at != spec.expires_at) {
        let latest = policy.max_lifetime_seconds.map(|seconds| now.plus_seconds(seconds));
        match (spec.expires_at, latest) {
            (None, _) if policy.require_expiry => {
                faults.add("/expires_at", "expiry_required", "this keyspace wants every key to expire");
            }
            (None, Some(_)) => {
                faults.add("/expires_at", "expiry_required", "this keyspace limits how long a key lives");
            }
            (Some(at), Some(latest)) if at > latest => {
                faults.add(
                    "/expires_at",
                    "lifetime_too_long",
                    format!("this keyspace allows {latest} at the latest"),
                );
            }
            _ => {}
        }
    }
    if before.is_some_and(|before| before.rights == spec.rights) || !policy.forbid_wildcards {
        return;
    }
    let (field, grants): (&str, &[Grant]) = match &spec.rights {
        Rights::Api { grants } => ("grants", grants.as_deref().unwrap_or_default()),
        Rights::Management { grantable, .. } => ("grantable", grantable),
    };
    for (index, grant) in grants.iter().enumerate() {
        let wild = grant.actions.iter().any(ActionPattern::has_wildcard)
            || grant.resources.iter().any(ResourcePattern::has_wildcard);
        if wild && grant.effect == Effect::Allow {
            faults.add(
                format!("/{field}/{index}"),
                "wildcard_forbidden",
                "this keyspace forbids wildcards in what is allowed",
            );
        }
    }
}

//! Reading single nouns, and the names that views show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keywright_model::admin::{AdminAction, Reach};
use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, KeyspaceId, OrgId};
use keywright_model::key::{Key, Rights};
use keywright_model::noun::{Keyspace, Org, Principal, Role};
use keywright_model::revision::Version;
use keywright_model::view::Names;
use keywright_store::{Lookup, Noun};

use crate::{Caller, Control, Error};

impl Control {
    pub(crate) async fn noun_by_ref(&self, noun: NounRef) -> Result<Option<Noun>, Error> {
        Ok(self.store.nouns(&[noun]).await?.pop().flatten())
    }

    pub(crate) async fn find_one(&self, lookup: Lookup) -> Result<Option<Noun>, Error> {
        Ok(self.store.find(&[lookup]).await?.pop().flatten())
    }

    pub(crate) async fn find_key(&self, lookup: Lookup) -> Result<Option<Arc<Key>>, Error> {
        Ok(self.find_one(lookup).await?.and_then(into_key))
    }

    pub(crate) async fn key_by_id(&self, id: KeyId) -> Result<Option<Arc<Key>>, Error> {
        Ok(self.noun_by_ref(NounRef::Key(id)).await?.and_then(into_key))
    }

    /// An organization by identifier or name, whoever asks.
    pub(crate) async fn org_named(&self, name: &str) -> Result<Option<Org>, Error> {
        let noun = match name.parse() {
            Ok(id) => self.noun_by_ref(NounRef::Org(id)).await?,
            Err(_) => self.find_one(Lookup::OrgByName(name.to_owned())).await?,
        };
        Ok(noun.and_then(into_org))
    }

    /// A keyspace of an organization by identifier or name, whoever asks.
    pub(crate) async fn keyspace_named(&self, org: OrgId, name: &str) -> Result<Option<Keyspace>, Error> {
        let noun = match name.parse() {
            Ok(id) => self.noun_by_ref(NounRef::Keyspace(id)).await?,
            Err(_) => self.find_one(Lookup::KeyspaceByName(org, name.to_owned())).await?,
        };
        Ok(noun.and_then(into_keyspace).filter(|keyspace| keyspace.org == org))
    }

    /// The names that the views of these keys show. What a management key reaches and the caller does not stays an
    /// identifier: names of other tenants are nobody's business.
    pub(crate) async fn names_for(&self, caller: &Caller, keys: &[&Key]) -> Result<Names, Error> {
        let homes: BTreeSet<KeyspaceId> = keys.iter().map(|key| key.keyspace).collect();
        let mut wanted: BTreeSet<NounRef> = keys.iter().map(|key| NounRef::Org(key.org)).collect();
        wanted.extend(homes.iter().copied().map(NounRef::Keyspace));
        for key in keys {
            let Rights::Management { admin, .. } = &key.spec.rights else { continue };
            if let Reach::Only(orgs) = &admin.orgs {
                let seen = orgs.iter().copied().filter(|org| caller.reaches_org(*org));
                wanted.extend(seen.map(NounRef::Org));
            }
            if let Reach::Only(keyspaces) = &admin.keyspaces {
                wanted.extend(keyspaces.iter().copied().map(NounRef::Keyspace));
            }
        }
        let mut names = self.names_of(&wanted.into_iter().collect::<Vec<_>>()).await?;
        names.keyspaces.retain(|id, (org, _)| homes.contains(id) || caller.reaches_in(*org, *id));
        Ok(names)
    }

    pub(crate) async fn names_of(&self, refs: &[NounRef]) -> Result<Names, Error> {
        let mut names = Names::default();
        for noun in self.store.nouns(refs).await?.into_iter().flatten() {
            match noun {
                Noun::Org(org) => {
                    names.orgs.insert(org.id, org.spec.name);
                }
                Noun::Keyspace(keyspace) => {
                    names.keyspaces.insert(keyspace.id, (keyspace.org, keyspace.spec.name));
                }
                Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) | Noun::Key(_) => {}
            }
        }
        Ok(names)
    }

    /// The role with a number in the caller's organization.
    pub async fn role_numbered(&self, caller: &Caller, number: u32) -> Result<Role, Error> {
        caller.require(AdminAction::RolesRead)?;
        let found = self.find_one(Lookup::RoleByNumber(caller.org, number)).await?;
        found.and_then(into_role).ok_or(Error::NotFound("role"))
    }

    /// Roles by identifier; the pointers of those that do not exist in the organization are faults.
    pub(crate) async fn roles_of(
        &self,
        org: OrgId,
        ids: &[keywright_model::id::RoleId],
    ) -> Result<Vec<Option<Role>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let refs: Vec<NounRef> = ids.iter().copied().map(NounRef::Role).collect();
        let nouns = self.store.nouns(&refs).await?;
        Ok(nouns.into_iter().map(|noun| noun.and_then(into_role).filter(|role| role.org == org)).collect())
    }
}

pub(crate) fn into_key(noun: Noun) -> Option<Arc<Key>> {
    match noun {
        Noun::Key(key) => Some(key),
        Noun::Org(_) | Noun::Keyspace(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) => None,
    }
}

pub(crate) fn into_org(noun: Noun) -> Option<Org> {
    match noun {
        Noun::Org(org) => Some(org),
        Noun::Key(_) | Noun::Keyspace(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) => None,
    }
}

pub(crate) fn into_keyspace(noun: Noun) -> Option<Keyspace> {
    match noun {
        Noun::Keyspace(keyspace) => Some(keyspace),
        Noun::Key(_) | Noun::Org(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) => None,
    }
}

pub(crate) fn into_principal(noun: Noun) -> Option<Principal> {
    match noun {
        Noun::Principal(principal) => Some(principal),
        Noun::Key(_) | Noun::Org(_) | Noun::Keyspace(_) | Noun::Role(_) | Noun::Plan(_) => None,
    }
}

pub(crate) fn into_role(noun: Noun) -> Option<Role> {
    match noun {
        Noun::Role(role) => Some(role),
        Noun::Key(_) | Noun::Org(_) | Noun::Keyspace(_) | Noun::Principal(_) | Noun::Plan(_) => None,
    }
}

/// What a key's rights rest on besides the key: read once, compared again inside the write's transaction.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) keyspace: Keyspace,
    pub(crate) owner: Option<Principal>,
    pub(crate) roles: BTreeMap<keywright_model::id::RoleId, Role>,
}

impl Surroundings {
    /// The nouns that these are, as they were read.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (NounRef, Version)> {
        let keyspace = (NounRef::Keyspace(self.keyspace.id), self.keyspace.meta.version);
        let owner = self.owner.iter().map(|owner| (NounRef::Principal(owner.id), owner.meta.version));
        let roles = self.roles.values().map(|role| (NounRef::Role(role.id), role.meta.version));
        std::iter::once(keyspace).chain(owner).chain(roles)
    }

    /// Takes what was read earlier where it was read twice, so that both sides of a change are judged by one reading.
    pub(crate) fn judged_with(mut self, earlier: &Self) -> Self {
        self.keyspace = earlier.keyspace.clone();
        if self.owner.as_ref().map(|owner| owner.id) == earlier.owner.as_ref().map(|owner| owner.id) {
            self.owner.clone_from(&earlier.owner);
        }
        self.roles.extend(earlier.roles.iter().map(|(id, role)| (*id, role.clone())));
        self
    }
}

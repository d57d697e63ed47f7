//! Who keys belong to, who made and who ended them, as far as the caller may see them.

use std::collections::HashMap;

use keywright_control::keys::{KeyRecord, KeyRef, Owner};
use keywright_control::{Caller, Error, Noun, NounKind};
use keywright_model::access::AccessRegion;
use keywright_model::admin::AdminAction;
use keywright_model::grant::Action;
use keywright_model::id::{KeyId, PrincipalId};
use keywright_model::key::Key;
use keywright_model::noun::{Actor, PrincipalKind};

use super::map;
use super::wire::ApiKey;
use crate::dialects::Wire;

/// What an answer says about people. What is not known is left out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct People {
    pub(super) owner: Option<User>,
    pub(super) created_by_name: Option<String>,
    pub(super) revoked_by_name: Option<String>,
}

/// The owner of a key.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) kind: &'static str,
    /// What it may do at all; `None` is no limit.
    pub(super) ceiling: Option<Vec<AccessRegion>>,
}

impl User {
    /// Whether a permission comes to anything, anywhere.
    pub(super) fn may(&self, permission: &Action) -> bool {
        let Some(regions) = &self.ceiling else { return true };
        regions.iter().any(|region| {
            region.actions.iter().any(|pattern| pattern.covers(permission))
                && !region.except_actions.iter().any(|pattern| pattern.covers(permission))
        })
    }
}

/// Reads people for the keys of one answer, each once.
pub(super) struct Reader<'a> {
    wire: &'a Wire,
    caller: &'a Caller,
    owners: HashMap<PrincipalId, Option<User>>,
    names: HashMap<KeyId, Option<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(wire: &'a Wire, caller: &'a Caller) -> Self {
        Self { wire, caller, owners: HashMap::new(), names: HashMap::new() }
    }

    /// A key as this wire shows it.
    pub(super) async fn shown(&mut self, record: &KeyRecord, all_permissions: bool) -> Result<ApiKey, Error> {
        let people = self.of(&record.key).await?;
        Ok(map::shown(record, &people, all_permissions))
    }

    async fn of(&mut self, key: &Key) -> Result<People, Error> {
        let revoked_by = key.revocation.as_ref().map(|end| end.by);
        Ok(People {
            owner: self.owner(key).await?,
            created_by_name: self.name(key.meta.created_by).await?,
            revoked_by_name: match revoked_by {
                Some(actor) => self.name(actor).await?,
                None => None,
            },
        })
    }

    async fn owner(&mut self, key: &Key) -> Result<Option<User>, Error> {
        let Some(id) = key.spec.owner else { return Ok(None) };
        if let Some(known) = self.owners.get(&id) {
            return Ok(known.clone());
        }
        let user = match self.wire.control().owner_of(key).await? {
            Some(owner) => Some(self.user(id, owner).await?),
            None => None,
        };
        self.owners.insert(id, user.clone());
        Ok(user)
    }

    async fn user(&self, id: PrincipalId, owner: Owner) -> Result<User, Error> {
        let kind = match owner.kind {
            PrincipalKind::User => "user",
            PrincipalKind::Bot => "bot",
        };
        // One that is too complex to be written down is not known to leave anything out.
        let ceiling = owner.ceiling.and_then(|ceiling| ceiling.regions().ok());
        let (mut id, mut name) = (id.to_string(), None);
        if self.caller.may(AdminAction::PrincipalsRead) {
            let found = self.wire.control().noun(self.caller, NounKind::Principal, &id).await?.noun;
            let Noun::Principal(principal) = found else {
                return Err(Error::internal("a principal's id that names another noun"));
            };
            name.clone_from(&principal.spec.name);
            id = principal.spec.external_id.clone().unwrap_or(id);
        }
        Ok(User { id, name, kind, ceiling })
    }

    /// The name of a key that did something, if the caller may see it.
    async fn name(&mut self, actor: Actor) -> Result<Option<String>, Error> {
        let Actor::Key(id) = actor else { return Ok(None) };
        if let Some(own) = self.caller.key().filter(|own| own.id == id) {
            return Ok(Some(own.spec.name.clone()));
        }
        if let Some(known) = self.names.get(&id) {
            return Ok(known.clone());
        }
        let name = match self.wire.control().key(self.caller, &KeyRef::Id(id)).await {
            Ok(record) => Some(record.key.spec.name.clone()),
            Err(Error::NotFound(_) | Error::Forbidden { .. }) => None,
            Err(error) => return Err(error),
        };
        self.names.insert(id, name.clone());
        Ok(name)
    }
}

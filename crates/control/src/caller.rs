//! Who calls, and what they may do: tested in the first line of every use case.

use std::net::IpAddr;
use std::sync::Arc;

use keywright_model::access::Access;
use keywright_model::address::AddressSet;
use keywright_model::admin::{AdminAction, AdminRights};
use keywright_model::change::NounRef;
use keywright_model::denial::Denial;
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId};
use keywright_model::key::{Key, KeyState, Rights, SecretStatus};
use keywright_model::noun::Actor;
use keywright_model::secret::{Form, SECRET_BYTES_MAX, Secret, form};
use keywright_store::{Expect, Lookup, Noun};

use crate::{Control, Error};

/// Through which wire and from where a call comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `rest`, or a dialect's name. The root key works through `rest` only.
    pub wire: &'static str,
    /// The caller's address, where it is known.
    pub address: Option<IpAddr>,
    /// The request's identifier.
    pub request_id: Option<String>,
}

/// The wire that the root key works through.
pub const REST: &str = "rest";

/// Somebody whose credential was good when the call began. Writes test it again inside their transaction.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) who: Who,
    pub(crate) org: OrgId,
    pub(crate) origin: Origin,
    /// What the caller's rights rest on.
    pub(crate) expect: Vec<Expect>,
}

#[derive(Clone, Debug)]
pub(crate) enum Who {
    Root,
    Key { key: Arc<Key>, admin: AdminRights, grantable: Access },
}

impl Caller {
    /// The organization that the call acts in.
    pub const fn org(&self) -> OrgId {
        self.org
    }

    /// The one keyspace that the caller is bound to.
    pub fn keyspace(&self) -> Option<KeyspaceId> {
        match &self.who {
            Who::Root => None,
            Who::Key { admin, .. } => admin.keyspaces.single(),
        }
    }

    /// Whether it is the root key.
    pub const fn is_root(&self) -> bool {
        matches!(self.who, Who::Root)
    }

    /// The caller's key; `None` for root.
    pub fn key(&self) -> Option<&Arc<Key>> {
        match &self.who {
            Who::Root => None,
            Who::Key { key, .. } => Some(key),
        }
    }

    pub(crate) fn key_id(&self) -> Option<KeyId> {
        self.key().map(|key| key.id)
    }

    /// Who it is in the audit.
    pub fn actor(&self) -> Actor {
        self.key_id().map_or(Actor::Root, Actor::Key)
    }

    /// Whether it may do something to the organization's nouns that lie in no keyspace.
    pub fn may(&self, action: AdminAction) -> bool {
        self.may_in(action, None)
    }

    /// Whether it may do something in a keyspace.
    pub fn may_in(&self, action: AdminAction, keyspace: Option<KeyspaceId>) -> bool {
        match &self.who {
            Who::Root => true,
            Who::Key { admin, .. } => admin.allow(action, self.org, keyspace),
        }
    }

    pub(crate) fn require(&self, action: AdminAction) -> Result<(), Error> {
        if self.may(action) { Ok(()) } else { Err(Error::Forbidden { action }) }
    }

    /// What it does not reach does not exist for it; what it reaches but may not touch is forbidden.
    pub(crate) fn require_in(&self, action: AdminAction, keyspace: KeyspaceId) -> Result<(), Error> {
        if !self.reaches(keyspace) {
            return Err(Error::NotFound("key"));
        }
        if self.may_in(action, Some(keyspace)) { Ok(()) } else { Err(Error::Forbidden { action }) }
    }

    /// Whether a keyspace of its organization exists for it.
    pub(crate) fn reaches(&self, keyspace: KeyspaceId) -> bool {
        match &self.who {
            Who::Root => true,
            Who::Key { admin, .. } => admin.orgs.includes(self.org) && admin.keyspaces.includes(keyspace),
        }
    }
}

impl Control {
    /// Finds who calls from a bearer credential. `org` is the organization that the call names, by id or name.
    pub async fn authenticate(
        &self,
        bearer: &str,
        org: Option<&str>,
        origin: Origin,
    ) -> Result<Caller, Error> {
        if bearer.len() > SECRET_BYTES_MAX || form(bearer) == Form::Malformed {
            return Err(unauthenticated(None));
        }
        let digest = self.vault.digest(&Secret::new(bearer));
        let Some(key) = self.find_key(Lookup::KeyByDigest(digest)).await? else {
            return self.root_caller(digest, org, origin).await;
        };
        let used = key.secrets.iter().find(|s| s.material.as_ref().is_some_and(|m| m.digest == Some(digest)));
        let status = used.and_then(|secret| key.secret_status_at(secret.id, self.clock.now()));
        if !matches!(status, Some(SecretStatus::Current | SecretStatus::Overlapping)) {
            return Err(unauthenticated(Some(Denial::Superseded)));
        }
        self.caller_of(key, org, origin).await
    }

    async fn root_caller(&self, digest: Digest, org: Option<&str>, origin: Origin) -> Result<Caller, Error> {
        if origin.wire != REST || !self.is_root(&digest).await? {
            return Err(unauthenticated(None));
        }
        let named = self.org_named(org.unwrap_or(crate::bootstrap::DEFAULT)).await?;
        let org = named.ok_or(Error::NotFound("organization"))?.id;
        Ok(Caller { who: Who::Root, org, origin, expect: vec![Expect::Root(digest)] })
    }

    /// Finds who calls from a signed request: `check` is given each secret of the key that `access_id` names.
    pub async fn authenticate_signed(
        &self,
        access_id: &str,
        check: &(dyn Fn(&[u8]) -> bool + Sync),
        origin: Origin,
    ) -> Result<Caller, Error> {
        let key = self.find_key(Lookup::KeyByAccessId(access_id.to_owned())).await?;
        let key = key.filter(|key| matches!(key.spec.rights, Rights::Management { .. }));
        let Some(key) = key else { return Err(Error::NotFound("key")) };
        let now = self.clock.now();
        let good = |status| matches!(status, Some(SecretStatus::Current | SecretStatus::Overlapping));
        let live = key.secrets.iter().rev().filter(|secret| good(key.secret_status_at(secret.id, now)));
        let signed = live
            .filter_map(|secret| self.vault.reveal(&key, secret))
            .any(|secret| check(secret.expose().as_bytes()));
        if !signed {
            return Err(unauthenticated(Some(Denial::SignatureInvalid)));
        }
        self.caller_of(key, None, origin).await
    }

    /// Reads the caller anew, after its rights have changed under a write.
    pub(crate) async fn refreshed(&self, caller: &Caller) -> Result<Caller, Error> {
        let Some(id) = caller.key_id() else {
            return Ok(caller.clone());
        };
        let key = self.key_by_id(id).await?.ok_or_else(|| unauthenticated(Some(Denial::Revoked)))?;
        let org = caller.org.to_string();
        self.caller_of(key, Some(&org), caller.origin.clone()).await
    }

    async fn caller_of(&self, key: Key, org: Option<&str>, origin: Origin) -> Result<Caller, Error> {
        let Rights::Management { admin, grantable } = &key.spec.rights else {
            return Err(unauthenticated(None));
        };
        let (admin, grantable) = (admin.clone(), Access::from_grants(grantable));
        let mut expect = vec![Expect::Version(NounRef::Key(key.id), key.meta.version)];
        if let Some(owner) = key.spec.owner {
            let Some(Noun::Principal(owner)) = self.noun_by_ref(NounRef::Principal(owner)).await? else {
                return Err(unauthenticated(None));
            };
            expect.push(Expect::Version(NounRef::Principal(owner.id), owner.meta.version));
            if !owner.spec.enabled {
                return Err(unauthenticated(Some(Denial::OwnerDisabled)));
            }
        }
        if let Some(denial) = self.key_denial(&key, origin.address) {
            return Err(unauthenticated(Some(denial)));
        }
        let org = match org {
            None => key.org,
            Some(name) => {
                let named = self.org_named(name).await?.filter(|org| admin.orgs.includes(org.id));
                named.ok_or(Error::NotFound("organization"))?.id
            }
        };
        Ok(Caller { who: Who::Key { key: Arc::new(key), admin, grantable }, org, origin, expect })
    }

    /// Why a management key may not call now, from here.
    fn key_denial(&self, key: &Key, address: Option<IpAddr>) -> Option<Denial> {
        let by_state = match key.state_at(self.clock.now()) {
            KeyState::Active => None,
            KeyState::Revoked => Some(Denial::Revoked),
            KeyState::Disabled => Some(Denial::Disabled),
            KeyState::Expired => Some(Denial::Expired),
            KeyState::Scheduled => Some(Denial::NotYetValid),
        };
        let listed =
            |ranges: &Vec<_>| address.is_some_and(|address| AddressSet::new(ranges).contains(address));
        let here = key.spec.ip_allowlist.as_ref().is_none_or(listed);
        by_state.or((!here).then_some(Denial::IpNotAllowed))
    }

    async fn is_root(&self, digest: &Digest) -> Result<bool, Error> {
        use subtle::ConstantTimeEq as _;
        let installation = self.store.installation().await?;
        Ok(installation.root_digest.is_some_and(|root| bool::from(root.0.ct_eq(&digest.0))))
    }
}

pub(crate) const fn unauthenticated(denial: Option<Denial>) -> Error {
    Error::Unauthenticated { denial }
}

impl Caller {
    /// Whether an organization exists for it.
    pub(crate) fn reaches_org(&self, org: OrgId) -> bool {
        match &self.who {
            Who::Root => true,
            Who::Key { admin, .. } => admin.orgs.includes(org),
        }
    }
}

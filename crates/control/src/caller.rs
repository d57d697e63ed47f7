//! Who calls, and what they may do: tested in the first line of every use case.

use std::net::IpAddr;
use std::sync::Arc;

use keywright_model::access::Access;
use keywright_model::address::AddressSet;
use keywright_model::admin::{AdminAction, AdminRights, Reach};
use keywright_model::change::NounRef;
use keywright_model::denial::Denial;
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, SecretId};
use keywright_model::key::{Key, KeySecret, KeyState, Rights, SecretStatus};
use keywright_model::noun::Actor;
use keywright_model::secret::{SECRET_BYTES_MAX, Secret};
use keywright_store::{Expect, Lookup, Noun};

use crate::bootstrap::ROOT_PREFIX;
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
    /// `secret` is the one that was presented: it is tested again with the key.
    Key {
        key: Arc<Key>,
        secret: SecretId,
        admin: AdminRights,
        grantable: Access,
    },
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
        self.reaches_in(self.org, keyspace)
    }

    /// Whether a keyspace of some organization exists for it.
    pub(crate) fn reaches_in(&self, org: OrgId, keyspace: KeyspaceId) -> bool {
        match &self.who {
            Who::Root => true,
            Who::Key { admin, .. } => admin.orgs.includes(org) && admin.keyspaces.includes(keyspace),
        }
    }

    /// Whether it reaches every organization, those made later included.
    pub(crate) fn reaches_all_orgs(&self) -> bool {
        match &self.who {
            Who::Root => true,
            Who::Key { admin, .. } => admin.orgs == Reach::All,
        }
    }

    /// Whether it reaches every keyspace of its organization, those made later included.
    pub fn reaches_all(&self) -> bool {
        *self.reached() == Reach::All
    }

    /// The keyspaces that it reaches, in whichever organization it acts.
    pub(crate) fn reached(&self) -> &Reach<KeyspaceId> {
        match &self.who {
            Who::Root => &Reach::All,
            Who::Key { admin, .. } => &admin.keyspaces,
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
        // Its form is not looked at: an operator may have chosen a root key that only looks like one of ours.
        if bearer.len() > SECRET_BYTES_MAX {
            return Err(unauthenticated(None));
        }
        let digest = self.vault.digest(&Secret::new(bearer));
        // Which is asked for first is only a matter of time: an embedded store has the root key in memory, another is asked.
        let root_first = self.barrier.members().is_alone() || bearer.starts_with(ROOT_PREFIX);
        if root_first && self.is_root_on(&origin, &digest).await? {
            return self.root_caller(digest, org, origin).await;
        }
        let Some(key) = self.find_key(Lookup::KeyByDigest(digest)).await? else {
            return if !root_first && self.is_root_on(&origin, &digest).await? {
                self.root_caller(digest, org, origin).await
            } else {
                Err(unauthenticated(None))
            };
        };
        let secret = self.live_secret(&key, &digest)?;
        self.caller_of(key, secret, org, origin).await
    }

    async fn root_caller(&self, digest: Digest, org: Option<&str>, origin: Origin) -> Result<Caller, Error> {
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
        let signed = |secret: &KeySecret| {
            let kept = self.vault.reveal(&key, secret);
            kept.is_some_and(|kept| check(kept.expose().as_bytes()))
        };
        let mut live = key.secrets.iter().rev().filter(|secret| self.is_live(&key, secret.id));
        let Some(secret) = live.find(|secret| signed(secret)).map(|secret| secret.id) else {
            return Err(unauthenticated(Some(Denial::SignatureInvalid)));
        };
        self.caller_of(key, secret, None, origin).await
    }

    /// The secret of a key that has this digest, while it counts.
    pub(crate) fn live_secret(&self, key: &Key, digest: &Digest) -> Result<SecretId, Error> {
        let has = |secret: &&KeySecret| secret.material.as_ref().is_some_and(|m| m.digest == Some(*digest));
        let used = key.secrets.iter().find(has).map(|secret| secret.id);
        let live = used.filter(|secret| self.is_live(key, *secret));
        live.ok_or_else(|| unauthenticated(Some(Denial::Superseded)))
    }

    fn is_live(&self, key: &Key, secret: SecretId) -> bool {
        let status = key.secret_status_at(secret, self.clock.now());
        matches!(status, Some(SecretStatus::Current | SecretStatus::Overlapping))
    }

    /// Reads the caller anew, after its rights have changed under a write.
    pub(crate) async fn refreshed(&self, caller: &Caller) -> Result<Caller, Error> {
        let Who::Key { key, secret, .. } = &caller.who else {
            return Ok(caller.clone());
        };
        let key = self.key_by_id(key.id).await?.ok_or_else(|| unauthenticated(Some(Denial::Revoked)))?;
        if !self.is_live(&key, *secret) {
            return Err(unauthenticated(Some(Denial::Superseded)));
        }
        let org = caller.org.to_string();
        self.caller_of(key, *secret, Some(&org), caller.origin.clone()).await
    }

    async fn caller_of(
        &self,
        key: Arc<Key>,
        secret: SecretId,
        org: Option<&str>,
        origin: Origin,
    ) -> Result<Caller, Error> {
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
        Ok(Caller { who: Who::Key { key, secret, admin, grantable }, org, origin, expect })
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

    /// Whether a wire takes the root key, and this is it.
    async fn is_root_on(&self, origin: &Origin, digest: &Digest) -> Result<bool, Error> {
        use subtle::ConstantTimeEq as _;
        if origin.wire != REST {
            return Ok(false);
        }
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

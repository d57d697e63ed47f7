//! What keys may do, judged from the nouns as they are stored by the naive evaluator, over a small universe.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use keywright_model::access::AccessSource;
use keywright_model::address::AddressSet;
use keywright_model::admin::{AdminAction, AdminRights};
use keywright_model::change::Change;
use keywright_model::denial::Denial;
use keywright_model::grant::Grant;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, Rights};
use keywright_model::noun::{Principal, Role};
use keywright_model::time::Timestamp;
use keywright_store::Store as _;
use keywright_testkit::{TestNode, naive};

pub(crate) const ACTIONS: &[&str] = &["a", "a.q", "b", "c"];
pub(crate) const RESOURCES: &[&str] = &["", "x", "y", "x/1", "z/1"];

/// Every action on every resource, one bit each.
pub(crate) type Points = u32;

pub(crate) fn universe() -> impl Iterator<Item = (&'static str, &'static str)> {
    ACTIONS.iter().flat_map(|action| RESOURCES.iter().map(move |resource| (*action, *resource)))
}

fn points(allows: impl Fn(&str, &str) -> bool) -> Points {
    universe()
        .enumerate()
        .filter(|(_, (action, resource))| allows(action, resource))
        .map(|(bit, _)| 1 << bit)
        .sum()
}

/// What a plain list of grants gives.
pub(crate) fn grant_points(grants: &[Grant]) -> Points {
    let source = AccessSource { own: Some(grants), ..AccessSource::default() };
    points(|action, resource| naive::allows(&source, action, resource))
}

/// Everything that is stored, at one revision.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    pub(crate) keys: BTreeMap<KeyId, Arc<Key>>,
    pub(crate) roles: BTreeMap<RoleId, Arc<Role>>,
    pub(crate) principals: BTreeMap<PrincipalId, Arc<Principal>>,
    pub(crate) orgs: Vec<OrgId>,
    pub(crate) keyspaces: Vec<(OrgId, KeyspaceId)>,
}

impl Stored {
    pub(crate) async fn read(node: &TestNode) -> Self {
        let mut stored = Self::default();
        for change in node.store.snapshot().await.unwrap().changes {
            match change {
                Change::KeyChanged(key) => drop(stored.keys.insert(key.id, key)),
                Change::RoleChanged(role) => drop(stored.roles.insert(role.id, role)),
                Change::PrincipalChanged(owner) => drop(stored.principals.insert(owner.id, owner)),
                Change::OrgChanged(org) => stored.orgs.push(org.id),
                Change::KeyspaceChanged(keyspace) => stored.keyspaces.push((keyspace.org, keyspace.id)),
                _ => {}
            }
        }
        stored
    }

    fn owner(&self, key: &Key) -> Option<&Principal> {
        key.spec.owner.map(|id| &*self.principals[&id])
    }

    fn grants(&self, role: RoleId) -> &[Grant] {
        &self.roles[&role].spec.grants
    }

    pub(crate) fn allows(&self, key: &Key, action: &str, resource: &str) -> bool {
        let Rights::Api { grants } = &key.spec.rights else { return false };
        let owner_roles =
            self.owner(key).map(|owner| owner.spec.roles.iter().map(|id| self.grants(*id)).collect());
        let source = AccessSource {
            own: grants.as_deref(),
            roles: key.spec.roles.iter().map(|id| self.grants(*id)).collect(),
            scope: key.spec.scope.as_deref(),
            owner_roles,
        };
        naive::allows(&source, action, resource)
    }

    pub(crate) fn access(&self, key: &Key) -> Points {
        points(|action, resource| self.allows(key, action, resource))
    }

    /// Why a key may not be used, whatever it wants to do; `None` for a secret skips what is about secrets.
    pub(crate) fn standing(
        &self,
        key: &Key,
        secret: Option<SecretId>,
        now: Timestamp,
        ip: IpAddr,
    ) -> Option<Denial> {
        let secret = secret.and_then(|id| key.secrets.iter().find(|secret| secret.id == id));
        let reasons = [
            (key.revocation.is_some(), Denial::Revoked),
            (secret.is_some_and(|secret| secret.expires_at.is_some_and(|at| at <= now)), Denial::Superseded),
            (!key.spec.enabled, Denial::Disabled),
            (self.owner(key).is_some_and(|owner| !owner.spec.enabled), Denial::OwnerDisabled),
            (key.spec.expires_at.is_some_and(|at| at <= now), Denial::Expired),
            (key.spec.not_before.is_some_and(|at| now < at), Denial::NotYetValid),
            (
                key.spec.ip_allowlist.as_ref().is_some_and(|list| !AddressSet::new(list).contains(ip)),
                Denial::IpNotAllowed,
            ),
        ];
        reasons.into_iter().find(|(applies, _)| *applies).map(|(_, denial)| denial)
    }

    /// Whether a key can be used at a moment from an address.
    pub(crate) fn is_usable(&self, key: &Key, (now, ip): (Timestamp, IpAddr)) -> bool {
        self.standing(key, None, now, ip).is_none()
    }

    /// What a management key may do to Keywright: every action in every keyspace of every organization, one flag each.
    pub(crate) fn admin(&self, admin: &AdminRights) -> Vec<bool> {
        let places = self.orgs.iter().map(|org| (*org, None));
        let keyspaces = self.keyspaces.iter().map(|(org, keyspace)| (*org, Some(*keyspace)));
        let places: Vec<_> = places.chain(keyspaces).collect();
        let each = places.iter().flat_map(|(org, keyspace)| {
            AdminAction::ALL.iter().map(|action| admin.allow(*action, *org, *keyspace))
        });
        each.collect()
    }
}

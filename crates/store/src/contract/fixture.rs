//! Nouns, commits and random bytes for the cases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keywright_model::change::{Change, NounRef};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use keywright_model::key::{Key, KeySecret, KeySpec, Rights, SecretMaterial};
use keywright_model::noun::{
    Actor, KeyPolicy, Keyspace, KeyspaceSpec, Meta, Org, OrgSpec, Plan, PlanSpec, Principal, PrincipalKind,
    PrincipalSpec, Role, RoleSpec,
};
use keywright_model::revision::Incarnation;
use keywright_model::seal::Sealed;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use serde_json::Map;

use crate::{AuditContext, Commit, CommitError, Committed, Installation, Noun, Store, WrappedKey};

/// The digest of the installation's root key.
pub const ROOT_DIGEST: Digest = Digest([9; 32]);

/// A moment, in milliseconds after 2027-01-01.
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_798_761_600_000 + ms)
}

/// What a backend is made with.
pub fn installation() -> Installation {
    Installation {
        incarnation: Incarnation(u64::MAX - 5),
        master_fingerprint: "00112233".to_owned(),
        root_digest: Some(ROOT_DIGEST),
        master_exported_at: None,
    }
}

/// A wrapped key.
pub fn wrapped(purpose: &str, version: u32) -> WrappedKey {
    WrappedKey {
        purpose: purpose.to_owned(),
        version,
        wrapped: Sealed { key_version: 1, bytes: vec![5; 40] },
    }
}

/// Bytes that never repeat, the same in every run.
#[derive(Debug, Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, next) in bytes.iter_mut().rev().zip(next.into_iter().rev().chain(std::iter::repeat(0))) {
            *byte = next;
        }
    }
}

/// The organization with this number.
pub fn org(n: u128) -> Arc<Org> {
    let spec = OrgSpec { name: format!("org-{n}") };
    Arc::new(Org { id: OrgId::from_bits(n), spec, meta: Meta::new(at(0), Actor::System) })
}

/// A keyspace of an organization.
pub fn keyspace(org: u128, n: u128) -> Arc<Keyspace> {
    let spec = KeyspaceSpec {
        name: format!("keyspace-{n}"),
        secret_prefix: "kw".to_owned(),
        recoverable_secrets: false,
        allow_custom_secrets: false,
        require_if_match: false,
        max_staleness_seconds: None,
        key_policy: KeyPolicy::default(),
    };
    let (id, org) = (KeyspaceId::from_bits(n), OrgId::from_bits(org));
    Arc::new(Keyspace { id, org, spec, meta: Meta::new(at(0), Actor::System) })
}

/// A role of an organization.
pub fn role(org: u128, n: u128) -> Arc<Role> {
    let grants =
        serde_json::from_str(r#"[{"effect":"allow","actions":["get"],"resources":["devices/**"]}]"#).unwrap();
    let spec = RoleSpec { name: format!("role {n}"), grants };
    let (id, org) = (RoleId::from_bits(n), OrgId::from_bits(org));
    Arc::new(Role { id, number: 0, org, spec, meta: Meta::new(at(0), Actor::Root) })
}

/// A plan of an organization.
pub fn plan(org: u128, n: u128) -> Arc<Plan> {
    let spec = PlanSpec { name: format!("plan {n}"), limits: vec![], quota: None };
    let (id, org) = (PlanId::from_bits(n), OrgId::from_bits(org));
    Arc::new(Plan { id, org, spec, meta: Meta::new(at(0), Actor::Root) })
}

/// A principal of an organization.
pub fn principal(org: u128, n: u128) -> Arc<Principal> {
    let spec = PrincipalSpec {
        external_id: Some(format!("user_{n}")),
        kind: PrincipalKind::User,
        name: None,
        roles: vec![],
        enabled: true,
        limits: vec![],
        quota: None,
        metadata: Map::new(),
    };
    let (id, org) = (PrincipalId::from_bits(n), OrgId::from_bits(org));
    Arc::new(Principal { id, org, spec, meta: Meta::new(at(0), Actor::Root) })
}

/// A secret with material, found by a digest of its number.
pub fn secret(n: u128) -> KeySecret {
    let mut digest = [0xD1; 32];
    digest[16..].copy_from_slice(&n.to_be_bytes());
    let material = SecretMaterial {
        digest: Some(Digest(digest)),
        pepper_version: 1,
        hash_sealed: Sealed { key_version: 1, bytes: vec![3; 72] },
        secret_sealed: None,
        argon2: None,
    };
    KeySecret {
        id: SecretId::from_bits(n),
        hint: Some(format!("kw_…{:04}", n % 10_000)),
        recoverable: false,
        custom: false,
        created_at: at(0),
        expires_at: None,
        material: Some(Arc::new(material)),
    }
}

/// A key with one secret that has the key's number.
pub fn key(org: u128, keyspace: u128, n: u128) -> Key {
    let spec = KeySpec {
        name: format!("Key {n}"),
        description: None,
        owner: None,
        roles: vec![],
        scope: None,
        enabled: true,
        not_before: None,
        expires_at: None,
        ip_allowlist: None,
        rights: Rights::Api { grants: Some(vec![]) },
        limits: vec![],
        quota: None,
        plans: vec![],
        labels: BTreeMap::new(),
        metadata: Map::new(),
    };
    Key {
        id: KeyId::from_bits(n),
        number: 0,
        org: OrgId::from_bits(org),
        keyspace: KeyspaceId::from_bits(keyspace),
        access_id: None,
        external_id: None,
        spec,
        secrets: vec![secret(n)],
        revocation: None,
        deleted_at: None,
        meta: Meta::new(at(0), Actor::Root),
    }
}

/// The key after one more change.
pub fn changed(mut key: Key, change: impl FnOnce(&mut Key)) -> Key {
    change(&mut key);
    key.meta = key.meta.changed(at(1), Actor::Root);
    key
}

/// A change of a key.
pub fn of_key(key: Key) -> Change {
    Change::KeyChanged(Arc::new(key))
}

/// A commit by root.
pub fn commit(changes: Vec<Change>) -> Commit {
    let subject = changes.first().map_or(NounRef::Org(OrgId::from_bits(1)), Change::noun);
    let org = changes.first().map_or(OrgId::from_bits(1), Change::org);
    let audit = AuditContext {
        at: at(0),
        actor: Actor::Root,
        org,
        wire: "rest",
        verb: "key.update",
        subject,
        address: Some([10, 1, 2, 3].into()),
        request_id: Some("req_1".to_owned()),
    };
    Commit { expect: vec![], changes, audit, idempotency: None, wrapped_keys: vec![] }
}

/// Commits changes by root.
pub async fn write(store: &Arc<dyn Store>, changes: Vec<Change>) -> Result<Committed, CommitError> {
    store.commit(commit(changes)).await
}

/// Makes organization 1 with keyspace 1, role 1, plan 1 and principal 1 as revision 1.
pub async fn world(store: &Arc<dyn Store>) {
    let changes = vec![
        Change::OrgChanged(org(1)),
        Change::KeyspaceChanged(keyspace(1, 1)),
        Change::RoleChanged(role(1, 1)),
        Change::PlanChanged(plan(1, 1)),
        Change::PrincipalChanged(principal(1, 1)),
    ];
    write(store, changes).await.unwrap();
}

/// Writes a few of everything: entries 1 to 5 are the world, 6 and 7 keys 7 and 8, 8 a reveal, 9 key 7 again; then comes
/// organization 2.
pub async fn history(store: &Arc<dyn Store>) {
    world(store).await;
    let mut labelled = key(1, 1, 7);
    labelled.spec.labels.insert("team".to_owned(), "fleet".to_owned());
    labelled.spec.roles = vec![role(1, 1).id];
    labelled.spec.owner = Some(principal(1, 1).id);
    write(store, vec![of_key(labelled)]).await.unwrap();
    write(store, vec![of_key(key(1, 1, 8))]).await.unwrap();
    let mut reveal = commit(vec![]);
    reveal.audit.subject = NounRef::Key(KeyId::from_bits(7));
    store.commit(reveal).await.unwrap();
    let renamed =
        changed(stored_key(store, 7).await.unwrap(), |key| key.spec.description = Some("text".to_owned()));
    write(store, vec![of_key(renamed)]).await.unwrap();
    write(store, vec![Change::OrgChanged(org(2))]).await.unwrap();
}

/// Reads a key back.
pub async fn stored_key(store: &Arc<dyn Store>, n: u128) -> Option<Key> {
    let mut found = store.nouns(&[NounRef::Key(KeyId::from_bits(n))]).await.unwrap();
    match found.pop().flatten() {
        Some(Noun::Key(key)) => Some(Arc::unwrap_or_clone(key)),
        _ => None,
    }
}

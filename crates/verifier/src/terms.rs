//! What a key says, ready to be tested, and shared by all keys that say the same.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Weak};

use keywright_model::access::{CompiledGrants, CompiledScope};
use keywright_model::address::AddressSet;
use keywright_model::id::{KeyspaceId, OrgId};
use keywright_model::key::{Key, KeySecret, Rights};
use keywright_model::limit::{Limit, Quota};
use keywright_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::limits::CompiledLimit;
use crate::quota::CompiledQuota;

/// Everything about a secret that others may have in common with it.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) org: OrgId,
    pub(crate) keyspace: KeyspaceId,
    pub(crate) org_place: u32,
    pub(crate) keyspace_place: u32,
    /// Revoked, or deleted, which revokes.
    pub(crate) ended: bool,
    pub(crate) enabled: bool,
    /// Whether the secret is its key's newest.
    pub(crate) is_newest: bool,
    /// `i64::MIN` is always.
    pub(crate) not_before: i64,
    /// When the secret counts as rotated out; `i64::MAX` is never.
    pub(crate) secret_ends: i64,
    pub(crate) rights: CompiledRights,
    /// Places in the directory.
    pub(crate) roles: Box<[u32]>,
    pub(crate) scope: Option<Arc<CompiledScope>>,
    pub(crate) addresses: Option<Arc<AddressSet>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) notes: Arc<Notes>,
}

/// What a key may do.
#[derive(Debug)]
pub(crate) enum CompiledRights {
    /// Its own grants; `None` is what the owner's roles give.
    Api(Option<Arc<CompiledGrants>>),
    /// A management key, whole: they are few.
    Management(Arc<Key>),
}

/// A key's own limits and quota.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) limits: Box<[CompiledLimit]>,
    pub(crate) quota: Option<CompiledQuota>,
}

/// What a key carries for its readers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: Map<String, Value>,
}

/// Where in the directory the nouns are that a key refers to.
pub(crate) struct Places {
    pub(crate) org: u32,
    pub(crate) keyspace: u32,
    pub(crate) roles: Box<[u32]>,
    pub(crate) plans: Box<[u32]>,
}

/// Keeps one of each. Values are known by 128 bits of keyed hash, so that what they were made from need not be kept.
struct Interner<T> {
    known: HashMap<u128, Weak<T>>,
    prune_at: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), prune_at: 1_024 }
    }
}

impl<T> Interner<T> {
    fn intern(&mut self, hash: u128, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(known) = self.known.get(&hash).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.prune_at {
            self.known.retain(|_, value| value.strong_count() > 0);
            self.prune_at = (self.known.len() * 2).max(1_024);
        }
        let value = Arc::new(make());
        self.known.insert(hash, Arc::downgrade(&value));
        value
    }
}

/// One of each policy that is in use.
#[derive(Default)]
pub(crate) struct Policies {
    hashers: [RandomState; 2],
    grants: Interner<CompiledGrants>,
    scopes: Interner<CompiledScope>,
    addresses: Interner<AddressSet>,
    limits: Interner<Limits>,
    notes: Interner<Notes>,
    terms: Interner<Terms>,
}

impl Policies {
    fn hash(&self, value: impl Hash) -> u128 {
        let [high, low] = &self.hashers;
        u128::from(high.hash_one(&value)) << 64 | u128::from(low.hash_one(&value))
    }

    /// The terms of one secret of a key.
    pub(crate) fn terms(&mut self, key: &Arc<Key>, secret: &KeySecret, places: &Places) -> Arc<Terms> {
        let spec = &key.spec;
        let ended = key.revocation.is_some() || key.deleted_at.is_some();
        let is_newest = key.current_secret().is_some_and(|newest| newest.id == secret.id);
        let not_before = spec.not_before.map_or(i64::MIN, Timestamp::unix_ms);
        let secret_ends = secret_ends(key, secret);
        let (own, management) = match &spec.rights {
            Rights::Api { grants } => (grants.as_deref().map(|grants| self.grants(grants)), None),
            Rights::Management { .. } => (None, Some((key.id, key.meta.version, key.revocation.is_some()))),
        };
        let scope = spec.scope.as_deref().map(|patterns| {
            let hash = self.hash(patterns);
            self.scopes.intern(hash, || CompiledScope::new(patterns))
        });
        let addresses = spec.ip_allowlist.as_deref().map(|ranges| {
            let hash = self.hash(ranges);
            self.addresses.intern(hash, || AddressSet::new(ranges))
        });
        let limits = self.limits(&spec.limits, spec.quota.as_ref());
        let notes = self.notes(&spec.labels, &spec.metadata);
        // Interned parts are known by where they are: terms in use keep theirs, so no address is used twice.
        let parts = (
            own.as_ref().map(|own| Arc::as_ptr(own) as usize),
            scope.as_ref().map(|scope| Arc::as_ptr(scope) as usize),
            addresses.as_ref().map(|addresses| Arc::as_ptr(addresses) as usize),
            Arc::as_ptr(&limits) as usize,
            Arc::as_ptr(&notes) as usize,
        );
        let nouns = (key.org, key.keyspace, &places.roles, management);
        let hash = self.hash((nouns, (ended, spec.enabled, is_newest, not_before, secret_ends), parts));
        self.terms.intern(hash, || Terms {
            org: key.org,
            keyspace: key.keyspace,
            org_place: places.org,
            keyspace_place: places.keyspace,
            ended,
            enabled: spec.enabled,
            is_newest,
            not_before,
            secret_ends,
            rights: if management.is_some() {
                CompiledRights::Management(Arc::clone(key))
            } else {
                CompiledRights::Api(own)
            },
            roles: places.roles.clone(),
            scope,
            addresses,
            limits,
            notes,
        })
    }

    /// A compiled list of grants.
    pub(crate) fn grants(&mut self, grants: &[keywright_model::grant::Grant]) -> Arc<CompiledGrants> {
        let hash = self.hash(grants);
        self.grants.intern(hash, || CompiledGrants::new(grants))
    }

    fn limits(&mut self, limits: &[Limit], quota: Option<&Quota>) -> Arc<Limits> {
        let hash = self.hash((limits, quota));
        self.limits.intern(hash, || Limits {
            limits: limits.iter().map(CompiledLimit::new).collect(),
            quota: quota.map(CompiledQuota::new),
        })
    }

    fn notes(&mut self, labels: &BTreeMap<String, String>, metadata: &Map<String, Value>) -> Arc<Notes> {
        // As text, because an object's own hash does not tell orders apart, and readers are shown the order.
        let text = if metadata.is_empty() {
            String::new()
        } else {
            serde_json::to_string(metadata).unwrap_or_default()
        };
        let hash = self.hash((labels, text));
        self.notes.intern(hash, || Notes { labels: labels.clone(), metadata: metadata.clone() })
    }
}

/// When a secret ends. One that had ended when its key was last changed has ended on every clock; all of those of keys
/// that say the same share their terms.
fn secret_ends(key: &Key, secret: &KeySecret) -> i64 {
    if key.has_ended_for_good(secret) {
        return i64::MIN;
    }
    secret.expires_at.map_or(i64::MAX, Timestamp::unix_ms)
}

//! What a group of commits knows of the rows that it touches: as they are under its locks, and as its own commits change
//! them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, OrgId, PrincipalId, RoleId};
use keywright_model::key::Key;
use keywright_model::revision::Version;

use super::error::Failure;
use super::link::{Answer, Ask, Link};
use super::rows::{key_and_secret_columns, keys_from};
use super::value::{
    Id, column, count_column, id_column, link_column, noun_bits, number_column, optional_link_column, owned,
};
use crate::writing::references;
use crate::{Commit, Expect, StoreError};

/// How strongly a row is locked, weakest first. Each keeps out all that those before it keep out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    /// It must not go.
    Refer,
    /// It must not change.
    Rely,
    /// It will change.
    Change,
    /// It will change in what others refer to, or go.
    Replace,
}

/// A number series of an organization.
pub(super) type Series = (OrgId, &'static str);

/// Rows as the open transaction sees them.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    versions: HashMap<NounRef, Option<Version>>,
    keys: HashMap<KeyId, Option<Arc<Key>>>,
    roles: HashMap<RoleId, u32>,
    counters: HashMap<Series, u64>,
    calls: HashMap<[u8; 32], i64>,
    in_use: HashSet<NounRef>,
    /// How many keys that are not revoked belong to a principal; `None` where a commit of the group brings it one.
    owned: HashMap<PrincipalId, Option<u64>>,
    root: Option<Digest>,
}

/// A state with what one commit changes in it, kept apart until the commit is sure to be part of the group.
pub(super) struct Draft<'a> {
    base: &'a State,
    own: State,
}

impl State {
    /// A draft upon it.
    pub(super) fn draft(&self) -> Draft<'_> {
        Draft { base: self, own: Self::default() }
    }

    /// Takes over what a draft has changed.
    pub(super) fn absorb(&mut self, own: Self) {
        let Self { versions, keys, roles, counters, calls, in_use: _, owned: _, root: _ } = own;
        self.versions.extend(versions);
        self.keys.extend(keys);
        self.roles.extend(roles);
        self.counters.extend(counters);
        self.calls.extend(calls);
    }

    /// How far each series has come.
    pub(super) fn counters(&self) -> &HashMap<Series, u64> {
        &self.counters
    }
}

impl Draft<'_> {
    /// What the draft has changed.
    pub(super) fn finish(self) -> State {
        self.own
    }

    pub(super) fn version(&self, noun: NounRef) -> Option<Version> {
        self.own.versions.get(&noun).or_else(|| self.base.versions.get(&noun)).copied().flatten()
    }

    pub(super) fn exists(&self, noun: NounRef) -> bool {
        self.version(noun).is_some()
    }

    pub(super) fn set_version(&mut self, noun: NounRef, version: Option<Version>) {
        self.own.versions.insert(noun, version);
    }

    pub(super) fn key(&self, key: KeyId) -> Option<Arc<Key>> {
        self.own.keys.get(&key).or_else(|| self.base.keys.get(&key)).cloned().flatten()
    }

    pub(super) fn set_key(&mut self, id: KeyId, key: Option<Arc<Key>>) {
        self.own.keys.insert(id, key);
    }

    pub(super) fn role_number(&self, role: RoleId) -> Option<u32> {
        self.own.roles.get(&role).or_else(|| self.base.roles.get(&role)).copied()
    }

    pub(super) fn set_role_number(&mut self, role: RoleId, number: u32) {
        self.own.roles.insert(role, number);
    }

    /// The last number of a series, once its row is locked.
    pub(super) fn counter(&self, series: Series) -> Option<u64> {
        self.own.counters.get(&series).or_else(|| self.base.counters.get(&series)).copied()
    }

    pub(super) fn set_counter(&mut self, series: Series, last: u64) {
        self.own.counters.insert(series, last);
    }

    /// Until when a call is remembered.
    pub(super) fn call(&self, scope: &[u8; 32]) -> Option<i64> {
        self.own.calls.get(scope).or_else(|| self.base.calls.get(scope)).copied()
    }

    pub(super) fn set_call(&mut self, scope: [u8; 32], until: i64) {
        self.own.calls.insert(scope, until);
    }

    pub(super) fn in_use(&self, noun: NounRef) -> bool {
        self.base.in_use.contains(&noun)
    }

    /// How many keys that are not revoked belong to a principal; `None` while that may change within the group.
    pub(super) fn owned(&self, owner: PrincipalId) -> Option<u64> {
        self.base.owned.get(&owner).copied().flatten()
    }

    pub(super) const fn root(&self) -> Option<Digest> {
        self.base.root
    }
}

/// Which rows a group locks, in the one order in which every node does: two nodes never wait for each other.
fn locks(commits: &[&Commit]) -> BTreeMap<NounRef, Lock> {
    let mut locks = BTreeMap::new();
    let mut want = |noun: NounRef, lock: Lock| {
        let held = locks.entry(noun).or_insert(lock);
        *held = lock.max(*held);
    };
    for commit in commits {
        for expect in &commit.expect {
            match expect {
                Expect::Version(noun, _) | Expect::Absent(noun) => want(*noun, Lock::Rely),
                Expect::Unused(noun) => want(*noun, Lock::Replace),
                // Whoever brings a key to a principal refers to it, and waits behind this.
                Expect::Owns(owner, _) => want(NounRef::Principal(*owner), Lock::Replace),
                Expect::Root(_) => {}
            }
        }
        for change in &commit.changes {
            let noun = change.noun();
            let kept = matches!(change, Change::KeyChanged(_));
            want(noun, if kept { Lock::Change } else { Lock::Replace });
            for reference in references_of(change) {
                want(reference, Lock::Refer);
            }
        }
    }
    locks
}

/// What the row of a change refers to.
fn references_of(change: &Change) -> Vec<NounRef> {
    match change {
        Change::KeyChanged(key) => references(key),
        Change::KeyspaceChanged(keyspace) => vec![NounRef::Org(keyspace.org)],
        Change::PlanChanged(plan) => vec![NounRef::Org(plan.org)],
        Change::RoleChanged(role) => vec![NounRef::Org(role.org)],
        Change::PrincipalChanged(principal) => {
            let roles = principal.spec.roles.iter().copied().map(NounRef::Role);
            std::iter::once(NounRef::Org(principal.org)).chain(roles).collect()
        }
        _ => Vec::new(),
    }
}

macro_rules! locking {
    ($table:literal, $columns:literal, $lock:expr) => {
        match $lock {
            Lock::Refer => concat!(
                "SELECT id, version",
                $columns,
                " FROM ",
                $table,
                " WHERE id = ANY($1) ORDER BY id FOR KEY SHARE"
            ),
            Lock::Rely => concat!(
                "SELECT id, version",
                $columns,
                " FROM ",
                $table,
                " WHERE id = ANY($1) ORDER BY id FOR SHARE"
            ),
            Lock::Change => concat!(
                "SELECT id, version",
                $columns,
                " FROM ",
                $table,
                " WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"
            ),
            Lock::Replace => concat!(
                "SELECT id, version",
                $columns,
                " FROM ",
                $table,
                " WHERE id = ANY($1) ORDER BY id FOR UPDATE"
            ),
        }
    };
}

const fn locking_sql(noun: NounRef, lock: Lock) -> &'static str {
    match noun {
        NounRef::Org(_) => locking!("orgs", "", lock),
        NounRef::Keyspace(_) => locking!("keyspaces", "", lock),
        NounRef::Principal(_) => locking!("principals", "", lock),
        NounRef::Role(_) => locking!("roles", ", number", lock),
        NounRef::Plan(_) => locking!("plans", "", lock),
        NounRef::Key(_) => locking!("keys", "", lock),
    }
}

/// What an answer of [`load`] is about.
enum Asked {
    Nothing,
    Root,
    Locked(Vec<NounRef>),
    Calls,
    InUse(NounRef),
    /// Whether another commit of the group brings the principal a key.
    Owned(PrincipalId, bool),
    Keys(Vec<KeyId>),
}

/// Locks the rows of a group and reads them. With `begin` it also begins the transaction.
pub(super) async fn load(link: &Link, commits: &[&Commit], begin: bool) -> Result<State, Failure> {
    let mut asks = Vec::new();
    let mut asked = Vec::new();
    if begin {
        asks.push(Ask::run("BEGIN"));
        asked.push(Asked::Nothing);
    }
    let expects = || commits.iter().flat_map(|commit| &commit.expect);
    if expects().any(|expect| matches!(expect, Expect::Root(_))) {
        asks.push(Ask::rows("SELECT root_digest FROM installation FOR SHARE", vec![]));
        asked.push(Asked::Root);
    }
    ask_locks(&mut asks, &mut asked, commits);
    let scopes: Vec<Vec<u8>> =
        commits.iter().filter_map(|commit| Some(commit.idempotency.as_ref()?.scope.to_vec())).collect();
    if !scopes.is_empty() {
        asks.push(Ask::rows("SELECT scope, until FROM idempotency WHERE scope = ANY($1)", owned![scopes]));
        asked.push(Asked::Calls);
    }
    for expect in expects() {
        if let Expect::Unused(noun) = expect
            && let Some(sql) = in_use_sql(*noun)
        {
            asks.push(Ask::rows(sql, owned![Id(noun_bits(*noun))]));
            asked.push(Asked::InUse(*noun));
        }
    }
    for expect in expects() {
        if let Expect::Owns(owner, _) = expect {
            let sql = "SELECT count(*) FROM keys WHERE owner_id = $1 AND revoked_at IS NULL";
            asks.push(Ask::rows(sql, owned![Id(owner.bits())]));
            // What a commit brings itself is not what it relies on, and such a commit is alone.
            let others = commits.len() > 1 && commits.iter().any(|commit| brings_a_key(commit, *owner));
            asked.push(Asked::Owned(*owner, others));
        }
    }
    let mut state = State::default();
    for (asked, answer) in asked.into_iter().zip(link.all(&asks).await?) {
        state.take(asked, answer).map_err(Failure::Damaged)?;
    }
    Ok(state)
}

fn ask_locks(asks: &mut Vec<Ask>, asked: &mut Vec<Asked>, commits: &[&Commit]) {
    let locks: Vec<(NounRef, Lock)> = locks(commits).into_iter().collect();
    let alike = |(one, lock): &(NounRef, Lock), (other, other_lock): &(NounRef, Lock)| {
        lock == other_lock && std::mem::discriminant(one) == std::mem::discriminant(other)
    };
    for run in locks.chunk_by(alike) {
        let Some((first, lock)) = run.first() else { continue };
        let nouns: Vec<NounRef> = run.iter().map(|(noun, _)| *noun).collect();
        let ids: Vec<Id> = nouns.iter().map(|noun| Id(noun_bits(*noun))).collect();
        asks.push(Ask::rows(locking_sql(*first, *lock), owned![ids]));
        asked.push(Asked::Locked(nouns));
    }
    let changed = commits.iter().flat_map(|commit| &commit.changes).filter_map(|change| match change {
        Change::KeyChanged(key) => Some(key.id),
        _ => None,
    });
    let changed: Vec<KeyId> = changed.collect();
    if !changed.is_empty() {
        let sql = concat!(
            "SELECT ",
            key_and_secret_columns!(),
            " FROM keys k LEFT JOIN secrets s ON s.key_id = k.id WHERE k.id = ANY($1) ORDER BY k.id, s.position"
        );
        // Read behind the locks, in a statement of its own: it sees what those who held them before have committed.
        let ids: Vec<Id> = changed.iter().map(|key| Id(key.bits())).collect();
        asks.push(Ask::rows(sql, owned![ids]));
        asked.push(Asked::Keys(changed));
    }
}

/// Whether a commit changes a key that belongs to a principal then.
pub(super) fn brings_a_key(commit: &Commit, owner: PrincipalId) -> bool {
    let of_owner =
        |change: &Change| matches!(change, Change::KeyChanged(key) if key.spec.owner == Some(owner));
    commit.changes.iter().any(of_owner)
}

/// Whether anything still refers to a noun. Keys whose record is hidden count until they are purged.
const fn in_use_sql(noun: NounRef) -> Option<&'static str> {
    match noun {
        NounRef::Org(_) => Some(
            "SELECT EXISTS (SELECT 1 FROM keyspaces WHERE org_id = $1) OR EXISTS (SELECT 1 FROM keys \
             WHERE org_id = $1) OR EXISTS (SELECT 1 FROM principals WHERE org_id = $1) OR EXISTS (SELECT 1 FROM roles \
             WHERE org_id = $1) OR EXISTS (SELECT 1 FROM plans WHERE org_id = $1)",
        ),
        NounRef::Keyspace(_) => Some("SELECT EXISTS (SELECT 1 FROM keys WHERE keyspace_id = $1)"),
        NounRef::Principal(_) => Some("SELECT EXISTS (SELECT 1 FROM keys WHERE owner_id = $1)"),
        NounRef::Role(_) => Some(
            "SELECT EXISTS (SELECT 1 FROM key_roles WHERE role_id = $1) \
             OR EXISTS (SELECT 1 FROM principal_roles WHERE role_id = $1)",
        ),
        NounRef::Plan(_) => Some("SELECT EXISTS (SELECT 1 FROM key_plans WHERE plan_id = $1)"),
        NounRef::Key(_) => None,
    }
}

impl State {
    fn take(&mut self, asked: Asked, answer: Answer) -> Result<(), StoreError> {
        let rows = answer.rows();
        match asked {
            Asked::Nothing => {}
            Asked::Root => {
                let root = rows.first().map(|row| optional_link_column(row, 0)).transpose()?;
                self.root = root.flatten().map(Digest);
            }
            Asked::Locked(nouns) => {
                let mut found = HashMap::new();
                for row in &rows {
                    found.insert(id_column(row, 0)?, row);
                }
                for noun in nouns {
                    let row = found.get(&noun_bits(noun));
                    let version = row.map(|row| count_column(row, 1)).transpose()?.map(Version);
                    self.versions.insert(noun, version);
                    if let (NounRef::Role(role), Some(row)) = (noun, row) {
                        self.roles.insert(role, number_column(row, 2)?);
                    }
                }
            }
            Asked::Calls => {
                for row in &rows {
                    self.calls.insert(link_column(row, 0)?, column(row, 1)?);
                }
            }
            Asked::InUse(noun) => {
                if rows.first().map(|row| column(row, 0)).transpose()? == Some(true) {
                    self.in_use.insert(noun);
                }
            }
            Asked::Owned(owner, changing) => {
                let count = rows.first().map(|row| count_column(row, 0)).transpose()?;
                self.owned.insert(owner, count.filter(|_| !changing));
            }
            Asked::Keys(keys) => {
                self.keys.extend(keys.into_iter().map(|key| (key, None)));
                let stored = keys_from(&rows)?;
                self.keys.extend(stored.into_iter().map(|key| (key.id, Some(Arc::new(key)))));
            }
        }
        Ok(())
    }

    /// Locks and reads more series of numbers, in their order.
    pub(super) async fn load_counters(
        &mut self,
        link: &Link,
        mut series: Vec<Series>,
    ) -> Result<(), Failure> {
        series.sort_unstable();
        series.dedup();
        let orgs: Vec<Id> = series.iter().map(|(org, _)| Id(org.bits())).collect();
        let names: Vec<&'static str> = series.iter().map(|(_, name)| *name).collect();
        // A row that is not there cannot be locked.
        let make = "INSERT INTO counters (org_id, name, last) SELECT org_id, name, 0 \
                    FROM unnest($1::uuid[], $2::text[]) AS wanted (org_id, name) ON CONFLICT DO NOTHING";
        let read = "SELECT c.org_id, c.name, c.last FROM counters c \
                    JOIN unnest($1::uuid[], $2::text[]) AS wanted (org_id, name) ON c.org_id = wanted.org_id \
                    AND c.name = wanted.name ORDER BY c.org_id, c.name FOR UPDATE OF c";
        let asks =
            [Ask::count(make, owned![orgs.clone(), names.clone()]), Ask::rows(read, owned![orgs, names])];
        let rows = link.all(&asks).await?.pop().map(Answer::rows).unwrap_or_default();
        for row in &rows {
            self.take_counter(row, &series).map_err(Failure::Damaged)?;
        }
        Ok(())
    }

    fn take_counter(&mut self, row: &tokio_postgres::Row, series: &[Series]) -> Result<(), StoreError> {
        let (org, name): (_, &str) = (OrgId::from_bits(id_column(row, 0)?), column(row, 1)?);
        if let Some(found) = series.iter().find(|wanted| wanted.0 == org && wanted.1 == name) {
            self.counters.insert(*found, count_column(row, 2)?);
        }
        Ok(())
    }
}

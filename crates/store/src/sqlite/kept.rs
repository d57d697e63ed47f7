//! Every noun but the keys, and what the installation is, in memory: they are few, every call rests on some of them, and
//! a read of SQLite costs more than what is done with the answer. So do the keys that were written lately: who changes a
//! key mostly reads it before and after, and each commit empties the caches of every connection that reads. And so do the
//! management keys that called lately.
//!
//! Invariant: what memory answers is never older than what the database has shown anybody. A group is made durable between
//! [`Kept::unsettle`] and [`Kept::settle`], and meanwhile the database is asked for what the group changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::{Key, KeyKind};
use keywright_model::revision::Version;
use rusqlite::Connection;

use super::bookkeeping;
use super::nouns::all;
use super::value::{column, rows};
use crate::audit::rows::Table;
use crate::writing::rank;
use crate::{Installation, LastUsed, Lookup, Noun, StoreError};

/// How many nouns of a kind are kept; when there are more of a kind, the database is asked for it.
const KEPT_MAX: usize = 10_000;

/// How many keys that were written or called lately are kept: some kilobytes each.
const KEYS_MAX: usize = 1_024;

/// By how many names these are found: a number, an access or external identifier, a secret that was called with.
const KEY_NAMES_MAX: usize = 4 * KEYS_MAX;

/// The nouns that stay in memory.
#[derive(Debug, Default)]
pub(super) struct Kept(RwLock<Facts>);

#[derive(Debug, Default)]
struct Facts {
    /// False while nothing of this can be answered.
    settled: bool,
    installation: Option<Installation>,
    /// Each noun as the change that made it so.
    nouns: HashMap<NounRef, Change>,
    names: HashMap<Lookup, NounRef>,
    /// How many there are of each kind that is kept, whole.
    counts: HashMap<Table, usize>,
    keys: HashMap<KeyId, Lately>,
    /// Grows whenever uses that were read before may be outdated.
    uses_epoch: u64,
    /// By what the keys are found besides their identifiers; by its secrets only a management key that called lately.
    key_names: HashMap<Lookup, KeyId>,
    /// Grows whenever a key that was read before may be outdated.
    keys_epoch: u64,
    /// Whether a group that changes keys is being made durable: nobody knows which state a reader sees.
    keys_moving: bool,
    /// The same of uses.
    uses_moving: bool,
}

/// A key that was written or called lately.
#[derive(Debug, Default)]
struct Lately {
    /// `None` while it is being written again.
    key: Option<Arc<Key>>,
    /// When it was used last, once somebody has read that.
    uses: Option<LastUsed>,
}

/// The database must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotKept;

/// What a group changes.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The nouns that it changes.
    pub(super) nouns: HashMap<NounRef, Option<Version>>,
    /// Whether it changes what the installation is.
    pub(super) installation: bool,
    /// Whether it writes down uses of secrets.
    pub(super) uses: bool,
}

impl Touched {
    fn keeps_still(&self) -> bool {
        !self.installation && self.nouns.keys().all(|noun| matches!(noun, NounRef::Key(_)))
    }
}

impl Kept {
    /// Reads everything anew; the caller's transaction has written nothing yet.
    pub(super) fn reload(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut facts = Facts { installation: bookkeeping::installation(connection)?, ..Facts::default() };
        for table in Table::ALL {
            let sql = format!("SELECT body FROM {} LIMIT ?1", table.name());
            let bodies = all(connection, &sql, [rows(KEPT_MAX + 1)], |row| column::<String>(row, 0))?;
            let nouns: Result<Vec<Change>, _> = bodies.iter().map(|body| table.read(body)).collect();
            match nouns {
                Ok(nouns) if nouns.len() <= KEPT_MAX => {
                    facts.counts.insert(table, 0);
                    for noun in &nouns {
                        facts.take(noun);
                    }
                }
                Ok(_) => {}
                // Whoever asks the database for it is told.
                Err(error) => tracing::error!(%error, table = table.name(), "a noun does not read back"),
            }
        }
        facts.settled = true;
        let mut before = self.write();
        facts.uses_epoch = before.uses_epoch + 1;
        facts.keys_epoch = before.keys_epoch + 1;
        *before = facts;
        Ok(())
    }

    /// Whether memory may be asked.
    pub(super) fn is_settled(&self) -> bool {
        self.read().settled
    }

    /// A group is about to be made durable: answers nothing that it changes until [`Self::settle`] or [`Self::reload`].
    pub(super) fn unsettle(&self, touched: &Touched) {
        let mut facts = self.write();
        facts.settled &= touched.keeps_still();
        for noun in touched.nouns.keys() {
            if let NounRef::Key(key) = noun
                && let Some(lately) = facts.keys.get_mut(key)
            {
                lately.key = None;
            }
        }
        facts.forget_reads(touched, true);
    }

    /// The group that was about to be made durable is not: the database is as it was before.
    pub(super) fn abandon(&self) {
        let mut facts = self.write();
        facts.keys_epoch += 1;
        (facts.keys_moving, facts.uses_moving) = (false, false);
        facts.uses_epoch += 1;
    }

    /// Takes over what a group has made durable, with what the installation is now if it has changed that.
    pub(super) fn settle<'c>(
        &self,
        touched: &Touched,
        changes: impl Iterator<Item = &'c [Change]>,
        installation: Option<Installation>,
    ) {
        let mut facts = self.write();
        // Whoever read while the group was made durable read what was before.
        facts.forget_reads(touched, false);
        for changes in changes {
            // In the order in which they were written.
            let mut order: Vec<&Change> = changes.iter().collect();
            order.sort_by_key(|change| rank(change));
            for change in order {
                facts.take(change);
            }
        }
        facts.installation = installation.or_else(|| facts.installation.take());
        facts.settled = true;
    }

    /// What the installation is; `None` when the database must be asked.
    pub(super) fn installation(&self) -> Option<Installation> {
        let facts = self.read();
        facts.installation.clone().filter(|_| facts.settled)
    }

    /// The nouns, as they are at one moment; `None` when the database must be asked.
    pub(super) fn nouns(&self, refs: &[NounRef]) -> Option<Vec<Option<Noun>>> {
        let facts = self.read();
        let noun = |noun: &NounRef| match noun {
            NounRef::Key(key) => facts.key(*key).map(|key| Some(Noun::Key(Arc::clone(key)))),
            _ => facts.noun(*noun).ok().map(|change| change.and_then(noun_of)),
        };
        refs.iter().map(noun).collect()
    }

    /// The nouns that are looked up, as they are at one moment; `None` when the database must be asked.
    pub(super) fn find(&self, lookups: &[Lookup]) -> Option<Vec<Option<Noun>>> {
        let facts = self.read();
        let find = |lookup: &Lookup| {
            let Some(table) = table_of_lookup(lookup) else {
                return facts.key_named(lookup).map(|key| Some(Noun::Key(Arc::clone(key))));
            };
            facts
                .keeps(table)
                .then(|| facts.names.get(lookup).and_then(|noun| noun_of(facts.nouns.get(noun)?)))
        };
        lookups.iter().map(find).collect()
    }

    /// A noun's version; `None` when it is not there.
    pub(super) fn version(&self, noun: NounRef) -> Result<Option<Version>, NotKept> {
        let facts = self.read();
        if let NounRef::Key(key) = noun {
            return facts.key(key).map(|key| Some(key.meta.version)).ok_or(NotKept);
        }
        facts.noun(noun).map(|change| change.and_then(Change::version))
    }

    /// A key that was written lately; `None` when the database must be asked.
    pub(super) fn key(&self, key: KeyId) -> Option<Arc<Key>> {
        self.read().key(key).cloned()
    }

    /// A key that was written lately, and when it was used last. When the database must be asked: the moment of asking, for
    /// [`Self::note_uses`].
    pub(super) fn key_and_uses(&self, key: KeyId) -> Result<(Arc<Key>, LastUsed), u64> {
        let facts = self.read();
        let uses = facts.keys.get(&key).and_then(|lately| lately.uses.as_ref());
        facts.key(key).cloned().zip(uses.cloned()).ok_or(facts.uses_epoch)
    }

    /// Notes when a key was used last, as it was read from the database after `asked`.
    pub(super) fn note_uses(&self, asked: u64, key: KeyId, uses: &LastUsed) {
        // Most keys that are read were not written lately.
        if !self.read().keys.contains_key(&key) {
            return;
        }
        let mut facts = self.write();
        let current = facts.uses_epoch == asked && !facts.uses_moving;
        if let Some(lately) = facts.keys.get_mut(&key).filter(|_| current)
            && let Some(key) = &lately.key
        {
            lately.uses = Some(of_secrets(uses, key));
        }
    }

    /// The moment of asking the database for keys, for [`Self::note_caller`].
    pub(super) fn asked_for_keys(&self) -> u64 {
        self.read().keys_epoch
    }

    /// Notes who calls: the management key that was found by a secret or an access identifier, as it was read from the
    /// database after `asked`.
    pub(super) fn note_caller(&self, asked: u64, by: &Lookup, key: &Arc<Key>) {
        if key.spec.rights.kind() != KeyKind::Management {
            return;
        }
        let mut facts = self.write();
        if facts.keys_moving || facts.keys_epoch != asked {
            return;
        }
        facts.lately(key).key = Some(Arc::clone(key));
        facts.key_names.insert(by.clone(), key.id);
    }

    fn read(&self) -> RwLockReadGuard<'_, Facts> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Facts> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn keeps(&self, table: Table) -> bool {
        self.settled && self.counts.contains_key(&table)
    }

    fn key(&self, key: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&key).and_then(|lately| lately.key.as_ref()).filter(|_| self.settled)
    }

    fn key_named(&self, name: &Lookup) -> Option<&Arc<Key>> {
        let key = self.key(*self.key_names.get(name)?)?;
        // It may have let go of the secret, and a key that is gone may have left its name to another.
        let is_named = match name {
            Lookup::KeyByDigest(digest) => {
                let mut material = key.secrets.iter().filter_map(|secret| secret.material.as_ref());
                material.any(|material| material.digest == Some(*digest))
            }
            other => names_of_key(key).any(|name| name == *other),
        };
        is_named.then_some(key)
    }

    fn lately(&mut self, key: &Key) -> &mut Lately {
        let is_full = self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&key.id);
        if is_full || self.key_names.len() >= KEY_NAMES_MAX {
            self.keys.clear();
            self.key_names.clear();
        }
        // Its names are for ever.
        if !self.keys.contains_key(&key.id) {
            self.key_names.extend(names_of_key(key).map(|name| (name, key.id)));
        }
        self.keys.entry(key.id).or_default()
    }

    /// What was read of the database until now may be outdated, and what is read while it is `moving`.
    fn forget_reads(&mut self, touched: &Touched, moving: bool) {
        if touched.uses {
            self.uses_epoch += 1;
            self.uses_moving = moving;
            self.keys.values_mut().for_each(|lately| lately.uses = None);
        }
        if touched.nouns.keys().any(|noun| matches!(noun, NounRef::Key(_))) {
            self.keys_epoch += 1;
            self.keys_moving = moving;
        }
    }

    fn take_key(&mut self, change: &Change) {
        match change {
            Change::KeyChanged(key) => {
                let lately = self.lately(key);
                lately.uses = lately.uses.take().map(|uses| of_secrets(&uses, key));
                lately.key = Some(Arc::clone(key));
            }
            Change::KeyPurged(_, _, key) => drop(self.keys.remove(key)),
            _ => {}
        }
    }

    fn noun(&self, noun: NounRef) -> Result<Option<&Change>, NotKept> {
        let whole = table_of(noun).is_some_and(|table| self.keeps(table));
        if whole { Ok(self.nouns.get(&noun)) } else { Err(NotKept) }
    }

    fn take(&mut self, change: &Change) {
        let noun = change.noun();
        self.take_key(change);
        let Some(table) = table_of(noun).filter(|table| self.counts.contains_key(table)) else { return };
        let before = self.nouns.remove(&noun);
        for name in before.iter().flat_map(names_of) {
            // Another noun may have taken the name meanwhile.
            if self.names.get(&name) == Some(&noun) {
                self.names.remove(&name);
            }
        }
        if change.version().is_some() {
            self.names.extend(names_of(change).into_iter().map(|name| (name, noun)));
            self.nouns.insert(noun, change.clone());
        }
        let count = self.counts.entry(table).or_default();
        *count = (*count + usize::from(change.version().is_some())) - usize::from(before.is_some());
        if *count > KEPT_MAX {
            self.counts.remove(&table);
            self.nouns.retain(|noun, _| table_of(*noun) != Some(table));
            self.names.retain(|_, noun| table_of(*noun) != Some(table));
        }
    }
}

/// By what a key is found besides its identifier and its secrets.
fn names_of_key(key: &Key) -> impl Iterator<Item = Lookup> {
    let by_access_id = key.access_id.clone().map(Lookup::KeyByAccessId);
    let by_external_id = key.external_id.clone().map(|name| Lookup::KeyByExternalId(key.keyspace, name));
    std::iter::once(Lookup::KeyByNumber(key.org, key.number)).chain(by_access_id).chain(by_external_id)
}

/// The uses of secrets that a key still has.
fn of_secrets(uses: &LastUsed, key: &Key) -> LastUsed {
    let has = |used: &SecretId| key.secrets.iter().any(|secret| secret.id == *used);
    let kept = uses.secrets.iter().filter(|(used, _)| has(used));
    LastUsed { secrets: kept.map(|(used, at)| (*used, *at)).collect() }
}

const fn table_of(noun: NounRef) -> Option<Table> {
    Some(match noun {
        NounRef::Org(_) => Table::Orgs,
        NounRef::Keyspace(_) => Table::Keyspaces,
        NounRef::Principal(_) => Table::Principals,
        NounRef::Role(_) => Table::Roles,
        NounRef::Plan(_) => Table::Plans,
        NounRef::Key(_) => return None,
    })
}

const fn table_of_lookup(lookup: &Lookup) -> Option<Table> {
    Some(match lookup {
        Lookup::OrgByName(_) => Table::Orgs,
        Lookup::KeyspaceByName(..) => Table::Keyspaces,
        Lookup::PrincipalByExternalId(..) => Table::Principals,
        Lookup::RoleByNumber(..) | Lookup::RoleByName(..) => Table::Roles,
        Lookup::PlanByName(..) => Table::Plans,
        Lookup::KeyByDigest(_)
        | Lookup::KeyByAccessId(_)
        | Lookup::KeyByNumber(..)
        | Lookup::KeyByExternalId(..) => return None,
    })
}

/// By what a noun is found besides its identifier.
fn names_of(change: &Change) -> Vec<Lookup> {
    match change {
        Change::OrgChanged(org) => vec![Lookup::OrgByName(org.spec.name.clone())],
        Change::KeyspaceChanged(keyspace) => {
            vec![Lookup::KeyspaceByName(keyspace.org, keyspace.spec.name.clone())]
        }
        Change::PrincipalChanged(principal) => {
            let name = principal.spec.external_id.clone();
            name.into_iter().map(|name| Lookup::PrincipalByExternalId(principal.org, name)).collect()
        }
        Change::RoleChanged(role) => vec![
            Lookup::RoleByNumber(role.org, role.number),
            Lookup::RoleByName(role.org, role.spec.name.clone()),
        ],
        Change::PlanChanged(plan) => vec![Lookup::PlanByName(plan.org, plan.spec.name.clone())],
        _ => Vec::new(),
    }
}

fn noun_of(change: &Change) -> Option<Noun> {
    Some(match change {
        Change::OrgChanged(org) => Noun::Org((**org).clone()),
        Change::KeyspaceChanged(keyspace) => Noun::Keyspace((**keyspace).clone()),
        Change::PrincipalChanged(principal) => Noun::Principal((**principal).clone()),
        Change::RoleChanged(role) => Noun::Role((**role).clone()),
        Change::PlanChanged(plan) => Noun::Plan((**plan).clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

//! Every noun but the keys, and what the installation is, in memory: they are few, every call rests on some of them, and
//! a read of SQLite costs more than what is done with the answer.
//!
//! Invariant: what memory answers is never older than what the database has shown anybody. A group that changes any of
//! this is made durable between [`Kept::unsettle`] and [`Kept::settle`], and meanwhile the database is asked.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keywright_model::change::{Change, NounRef};
use keywright_model::revision::Version;
use rusqlite::Connection;

use super::bookkeeping;
use super::nouns::all;
use super::value::{column, rows};
use crate::audit::rows::Table;
use crate::writing::rank;
use crate::{Installation, Lookup, Noun, StoreError};

/// How many nouns of a kind are kept; when there are more of a kind, the database is asked for it.
const KEPT_MAX: usize = 10_000;

/// The nouns that stay in memory.
#[derive(Debug, Default)]
pub(super) struct Kept(RwLock<Facts>);

#[derive(Debug, Default)]
struct Facts {
    settled: bool,
    installation: Option<Installation>,
    /// Each noun as the change that made it so.
    nouns: HashMap<NounRef, Change>,
    names: HashMap<Lookup, NounRef>,
    /// How many there are of each kind that is kept, whole.
    counts: HashMap<Table, usize>,
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
                    nouns.iter().for_each(|noun| facts.take(noun));
                }
                Ok(_) => {}
                // Whoever asks the database for it is told.
                Err(error) => tracing::error!(%error, table = table.name(), "a noun does not read back"),
            }
        }
        facts.settled = true;
        *self.write() = facts;
        Ok(())
    }

    /// Whether memory may be asked.
    pub(super) fn is_settled(&self) -> bool {
        self.read().settled
    }

    /// Answers nothing until [`Self::settle`] or [`Self::reload`]: what is kept is about to change on disk.
    pub(super) fn unsettle(&self) {
        self.write().settled = false;
    }

    /// Takes over what a group has made durable.
    pub(super) fn settle<'c>(
        &self,
        changes: impl Iterator<Item = &'c [Change]>,
        installation: Option<Installation>,
    ) {
        let mut facts = self.write();
        for changes in changes {
            // In the order in which they were written.
            let mut order: Vec<&Change> = changes.iter().collect();
            order.sort_by_key(|change| rank(change));
            order.into_iter().for_each(|change| facts.take(change));
        }
        facts.installation = installation.or_else(|| facts.installation.take());
        facts.settled = true;
    }

    /// What the installation is; `None` when the database must be asked.
    pub(super) fn installation(&self) -> Option<Installation> {
        let facts = self.read();
        if facts.settled { facts.installation.clone() } else { None }
    }

    /// The nouns, as they are at one moment; `None` when the database must be asked.
    pub(super) fn nouns(&self, refs: &[NounRef]) -> Option<Vec<Option<Noun>>> {
        let facts = self.read();
        refs.iter().map(|noun| facts.noun(*noun).map(|change| change.and_then(noun_of))).collect()
    }

    /// The nouns that are looked up, as they are at one moment; `None` when the database must be asked.
    pub(super) fn find(&self, lookups: &[Lookup]) -> Option<Vec<Option<Noun>>> {
        let facts = self.read();
        let find = |lookup: &Lookup| {
            let whole = table_of_lookup(lookup).is_some_and(|table| facts.keeps(table));
            whole.then(|| facts.names.get(lookup).and_then(|noun| noun_of(facts.nouns.get(noun)?)))
        };
        lookups.iter().map(find).collect()
    }

    /// A noun's version, `Some(None)` when it is not there; `None` when the database must be asked.
    pub(super) fn version(&self, noun: NounRef) -> Option<Option<Version>> {
        self.read().noun(noun).map(|change| change.and_then(Change::version))
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

    fn noun(&self, noun: NounRef) -> Option<Option<&Change>> {
        let whole = table_of(noun).is_some_and(|table| self.keeps(table));
        whole.then(|| self.nouns.get(&noun))
    }

    fn take(&mut self, change: &Change) {
        let noun = change.noun();
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

/// Whether a change is about something that may be kept.
pub(super) fn is_kept(change: &Change) -> bool {
    table_of(change.noun()).is_some()
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
mod tests {
    use std::sync::Arc;

    use keywright_model::digest::Digest;
    use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId};

    use super::*;
    use crate::contract::Backend as _;
    use crate::contract::fixture::{Counting, commit, key, of_key, org, principal, stored_key, world, write};
    use crate::sqlite::SqliteFile;
    use crate::sqlite::tests::{SqliteBackend, audit_key};
    use crate::{CommitError, Expect, InstallationChange, Store, StoreError};

    fn empty() -> Kept {
        let kept = Kept::default();
        {
            let mut facts = kept.write();
            facts.settled = true;
            facts.counts.extend(Table::ALL.map(|table| (table, 0)));
        }
        kept
    }

    fn renamed(n: u128, name: &str) -> Change {
        let mut org = (*org(n)).clone();
        org.spec.name = name.to_owned();
        Change::OrgChanged(Arc::new(org))
    }

    fn named(kept: &Kept, name: &str) -> Option<OrgId> {
        let found = kept.find(&[Lookup::OrgByName(name.to_owned())]).unwrap().pop().flatten();
        found.map(|noun| match noun {
            Noun::Org(org) => org.id,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_name_that_was_given_up_and_taken_by_another_means_the_other() {
        let kept = empty();
        kept.settle([&[renamed(1, "a")][..]].into_iter(), None);
        kept.settle([&[renamed(1, "b")][..], &[renamed(2, "a")]].into_iter(), None);
        let ids = [named(&kept, "a"), named(&kept, "b"), named(&kept, "c")];
        assert_eq!(ids, [Some(OrgId::from_bits(2)), Some(OrgId::from_bits(1)), None]);
        kept.settle([&[Change::OrgDeleted(OrgId::from_bits(2))][..]].into_iter(), None);
        assert_eq!(named(&kept, "a"), None);
        assert_eq!(kept.nouns(&[NounRef::Org(OrgId::from_bits(2))]), Some(vec![None]));
    }

    #[test]
    fn nothing_is_answered_between_a_change_and_its_being_durable() {
        let kept = empty();
        kept.settle([&[renamed(1, "a")][..]].into_iter(), None);
        kept.unsettle();
        assert_eq!(kept.nouns(&[NounRef::Org(OrgId::from_bits(1))]), None);
        assert_eq!(kept.find(&[Lookup::OrgByName("a".to_owned())]), None);
        assert_eq!(kept.version(NounRef::Org(OrgId::from_bits(1))), None);
        assert_eq!(kept.installation(), None);
    }

    #[test]
    fn a_kind_of_which_there_are_too_many_is_asked_of_the_database_and_the_others_are_not() {
        let kept = empty();
        let principals = |n: usize| (1..=n as u128).map(|n| Change::PrincipalChanged(principal(1, n)));
        let full: Vec<Change> = principals(KEPT_MAX).chain([renamed(1, "a")]).collect();
        kept.settle([&full[..]].into_iter(), None);
        let one = [NounRef::Principal(PrincipalId::from_bits(1))];
        assert!(kept.nouns(&one).unwrap()[0].is_some());
        let more: Vec<Change> = principals(KEPT_MAX + 1).skip(KEPT_MAX).collect();
        kept.settle([&more[..]].into_iter(), None);
        assert_eq!(kept.nouns(&one), None);
        assert_eq!(named(&kept, "a"), Some(OrgId::from_bits(1)));
        kept.settle([&principals(2).collect::<Vec<_>>()[..]].into_iter(), None);
        assert_eq!(kept.nouns(&one), None, "a kind that was let go is not whole any more");
    }

    async fn there(store: &Arc<dyn Store>, noun: NounRef) -> bool {
        store.nouns(&[noun]).await.unwrap().pop().flatten().is_some()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn whoever_has_seen_a_key_on_disk_finds_its_owner_in_memory() {
        let store = SqliteBackend::new();
        let store = store.open().await;
        world(&store).await;
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for n in 100..200_u128 {
                        while stored_key(&store, n).await.is_none() {
                            tokio::task::yield_now().await;
                        }
                        assert!(there(&store, NounRef::Principal(PrincipalId::from_bits(n))).await, "{n}");
                    }
                })
            })
            .collect();
        for n in 100..200_u128 {
            let mut owned = key(1, 1, n);
            owned.spec.owner = Some(PrincipalId::from_bits(n));
            write(&store, vec![Change::PrincipalChanged(principal(1, n)), of_key(owned)]).await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_group_that_failed_is_not_in_memory_and_the_next_one_is() {
        let backend = SqliteBackend::new();
        let file = SqliteFile::open(backend.0.path()).unwrap();
        let pages: i64 = file.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        file.connection.pragma_update(None, "max_page_count", pages + 60).unwrap();
        let store: Arc<dyn Store> = file.start(audit_key(), Arc::new(Counting::default())).unwrap();
        world(&store).await;
        let refused = write(&store, vec![renamed(2, "kept"), renamed(3, &"x".repeat(1 << 20))]).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        let by_name = [Lookup::OrgByName("kept".to_owned())];
        assert_eq!(store.find(&by_name).await.unwrap(), vec![None]);
        let second = NounRef::Org(OrgId::from_bits(2));
        assert!(!there(&store, second).await);
        let expecting = |expect| crate::Commit { expect: vec![expect], ..commit(vec![renamed(2, "kept")]) };
        let absent = store.commit(expecting(Expect::Version(second, Version::FIRST))).await;
        assert!(matches!(absent, Err(CommitError::Conflict(noun)) if noun == second), "{absent:?}");
        store.commit(expecting(Expect::Absent(second))).await.unwrap();
        assert!(store.find(&by_name).await.unwrap()[0].is_some());
    }

    #[tokio::test]
    async fn another_root_key_counts_from_its_own_group_on() {
        let store = SqliteBackend::new();
        let store = store.open().await;
        world(&store).await;
        let (old, new) = (store.installation().await.unwrap().root_digest.unwrap(), Digest([7; 32]));
        let by =
            |digest| crate::Commit { expect: vec![Expect::Root(digest)], ..commit(vec![renamed(2, "b")]) };
        // Queued together, so that they mostly share a group.
        let change = store.reconfigure(InstallationChange::Root(Some(new)));
        let (changed, late) = tokio::join!(change, store.commit(by(old)));
        changed.unwrap();
        assert!(matches!(late, Err(CommitError::RootChanged)), "{late:?}");
        assert_eq!(store.installation().await.unwrap().root_digest, Some(new));
        store.commit(by(new)).await.unwrap();
    }

    #[tokio::test]
    async fn a_noun_that_changed_in_a_group_conflicts_with_whoever_knew_it_before() {
        let store = SqliteBackend::new();
        let store = store.open().await;
        world(&store).await;
        let first = NounRef::Org(OrgId::from_bits(1));
        let renaming = |name: &str| {
            let Change::OrgChanged(mut org) = renamed(1, name) else { panic!() };
            let made = Arc::make_mut(&mut org);
            made.meta = made.meta.changed(made.meta.updated_at, made.meta.updated_by);
            crate::Commit {
                expect: vec![Expect::Version(first, Version::FIRST)],
                ..commit(vec![Change::OrgChanged(org)])
            }
        };
        let (one, other) = tokio::join!(store.commit(renaming("a")), store.commit(renaming("b")));
        one.unwrap();
        assert!(matches!(other, Err(CommitError::Conflict(noun)) if noun == first), "{other:?}");
        let deleted = commit(vec![Change::KeyPurged(
            OrgId::from_bits(1),
            KeyspaceId::from_bits(1),
            KeyId::from_bits(9),
        )]);
        store.commit(deleted).await.unwrap_err();
        let names = ["a", "b", "org-1"].map(|name| Lookup::OrgByName(name.to_owned()));
        let found = store.find(&names).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    }
}

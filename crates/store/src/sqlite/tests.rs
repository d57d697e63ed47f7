//! The contract on SQLite, and what only SQLite has.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::contract::{Backend, fixture};

/// A data directory of its own.
pub(super) struct SqliteBackend(pub(super) TempDir);

pub(super) fn audit_key() -> AuditKey {
    AuditKey::new(&[4; 32])
}

impl SqliteBackend {
    pub(super) fn new() -> Self {
        let backend = Self(TempDir::new().unwrap());
        let mut file = SqliteFile::open(backend.0.path()).unwrap();
        let keyring = [fixture::wrapped("pepper", 1)];
        let entropy = Arc::new(fixture::Counting::default());
        file.initialise(&fixture::installation(), &keyring, vec![], &audit_key(), entropy).unwrap();
        backend
    }

    /// As [`Self::new`], for the contract: SQLite is always there.
    #[expect(clippy::unnecessary_wraps, reason = "the contract asks whether the backend can be had at all")]
    pub(super) fn there() -> Option<Self> {
        Some(Self::new())
    }

    /// Started with room for so many more pages, and then a full disk.
    pub(super) fn start_with_room(&self, pages: i64) -> Arc<SqliteStore> {
        let file = SqliteFile::open(self.0.path()).unwrap();
        let there: i64 = file.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        file.connection.pragma_update(None, "max_page_count", there + pages).unwrap();
        file.start(audit_key(), Arc::new(fixture::Counting::default())).unwrap()
    }

    pub(super) fn start(&self) -> Arc<SqliteStore> {
        let file = SqliteFile::open(self.0.path()).unwrap();
        file.start(audit_key(), Arc::new(fixture::Counting::default())).unwrap()
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    async fn open(&self) -> Arc<dyn Store> {
        self.start()
    }
}

crate::store_contract!(contract, SqliteBackend::there);

#[tokio::test]
async fn a_write_that_changes_a_noun_twice_is_refused_whole() {
    use keywright_model::change::Change;
    let backend = SqliteBackend::new();
    let store: Arc<dyn Store> = backend.start();
    fixture::world(&store).await;
    let head = store.head().await.unwrap();
    let twice = [1, 2].map(|number| {
        let mut role = (*fixture::role(1, 1)).clone();
        role.spec.name = format!("named {number}");
        Change::RoleChanged(Arc::new(role))
    });
    let refused = store.commit(fixture::commit(twice.to_vec())).await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Corrupt(_)))), "{refused:?}");
    assert_eq!(store.head().await.unwrap(), head);
}

/// The numbers of a noun's entries, page by page.
async fn entries_about(store: &Arc<dyn Store>, noun: NounRef) -> Vec<u64> {
    let mut query =
        AuditQuery { subject: Some(noun.to_string()), limit: 70, ..crate::contract::commits::whole_audit(1) };
    let mut numbers = Vec::new();
    loop {
        let page = store.audit_page(&query).await.unwrap();
        numbers.extend(page.items.iter().map(|entry| entry.number));
        if !page.more {
            return numbers;
        }
        query.before = numbers.last().copied();
    }
}

#[tokio::test]
async fn all_entries_about_a_noun_are_listed_whether_the_index_has_them_yet_or_not() {
    let backend = SqliteBackend::new();
    let store: Arc<dyn Store> = backend.start();
    let nouns = [1, 2, 3].map(|n| NounRef::Key(KeyId::from_bits(n)));
    let mut written = [const { Vec::new() }; 3];
    for number in 1..=1_200_u64 {
        let of = usize::try_from(number % 7 % 3).unwrap();
        let mut shown = fixture::commit(vec![]);
        shown.audit.subject = nouns[of];
        store.commit(shown).await.unwrap();
        written[of].insert(0, number);
    }
    let behind = Connection::open(backend.0.path().join(DATABASE)).unwrap();
    let indexed: u32 = behind.query_row("SELECT seq FROM audit_indexed", [], |row| row.get(0)).unwrap();
    assert!((1..1_200).contains(&indexed), "{indexed}");
    for (noun, written) in nouns.into_iter().zip(&written) {
        assert_eq!(entries_about(&store, noun).await, *written, "{noun}");
    }
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
    drop(store);
    let again: Arc<dyn Store> = backend.start();
    assert_eq!(entries_about(&again, nouns[0]).await, written[0]);
}

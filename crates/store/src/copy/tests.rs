//! Copies that are broken off, gone on with, begun from the wrong side, and compared.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keywright_model::change::{Change, NounRef};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, SecretId};
use keywright_model::time::Timestamp;
use keywright_testkit::postgres::{Database, Server, shared};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::audit::AuditKey;
use crate::contract::fixture::{
    Counting, at, changed, commit, installation, key, of_key, org, secret, world, wrapped,
};
use crate::postgres::{FirstStart, PostgresDatabase};
use crate::sqlite::DATABASE;
use crate::{IdempotentWrite, InstallationChange, QuotaSubject, Store, Use};

const COPY: Incarnation = Incarnation(77);

fn audit_key() -> AuditKey {
    AuditKey::new(&[4; 32])
}

/// An installation with something in every table.
async fn filled() -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut file = SqliteFile::open(folder.path()).unwrap();
    let entropy = Arc::new(Counting::default());
    let keyring = [wrapped("pepper", 1), wrapped("audit", 1)];
    file.initialise(&installation(), &keyring, vec![], &audit_key(), entropy.clone()).unwrap();
    let store: Arc<dyn Store> = file.start(audit_key(), entropy).unwrap();
    world(&store).await;
    let mut owner = (*crate::contract::fixture::principal(1, 2)).clone();
    owner.spec.roles = vec![keywright_model::id::RoleId::from_bits(1)];
    store.commit(commit(vec![Change::PrincipalChanged(Arc::new(owner))])).await.unwrap();
    for n in 1..=9 {
        let mut new = key(1, 1, n);
        new.spec.labels = [("team".to_owned(), format!("t{n}"))].into();
        new.spec.roles = vec![keywright_model::id::RoleId::from_bits(1)];
        new.spec.plans = vec![keywright_model::id::PlanId::from_bits(1)];
        new.spec.owner = (n > 4).then_some(keywright_model::id::PrincipalId::from_bits(2));
        new.access_id = (n == 3).then(|| "public_half".to_owned());
        new.secrets = vec![secret(n * 10), secret(n * 10 + 1)];
        let made = Change::KeyChanged(Arc::new(new));
        let mut write = commit(vec![made]);
        write.idempotency = Some(IdempotentWrite {
            scope: [u8::try_from(n).unwrap(); 32],
            request: [8; 32],
            secret: None,
            secret_until: at(10),
            until: at(20),
        });
        store.commit(write).await.unwrap();
    }
    let gone = crate::contract::fixture::stored_key(&store, 2).await.unwrap();
    store.commit(commit(vec![of_key(changed(gone, |key| key.deleted_at = Some(at(3))))])).await.unwrap();
    store.commit(commit(vec![Change::OrgChanged(org(2))])).await.unwrap();
    let used = Use { key: KeyId::from_bits(1), secret: SecretId::from_bits(10), at: at(5) };
    store.record_uses(&[used]).await.unwrap();
    store.reserve_quota(QuotaSubject::Key(KeyId::from_bits(1)), at(0), 5, 100).await.unwrap();
    drop(store);
    folder
}

/// Takes a directory whose server is still letting go of it.
async fn taken(folder: &TempDir) -> SqliteFile {
    for _ in 0..500 {
        if let Ok(file) = SqliteFile::open_existing(folder.path()) {
            return file;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the directory is never free");
}

fn database() -> Option<(&'static Server, Database)> {
    let server = shared()?;
    Some((server, server.database()))
}

/// Copies until it was told so often how far it is, and then is gone, wherever it is.
async fn broken_off_after(
    steps: u64,
    source: &SqliteFile,
    database: &Database,
) -> Option<Result<Copied, CopyError>> {
    let target = CopyTarget::open(&database.url).await.unwrap();
    let (told, enough) = (AtomicU64::new(0), Notify::new());
    let mut progress = |_, _| {
        if told.fetch_add(1, Ordering::Relaxed) + 1 == steps {
            enough.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = enough.notified() => None,
        copied = copy_by(2, source, &target, COPY, &mut progress) => Some(copied),
    }
}

async fn copied(source: &SqliteFile, database: &Database) -> Result<Copied, CopyError> {
    let target = CopyTarget::open(&database.url).await?;
    copy_by(3, source, &target, COPY, &mut |_, _| {}).await
}

async fn opened(database: &Database) -> Arc<dyn Store> {
    let database = PostgresDatabase::open(&database.url).await.unwrap();
    database.start(audit_key(), Arc::new(Counting::default()), None).await.unwrap()
}

/// Everything that the trait lets anybody read.
async fn readable(store: &Arc<dyn Store>) -> String {
    let keys: Vec<KeyId> = (1..=9).map(KeyId::from_bits).collect();
    let nouns: Vec<NounRef> = keys.iter().copied().map(NounRef::Key).collect();
    let audit = crate::contract::commits::whole_audit;
    let mut calls = Vec::new();
    for n in 1..=9 {
        calls.push(store.idempotent_answer(&[n; 32], at(0)).await.unwrap());
    }
    let quota = store.reserve_quota(QuotaSubject::Key(KeyId::from_bits(1)), at(0), 0, 100).await.unwrap();
    let mut what_it_is = store.installation().await.unwrap();
    what_it_is.incarnation = Incarnation(0);
    format!(
        "{what_it_is:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{calls:#?}\n{quota:?}",
        store.head().await.unwrap(),
        store.snapshot().await.unwrap().changes,
        store.nouns(&nouns).await.unwrap(),
        store.last_used(&keys).await.unwrap(),
        store.audit_page(&audit(1)).await.unwrap(),
        store.audit_page(&audit(2)).await.unwrap(),
        store.batches_after(Revision(0), 1_000).await.unwrap(),
        store.keyring().await.unwrap(),
        store.audit_verify().await.unwrap(),
    )
}

#[tokio::test]
async fn a_copy_broken_off_at_each_step_and_gone_on_with_is_whole() {
    let Some((_, database)) = database() else { return };
    let folder = filled().await;
    let source = taken(&folder).await;
    let mut breaks = 0;
    let outcome = loop {
        // Two steps more each time: it tells what is there already, too.
        match broken_off_after(2 + 2 * breaks, &source, &database).await {
            Some(outcome) => break outcome.unwrap(),
            None => breaks += 1,
        }
    };
    assert!(breaks > 20, "it was broken off {breaks} times");
    assert_eq!((outcome.begun, outcome.incarnation), (Begun::GoneOn, COPY));
    assert_eq!(copied(&source, &database).await.unwrap(), Copied { begun: Begun::Whole, ..outcome });
    let before: Arc<dyn Store> = source.start(audit_key(), Arc::new(Counting::default())).unwrap();
    let after = opened(&database).await;
    assert_eq!(after.installation().await.unwrap().incarnation, COPY);
    assert_ne!(before.installation().await.unwrap().incarnation, COPY);
    assert_eq!(readable(&after).await, readable(&before).await);
    assert!(after.audit_verify().await.unwrap().findings.is_empty());
    // It goes on from there: numbers are not given out again.
    let next = after.commit(commit(vec![of_key(key(1, 1, 500))])).await.unwrap();
    let Some(Change::KeyChanged(made)) = next.batch.changes.first() else { panic!("{next:?}") };
    assert_eq!(made.number, 10);
}

#[tokio::test]
async fn a_copy_of_a_source_that_has_changed_since_is_no_copy_of_it_also_where_no_audit_says_so() {
    let Some((_, database)) = database() else { return };
    let folder = filled().await;
    copied(&taken(&folder).await, &database).await.unwrap();
    for change in [
        InstallationChange::Root(Some(Digest([0x5a; 32]))),
        InstallationChange::MasterExported(Timestamp::from_unix_ms(77)),
    ] {
        let source = taken(&folder).await.start(audit_key(), Arc::new(Counting::default())).unwrap();
        source.reconfigure(change).await.unwrap();
        drop(source);
        let again = copied(&taken(&folder).await, &database).await;
        assert!(matches!(again, Err(CopyError::Occupied)), "{again:?}");
    }
}

#[tokio::test]
async fn half_a_copy_is_neither_served_from_nor_made_an_installation() {
    let Some((server, database)) = database() else { return };
    let folder = filled().await;
    let source = taken(&folder).await;
    // Opened before the copy began, as by a server that starts at the same time.
    let early = PostgresDatabase::open(&database.url).await.unwrap();
    assert!(broken_off_after(5, &source, &database).await.is_none());
    let refused = PostgresDatabase::open(&database.url).await.unwrap_err();
    assert!(matches!(refused, OpenError::HalfCopied), "{refused}");
    assert!(refused.to_string().contains("keywright copy"), "{refused}");
    let entropy = Arc::new(Counting::default());
    let late = early.initialise(&installation(), &[], &[], &audit_key(), entropy).await.unwrap_err();
    assert!(matches!(late, OpenError::HalfCopied), "{late}");
    assert_eq!(server.sql(&database.name, "SELECT count(*) FROM installation"), "0");
    copied(&source, &database).await.unwrap();
    assert!(PostgresDatabase::open(&database.url).await.unwrap().installation().await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_written_to_the_source_meanwhile_comes_along() {
    let Some((_, database)) = database() else { return };
    let folder = filled().await;
    let source = taken(&folder).await;
    assert!(broken_off_after(30, &source, &database).await.is_none());
    // Only bookkeeping, which moves no revision, but of rows that were copied already.
    let store: Arc<dyn Store> = source.start(audit_key(), Arc::new(Counting::default())).unwrap();
    let used = Use { key: KeyId::from_bits(1), secret: SecretId::from_bits(10), at: at(6) };
    store.record_uses(&[used]).await.unwrap();
    drop(store);
    let source = taken(&folder).await;
    assert_eq!(copied(&source, &database).await.unwrap().begun, Begun::Outdated);
    let before: Arc<dyn Store> = source.start(audit_key(), Arc::new(Counting::default())).unwrap();
    assert_eq!(readable(&opened(&database).await).await, readable(&before).await);
}

#[tokio::test]
async fn a_target_that_holds_something_else_is_refused() {
    let Some((server, database)) = database() else { return };
    let (folder, other) = (filled().await, filled().await);
    let source = taken(&folder).await;
    drop(taken(&other).await);
    let sql = rusqlite::Connection::open(other.path().join(DATABASE)).unwrap();
    sql.execute("UPDATE installation SET incarnation = 5", []).unwrap();
    let other = taken(&other).await;
    assert!(broken_off_after(5, &source, &database).await.is_none());
    let refused = copied(&other, &database).await.unwrap_err();
    assert!(matches!(refused, CopyError::HalfOfAnother), "{refused}");
    copied(&source, &database).await.unwrap();
    server.sql(&database.name, "UPDATE head SET revision = revision + 1");
    let refused = copied(&source, &database).await.unwrap_err();
    assert!(matches!(refused, CopyError::Occupied), "{refused}");

    let another = server.database();
    let own = PostgresDatabase::open(&another.url).await.unwrap();
    let made = own.initialise(&installation(), &[], &[], &audit_key(), Arc::new(Counting::default())).await;
    assert_eq!(made.unwrap(), FirstStart::Made);
    assert!(matches!(copied(&source, &another).await, Err(CopyError::Occupied)));
    let strange = server.database();
    PostgresDatabase::migrate(&strange.url).await.unwrap();
    server.sql(&strange.name, "INSERT INTO orgs VALUES (gen_random_uuid(), 'x', 1, '{}')");
    assert!(matches!(copied(&source, &strange).await, Err(CopyError::Occupied)));
    let empty = TempDir::new().unwrap();
    drop(SqliteFile::open(empty.path()).unwrap());
    let empty = taken(&empty).await;
    assert!(matches!(copied(&empty, &server.database()).await, Err(CopyError::Nothing)));
}

#[tokio::test]
async fn a_row_that_arrived_otherwise_is_found_before_the_copy_is_whole() {
    let Some((server, database)) = database() else { return };
    let folder = filled().await;
    let source = taken(&folder).await;
    assert!(broken_off_after(60, &source, &database).await.is_none());
    for (edit, table) in [
        ("UPDATE secrets SET last_used_at = 1 WHERE position = 0", "secrets"),
        ("DELETE FROM key_labels WHERE value = 't4'", "key_labels"),
    ] {
        server.sql(&database.name, edit);
        let refused = copied(&source, &database).await.unwrap_err();
        assert!(matches!(refused, CopyError::Differs(named) if named <= table), "{edit}: {refused}");
        assert!(matches!(PostgresDatabase::open(&database.url).await, Err(OpenError::HalfCopied)));
    }
}

#[tokio::test]
async fn every_column_of_both_schemas_is_copied() {
    // Who verifies, and what nodes have agreed on for a second, is nobody's of a copy; how many steps a schema has, and what it
    // keeps only to find rows, is its own.
    const APART: [&str; 7] = [
        "members",
        "limit_nodes",
        "limit_names",
        "limit_shares",
        "keywright_schema",
        "audit_subjects",
        "audit_indexed",
    ];
    let known: BTreeSet<String> = TABLES
        .iter()
        .chain([HEAD, INSTALLATION])
        .flat_map(|table| table.columns.iter().map(|column| format!("{}.{}", table.name, column.name)))
        .collect();
    let ours = |table: &str| !APART.contains(&table);
    let folder = TempDir::new().unwrap();
    drop(SqliteFile::open(folder.path()).unwrap());
    let sql = rusqlite::Connection::open(folder.path().join(DATABASE)).unwrap();
    let mut columns = sql
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'",
        )
        .unwrap();
    let columns = columns.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let columns: Vec<(String, String)> = columns.unwrap().map(Result::unwrap).collect();
    let sqlite = columns.iter().filter(|(table, _)| ours(table));
    let mut sqlite: BTreeSet<String> = sqlite.map(|(table, column)| format!("{table}.{column}")).collect();
    // PostgreSQL has it as a column, SQLite in the body.
    sqlite.insert("principals.kind".to_owned());
    assert_eq!(sqlite, known);
    let Some((server, database)) = database() else { return };
    PostgresDatabase::migrate(&database.url).await.unwrap();
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'";
    let columns = server.sql(&database.name, sql);
    let postgres = columns.lines().filter(|line| ours(line.split('.').next().unwrap()));
    assert_eq!(postgres.map(str::to_owned).collect::<BTreeSet<_>>(), known);
}

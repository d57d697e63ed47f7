//! What only a database in a file has: the directory's lock, a full disk, backups.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::id::{KeyId, NodeId, SecretId};
use keywright_model::key::Revocation;
use keywright_model::noun::Actor;
use keywright_model::revision::{Incarnation, Revision};
use tempfile::TempDir;

use super::restore::{Ended, Restore, Revivals, restore, restore_check};
use super::tests::{SqliteBackend, audit_key};
use super::{BackupError, DATABASE, LOCK, OpenError, SqliteFile, SqliteMembers, SqliteReader};
use crate::contract::Backend as _;
use crate::contract::fixture::{
    Counting, at, changed, commit, installation, key, of_key, org, secret, stored_key, world, write,
};
use crate::{CommitError, MemberStatus, Members as _, NewMember, Store, StoreError, Use};

#[test]
fn a_second_server_on_a_directory_is_refused_until_the_first_has_gone() {
    let backend = SqliteBackend::new();
    let first = SqliteFile::open(backend.0.path()).unwrap();
    let refused = SqliteFile::open(backend.0.path()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    assert!(refused.to_string().contains("stop it first"), "{refused}");
    // Reading needs no lock.
    assert_eq!(SqliteReader::open(backend.0.path()).unwrap().installation().unwrap(), Some(installation()));
    drop(first.start(audit_key(), Arc::new(Counting::default())).unwrap());
    SqliteFile::open(backend.0.path()).unwrap();
}

#[test]
fn only_the_owner_can_read_the_directory() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a/b");
    let file = SqliteFile::open(&directory).unwrap();
    assert_eq!(file.installation().unwrap(), None);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in [DATABASE, LOCK, "keywright.db-wal", "keywright.db-shm"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}

#[test]
fn an_installation_is_made_once_whole_and_before_it_is_served() {
    let directory = TempDir::new().unwrap();
    let mut file = SqliteFile::open(directory.path()).unwrap();
    let entropy: Arc<Counting> = Arc::default();
    let bad = vec![commit(vec![Change::OrgChanged(org(1))]), commit(vec![of_key(key(1, 9, 1))])];
    file.initialise(&installation(), &[], bad, &audit_key(), entropy.clone()).unwrap_err();
    assert_eq!(file.installation().unwrap(), None);
    let good = vec![commit(vec![Change::OrgChanged(org(1))])];
    file.initialise(&installation(), &[], good.clone(), &audit_key(), entropy.clone()).unwrap();
    let again = file.initialise(&installation(), &[], good, &audit_key(), entropy.clone()).unwrap_err();
    assert!(matches!(again, OpenError::State(_)), "{again}");
    let empty = TempDir::new().unwrap();
    let early = SqliteFile::open(empty.path()).unwrap().start(audit_key(), entropy);
    assert!(matches!(early, Err(OpenError::State(_))));
    assert!(matches!(SqliteReader::open(&empty.path().join("none")), Err(OpenError::Missing(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_whole_groups_and_loses_nothing() {
    let backend = SqliteBackend::new();
    let store: Arc<dyn Store> = backend.start_with_room(60);
    world(&store).await;
    let writers: Vec<_> = (1..=400)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (n, write(&store, vec![of_key(key(1, 1, n))]).await) })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            (n, Ok(committed)) => acknowledged.push((committed.batch.revision, n)),
            (_, Err(CommitError::Store(StoreError::Unavailable(_)))) => {}
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    acknowledged.sort();
    let revisions: Vec<u64> = acknowledged.iter().map(|(revision, _)| revision.0).collect();
    assert!(acknowledged.len() < 400, "the disk was never full");
    assert_eq!(revisions, (2..2 + acknowledged.len() as u64).collect::<Vec<_>>());
    // Reads go on, and so do writes that need no room.
    let used = [Use { key: KeyId::from_bits(1), secret: SecretId::from_bits(1), at: at(0) }];
    store.record_uses(&used).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().changes.len(), 5 + acknowledged.len());
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
    drop(store);
    let store = backend.open().await;
    for (_, n) in &acknowledged {
        assert!(stored_key(&store, *n).await.is_some());
    }
    let next = write(&store, vec![of_key(key(1, 1, 5_000))]).await.unwrap();
    assert_eq!(next.batch.revision.0, 2 + acknowledged.len() as u64);
}

/// A backup of two keys, after which the first was revoked and the second rotated.
async fn outdated() -> (SqliteBackend, TempDir) {
    let backend = SqliteBackend::new();
    let store = backend.start();
    let dynamic: Arc<dyn Store> = store.clone();
    world(&dynamic).await;
    write(&dynamic, (1..=3).map(|n| of_key(key(1, 1, n))).collect()).await.unwrap();
    let copy = TempDir::new().unwrap();
    let manifest = store.backup(copy.path().join("b"), at(5)).await.unwrap();
    assert_eq!((manifest.revision, manifest.created_at), (Revision(2), at(5)));
    assert_eq!(manifest.master_fingerprint, installation().master_fingerprint);
    let revoked = changed(stored_key(&dynamic, 1).await.unwrap(), |key| {
        key.revocation = Some(Revocation { at: at(6), by: Actor::Root, reason: None });
    });
    let rotated = changed(stored_key(&dynamic, 2).await.unwrap(), |key| {
        key.secrets[0].expires_at = Some(at(6));
        key.secrets.push(secret(20));
    });
    write(&dynamic, vec![of_key(revoked), of_key(rotated)]).await.unwrap();
    (backend, copy)
}

fn wanted(backend: &SqliteBackend, copy: &TempDir, revivals: Revivals) -> Restore {
    Restore {
        backup: copy.path().join("b"),
        directory: backend.0.path().to_owned(),
        incarnation: Incarnation(77),
        aside: "keywright.db.aside".to_owned(),
        now: at(10),
        revivals,
        lease_ms_max: 60_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_names_what_it_would_revive_and_refuses_until_told() {
    let (backend, copy) = outdated().await;
    let found = restore_check(&copy.path().join("b"), backend.0.path(), at(10)).unwrap();
    let ended: Vec<_> = found.iter().map(|revival| (revival.key.bits(), revival.ended)).collect();
    assert_eq!(ended, [(1, Ended::Revoked), (2, Ended::Superseded(SecretId::from_bits(2)))]);
    assert_eq!(found[0].name, "Key 1");
    // Until the overlap has passed, the older secret is good now too.
    assert_eq!(restore_check(&copy.path().join("b"), backend.0.path(), at(5)).unwrap().len(), 1);
    let refused = restore(&wanted(&backend, &copy, Revivals::Refuse)).unwrap_err();
    assert!(matches!(refused, BackupError::WouldRevive(2)), "{refused}");
    let store = backend.open().await;
    assert_eq!(store.head().await.unwrap(), Revision(3));
    let running = restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap_err();
    assert!(matches!(running, BackupError::Open(OpenError::InUse(_))), "{running}");
    drop(store);

    restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap();
    let store = backend.open().await;
    assert_eq!(store.installation().await.unwrap().incarnation, Incarnation(77));
    assert_eq!(store.head().await.unwrap(), Revision(2));
    assert!(stored_key(&store, 1).await.unwrap().revocation.is_none());
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
    let aside = SqliteReader::open_file(&backend.0.path().join("keywright.db.aside")).unwrap();
    assert_eq!(aside.installation().unwrap(), Some(installation()));
    let kept: i64 = aside.connection.query_row("SELECT revision FROM head", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_an_empty_directory_revives_nothing() {
    let (backend, copy) = outdated().await;
    let empty = TempDir::new().unwrap();
    let into = Restore { directory: empty.path().join("new"), ..wanted(&backend, &copy, Revivals::Refuse) };
    restore(&into).unwrap();
    let file = SqliteFile::open(&into.directory).unwrap();
    assert_eq!(file.installation().unwrap().unwrap().incarnation, Incarnation(77));
}

/// Whoever may hold a lease of a database: the life, how far it has come, and how long the lease is.
async fn leases(directory: &Path) -> Vec<(u128, MemberStatus, Revision, u64)> {
    let file = SqliteFile::open(directory).unwrap();
    let store = file.start(audit_key(), Arc::new(Counting::default())).unwrap();
    let known = SqliteMembers::of(store).await.unwrap().members().await.unwrap();
    known.iter().map(|one| (one.id.bits(), one.status, one.applied, one.lease_ms)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_waits_for_the_leases_that_were_given_since_the_backup() {
    let (backend, copy) = outdated().await;
    let members = SqliteMembers::of(backend.start()).await.unwrap();
    for number in 1..=3 {
        let (id, scope) = (NodeId::from_bits(number), None);
        let (address, version) = (String::new(), String::new());
        let life = NewMember { id, name: None, scope, lease_ms: 5_000, address, version };
        members.register(&life).await.unwrap();
    }
    members.go_live(NodeId::from_bits(1), Revision(3)).await.unwrap();
    members.go_live(NodeId::from_bits(2), Revision(3)).await.unwrap();
    members.bury(NodeId::from_bits(2)).await.unwrap();
    drop(members);
    restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap();
    // No revision of the other life counts as applied, and no lease is given to it any more.
    let carried = (1, MemberStatus::Fenced, Revision(0), 5_000);
    assert_eq!(leases(backend.0.path()).await, [carried]);
    // The same backup again: that database is of another life, and knows none of the first one's.
    restore(&Restore { aside: "keywright.db.again".to_owned(), ..wanted(&backend, &copy, Revivals::Accept) })
        .unwrap();
    let anybody = (77, MemberStatus::Fenced, Revision(0), 60_000);
    assert_eq!(leases(backend.0.path()).await, [anybody]);
    // Where nobody can say who holds one, somebody may.
    let empty = TempDir::new().unwrap();
    let into = Restore { directory: empty.path().join("new"), ..wanted(&backend, &copy, Revivals::Refuse) };
    restore(&into).unwrap();
    assert_eq!(leases(&into.directory).await, [anybody]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_beside_a_database_that_was_taken_away_is_not_played_into_the_restored_one() {
    let (backend, copy) = outdated().await;
    let (directory, store) = (backend.0.path(), backend.start());
    let wal = directory.join("keywright.db-wal");
    let dynamic: Arc<dyn Store> = store.clone();
    write(&dynamic, vec![of_key(key(1, 1, 50))]).await.unwrap();
    let log = std::fs::read(&wal).unwrap();
    drop((store, dynamic));
    std::fs::remove_file(directory.join(DATABASE)).unwrap();
    std::fs::write(&wal, &log).unwrap();
    std::fs::write(directory.join("keywright.db.restoring-journal"), b"of another restore").unwrap();
    restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap();
    assert_eq!(std::fs::read(directory.join("keywright.db.aside-wal")).unwrap(), log);
    let store = backend.open().await;
    assert_eq!(store.head().await.unwrap(), Revision(2));
    assert_eq!(store.installation().await.unwrap().incarnation, Incarnation(77));
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused() {
    let (backend, copy) = outdated().await;
    let database = copy.path().join("b").join(DATABASE);
    let whole = std::fs::read(&database).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..4096], &[], &flipped] {
        std::fs::write(&database, damaged).unwrap();
        let refused = restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap_err();
        assert!(matches!(refused, BackupError::Damaged(_)), "{refused}");
    }
    // With a manifest to match, the pages themselves are looked at.
    let mut torn = whole.clone();
    torn[8_192..16_384].fill(0xAA);
    std::fs::write(&database, &torn).unwrap();
    let manifest = copy.path().join("b/manifest.json");
    let digest = |bytes: &[u8]| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
    let text = std::fs::read_to_string(&manifest).unwrap().replace(&digest(&whole), &digest(&torn));
    std::fs::write(&manifest, text).unwrap();
    restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap_err();
    std::fs::write(&manifest, "{}").unwrap();
    let refused = restore(&wanted(&backend, &copy, Revivals::Accept)).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged(_)), "{refused}");
    assert_eq!(backend.open().await.head().await.unwrap(), Revision(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_one_moment_and_goes_nowhere_that_is_taken() {
    let backend = SqliteBackend::new();
    let store = backend.start();
    let dynamic: Arc<dyn Store> = store.clone();
    world(&dynamic).await;
    let writing = tokio::spawn({
        let store = Arc::clone(&dynamic);
        async move {
            for n in 1..=300 {
                write(&store, vec![of_key(key(1, 1, n))]).await.unwrap();
            }
        }
    });
    let copies = TempDir::new().unwrap();
    for round in 0..5 {
        let copy = copies.path().join(round.to_string());
        let manifest = store.backup(copy.clone(), at(0)).await.unwrap();
        let reader = SqliteReader::open(&copy).unwrap();
        let report = reader.audit_verify(&audit_key(), &mut |_, _| {}).unwrap();
        assert_eq!((report.findings, report.rows), (vec![], manifest.revision.0 + 4));
        let again = store.backup(copy, at(0)).await.unwrap_err();
        assert!(matches!(again, BackupError::Occupied(_)), "{again}");
    }
    writing.await.unwrap();
}

//! What stays in memory: never older than the disk, bounded, and found by its newest name.

use keywright_model::admin::{AdminActions, AdminRights, Reach};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyspaceId, OrgId, PrincipalId};
use keywright_model::key::Rights;

use super::*;
use crate::contract::Backend as _;
use crate::contract::fixture::{
    at, changed, commit, key, of_key, org, principal, secret, stored_key, world, write,
};
use crate::sqlite::tests::SqliteBackend;
use crate::{CommitError, Expect, InstallationChange, Store, StoreError};

fn touching(noun: NounRef) -> Touched {
    Touched { nouns: [(noun, None)].into(), ..Touched::default() }
}

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
    kept.settle(&Touched::default(), [&[renamed(1, "a")][..]].into_iter(), None);
    kept.settle(&Touched::default(), [&[renamed(1, "b")][..], &[renamed(2, "a")]].into_iter(), None);
    let ids = [named(&kept, "a"), named(&kept, "b"), named(&kept, "c")];
    assert_eq!(ids, [Some(OrgId::from_bits(2)), Some(OrgId::from_bits(1)), None]);
    kept.settle(&Touched::default(), [&[Change::OrgDeleted(OrgId::from_bits(2))][..]].into_iter(), None);
    assert_eq!(named(&kept, "a"), None);
    assert_eq!(kept.nouns(&[NounRef::Org(OrgId::from_bits(2))]), Some(vec![None]));
}

#[test]
fn nothing_is_answered_between_a_change_and_its_being_durable() {
    let kept = empty();
    kept.settle(&Touched::default(), [&[renamed(1, "a")][..]].into_iter(), None);
    kept.unsettle(&touching(NounRef::Org(OrgId::from_bits(1))));
    assert_eq!(kept.nouns(&[NounRef::Org(OrgId::from_bits(1))]), None);
    assert_eq!(kept.find(&[Lookup::OrgByName("a".to_owned())]), None);
    assert_eq!(kept.version(NounRef::Org(OrgId::from_bits(1))), Err(NotKept));
    assert_eq!(kept.installation(), None);
}

#[test]
fn a_kind_of_which_there_are_too_many_is_asked_of_the_database_and_the_others_are_not() {
    let kept = empty();
    let principals = |n: usize| (1..=n as u128).map(|n| Change::PrincipalChanged(principal(1, n)));
    let full: Vec<Change> = principals(KEPT_MAX).chain([renamed(1, "a")]).collect();
    kept.settle(&Touched::default(), [&full[..]].into_iter(), None);
    let one = [NounRef::Principal(PrincipalId::from_bits(1))];
    assert!(kept.nouns(&one).unwrap()[0].is_some());
    let more: Vec<Change> = principals(KEPT_MAX + 1).skip(KEPT_MAX).collect();
    kept.settle(&Touched::default(), [&more[..]].into_iter(), None);
    assert_eq!(kept.nouns(&one), None);
    assert_eq!(named(&kept, "a"), Some(OrgId::from_bits(1)));
    kept.settle(&Touched::default(), [&principals(2).collect::<Vec<_>>()[..]].into_iter(), None);
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
    let store: Arc<dyn Store> = backend.start_with_room(60);
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
    let by = |digest| crate::Commit { expect: vec![Expect::Root(digest)], ..commit(vec![renamed(2, "b")]) };
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
    let deleted =
        commit(vec![Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), KeyId::from_bits(9))]);
    store.commit(deleted).await.unwrap_err();
    let names = ["a", "b", "org-1"].map(|name| Lookup::OrgByName(name.to_owned()));
    let found = store.find(&names).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
}

const ONE: KeyId = KeyId::from_bits(1);

fn used(ms: i64) -> LastUsed {
    LastUsed { secrets: [(SecretId::from_bits(1), at(ms))].into() }
}

#[test]
fn a_key_that_is_being_written_is_asked_of_the_database() {
    let kept = empty();
    assert_eq!(kept.key(ONE), None);
    kept.settle(&Touched::default(), [&[of_key(key(1, 1, 1))][..]].into_iter(), None);
    assert_eq!(kept.key(ONE).as_deref(), Some(&key(1, 1, 1)));
    kept.unsettle(&touching(NounRef::Key(ONE)));
    assert_eq!(kept.key(ONE), None);
    assert_eq!(kept.nouns(&[NounRef::Key(ONE)]), None);
    assert!(kept.version(NounRef::Org(OrgId::from_bits(1))).is_ok(), "the rest stands still");
    let purged = Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), ONE);
    kept.settle(&touching(NounRef::Key(ONE)), [&[purged][..]].into_iter(), None);
    assert_eq!(kept.key(ONE), None);
}

#[test]
fn so_many_keys_are_kept_and_no_more() {
    let kept = empty();
    for n in 1..=(3 * KEYS_MAX as u128) {
        kept.settle(&Touched::default(), [&[of_key(key(1, 1, n))][..]].into_iter(), None);
        assert!(kept.read().keys.len() <= KEYS_MAX);
        assert!(kept.key(KeyId::from_bits(n)).is_some());
    }
}

#[test]
fn uses_that_were_read_before_others_were_written_down_are_not_kept() {
    let kept = empty();
    kept.settle(&Touched::default(), [&[of_key(key(1, 1, 1))][..]].into_iter(), None);
    let before = kept.key_and_uses(ONE).unwrap_err();
    kept.note_uses(before, ONE, &used(1));
    assert_eq!(kept.key_and_uses(ONE).unwrap().1, used(1));
    let written = Touched { uses: true, ..Touched::default() };
    kept.unsettle(&written);
    let during = kept.key_and_uses(ONE).unwrap_err();
    kept.note_uses(during, ONE, &used(1));
    assert_eq!(kept.key_and_uses(ONE), Err(during), "it may be of before, and others see what is after");
    kept.note_uses(before, ONE, &used(1));
    assert_eq!(kept.key_and_uses(ONE), Err(during));
    kept.note_uses(during, ONE, &used(1));
    kept.settle(&written, std::iter::empty(), None);
    kept.note_uses(during, ONE, &used(1));
    let after = kept.key_and_uses(ONE).unwrap_err();
    kept.note_uses(after, ONE, &used(2));
    assert_eq!(kept.key_and_uses(ONE).unwrap().1, used(2));
}

#[test]
fn what_is_known_of_a_keys_uses_stays_with_the_secrets_that_it_keeps() {
    let kept = empty();
    kept.settle(&Touched::default(), [&[of_key(key(1, 1, 1))][..]].into_iter(), None);
    kept.note_uses(kept.key_and_uses(ONE).unwrap_err(), ONE, &used(1));
    let renamed = changed(key(1, 1, 1), |key| key.spec.name = "b".to_owned());
    kept.unsettle(&touching(NounRef::Key(ONE)));
    kept.settle(&touching(NounRef::Key(ONE)), [&[of_key(renamed.clone())][..]].into_iter(), None);
    assert_eq!(kept.key_and_uses(ONE).unwrap(), (Arc::new(renamed.clone()), used(1)));
    let rotated = changed(renamed, |key| key.secrets = vec![secret(2)]);
    kept.settle(&touching(NounRef::Key(ONE)), [&[of_key(rotated)][..]].into_iter(), None);
    assert_eq!(kept.key_and_uses(ONE).unwrap().1, LastUsed::default());
}

fn by(digest: Digest) -> Lookup {
    Lookup::KeyByDigest(digest)
}

fn management(n: u128, digest: Digest) -> Arc<Key> {
    let mut key = key(1, 1, n);
    let mut own = secret(1);
    Arc::make_mut(own.material.as_mut().unwrap()).digest = Some(digest);
    key.secrets = vec![own];
    let admin = AdminRights { actions: AdminActions::default(), orgs: Reach::All, keyspaces: Reach::All };
    key.spec.rights = Rights::Management { admin, grantable: Vec::new() };
    Arc::new(key)
}

fn calls(kept: &Kept, digest: Digest) -> bool {
    kept.find(&[Lookup::KeyByDigest(digest)]).is_some()
}

#[test]
fn a_management_key_that_called_is_known_until_it_changes_and_no_other_key_is() {
    let (kept, digest, other) = (empty(), Digest([1; 32]), Digest([2; 32]));
    kept.note_caller(kept.asked_for_keys(), &by(digest), &management(1, digest));
    kept.note_caller(kept.asked_for_keys(), &by(other), &Arc::new(key(1, 1, 2)));
    assert!(calls(&kept, digest) && !calls(&kept, other));
    kept.unsettle(&touching(NounRef::Key(KeyId::from_bits(9))));
    assert!(calls(&kept, digest), "another key changes");
    kept.unsettle(&touching(NounRef::Key(KeyId::from_bits(1))));
    assert!(!calls(&kept, digest));
}

#[test]
fn a_caller_that_was_read_while_its_change_was_made_durable_is_not_noted() {
    let (kept, digest, touched) = (empty(), Digest([1; 32]), touching(NounRef::Key(KeyId::from_bits(1))));
    let before = kept.asked_for_keys();
    kept.unsettle(&touched);
    kept.note_caller(before, &by(digest), &management(1, digest));
    assert!(!calls(&kept, digest));
    let meanwhile = kept.asked_for_keys();
    kept.note_caller(meanwhile, &by(digest), &management(1, digest));
    kept.settle(&touched, std::iter::empty(), None);
    assert!(!calls(&kept, digest), "the read may have been of what was before");
    kept.note_caller(meanwhile, &by(digest), &management(1, digest));
    assert!(!calls(&kept, digest));
}

#[test]
fn a_key_that_was_written_lately_is_found_by_each_of_its_names_and_never_by_anothers() {
    let kept = empty();
    let key_with = |n: u128, name: &str| {
        let mut key = key(1, 1, n);
        (key.number, key.access_id, key.external_id) = (7, Some(name.to_owned()), Some(name.to_owned()));
        key
    };
    let names = |name: &str| {
        let name = || name.to_owned();
        let (org, keyspace) = (OrgId::from_bits(1), KeyspaceId::from_bits(1));
        [
            Lookup::KeyByNumber(org, 7),
            Lookup::KeyByAccessId(name()),
            Lookup::KeyByExternalId(keyspace, name()),
        ]
    };
    let found = |name| names(name).map(|lookup| kept.find(&[lookup]).map(|mut found| found.pop().flatten()));
    kept.settle(&Touched::default(), [&[of_key(key_with(1, "a"))][..]].into_iter(), None);
    let first = || Some(Some(Noun::Key(Arc::new(key_with(1, "a")))));
    assert_eq!(found("a"), [first(), first(), first()]);
    assert_eq!(found("b"), [first(), None, None]);
    let elsewhere = Lookup::KeyByExternalId(KeyspaceId::from_bits(2), "a".to_owned());
    assert_eq!(kept.find(&[elsewhere]), None);
    let purged = Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), ONE);
    kept.settle(&touching(NounRef::Key(ONE)), [&[purged][..]].into_iter(), None);
    assert_eq!(found("a"), [None, None, None]);
    let mut heir = key_with(2, "a");
    heir.number = 8;
    kept.settle(&Touched::default(), [&[of_key(heir.clone())][..]].into_iter(), None);
    let second = || Some(Some(Noun::Key(Arc::new(heir.clone()))));
    assert_eq!(found("a"), [None, second(), second()]);
}

#[test]
fn names_of_keys_are_bounded() {
    let kept = empty();
    let one = management(1, Digest([0; 32]));
    for n in 0..=2 * KEY_NAMES_MAX {
        let mut digest = Digest([0; 32]);
        digest.0[..8].copy_from_slice(&n.to_be_bytes());
        kept.note_caller(kept.asked_for_keys(), &by(digest), &one);
        assert!(kept.read().key_names.len() <= KEY_NAMES_MAX + 2);
        let number = Lookup::KeyByNumber(one.org, one.number);
        assert!(kept.find(&[number]).is_some(), "it is kept with its names");
    }
}

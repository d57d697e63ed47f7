//! What followers read.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, KeyspaceId, OrgId};
use keywright_model::revision::Revision;

use super::fixture::{
    at, changed, commit, installation, key, of_key, plan, role, secret, stored_key, world, write,
};
use crate::{Snapshot, Store};

pub async fn the_feed_resumes_after_what_was_seen(store: Arc<dyn Store>) {
    assert_eq!(store.batches_after(Revision(0), 10).await.unwrap(), Some(vec![]));
    world(&store).await;
    for n in 1..=5 {
        write(&store, vec![of_key(key(1, 1, n))]).await.unwrap();
    }
    let mut seen = Revision(0);
    let mut revisions = Vec::new();
    loop {
        let batches = store.batches_after(seen, 2).await.unwrap().unwrap();
        let Some(last) = batches.last() else { break };
        assert!(batches.len() <= 2);
        seen = last.revision;
        revisions.extend(batches.iter().map(|batch| batch.revision.0));
    }
    assert_eq!(revisions, [1, 2, 3, 4, 5, 6]);
    // A revision that was never made is of another life.
    assert_eq!(store.batches_after(Revision(7), 10).await.unwrap(), None);
}

pub async fn a_feed_that_was_cut_is_a_gap(store: Arc<dyn Store>) {
    world(&store).await;
    for n in 1..=3 {
        let mut later = commit(vec![of_key(key(1, 1, n))]);
        later.audit.at = at(i64::try_from(n).unwrap() * 10);
        store.commit(later).await.unwrap();
    }
    store.sweep(at(1_000), at(20)).await.unwrap();
    assert_eq!(store.batches_after(Revision(1), 10).await.unwrap(), None);
    assert_eq!(store.batches_after(Revision(2), 10).await.unwrap().unwrap().len(), 2);
    store.sweep(at(1_000), at(1_000)).await.unwrap();
    assert_eq!(store.batches_after(Revision(3), 10).await.unwrap(), None);
    assert_eq!(store.batches_after(Revision(4), 10).await.unwrap(), Some(vec![]));
    write(&store, vec![of_key(key(1, 1, 9))]).await.unwrap();
    assert_eq!(store.batches_after(Revision(4), 10).await.unwrap().unwrap().len(), 1);
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

pub async fn hints_come_in_commit_order(store: Arc<dyn Store>) {
    world(&store).await;
    let mut hints = store.committed();
    let written = (1..=40).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { write(&store, vec![of_key(key(1, 1, n))]).await.unwrap() })
    });
    let written: Vec<_> = written.collect();
    for revision in 2..=41 {
        assert_eq!(hints.recv().await.unwrap().unwrap().revision, Revision(revision));
    }
    for write in written {
        assert!(write.await.unwrap().batch.revision <= store.head().await.unwrap());
    }
}

/// What stands after a list of changes.
pub fn replay<'a>(changes: impl IntoIterator<Item = &'a Change>) -> BTreeMap<NounRef, Change> {
    let mut nouns = BTreeMap::new();
    for change in changes {
        match change.version() {
            Some(_) => drop(nouns.insert(change.noun(), change.clone())),
            None => drop(nouns.remove(&change.noun())),
        }
    }
    nouns
}

pub async fn a_snapshot_is_the_replay_of_the_feed(store: Arc<dyn Store>) {
    world(&store).await;
    let mut owned = key(1, 1, 7);
    owned.spec.roles = vec![role(1, 1).id];
    owned.spec.plans = vec![plan(1, 1).id];
    owned.spec.metadata.insert("note".to_owned(), serde_json::json!({"deep": [1, null, "ü"]}));
    owned.spec.description = Some("what it is for".to_owned());
    write(&store, vec![of_key(owned), of_key(key(1, 1, 8)), of_key(key(1, 1, 9))]).await.unwrap();
    let stored = stored_key(&store, 7).await.unwrap();
    let revoked = changed(stored, |key| {
        let reason = Some("leaked".to_owned());
        key.revocation = Some(keywright_model::key::Revocation {
            at: at(3),
            by: keywright_model::noun::Actor::Root,
            reason,
        });
    });
    write(&store, vec![of_key(revoked)]).await.unwrap();
    write(
        &store,
        vec![Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), KeyId::from_bits(9))],
    )
    .await
    .unwrap();
    let Snapshot { incarnation, revision, changes } = store.snapshot().await.unwrap();
    assert_eq!((incarnation, revision), (installation().incarnation, Revision(4)));
    let feed = store.batches_after(Revision(0), 100).await.unwrap().unwrap();
    assert_eq!(replay(&changes), replay(feed.iter().flat_map(|batch| &batch.changes)));
    let keys: Vec<bool> = changes.iter().map(|change| matches!(change, Change::KeyChanged(_))).collect();
    assert!(keys.is_sorted(), "keys come last");
}

pub async fn a_secret_let_go_since_comes_without_material(store: Arc<dyn Store>) {
    world(&store).await;
    write(&store, vec![of_key(key(1, 1, 7))]).await.unwrap();
    let rotated = changed(stored_key(&store, 7).await.unwrap(), |key| key.secrets = vec![secret(70)]);
    write(&store, vec![of_key(rotated)]).await.unwrap();
    let mut another = key(1, 1, 8);
    another.secrets = vec![secret(7)];
    write(&store, vec![of_key(another)]).await.unwrap();
    let feed = store.batches_after(Revision(1), 10).await.unwrap().unwrap();
    let material = |at: usize| match &feed[at].changes[0] {
        Change::KeyChanged(key) => key.secrets[0].material.is_some(),
        _ => panic!("a key was written"),
    };
    // What another key has taken since is that key's and not the first one's.
    assert_eq!((material(0), material(1), material(2)), (false, true, true));
}

//! What is there again after the process was.

use keywright_model::id::KeyId;
use keywright_model::revision::Revision;

use super::Backend;
use super::fixture::{at, commit, key, of_key, stored_key, world, wrapped, write};
use crate::QuotaSubject;

pub async fn a_restart_keeps_everything(backend: &dyn Backend) {
    let store = backend.open().await;
    world(&store).await;
    let mut create = commit(vec![of_key(key(1, 1, 7))]);
    create.wrapped_keys = vec![wrapped("data:x", 1)];
    store.commit(create).await.unwrap();
    let quota = QuotaSubject::Key(KeyId::from_bits(7));
    store.reserve_quota(quota, at(0), 6, 10).await.unwrap();
    let before =
        (store.snapshot().await.unwrap().changes, store.batches_after(Revision(0), 10).await.unwrap());
    let report = store.audit_verify().await.unwrap();
    drop(store);

    let store = backend.open().await;
    let after =
        (store.snapshot().await.unwrap().changes, store.batches_after(Revision(0), 10).await.unwrap());
    assert_eq!(after, before);
    assert_eq!(store.audit_verify().await.unwrap(), report);
    assert_eq!(store.keyring().await.unwrap().len(), 2);
    assert_eq!(store.reserve_quota(quota, at(0), 6, 10).await.unwrap().granted, 4);
}

pub async fn a_restart_goes_on_with_revisions_and_numbers(backend: &dyn Backend) {
    let store = backend.open().await;
    world(&store).await;
    write(&store, vec![of_key(key(1, 1, 7))]).await.unwrap();
    // What is pruned from the feed does not make revisions begin anew.
    store.sweep(at(1_000), at(1_000)).await.unwrap();
    drop(store);

    let store = backend.open().await;
    assert_eq!(store.head().await.unwrap(), Revision(2));
    let committed = write(&store, vec![of_key(key(1, 1, 8))]).await.unwrap();
    assert_eq!(committed.batch.revision, Revision(3));
    assert_eq!(stored_key(&store, 8).await.unwrap().number, 2);
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

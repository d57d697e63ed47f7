//! What takes no revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, PlanId, PrincipalId, SecretId};
use keywright_model::revision::Revision;
use keywright_model::seal::Sealed;
use tokio::task::JoinSet;

use super::fixture::{at, commit, installation, key, of_key, world, wrapped, write};
use crate::{IdempotentWrite, InstallationChange, QuotaBlock, QuotaSubject, Store, Use};

const MINE: QuotaSubject = QuotaSubject::Key(KeyId::from_bits(1));

pub async fn a_quota_never_gives_more_than_its_max(store: Arc<dyn Store>) {
    let mut takers = JoinSet::new();
    for _ in 0..32 {
        let store = Arc::clone(&store);
        takers.spawn(async move {
            let mut taken = 0;
            for _ in 0..8 {
                taken += store.reserve_quota(MINE, at(0), 7, 1_000).await.unwrap().granted;
            }
            taken
        });
    }
    assert_eq!(takers.join_all().await.iter().sum::<u64>(), 1_000);
    let empty = store.reserve_quota(MINE, at(0), 7, 1_000).await.unwrap();
    assert_eq!(empty, QuotaBlock { granted: 0, reserved: 1_000 });
    // A smaller quota than what was taken gives nothing and takes nothing back.
    assert_eq!(
        store.reserve_quota(MINE, at(0), 7, 10).await.unwrap(),
        QuotaBlock { granted: 0, reserved: 1_000 }
    );
    assert_eq!(store.head().await.unwrap(), Revision(0));
}

pub async fn quotas_of_two_periods_and_two_subjects_are_apart(store: Arc<dyn Store>) {
    let subjects = [
        MINE,
        QuotaSubject::Key(KeyId::from_bits(2)),
        QuotaSubject::Principal(PrincipalId::from_bits(1)),
        QuotaSubject::PlanOfKey(PlanId::from_bits(1), KeyId::from_bits(1)),
        QuotaSubject::PlanOfKey(PlanId::from_bits(1), KeyId::from_bits(2)),
    ];
    for subject in subjects {
        for period in [at(0), at(1), keywright_model::time::Timestamp::from_unix_ms(i64::MIN)] {
            let block = store.reserve_quota(subject, period, 9, 10).await.unwrap();
            assert_eq!(block, QuotaBlock { granted: 9, reserved: 9 }, "{subject:?} {period}");
        }
    }
}

pub async fn units_given_back_can_be_taken_again(store: Arc<dyn Store>) {
    store.reserve_quota(MINE, at(0), 10, 10).await.unwrap();
    store.return_quota(MINE, at(0), 4).await.unwrap();
    assert_eq!(
        store.reserve_quota(MINE, at(0), 9, 10).await.unwrap(),
        QuotaBlock { granted: 4, reserved: 10 }
    );
    // More than was taken cannot be given back.
    store.return_quota(MINE, at(0), u64::MAX).await.unwrap();
    assert_eq!(
        store.reserve_quota(MINE, at(0), 99, 10).await.unwrap(),
        QuotaBlock { granted: 10, reserved: 10 }
    );
}

pub async fn uses_are_kept_and_the_newest_counts(store: Arc<dyn Store>) {
    world(&store).await;
    write(&store, vec![of_key(key(1, 1, 7)), of_key(key(1, 1, 8))]).await.unwrap();
    let used =
        |key, secret, ms| Use { key: KeyId::from_bits(key), secret: SecretId::from_bits(secret), at: at(ms) };
    store.record_uses(&[used(7, 7, 20), used(7, 7, 10), used(9, 9, 5)]).await.unwrap();
    store.record_uses(&[used(7, 7, 15)]).await.unwrap();
    let ids = [KeyId::from_bits(8), KeyId::from_bits(7), KeyId::from_bits(9)];
    let found = store.last_used(&ids).await.unwrap();
    assert_eq!(found[1].secrets, BTreeMap::from([(SecretId::from_bits(7), at(20))]));
    assert_eq!((found[0].key(), found[1].key(), found[2].key()), (None, Some(at(20)), None));
    assert_eq!(store.head().await.unwrap(), Revision(2));
    // A later write of the key keeps what is known of its use.
    let stored = super::fixture::stored_key(&store, 7).await.unwrap();
    let renamed = super::fixture::changed(stored, |key| {
        key.spec.name = String::from("other");
        key.secrets[0].expires_at = Some(at(99));
    });
    write(&store, vec![of_key(renamed)]).await.unwrap();
    assert_eq!(store.last_used(&ids[1..2]).await.unwrap()[0].key(), Some(at(20)));
}

pub async fn the_installation_changes_whole_or_not_at_all(store: Arc<dyn Store>) {
    assert_eq!(store.installation().await.unwrap(), installation());
    let root = Some(Digest([1; 32]));
    store.reconfigure(InstallationChange::Root(root)).await.unwrap();
    store.reconfigure(InstallationChange::MasterExported(at(5))).await.unwrap();
    let now = store.installation().await.unwrap();
    assert_eq!((now.root_digest, now.master_exported_at), (root, Some(at(5))));

    let mut rewrapped = wrapped("pepper", 1);
    rewrapped.wrapped = Sealed { key_version: 2, bytes: vec![6; 40] };
    let rewrap =
        |keyring: Vec<_>| InstallationChange::Rewrap { keyring, master_fingerprint: "new".to_owned() };
    // A keyring that lacks a key would lose what it sealed.
    assert!(store.reconfigure(rewrap(vec![])).await.is_err());
    assert_eq!(store.keyring().await.unwrap(), vec![wrapped("pepper", 1)]);
    assert_eq!(store.installation().await.unwrap().master_fingerprint, installation().master_fingerprint);
    store.reconfigure(rewrap(vec![rewrapped.clone()])).await.unwrap();
    assert_eq!(store.keyring().await.unwrap(), vec![rewrapped]);
    let now = store.installation().await.unwrap();
    // What was exported is the master key before.
    assert_eq!((now.master_fingerprint.as_str(), now.master_exported_at), ("new", None));
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

pub async fn a_sweep_drops_what_has_run_out_and_nothing_else(store: Arc<dyn Store>) {
    world(&store).await;
    let mut create = commit(vec![of_key(key(1, 1, 7))]);
    create.idempotency = Some(IdempotentWrite {
        scope: [1; 32],
        request: [2; 32],
        secret: Some(Sealed { key_version: 1, bytes: vec![1] }),
        secret_until: at(10),
        until: at(20),
    });
    store.commit(create).await.unwrap();
    store.reserve_quota(MINE, at(0), 5, 10).await.unwrap();

    store.sweep(at(10), at(10)).await.unwrap();
    // The write before is gone from the feed, the one that a repeated call may be told is not.
    assert_eq!(store.batches_after(Revision(0), 9).await.unwrap(), None);
    let answer = store.idempotent_answer(&[1; 32], at(0)).await.unwrap().unwrap();
    assert_eq!((answer.secret, answer.changes.len()), (None, 1));

    store.sweep(at(20), at(20)).await.unwrap();
    assert_eq!(store.idempotent_answer(&[1; 32], at(0)).await.unwrap(), None);
    assert_eq!(store.batches_after(Revision(1), 9).await.unwrap(), None);
    assert_eq!(store.reserve_quota(MINE, at(0), 9, 10).await.unwrap().granted, 5);
    assert_eq!(store.snapshot().await.unwrap().changes.len(), 6);
}

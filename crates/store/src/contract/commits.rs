//! What a commit does.

use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, KeyspaceId, OrgId};
use keywright_model::noun::Actor;
use keywright_model::revision::{Revision, Version};
use keywright_model::seal::Sealed;
use tokio::task::JoinSet;

use super::fixture::{
    at, changed, commit, key, keyspace, of_key, org, plan, principal, role, secret, stored_key, world,
    wrapped, write,
};
use crate::{AuditQuery, CommitError, Expect, IdempotentWrite, Lookup, Store};

pub fn whole_audit(org: u128) -> AuditQuery {
    let org = OrgId::from_bits(org);
    AuditQuery {
        org,
        before: None,
        limit: 1_000,
        subject: None,
        actor: None,
        verb: None,
        since: None,
        until: None,
    }
}

pub async fn a_commit_shows_in_the_rows_in_the_audit_and_in_the_feed(store: Arc<dyn Store>) {
    world(&store).await;
    let committed = write(&store, vec![of_key(key(1, 1, 7))]).await.unwrap();
    assert_eq!((committed.batch.revision, store.head().await.unwrap()), (Revision(2), Revision(2)));
    let stored = stored_key(&store, 7).await.unwrap();
    assert_eq!(of_key(stored), committed.batch.changes[0]);
    let feed = store.batches_after(Revision(1), 10).await.unwrap().unwrap();
    assert_eq!(feed, vec![(*committed.batch).clone()]);
    let audit = store.audit_page(&whole_audit(1)).await.unwrap();
    let entry = &audit.items[0];
    assert_eq!((entry.number, entry.revision, entry.version), (6, Some(Revision(2)), Some(Version(1))));
    assert_eq!((entry.actor, entry.wire.as_str(), entry.verb.as_str()), (Actor::Root, "rest", "key.update"));
    assert_eq!((entry.address.as_deref(), entry.request_id.as_deref()), (Some("10.1.2.3"), Some("req_1")));
    let Change::KeyChanged(key) = &committed.batch.changes[0] else { panic!("a key was committed") };
    assert_eq!(entry.after, Some(serde_json::to_value(key).unwrap()));
    assert_eq!(entry.subject, key.id.to_string());
}

pub async fn a_commit_with_one_bad_change_leaves_nothing_behind(store: Arc<dyn Store>) {
    world(&store).await;
    let mut good = key(1, 1, 7);
    good.access_id = Some("first".to_owned());
    let mut bad = key(1, 1, 8);
    bad.access_id = Some("first".to_owned());
    let refused = write(&store, vec![of_key(good.clone()), of_key(bad)]).await;
    assert!(matches!(refused, Err(CommitError::Taken("access_id"))), "{refused:?}");
    assert_eq!(stored_key(&store, 7).await, None);
    assert_eq!(store.head().await.unwrap(), Revision(1));
    assert_eq!(store.batches_after(Revision(1), 10).await.unwrap(), Some(vec![]));
    assert_eq!(store.audit_page(&whole_audit(1)).await.unwrap().items.len(), 5);
    let committed = write(&store, vec![of_key(good)]).await.unwrap();
    let Change::KeyChanged(key) = &committed.batch.changes[0] else { panic!("a key was committed") };
    assert_eq!((committed.batch.revision, key.number), (Revision(2), 1));
}

pub async fn numbers_count_per_organization_and_are_never_reused(store: Arc<dyn Store>) {
    world(&store).await;
    write(&store, vec![Change::OrgChanged(org(2)), Change::KeyspaceChanged(keyspace(2, 2))]).await.unwrap();
    write(&store, vec![of_key(key(1, 1, 1)), of_key(key(1, 1, 2))]).await.unwrap();
    write(&store, vec![of_key(key(2, 2, 3))]).await.unwrap();
    write(
        &store,
        vec![Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), KeyId::from_bits(2))],
    )
    .await
    .unwrap();
    write(&store, vec![of_key(key(1, 1, 4)), Change::RoleChanged(role(1, 2))]).await.unwrap();
    let mut numbers = Vec::new();
    for n in [1, 3, 4] {
        numbers.push(stored_key(&store, n).await.unwrap().number);
    }
    assert_eq!(numbers, [1, 1, 3]);
    let found = store.find(&[Lookup::RoleByNumber(OrgId::from_bits(1), 2)]).await.unwrap();
    assert!(found[0].is_some());
}

pub async fn a_number_given_by_the_caller_is_kept(store: Arc<dyn Store>) {
    world(&store).await;
    let mut given = key(1, 1, 1);
    given.number = 3_245;
    write(&store, vec![of_key(given)]).await.unwrap();
    write(&store, vec![of_key(key(1, 1, 2))]).await.unwrap();
    assert_eq!(stored_key(&store, 1).await.unwrap().number, 3_245);
    assert_eq!(stored_key(&store, 2).await.unwrap().number, 3_246);
    let mut last = key(1, 1, 3);
    last.number = (1 << 31) - 1;
    write(&store, vec![of_key(last)]).await.unwrap();
    let refused = write(&store, vec![of_key(key(1, 1, 4))]).await;
    assert!(matches!(refused, Err(CommitError::NumbersExhausted)), "{refused:?}");
}

pub async fn revisions_are_gapless_and_in_commit_order_under_many_writers(store: Arc<dyn Store>) {
    world(&store).await;
    let mut hints = store.committed();
    let mut writers = JoinSet::new();
    for writer in 0..32_u128 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..8_u128 {
                let bits = 1_000 + writer * 8 + n;
                // Every fourth commit is refused, and must take no revision.
                let home = if n % 4 == 3 { 99 } else { 1 };
                let written = write(&store, vec![of_key(key(1, home, bits))]).await;
                assert_eq!(written.is_ok(), home == 1, "{written:?}");
            }
        });
    }
    writers.join_all().await;
    let batches = store.batches_after(Revision(1), 1_000).await.unwrap().unwrap();
    let revisions: Vec<u64> = batches.iter().map(|batch| batch.revision.0).collect();
    assert_eq!(revisions, (2..2 + 32 * 6).collect::<Vec<_>>());
    for batch in batches {
        assert_eq!(hints.recv().await.unwrap().as_deref(), Some(&batch));
    }
    let report = store.audit_verify().await.unwrap();
    assert_eq!((report.entries, report.findings), (5 + 32 * 6, vec![]));
}

pub async fn a_commit_without_changes_takes_no_revision_and_leaves_an_entry(store: Arc<dyn Store>) {
    world(&store).await;
    let mut hints = store.committed();
    let mut reveal = commit(vec![]);
    reveal.audit.verb = "key.reveal";
    reveal.audit.subject = NounRef::Key(KeyId::from_bits(7));
    let committed = store.commit(reveal).await.unwrap();
    assert_eq!((committed.batch.revision, committed.batch.changes.len()), (Revision(1), 0));
    let audit = store.audit_page(&whole_audit(1)).await.unwrap();
    assert_eq!((audit.items[0].verb.as_str(), audit.items[0].revision), ("key.reveal", None));
    assert_eq!((audit.items[0].number, audit.items[0].after.as_ref()), (6, None));
    assert!(hints.try_recv().is_err());
}

pub async fn the_order_of_changes_does_not_matter(store: Arc<dyn Store>) {
    let mut used = key(1, 1, 7);
    used.spec.roles = vec![role(1, 1).id];
    used.spec.owner = Some(principal(1, 1).id);
    let changes = vec![
        of_key(used.clone()),
        Change::PrincipalChanged(principal(1, 1)),
        Change::RoleChanged(role(1, 1)),
        Change::KeyspaceChanged(keyspace(1, 1)),
        Change::OrgChanged(org(1)),
    ];
    let committed = write(&store, changes).await.unwrap();
    assert!(matches!(committed.batch.changes[0], Change::KeyChanged(_)));
    let freed = changed(used, |key| {
        key.spec.roles.clear();
        key.number = 1;
    });
    let gone = vec![Change::RoleDeleted(OrgId::from_bits(1), role(1, 1).id), of_key(freed)];
    write(&store, gone).await.unwrap();
    assert_eq!(
        store.find(&[Lookup::RoleByName(OrgId::from_bits(1), "role 1".to_owned())]).await.unwrap(),
        [None]
    );
}

pub async fn a_dropped_secret_is_gone_and_a_kept_one_keeps_its_material(store: Arc<dyn Store>) {
    world(&store).await;
    let mut two = key(1, 1, 7);
    two.secrets.push(secret(8));
    write(&store, vec![of_key(two)]).await.unwrap();
    let mut blind = stored_key(&store, 7).await.unwrap();
    blind.secrets.remove(0);
    for secret in &mut blind.secrets {
        secret.material = None;
    }
    let committed = write(&store, vec![of_key(changed(blind, |key| key.spec.name = String::from("other")))])
        .await
        .unwrap();
    let stored = stored_key(&store, 7).await.unwrap();
    assert_eq!(stored.secrets, vec![secret(8)]);
    assert_eq!(committed.batch.changes[0], of_key(stored));
    let digest = |n| Lookup::KeyByDigest(secret(n).material.unwrap().digest.unwrap());
    let found = store.find(&[digest(7), digest(8)]).await.unwrap();
    assert_eq!((found[0].is_some(), found[1].is_some()), (false, true));
    let stolen = write(
        &store,
        vec![of_key({
            let mut thief = key(1, 1, 9);
            thief.secrets = vec![secret(8)];
            thief
        })],
    );
    assert!(matches!(stolen.await, Err(CommitError::Taken("secret"))));
}

fn call(scope: u8) -> IdempotentWrite {
    IdempotentWrite {
        scope: [scope; 32],
        request: [7; 32],
        secret: Some(Sealed { key_version: 2, bytes: vec![1, 2, 3] }),
        secret_until: at(900),
        until: at(86_400),
    }
}

pub async fn a_repeated_call_is_told_what_it_was_answered(store: Arc<dyn Store>) {
    world(&store).await;
    let mut create = commit(vec![of_key(key(1, 1, 7))]);
    create.idempotency = Some(call(1));
    let committed = store.commit(create.clone()).await.unwrap();
    create.changes = vec![of_key(key(1, 1, 8))];
    let repeated = store.commit(create.clone()).await;
    assert!(matches!(repeated, Err(CommitError::Repeated)), "{repeated:?}");
    assert_eq!(stored_key(&store, 8).await, None);

    let answer = store.idempotent_answer(&[1; 32], at(899)).await.unwrap().unwrap();
    assert_eq!((answer.request, answer.revision), ([7; 32], committed.batch.revision));
    assert_eq!(answer.subject, NounRef::Key(KeyId::from_bits(7)));
    assert_eq!(answer.secret, call(1).secret);
    let Change::KeyChanged(then) = &answer.changes[0] else { panic!("a key was made") };
    assert_eq!((then.number, then.secrets[0].material.is_none()), (1, true));
    let later = store.idempotent_answer(&[1; 32], at(900)).await.unwrap().unwrap();
    assert_eq!(later.secret, None);
    assert_eq!(store.idempotent_answer(&[1; 32], at(86_400)).await.unwrap(), None);

    create.audit.at = at(86_400);
    store.commit(create).await.unwrap();
    assert!(stored_key(&store, 8).await.is_some());
}

pub async fn a_refused_commit_is_not_remembered(store: Arc<dyn Store>) {
    world(&store).await;
    let mut refused = commit(vec![of_key(key(1, 1, 7))]);
    refused.idempotency = Some(call(1));
    refused.expect = vec![Expect::Version(NounRef::Key(KeyId::from_bits(7)), Version(1))];
    refused.wrapped_keys = vec![wrapped("data:x", 1)];
    assert!(store.commit(refused).await.is_err());
    assert_eq!(store.idempotent_answer(&[1; 32], at(0)).await.unwrap(), None);
    assert_eq!(store.keyring().await.unwrap(), vec![wrapped("pepper", 1)]);
}

pub async fn a_wrapped_key_comes_with_its_commit_and_is_never_overwritten(store: Arc<dyn Store>) {
    let mut first = commit(vec![Change::OrgChanged(org(1)), Change::PlanChanged(plan(1, 1))]);
    first.wrapped_keys = vec![wrapped("data:x", 1)];
    store.commit(first.clone()).await.unwrap();
    assert_eq!(store.keyring().await.unwrap(), vec![wrapped("data:x", 1), wrapped("pepper", 1)]);
    let again = store.commit(first).await;
    assert!(matches!(again, Err(CommitError::Taken("wrapped key"))), "{again:?}");
}

pub async fn a_purged_key_is_gone_with_its_secrets(store: Arc<dyn Store>) {
    world(&store).await;
    let mut named = key(1, 1, 7);
    named.external_id = Some("theirs".to_owned());
    named.spec.labels.insert("team".to_owned(), "fleet".to_owned());
    write(&store, vec![of_key(named.clone())]).await.unwrap();
    let purged = Change::KeyPurged(OrgId::from_bits(1), KeyspaceId::from_bits(1), KeyId::from_bits(7));
    write(&store, vec![purged.clone()]).await.unwrap();
    assert_eq!(stored_key(&store, 7).await, None);
    let digest = secret(7).material.unwrap().digest.unwrap();
    assert_eq!(store.find(&[Lookup::KeyByDigest(digest)]).await.unwrap(), [None]);
    assert!(matches!(write(&store, vec![purged]).await, Err(CommitError::Conflict(_))));
    // Its name and its secret are free again.
    named.id = KeyId::from_bits(8);
    write(&store, vec![of_key(named)]).await.unwrap();
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

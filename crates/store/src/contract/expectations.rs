//! What a commit relies on, and what refuses it.

use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::{Key, Revocation};
use keywright_model::noun::Actor;
use keywright_model::revision::{Revision, Version};

use super::fixture::{
    ROOT_DIGEST, at, changed, commit, key, keyspace, of_key, org, plan, principal, role, stored_key, world,
    write,
};
use crate::{CommitError, Expect, Store};

async fn expecting(store: &Arc<dyn Store>, expect: Expect) -> Result<Revision, CommitError> {
    let mut harmless = commit(vec![Change::OrgChanged(org(1))]);
    harmless.expect = vec![expect];
    store.commit(harmless).await.map(|committed| committed.batch.revision)
}

pub async fn another_version_is_a_conflict(store: Arc<dyn Store>) {
    world(&store).await;
    write(&store, vec![of_key(key(1, 1, 7))]).await.unwrap();
    let nouns = [
        NounRef::Key(KeyId::from_bits(7)),
        NounRef::Org(OrgId::from_bits(1)),
        NounRef::Keyspace(KeyspaceId::from_bits(1)),
        NounRef::Role(RoleId::from_bits(1)),
        NounRef::Plan(PlanId::from_bits(1)),
        NounRef::Principal(PrincipalId::from_bits(1)),
    ];
    for noun in nouns {
        expecting(&store, Expect::Version(noun, Version(1))).await.unwrap();
        let other = expecting(&store, Expect::Version(noun, Version(2))).await;
        assert!(matches!(other, Err(CommitError::Conflict(named)) if named == noun), "{other:?}");
    }
    let stored = stored_key(&store, 7).await.unwrap();
    write(&store, vec![of_key(changed(stored, |key| key.spec.enabled = false))]).await.unwrap();
    let now = Expect::Version(NounRef::Key(KeyId::from_bits(7)), Version(2));
    expecting(&store, now).await.unwrap();
    let gone = Expect::Version(NounRef::Key(KeyId::from_bits(8)), Version(1));
    assert!(matches!(expecting(&store, gone).await, Err(CommitError::Conflict(_))));
}

pub async fn what_should_be_absent_must_be(store: Arc<dyn Store>) {
    world(&store).await;
    expecting(&store, Expect::Absent(NounRef::Role(RoleId::from_bits(2)))).await.unwrap();
    let there = expecting(&store, Expect::Absent(NounRef::Role(RoleId::from_bits(1)))).await;
    assert!(matches!(there, Err(CommitError::Conflict(_))), "{there:?}");
}

pub async fn another_key_of_an_owner_is_a_conflict(store: Arc<dyn Store>) {
    world(&store).await;
    let owner = PrincipalId::from_bits(1);
    let owns = async |keys: u64| {
        for other in (0..4).filter(|other| *other != keys) {
            let refused = expecting(&store, Expect::Owns(owner, other)).await;
            let about = NounRef::Principal(owner);
            assert!(matches!(refused, Err(CommitError::Conflict(noun)) if noun == about), "{refused:?}");
        }
        expecting(&store, Expect::Owns(owner, keys)).await.unwrap();
    };
    owns(0).await;
    let its_key = |number: u128| {
        let mut key = key(1, 1, number);
        key.spec.owner = Some(owner);
        key
    };
    write(&store, vec![of_key(its_key(7)), of_key(key(1, 1, 8))]).await.unwrap();
    owns(1).await;
    write(&store, vec![of_key(its_key(9))]).await.unwrap();
    owns(2).await;
    // Given to it.
    let eight = stored_key(&store, 8).await.unwrap();
    write(&store, vec![of_key(changed(eight, |key| key.spec.owner = Some(owner)))]).await.unwrap();
    owns(3).await;
    // A key that is switched off can be switched on; a revoked one is gone for ever.
    let seven = stored_key(&store, 7).await.unwrap();
    write(&store, vec![of_key(changed(seven, |key| key.spec.enabled = false))]).await.unwrap();
    owns(3).await;
    let nine = stored_key(&store, 9).await.unwrap();
    let revoked = Revocation { at: at(5), by: Actor::Root, reason: None };
    write(&store, vec![of_key(changed(nine, |key| key.revocation = Some(revoked)))]).await.unwrap();
    owns(2).await;
    // What the commit brings itself is not what it relies on.
    let mut bringing = commit(vec![of_key(its_key(10))]);
    bringing.expect = vec![Expect::Owns(owner, 2)];
    store.commit(bringing).await.unwrap();
    owns(3).await;
    let nobody = expecting(&store, Expect::Owns(PrincipalId::from_bits(99), 1)).await;
    assert!(matches!(nobody, Err(CommitError::Conflict(_))), "{nobody:?}");
}

/// A key that refers to all that a key can refer to.
fn referring() -> Key {
    let mut key = key(1, 1, 7);
    key.spec.owner = Some(PrincipalId::from_bits(1));
    key.spec.roles = vec![RoleId::from_bits(1)];
    key.spec.plans = vec![PlanId::from_bits(1)];
    key
}

pub async fn what_is_referred_to_cannot_go(store: Arc<dyn Store>) {
    world(&store).await;
    let one = OrgId::from_bits(1);
    let deletions = [
        Change::PrincipalDeleted(one, PrincipalId::from_bits(1)),
        Change::PlanDeleted(one, PlanId::from_bits(1)),
        Change::RoleDeleted(one, RoleId::from_bits(1)),
        Change::KeyspaceDeleted(one, KeyspaceId::from_bits(1)),
        Change::OrgDeleted(one),
    ];
    // A hidden key counts until it is purged.
    let hidden = Key { deleted_at: Some(at(5)), ..referring() };
    write(&store, vec![of_key(hidden)]).await.unwrap();
    for deletion in &deletions {
        let noun = deletion.noun();
        let refused = expecting(&store, Expect::Unused(noun)).await;
        assert!(matches!(refused, Err(CommitError::InUse(named)) if named == noun), "{refused:?}");
        let refused = write(&store, vec![deletion.clone()]).await;
        assert!(matches!(refused, Err(CommitError::InUse(named)) if named == noun), "{refused:?}");
    }
    write(&store, vec![Change::KeyPurged(one, KeyspaceId::from_bits(1), KeyId::from_bits(7))]).await.unwrap();
    for deletion in &deletions {
        if !matches!(deletion, Change::OrgDeleted(_)) {
            expecting(&store, Expect::Unused(deletion.noun())).await.unwrap();
        }
        write(&store, vec![deletion.clone()]).await.unwrap();
        let again = write(&store, vec![deletion.clone()]).await;
        assert!(matches!(again, Err(CommitError::Conflict(_))), "{again:?}");
    }
    assert_eq!(store.snapshot().await.unwrap().changes, vec![]);
    assert_eq!(store.audit_verify().await.unwrap().findings, vec![]);
}

pub async fn what_is_referred_to_must_be_there(store: Arc<dyn Store>) {
    world(&store).await;
    let missing = |noun: NounRef, key: Key| (noun, of_key(key));
    let with = |change: fn(&mut Key)| {
        let mut key = referring();
        change(&mut key);
        key
    };
    let owner = with(|key| key.spec.owner = Some(PrincipalId::from_bits(9)));
    let dangling = [
        missing(NounRef::Principal(PrincipalId::from_bits(9)), owner),
        missing(NounRef::Role(RoleId::from_bits(9)), with(|key| key.spec.roles.push(RoleId::from_bits(9)))),
        missing(NounRef::Plan(PlanId::from_bits(9)), with(|key| key.spec.plans.push(PlanId::from_bits(9)))),
        missing(
            NounRef::Keyspace(KeyspaceId::from_bits(9)),
            with(|key| key.keyspace = KeyspaceId::from_bits(9)),
        ),
        (NounRef::Org(OrgId::from_bits(9)), Change::PlanChanged(plan(9, 2))),
        (NounRef::Org(OrgId::from_bits(9)), Change::RoleChanged(role(9, 2))),
        (NounRef::Org(OrgId::from_bits(9)), Change::KeyspaceChanged(keyspace(9, 2))),
    ];
    for (noun, change) in dangling {
        let refused = write(&store, vec![change]).await;
        assert!(
            matches!(refused, Err(CommitError::DanglingReference(named)) if named == noun),
            "{refused:?}"
        );
    }
    let mut keen = (*principal(1, 2)).clone();
    keen.spec.roles = vec![RoleId::from_bits(9)];
    let refused = write(&store, vec![Change::PrincipalChanged(Arc::new(keen))]).await;
    assert!(matches!(refused, Err(CommitError::DanglingReference(NounRef::Role(_)))), "{refused:?}");
    assert_eq!(store.head().await.unwrap(), Revision(1));
    // The same by an update of what is there.
    write(&store, vec![of_key(referring())]).await.unwrap();
    let stored = stored_key(&store, 7).await.unwrap();
    let moved = changed(stored, |key| key.spec.owner = Some(PrincipalId::from_bits(9)));
    let refused = write(&store, vec![of_key(moved)]).await;
    assert!(matches!(refused, Err(CommitError::DanglingReference(NounRef::Principal(_)))), "{refused:?}");
}

pub async fn another_root_key_is_found(store: Arc<dyn Store>) {
    expecting(&store, Expect::Root(ROOT_DIGEST)).await.unwrap();
    let other = expecting(&store, Expect::Root(Digest([8; 32]))).await;
    assert!(matches!(other, Err(CommitError::RootChanged)), "{other:?}");
    store.reconfigure(crate::InstallationChange::Root(None)).await.unwrap();
    let disabled = expecting(&store, Expect::Root(ROOT_DIGEST)).await;
    assert!(matches!(disabled, Err(CommitError::RootChanged)), "{disabled:?}");
}

pub async fn what_is_taken_cannot_be_taken_again(store: Arc<dyn Store>) {
    world(&store).await;
    let mut named = key(1, 1, 7);
    (named.access_id, named.external_id) = (Some("access".to_owned()), Some("theirs".to_owned()));
    write(&store, vec![of_key(named)]).await.unwrap();
    let renamed = |mut key: Key, access: Option<&str>, external: Option<&str>, number| {
        (key.access_id, key.external_id) = (access.map(str::to_owned), external.map(str::to_owned));
        key.number = number;
        of_key(key)
    };
    let mut same_org = (*org(2)).clone();
    same_org.spec.name = String::from("org-1");
    let mut same_space = (*keyspace(1, 2)).clone();
    same_space.spec.name = String::from("keyspace-1");
    let mut same_role = (*role(1, 2)).clone();
    same_role.spec.name = String::from("role 1");
    let mut same_plan = (*plan(1, 2)).clone();
    same_plan.spec.name = String::from("plan 1");
    let mut same_user = (*principal(1, 2)).clone();
    same_user.spec.external_id = Some("user_1".to_owned());
    let clashes = [
        ("name", Change::OrgChanged(Arc::new(same_org))),
        ("name", Change::KeyspaceChanged(Arc::new(same_space))),
        ("name", Change::RoleChanged(Arc::new(same_role))),
        ("name", Change::PlanChanged(Arc::new(same_plan))),
        ("external_id", Change::PrincipalChanged(Arc::new(same_user))),
        ("access_id", renamed(key(1, 1, 8), Some("access"), None, 0)),
        ("external_id", renamed(key(1, 1, 8), None, Some("theirs"), 0)),
        ("number", renamed(key(1, 1, 8), None, None, 1)),
    ];
    for (word, change) in clashes {
        let refused = write(&store, vec![change]).await;
        assert!(matches!(refused, Err(CommitError::Taken(taken)) if taken == word), "{word}: {refused:?}");
    }
    // An external id counts in its keyspace only.
    write(&store, vec![Change::KeyspaceChanged(keyspace(1, 2))]).await.unwrap();
    write(&store, vec![renamed(key(1, 2, 8), None, Some("theirs"), 0)]).await.unwrap();
}

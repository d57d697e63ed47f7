//! Random writes: what is stored is what a map says, and is the same after the database was opened again.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::key::Key;
use keywright_model::revision::Revision;
use proptest::prelude::*;

use super::tests::SqliteBackend;
use crate::contract::Backend as _;
use crate::contract::feed::replay;
use crate::contract::fixture::{at, commit, key, of_key, principal, role, secret, world};
use crate::{CommitError, Noun};

/// One change of a small world, so that changes meet.
#[derive(Clone, Debug)]
enum Step {
    Write {
        key: u128,
        name: String,
        role: bool,
        owner: bool,
        label: Option<String>,
        secrets: Vec<u128>,
        hidden: bool,
    },
    Purge(u128),
    Role(bool),
    Owner {
        there: bool,
        role: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop::option::of("[a-zA-Zéß]{0,4}");
    let secrets = prop::collection::btree_set(0_u128..3, 0..3).prop_map(|set| set.into_iter().collect());
    let write = (1_u128..5, "[a-z\u{0}-\u{7f}ü]{1,5}", any::<[bool; 3]>(), text, secrets);
    prop_oneof![
        6 => write.prop_map(|(key, name, [role, owner, hidden], label, secrets)| {
            Step::Write { key, name, role, owner, label, secrets, hidden }
        }),
        1 => (1_u128..5).prop_map(Step::Purge),
        1 => any::<bool>().prop_map(Step::Role),
        1 => any::<[bool; 2]>().prop_map(|[there, role]| Step::Owner { there, role }),
    ]
}

fn change(step: &Step, known: &BTreeMap<NounRef, Change>) -> Change {
    let one = OrgId::from_bits(1);
    match step {
        Step::Write { key: n, name, role, owner, label, secrets, hidden } => {
            let mut new = key(1, 1, *n);
            if let Some(Change::KeyChanged(stored)) = known.get(&NounRef::Key(new.id)) {
                new = Key { meta: stored.meta.changed(at(1), stored.meta.updated_by), ..new };
            }
            new.spec.name.clone_from(name);
            new.spec.roles = if *role { vec![RoleId::from_bits(2)] } else { vec![] };
            new.spec.plans = if *role { vec![PlanId::from_bits(1)] } else { vec![] };
            new.spec.owner = owner.then_some(PrincipalId::from_bits(2));
            new.spec.labels = label.iter().map(|label| (label.clone(), name.clone())).collect();
            new.secrets = secrets.iter().map(|at| secret(n * 10 + at)).collect();
            new.deleted_at = hidden.then(|| at(3));
            of_key(new)
        }
        Step::Purge(n) => Change::KeyPurged(one, KeyspaceId::from_bits(1), KeyId::from_bits(*n)),
        Step::Role(true) => Change::RoleChanged(role(1, 2)),
        Step::Role(false) => Change::RoleDeleted(one, RoleId::from_bits(2)),
        Step::Owner { there: true, role } => {
            let mut owner = (*principal(1, 2)).clone();
            owner.spec.roles = if *role { vec![RoleId::from_bits(2)] } else { vec![] };
            Change::PrincipalChanged(Arc::new(owner))
        }
        Step::Owner { there: false, .. } => Change::PrincipalDeleted(one, PrincipalId::from_bits(2)),
    }
}

fn noun_of(change: &Change) -> Noun {
    match change.clone() {
        Change::OrgChanged(org) => Noun::Org(Arc::unwrap_or_clone(org)),
        Change::KeyspaceChanged(keyspace) => Noun::Keyspace(Arc::unwrap_or_clone(keyspace)),
        Change::PrincipalChanged(principal) => Noun::Principal(Arc::unwrap_or_clone(principal)),
        Change::RoleChanged(role) => Noun::Role(Arc::unwrap_or_clone(role)),
        Change::PlanChanged(plan) => Noun::Plan(Arc::unwrap_or_clone(plan)),
        Change::KeyChanged(key) => Noun::Key(key),
        gone => panic!("{gone:?}"),
    }
}

async fn run(batches: Vec<Vec<Step>>) -> Result<(), TestCaseError> {
    let backend = SqliteBackend::new();
    let store = backend.open().await;
    world(&store).await;
    let mut model = replay(&store.snapshot().await.unwrap().changes);
    let mut revision = 1;
    for steps in batches {
        let mut changes: Vec<Change> = Vec::new();
        for step in &steps {
            let change = change(step, &model);
            if !changes.iter().any(|other| other.noun() == change.noun()) {
                changes.push(change);
            }
        }
        match store.commit(commit(changes)).await {
            Ok(committed) => {
                revision += 1;
                prop_assert_eq!(committed.batch.revision, Revision(revision));
                for change in &committed.batch.changes {
                    match change.version() {
                        Some(_) => drop(model.insert(change.noun(), change.clone())),
                        None => drop(model.remove(&change.noun())),
                    }
                }
            }
            Err(CommitError::Conflict(_) | CommitError::InUse(_) | CommitError::DanglingReference(_)) => {}
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
        prop_assert_eq!(&replay(&store.snapshot().await.unwrap().changes), &model);
        // And so says every noun by itself, which may come from memory.
        let asked: Vec<NounRef> = steps.iter().map(|step| change(step, &model).noun()).collect();
        for noun in asked.iter().chain(model.keys()) {
            let found = store.nouns(&[*noun]).await.unwrap().pop().flatten();
            prop_assert_eq!(found, model.get(noun).map(noun_of), "{}", noun);
        }
    }
    let report = store.audit_verify().await.unwrap();
    prop_assert_eq!(&report.findings, &vec![]);
    let feed = store.batches_after(Revision(0), 1_000).await.unwrap();
    drop(store);
    let store = backend.open().await;
    prop_assert_eq!(&replay(&store.snapshot().await.unwrap().changes), &model);
    prop_assert_eq!(store.batches_after(Revision(0), 1_000).await.unwrap(), feed);
    prop_assert_eq!(store.audit_verify().await.unwrap(), report);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_stored_is_what_was_committed(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..16)
    ) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap().block_on(run(batches))?;
    }
}

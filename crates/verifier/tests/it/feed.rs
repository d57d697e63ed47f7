//! The index by feed is the index by snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::id::{KeyId, PrincipalId};
use keywright_model::key::{Key, Revocation};
use keywright_model::noun::Actor;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::{Gap, Lease, Verifier};
use proptest::prelude::*;

use crate::fixture::*;

/// What happens to one of a handful of keys.
#[derive(Clone, Debug)]
enum Step {
    Rotate(u128),
    Forget(u128),
    Disable(u128),
    Revoke(u128),
    Own(u128),
    Purge(u128),
    Owner(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 1..12_u128;
    prop_oneof![
        4 => key.clone().prop_map(Step::Rotate),
        1 => key.clone().prop_map(Step::Forget),
        1 => key.clone().prop_map(Step::Disable),
        1 => key.clone().prop_map(Step::Revoke),
        1 => key.clone().prop_map(Step::Own),
        1 => key.prop_map(Step::Purge),
        1 => any::<bool>().prop_map(Step::Owner),
    ]
}

/// The naive index: what there is, by key.
#[derive(Default)]
struct Nouns {
    keys: BTreeMap<u128, Key>,
    owner: Option<bool>,
}

impl Nouns {
    fn step(&mut self, step: &Step) -> Change {
        let edit = |keys: &mut BTreeMap<u128, Key>, n: u128, edit: &dyn Fn(&mut Key)| {
            let key = keys.entry(n).or_insert_with(|| key(n));
            edit(key);
            Change::KeyChanged(Arc::new(key.clone()))
        };
        match *step {
            Step::Rotate(n) => edit(&mut self.keys, n, &|key| {
                let next = key.secrets.last().map_or(1, |last| (last.id.bits() & 0xFFFF) + 1);
                key.secrets
                    .iter_mut()
                    .for_each(|old| old.expires_at = Some(now(10 * u64::try_from(next).unwrap()).wall));
                key.secrets.push(secret(n, next));
            }),
            Step::Forget(n) => edit(&mut self.keys, n, &|key| {
                if key.secrets.len() > 1 {
                    key.secrets.remove(0);
                }
            }),
            Step::Disable(n) => edit(&mut self.keys, n, &|key| key.spec.enabled = false),
            Step::Revoke(n) => edit(&mut self.keys, n, &|key| {
                key.revocation = Some(Revocation { at: at(1), by: Actor::Root, reason: None });
            }),
            Step::Own(n) => edit(&mut self.keys, n, &|key| key.spec.owner = Some(PrincipalId::from_bits(1))),
            Step::Purge(n) => {
                self.keys.remove(&n);
                Change::KeyPurged(ORG, KEYSPACE, KeyId::from_bits(n))
            }
            Step::Owner(enabled) => {
                self.owner = Some(enabled);
                principal(1, |spec| spec.enabled = enabled)
            }
        }
    }

    fn snapshot(&self) -> Vec<Change> {
        let owner = self.owner.map(|enabled| principal(1, |spec| spec.enabled = enabled));
        let keys = self.keys.values().map(|key| Change::KeyChanged(Arc::new(key.clone())));
        tenancy().into_iter().chain(owner).chain(keys).collect()
    }
}

fn answers(verifier: &Verifier) -> Vec<String> {
    let secrets = (1..12).flat_map(|key| (1..20).map(move |nth| secret_of(key, nth)));
    secrets
        .map(|text| {
            let verdict = ask(verifier, &text, &plain(), now(55));
            let found =
                verdict.key.map(|key| (key.id(), key.secret_id(), key.secret_status(), key.owner_id()));
            format!("{text} {:?} {found:?}", verdict.denial)
        })
        .collect()
}

proptest! {
    #[test]
    fn the_index_by_feed_is_the_index_by_snapshot(steps in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..20)) {
        let followed = loaded([]);
        let mut nouns = Nouns::default();
        for (nth, steps) in steps.iter().enumerate() {
            let changes = steps.iter().map(|step| nouns.step(step)).collect();
            followed.apply(&batch(nth as u64 + 2, changes)).unwrap();
        }
        let fresh = verifier_with(Lease::embedded());
        fresh.load(nouns.snapshot(), followed.revision(), Incarnation(1));
        prop_assert_eq!(answers(&followed), answers(&fresh));
        prop_assert_eq!(followed.size().secrets, fresh.size().secrets);
        // Loading the same again on top changes nothing either.
        followed.load(nouns.snapshot(), followed.revision(), Incarnation(1));
        prop_assert_eq!(answers(&followed), answers(&fresh));
    }
}

#[test]
fn a_batch_seen_before_is_skipped_and_a_missing_one_is_an_error() {
    let verifier = loaded([key_with(1, |_| ())]);
    let disabled = |revision| batch(revision, vec![key_with(1, |key| key.spec.enabled = false)]);
    assert_eq!(verifier.apply(&disabled(1)), Ok(()));
    assert!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).allowed);
    assert_eq!(verifier.apply(&disabled(3)), Err(Gap { have: Revision(1), got: Revision(3) }));
    assert!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).allowed);
    assert_eq!(verifier.apply(&disabled(2)), Ok(()));
    let verdict = ask(&verifier, &secret_of(1, 1), &plain(), now(0));
    assert_eq!((verdict.allowed, verdict.revision), (false, Revision(2)));
}

#[test]
fn nothing_is_applied_before_a_load() {
    let verifier = verifier_with(Lease::embedded());
    assert_eq!(verifier.apply(&batch(1, vec![])), Err(Gap { have: Revision(0), got: Revision(1) }));
}

#[test]
fn a_load_drops_what_the_snapshot_does_not_have() {
    let verifier = loaded([key_with(1, |_| ()), key_with(2, |_| ())]);
    verifier.load(tenancy().into_iter().chain([key_with(2, |_| ())]), Revision(9), Incarnation(2));
    assert!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).key.is_none());
    assert!(ask(&verifier, &secret_of(2, 1), &plain(), now(0)).allowed);
    assert_eq!(verifier.position().unwrap().incarnation, Incarnation(2));
}

#[test]
fn uses_are_drained_once_and_survive_edits() {
    let verifier = loaded((1..200).map(|n| key_with(n, |_| ())));
    for n in [3, 150] {
        ask(&verifier, &secret_of(n, 1), &plain(), now(5));
    }
    verifier.apply(&batch(2, vec![key_with(3, |key| key.spec.enabled = false)])).unwrap();
    // A denied call is no use.
    ask(&verifier, &secret_of(3, 1), &plain(), now(9));
    let mut uses = Vec::new();
    verifier.drain_uses(&mut |used| uses.push((used.key.bits(), used.at)));
    uses.sort_unstable();
    assert_eq!(uses, [(3, now(5).wall), (150, now(5).wall)]);
    verifier.drain_uses(&mut |used| panic!("drained twice: {used:?}"));
    ask(&verifier, &secret_of(150, 1), &plain(), now(6));
    let mut again = 0;
    verifier.drain_uses(&mut |_| again += 1);
    assert_eq!(again, 1);
}

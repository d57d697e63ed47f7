//! Limits: the bound, all or nothing, and what edits keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keywright_model::change::Change;
use keywright_model::denial::Denial;
use keywright_model::id::{PlanId, PrincipalId};
use keywright_model::limit::Limit;
use keywright_model::noun::{Plan, PlanSpec};
use keywright_verifier::{Now, Request, Verifier};

use crate::fixture::*;

pub(crate) fn plan(n: u128, limits: Vec<Limit>) -> Change {
    let spec = PlanSpec { name: format!("plan {n}"), limits, quota: None };
    Change::PlanChanged(Arc::new(Plan { id: PlanId::from_bits(n), org: ORG, spec, meta: meta() }))
}

fn cost(verifier: &Verifier, key: u128, cost: u64, now: Now) -> Option<Denial> {
    ask(verifier, &secret_of(key, 1), &Request { cost, ..plain() }, now).denial
}

fn remaining(verifier: &Verifier, key: u128, now: Now) -> Vec<(String, u64)> {
    let verdict = ask(verifier, &secret_of(key, 1), &Request { cost: 0, ..plain() }, now);
    verdict.limits.iter().map(|state| (state.name.to_string(), state.remaining)).collect()
}

fn left(verifier: &Verifier, now: Now) -> u64 {
    remaining(verifier, 1, now)[0].1
}

#[test]
fn a_key_its_plans_and_its_owner_all_count() {
    let verifier = loaded([
        plan(1, vec![limit("plan", 5, 1)]),
        principal(1, |spec| spec.limits = vec![limit("owner", 6, 1)]),
        key_with(1, |key| {
            key.spec.limits = vec![limit("own", 4, 1)];
            key.spec.plans = vec![PlanId::from_bits(1)];
            key.spec.owner = Some(PrincipalId::from_bits(1));
        }),
        key_with(2, |key| {
            key.spec.plans = vec![PlanId::from_bits(1)];
            key.spec.owner = Some(PrincipalId::from_bits(1));
        }),
    ]);
    assert_eq!(cost(&verifier, 1, 3, now(0)), None);
    let named = |name: &str, left| (name.to_owned(), left);
    assert_eq!(remaining(&verifier, 1, now(0)), [named("own", 1), named("plan", 2), named("owner", 3)]);
    // Plans count each key apart, owners all their keys together.
    assert_eq!(remaining(&verifier, 2, now(0)), [named("plan", 5), named("owner", 3)]);
    assert_eq!(cost(&verifier, 2, 4, now(0)), Some(Denial::RateLimited));
    assert_eq!(
        remaining(&verifier, 2, now(0)),
        [named("plan", 5), named("owner", 3)],
        "nothing was consumed"
    );
}

#[test]
fn a_cost_above_the_limit_never_fits_and_a_cost_of_nothing_always_does() {
    let verifier = loaded([key_with(1, |key| key.spec.limits = vec![limit("burst", 3, 1)])]);
    assert_eq!(cost(&verifier, 1, 4, now(0)), Some(Denial::RateLimited));
    assert_eq!(cost(&verifier, 1, u64::MAX, now(0)), Some(Denial::RateLimited));
    assert_eq!(cost(&verifier, 1, 3, now(0)), None);
    assert_eq!(cost(&verifier, 1, 0, now(0)), None);
    let verdict = ask(&verifier, &secret_of(1, 1), &plain(), now(0));
    assert_eq!((verdict.denial, verdict.retry_ms), (Some(Denial::RateLimited), Some(334)));
    assert_eq!(cost(&verifier, 1, 1, now(334)), None);
}

#[test]
fn an_edit_keeps_what_was_consumed() {
    let own = |max, name: &'static str| {
        key_with(1, move |key| {
            key.spec.limits = vec![limit("burst", max, 10)];
            key.spec.name = name.to_owned();
        })
    };
    let verifier = loaded([own(10, "a")]);
    assert_eq!(cost(&verifier, 1, 6, now(0)), None);
    verifier.apply(&batch(2, vec![own(10, "b")])).unwrap();
    assert_eq!(left(&verifier, now(0)), 4);
    verifier.apply(&batch(3, vec![own(20, "b")])).unwrap();
    assert_eq!(left(&verifier, now(0)), 14);
    verifier.apply(&batch(4, vec![own(8, "b")])).unwrap();
    verifier.apply(&batch(5, vec![own(7, "b")])).unwrap();
    assert_eq!(left(&verifier, now(0)), 1);
    // Less than what was consumed is none left, and the rest comes back at the new pace.
    verifier.apply(&batch(6, vec![own(5, "b")])).unwrap();
    assert_eq!(left(&verifier, now(0)), 0);
    assert_eq!(left(&verifier, now(2_000)), 1);
    verifier.load(
        tenancy().into_iter().chain([own(5, "c")]),
        keywright_model::revision::Revision(9),
        keywright_model::revision::Incarnation(1),
    );
    assert_eq!(left(&verifier, now(2_000)), 1);
}

#[test]
fn a_rotation_keeps_what_was_consumed_and_a_new_limit_begins_full() {
    let rotated = |limits: &'static [(&'static str, u64)], secrets: u128| {
        key_with(1, move |key| {
            key.spec.limits = limits.iter().map(|(name, max)| limit(name, *max, 86_400)).collect();
            key.secrets.extend((2..=secrets).map(|nth| secret(1, nth)));
        })
    };
    let verifier = loaded([rotated(&[("burst", 10)], 1)]);
    assert_eq!(cost(&verifier, 1, 4, now(0)), None);
    verifier.apply(&batch(2, vec![rotated(&[("burst", 10)], 2)])).unwrap();
    assert_eq!(left(&verifier, now(0)), 6);
    let second = Request { cost: 1, ..plain() };
    assert!(ask(&verifier, &secret_of(1, 2), &second, now(0)).allowed);
    assert_eq!(left(&verifier, now(0)), 5, "its secrets count together");
    verifier.apply(&batch(3, vec![rotated(&[("burst", 10)], 1)])).unwrap();
    assert_eq!(left(&verifier, now(0)), 5);
    verifier.apply(&batch(4, vec![rotated(&[("burst", 10), ("other", 9)], 1)])).unwrap();
    let named = |name: &str, left| (name.to_owned(), left);
    assert_eq!(remaining(&verifier, 1, now(0)), [named("burst", 5), named("other", 9)]);
    verifier.apply(&batch(5, vec![rotated(&[], 1)])).unwrap();
    verifier.apply(&batch(6, vec![rotated(&[("new", 3)], 1)])).unwrap();
    assert_eq!(remaining(&verifier, 1, now(0)), [named("new", 3)]);
}

#[test]
fn a_plan_may_grow_without_its_keys_being_touched() {
    let names = ["a", "b", "c", "d", "e"];
    let limits = |count: usize| names[..count].iter().map(|name| limit(name, 10, 1)).collect::<Vec<_>>();
    let verifier =
        loaded([plan(1, limits(1)), key_with(1, |key| key.spec.plans = vec![PlanId::from_bits(1)])]);
    assert_eq!(cost(&verifier, 1, 4, now(0)), None);
    verifier.apply(&batch(2, vec![plan(1, limits(5))])).unwrap();
    assert_eq!(cost(&verifier, 1, 1, now(0)), None);
    let left: Vec<u64> = remaining(&verifier, 1, now(0)).into_iter().map(|(_, left)| left).collect();
    assert_eq!(left, [5, 9, 9, 9, 9]);
    // Another order is no change.
    let mut turned = limits(5);
    turned.reverse();
    verifier.apply(&batch(3, vec![plan(1, turned)])).unwrap();
    let left: Vec<u64> = remaining(&verifier, 1, now(0)).into_iter().map(|(_, left)| left).collect();
    assert_eq!(left, [9, 9, 9, 9, 5]);
}

#[test]
fn under_contention_nothing_is_consumed_unless_all_holds() {
    let verifier = loaded([key_with(1, |key| {
        key.spec.limits = vec![limit("wide", 100_000, 86_400), limit("narrow", 700, 86_400)];
    })]);
    let allowed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if cost(&verifier, 1, 1, now(0)).is_none() {
                        allowed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(allowed.into_inner(), 700);
    let left: Vec<u64> = remaining(&verifier, 1, now(0)).into_iter().map(|(_, left)| left).collect();
    assert_eq!(left, [100_000 - 700, 0]);
}

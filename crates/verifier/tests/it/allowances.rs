//! Limits that nodes share: units given ahead of use, and what they survive.

use keywright_model::denial::Denial;
use keywright_model::id::{PlanId, PrincipalId};
use keywright_model::limit::Period;
use keywright_model::revision::{Incarnation, Revision};
use keywright_verifier::{AllowanceNeed, Counting, Credential, Decided, Deferred, Lease, Request, Verifier};

use crate::fixture::*;
use crate::spending::plan;

fn shared(changes: impl IntoIterator<Item = keywright_model::change::Change>) -> Verifier {
    let verifier = verifier_with(Lease::embedded()).share_limits();
    verifier.load(tenancy().into_iter().chain(changes), Revision(1), Incarnation(1));
    verifier
}

fn decide(verifier: &Verifier, key: u128, cost: u64) -> Decided {
    verifier.verify(&Credential::Bearer(&secret_of(key, 1)), &Request { cost, ..plain() }, now(0))
}

#[track_caller]
fn needs(verifier: &Verifier, key: u128, cost: u64) -> Vec<AllowanceNeed> {
    match decide(verifier, key, cost) {
        Decided::Deferred(Deferred::Allowances(needs)) => needs,
        other => panic!("nothing needed: {other:?}"),
    }
}

/// Gives what is needed and some more of each limit.
fn give(verifier: &Verifier, needs: &[AllowanceNeed], more: u64) {
    for need in needs {
        assert!(verifier.credit_allowance(&need.cell, need.cost + more, now(0).boot_ns / 1_000_000));
    }
}

#[track_caller]
fn denial(verifier: &Verifier, key: u128, cost: u64) -> Option<Denial> {
    verdict(decide(verifier, key, cost)).denial
}

#[test]
fn every_limit_of_the_key_its_plans_and_its_owner_is_asked_for_at_once() {
    let verifier = shared([
        plan(1, vec![limit("plan", 100, 1)]),
        principal(1, |spec| spec.limits = vec![limit("owner", 100, 1)]),
        key_with(1, |key| {
            key.spec.owner = Some(PrincipalId::from_bits(1));
            key.spec.plans = vec![PlanId::from_bits(1)];
            key.spec.limits = vec![limit("a", 100, 60), limit("b", 7, 1), limit("c", 100, 1)];
        }),
    ]);
    let asked = needs(&verifier, 1, 3);
    let shown: Vec<_> = asked.iter().map(|need| (&*need.meter.name, need.max, need.per_seconds)).collect();
    assert_eq!(shown, [("a", 100, 60), ("b", 7, 1), ("c", 100, 1), ("plan", 100, 1), ("owner", 100, 1)]);
    give(&verifier, &asked[..4], 0);
    let missing = needs(&verifier, 1, 3);
    assert_eq!((missing.len(), &*missing[0].meter.name), (1, "owner"));
    give(&verifier, &missing, 1);
    assert_eq!(denial(&verifier, 1, 3), None);
    // Everything is spent but one unit of the owner's; a refusal of one limit spends none of the others.
    assert_eq!(needs(&verifier, 1, 1).len(), 4);
    give(&verifier, &asked[1..4], 5);
    verifier.refuse_allowance(&asked[0].cell, 1, now(40).boot_ns / 1_000_000);
    let refused = verdict(decide(&verifier, 1, 1));
    assert_eq!((refused.denial, refused.retry_ms), (Some(Denial::RateLimited), Some(40)));
    assert!(asked[1..4].iter().all(|need| verifier.allowance(&need.cell) == 8));
    assert_eq!(denial(&verifier, 1, 8), Some(Denial::RateLimited), "more than `b` ever admits");
}

#[test]
fn a_key_without_limits_needs_nothing_and_a_question_without_cost_neither() {
    let verifier = shared([key_with(1, |key| key.spec.limits = vec![limit("l", 5, 1)]), key_with(2, |_| {})]);
    assert_eq!((denial(&verifier, 2, 1), denial(&verifier, 1, 0)), (None, None));
}

#[test]
fn a_limit_is_asked_about_before_a_quota_is_said_to_be_used_up() {
    let verifier = shared([key_with(1, |key| {
        key.spec.limits = vec![limit("l", 50, 1)];
        key.spec.quota = Some(quota(5, Period::Day));
    })]);
    let asked = needs(&verifier, 1, 9);
    verifier.refuse_allowance(&asked[0].cell, 9, now(40).boot_ns / 1_000_000);
    assert_eq!(denial(&verifier, 1, 9), Some(Denial::RateLimited));
    verifier.forget_refusal(&asked[0].cell);
    give(&verifier, &needs(&verifier, 1, 9), 0);
    assert_eq!(denial(&verifier, 1, 9), Some(Denial::QuotaExceeded));
    assert_eq!(verifier.allowance(&asked[0].cell), 9);
}

#[test]
fn units_go_along_with_an_edit_and_can_be_spent_from_one_place_only() {
    let own = |max, name: &'static str, secrets: u128| {
        key_with(1, move |key| {
            key.spec.limits = vec![limit("burst", max, 10)];
            key.spec.name = name.to_owned();
            key.secrets.extend((2..=secrets).map(|nth| secret(1, nth)));
        })
    };
    let verifier = shared([own(10, "a", 1)]);
    let in_seat = needs(&verifier, 1, 1);
    give(&verifier, &in_seat, 3);
    verifier.apply(&batch(2, vec![own(10, "b", 1)])).unwrap();
    assert_eq!(denial(&verifier, 1, 1), None);
    // A second secret moves the counter out of the seat.
    verifier.apply(&batch(3, vec![own(10, "b", 2)])).unwrap();
    assert_eq!((denial(&verifier, 1, 2), verifier.allowance(&in_seat[0].cell)), (None, 0));
    let moved = needs(&verifier, 1, 2);
    assert_eq!(moved[0].meter, in_seat[0].meter, "to the limiter it is the same limit");
    give(&verifier, &moved, 0);
    // Other numbers: what was given counts as used.
    verifier.apply(&batch(4, vec![own(20, "b", 2)])).unwrap();
    assert_eq!(needs(&verifier, 1, 1)[0].max, 20);
    assert!(!verifier.credit_allowance(&moved[0].cell, 5, 0), "the old counter is gone");
}

#[test]
fn what_is_taken_out_is_spent_no_more() {
    let verifier = shared([key_with(1, |key| key.spec.limits = vec![limit("l", 50, 1)])]);
    let asked = needs(&verifier, 1, 1);
    give(&verifier, &asked, 9);
    assert_eq!(
        (verifier.take_allowance(&asked[0].cell, 4), verifier.take_allowance(&asked[0].cell, 4)),
        (6, 0)
    );
    assert_eq!((denial(&verifier, 1, 4), needs(&verifier, 1, 1).len()), (None, 1));
    give(&verifier, &asked, 1);
    assert_eq!(verifier.refuse_allowance(&asked[0].cell, 9, now(9).boot_ns / 1_000_000), 2);
    assert_eq!(verifier.take_allowance(&asked[0].cell, 0), 0, "a refusal holds nothing");
}

#[test]
fn each_answer_says_who_counts() {
    let verifier = shared([key_with(1, |key| key.spec.limits = vec![limit("l", 50, 1)])]);
    for counting in [Counting::Node, Counting::Nobody, Counting::Refusing, Counting::Installation] {
        verifier.set_counting(counting);
        let verdict = verdict(decide(&verifier, 1, 0));
        assert_eq!(verdict.limits.iter().next().unwrap().counting, counting);
    }
}

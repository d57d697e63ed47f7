//! Quotas: never over, whatever happens to the blocks.

use std::collections::HashMap;
use std::sync::Mutex;

use keywright_model::denial::Denial;
use keywright_model::id::PrincipalId;
use keywright_model::limit::Period;
use keywright_verifier::{
    Credential, Decided, Deferred, Now, QuotaBlock, QuotaSubject, Request, Verdict, Verifier, block_units,
};
use proptest::prelude::*;

use crate::fixture::*;

/// What the store does: reserves durably, never beyond the maximum.
#[derive(Default)]
struct Reservations(Mutex<HashMap<(QuotaSubject, i64), u64>>);

impl Reservations {
    fn reserve(&self, block: &QuotaBlock) -> (u64, u64) {
        let mut all = self.0.lock().unwrap();
        let reserved = all.entry((block.subject, block.period.start.unix_ms())).or_default();
        let granted = block.units.min(block.max.saturating_sub(*reserved));
        *reserved += granted;
        (granted, *reserved)
    }

    fn give_back(&self, verifier: &Verifier) {
        for unspent in verifier.unspent_quota() {
            let mut all = self.0.lock().unwrap();
            *all.get_mut(&(unspent.subject, unspent.period_start.unix_ms())).unwrap() -= unspent.units;
        }
    }
}

/// What the server does: fetch and ask again.
fn serve(verifier: &Verifier, store: &Reservations, key: u128, cost: u64, now: Now) -> Verdict {
    for _ in 0..1_000 {
        match verifier.verify(&Credential::Bearer(&secret_of(key, 1)), &Request { cost, ..plain() }, now) {
            Decided::Deferred(Deferred::QuotaBlock(block)) if block.lead => {
                let (granted, reserved) = store.reserve(&block);
                verifier.credit_quota(&block, granted, reserved);
            }
            Decided::Deferred(_) => std::thread::yield_now(),
            decided => return verdict(decided),
        }
    }
    panic!("deferred for ever");
}

#[test]
fn a_quota_admits_exactly_what_was_bought() {
    let verifier = loaded([key_with(1, |key| key.spec.quota = Some(quota(250, Period::Day)))]);
    let store = Reservations::default();
    for used in 1..=250 {
        let verdict = serve(&verifier, &store, 1, 1, now(0));
        assert_eq!((verdict.allowed, verdict.quota.unwrap().remaining), (true, 250 - used));
    }
    let verdict = serve(&verifier, &store, 1, 1, now(0));
    assert_eq!((verdict.denial, verdict.quota.unwrap().remaining), (Some(Denial::QuotaExceeded), 0));
    // Twelve hours later it is another day.
    let tomorrow = now(12 * 3_600_000);
    let verdict = serve(&verifier, &store, 1, 1, tomorrow);
    assert_eq!((verdict.allowed, verdict.quota.unwrap().remaining), (true, 249));
    assert_eq!(verdict.quota.unwrap().resets_at, Some(now(36 * 3_600_000).wall));
}

#[test]
fn what_an_orderly_shutdown_gives_back_can_be_spent_again() {
    let store = Reservations::default();
    let start = || loaded([key_with(1, |key| key.spec.quota = Some(quota(500, Period::None)))]);
    let mut admitted = 0;
    for _ in 0..1_000 {
        let verifier = start();
        admitted += u64::from(serve(&verifier, &store, 1, 1, now(0)).allowed);
        store.give_back(&verifier);
    }
    assert_eq!(admitted, 500);
}

#[test]
fn a_crash_loses_at_most_a_block() {
    let store = Reservations::default();
    let mut admitted = 0;
    for _ in 0..10 {
        let verifier = loaded([key_with(1, |key| key.spec.quota = Some(quota(1_000, Period::Month)))]);
        admitted += (0..50).filter(|_| serve(&verifier, &store, 1, 1, now(0)).allowed).count();
    }
    // Each of ten lives took five blocks of ten units and lost none of them, or one.
    assert_eq!(admitted, 500);
    assert_eq!(block_units(1_000, 1), 10);
    assert_eq!((block_units(5, 1), block_units(1 << 40, 1), block_units(1_000, 70)), (1, 1_000, 70));
}

#[test]
fn an_edit_of_the_maximum_counts_at_once_and_keeps_what_was_spent() {
    let with = |max| key_with(1, move |key| key.spec.quota = Some(quota(max, Period::Day)));
    let verifier = loaded([with(100)]);
    let store = Reservations::default();
    assert!(serve(&verifier, &store, 1, 60, now(0)).allowed);
    verifier.apply(&batch(2, vec![with(61)])).unwrap();
    assert!(serve(&verifier, &store, 1, 1, now(0)).allowed);
    assert_eq!(serve(&verifier, &store, 1, 1, now(0)).denial, Some(Denial::QuotaExceeded));
    verifier.apply(&batch(3, vec![with(70)])).unwrap();
    assert_eq!(serve(&verifier, &store, 1, 0, now(0)).quota.unwrap().remaining, 9);
}

#[test]
fn only_one_of_those_who_wait_fetches_and_another_one_may_after_it_failed() {
    let verifier = loaded([key_with(1, |key| key.spec.quota = Some(quota(100, Period::Day)))]);
    let text = secret_of(1, 1);
    let block = |at: Now| match verifier.verify(&Credential::Bearer(&text), &plain(), at) {
        Decided::Deferred(Deferred::QuotaBlock(block)) => block,
        other => panic!("not deferred: {other:?}"),
    };
    let first = block(now(0));
    assert!(first.lead && !block(now(0)).lead && !block(now(4_999)).lead && block(now(5_000)).lead);
    verifier.release_quota(&first);
    assert!(block(now(1)).lead);
}

proptest! {
    #[test]
    fn never_over_whatever_the_order_of_costs_crashes_and_periods(
        max in 1..300_u64, steps in prop::collection::vec((0..20_u64, 0..10_u8), 1..150),
    ) {
        let store = Reservations::default();
        let start = || loaded([
            principal(1, |spec| spec.quota = Some(quota(max, Period::Day))),
            key_with(1, |key| key.spec.owner = Some(PrincipalId::from_bits(1))),
            key_with(2, |key| key.spec.owner = Some(PrincipalId::from_bits(1))),
        ]);
        let (mut verifier, mut spent, mut hours) = (start(), HashMap::<u64, u64>::new(), 0);
        for (cost, event) in steps {
            match event {
                0 => verifier = start(),
                1 => { store.give_back(&verifier); verifier = start(); }
                2 => hours += 7,
                _ => {}
            }
            let at = now(hours * 3_600_000);
            if serve(&verifier, &store, 1 + u128::from(cost % 2), cost, at).allowed {
                *spent.entry((hours + 12) / 24).or_default() += cost;
            }
        }
        prop_assert!(spent.values().all(|spent| *spent <= max), "{spent:?} of {max}");
    }
}

#[test]
fn under_contention_a_quota_and_a_limit_stay_in_step() {
    let verifier = loaded([key_with(1, |key| {
        key.spec.quota = Some(quota(900, Period::Day));
        key.spec.limits = vec![limit("burst", 600, 86_400)];
    })]);
    let store = Reservations::default();
    let allowed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..500).filter(|_| serve(&verifier, &store, 1, 1, now(0)).allowed).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(allowed, 600);
    assert_eq!(serve(&verifier, &store, 1, 0, now(0)).quota.unwrap().remaining, 300);
}

use proptest::prelude::*;

use super::*;

fn limit(max: u64, per_seconds: u32) -> CompiledLimit {
    CompiledLimit::new(&Limit { name: "l".to_owned(), max, per_seconds })
}

fn admits(cell: &LimitCell, limit: &CompiledLimit, cost: u64, now_ns: u64) -> bool {
    limit.charge(cost).is_some_and(|charge| cell.cell().take(limit, charge, ticks(now_ns)).is_ok())
}

#[test]
fn a_full_bucket_admits_exactly_its_maximum() {
    for (max, per) in [(1, 1), (3, 1), (7, 60), (999_983, 1), (100, 86_400)] {
        let (limit, cell) = (limit(max, per), LimitCell::default());
        let admitted = (0..=max).filter(|_| admits(&cell, &limit, 1, 1_000)).count() as u64;
        assert_eq!(admitted, max);
        assert_eq!(cell.cell().left(&limit, ticks(1_000)).0, 0);
    }
    let (most, cell) = (limit(keywright_model::limit::LIMIT_MAX, 1), LimitCell::default());
    assert!(admits(&cell, &most, keywright_model::limit::LIMIT_MAX, 5) && !admits(&cell, &most, 1 << 40, 5));
}

#[test]
fn a_steady_caller_at_the_pace_is_never_refused() {
    for (max, per) in [(1_u64, 1_u64), (3, 1), (7, 60), (1_000, 1)] {
        let (limit, cell) = (limit(max, u32::try_from(per).unwrap()), LimitCell::default());
        assert!(
            (0..10_000).all(|nth| admits(&cell, &limit, 1, nth * per * 1_000_000_000 / max)),
            "{max} in {per} s"
        );
    }
}

/// Every stretch of time between two admitted calls, against the bound of `keywright_model::limit`.
fn within_bound(admitted: &[(u64, u64)], max: u64, per_ns: u128) -> bool {
    (0..admitted.len()).all(|from| {
        let mut units = 0_u128;
        admitted[from..].iter().all(|(at, cost)| {
            units += u128::from(*cost);
            let stretch = u128::from(at - admitted[from].0);
            units * per_ns <= u128::from(max) * (per_ns + stretch)
        })
    })
}

proptest! {
    #[test]
    fn in_any_stretch_of_time_no_more_than_the_bound_is_admitted(
        max in prop_oneof![1..20_u64, 1..5_000_000_000_u64], per in 1..100_u32,
        calls in prop::collection::vec((0..3_000_u64, 1..1_000_u64), 1..200),
    ) {
        let (limit, cell) = (limit(max, per), LimitCell::default());
        let per_ns = u128::from(per) * 1_000_000_000;
        let (mut now, mut admitted) = (7, Vec::new());
        for (wait, share) in calls {
            // Waits and costs in thousandths of the window and of the bucket.
            now += u64::try_from(per_ns * u128::from(wait * wait) / 3_000_000).unwrap();
            let cost = u64::try_from(u128::from(max) * u128::from(share) / 1_000).unwrap().max(1);
            if admits(&cell, &limit, cost, now) {
                admitted.push((now, cost));
            }
        }
        prop_assert!(within_bound(&admitted, max, per_ns));
    }

    #[test]
    fn what_is_left_is_what_is_admitted(max in 1..10_000_u64, per in 1..100_u32, used in 0..10_000_u64, wait in 0..2_000_000_000_u64) {
        let (limit, cell) = (limit(max, per), LimitCell::default());
        prop_assume!(used <= max);
        prop_assert!(used == 0 || admits(&cell, &limit, used, 0));
        let (left, _) = cell.cell().left(&limit, ticks(wait));
        prop_assert!(!admits(&cell, &limit, left + 1, wait));
        prop_assert!(left == 0 || admits(&cell, &limit, left, wait));
    }
}

#[test]
fn a_changed_limit_goes_on_from_the_units_that_were_used() {
    let (old, new) = (limit(10, 10), limit(40, 10));
    let cell = LimitCell::default();
    assert!(admits(&cell, &old, 6, 100));
    let next = LimitCell::inheriting(cell.cell(), &old, &new);
    assert_eq!(next.cell().left(&new, ticks(100)).0, 34);
    let third = LimitCell::inheriting(next.cell(), &new, &old);
    assert_eq!(third.cell().left(&old, ticks(100)).0, 4);
}

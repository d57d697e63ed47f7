use keywright_model::limit::Limit;

use super::*;

fn at(now_ms: u64) -> Counted {
    Counted { by: Counting::Installation, now_ms }
}

fn limit(max: u64) -> CompiledLimit {
    CompiledLimit::new(&Limit { name: "l".to_owned(), max, per_seconds: 10 })
}

#[test]
fn units_are_spent_once_and_what_is_not_there_is_unknown() {
    let word = AtomicU64::new(0);
    let cell = CellRef::in_word(&word);
    assert_eq!(cell.spend(1, at(0)), Room::Unknown);
    assert_eq!(cell.spend(0, at(0)), Room::Enough);
    cell.add_units(5, Some(7));
    assert_eq!(
        (cell.spend(3, at(0)), cell.spend(3, at(0)), cell.spend(2, at(0))),
        (Room::Enough, Room::Unknown, Room::Enough)
    );
    cell.add_units(UNITS, Some(7));
    cell.add_units(UNITS, None);
    assert_eq!(
        (units(word.load(Ordering::Relaxed)), ahead_ms(word.load(Ordering::Relaxed), 0)),
        (UNITS, 7),
        "no carry into the moment's or the refusal's bits"
    );
}

#[test]
fn a_refusal_holds_for_its_cost_and_larger_ones_until_its_end() {
    // Also where the milliseconds wrap, after 49 days.
    for now in [1_000, u64::from(u32::MAX) - 50, 9 * u64::from(u32::MAX)] {
        let word = AtomicU64::new(refusal(4, now + 100));
        let cell = CellRef::in_word(&word);
        assert_eq!(cell.spend(4, at(now)), Room::Refused(100));
        assert_eq!(cell.spend(9, at(now + 99)), Room::Refused(1));
        assert_eq!(cell.spend(3, at(now)), Room::Unknown);
        assert_eq!(cell.spend(4, at(now + 100)), Room::Unknown);
        cell.add_units(3, None);
        assert_eq!(cell.spend(3, at(now)), Room::Enough, "what is given back can be spent");
    }
}

#[test]
fn who_counts_decides_about_what_is_unknown_and_not_about_what_is_there() {
    for (by, unknown) in [
        (Counting::Installation, Room::Unknown),
        (Counting::Node, Room::Unknown),
        (Counting::Nobody, Room::Enough),
        (Counting::Refusing, Room::Refused(1_000)),
    ] {
        let word = AtomicU64::new(packed(1, 0));
        let (cell, at) = (CellRef::in_word(&word), Counted { by, now_ms: 5 });
        assert_eq!((cell.allowance_room(2, at), cell.spend(2, at)), (unknown, unknown), "{by:?}");
        assert_eq!((cell.spend(1, at), units(word.load(Ordering::Relaxed))), (Room::Enough, 0), "{by:?}");
    }
}

#[test]
fn what_is_left_is_what_the_bucket_and_the_node_have() {
    let limit = limit(100);
    let left = |word: u64| CellRef::in_word(&AtomicU64::new(word)).allowance_left(&limit, 1_000);
    assert_eq!(left(0), (100, 0));
    // 30 units are used for all, 5 of which this node still has.
    assert_eq!(left(packed(5, 4_000)), (75, 3_000));
    assert_eq!(left(packed(5, 900)), (100, 0));
    // One unit comes back in 100 ms, the other 99 take 9.9 s.
    assert_eq!(left(refusal(1, 1_100)), (0, 10_000));
    assert_eq!(left(refusal(1, 1_000)), (100, 0));
}

#[test]
fn a_limit_beyond_the_word_is_shared_in_grains() {
    let large = limit(keywright_model::limit::LIMIT_MAX);
    let most = large.max / large.grain;
    assert!(most <= GRAINS_MAX && large.grain > 1);
    assert_eq!(large.grains(1), Some(1));
    assert_eq!(large.grains(large.grain + 1), Some(2));
    assert_eq!((large.grains(large.max), large.grains(large.max + 1)), (Some(most), None));
    let small = limit(GRAINS_MAX);
    assert_eq!((small.grain, small.grains(GRAINS_MAX)), (1, Some(GRAINS_MAX)));
}

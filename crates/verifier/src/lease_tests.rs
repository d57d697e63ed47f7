//! Apart from `lease.rs`, which `tests/memory.rs` runs with other atomics.

use crate::lease::Lease;

const CURRENT_NS: u64 = 3_000_000_000;

#[test]
fn a_lease_lasts_to_its_deadline_and_a_keyspace_may_ask_for_less() {
    let lease = Lease::none();
    assert_eq!(lease.read().valid_until(None), 0);
    lease.renew(60, 10);
    lease.renew(50, 5);
    assert_eq!(lease.read().valid_until(None), 60);
    assert_eq!(lease.read().valid_until(Some(7)), 17);
    lease.drop_now();
    assert_eq!(lease.read().valid_until(None), 0);
    assert_eq!(Lease::embedded().read().valid_until(Some(1)), u64::MAX);
}

#[test]
fn three_seconds_without_contact_are_not_current() {
    let lease = Lease::none();
    lease.renew(u64::MAX, 1_000);
    assert!(lease.read().is_current(1_000 + CURRENT_NS - 1));
    assert!(!lease.read().is_current(1_000 + CURRENT_NS));
    assert_eq!(Lease::embedded().read().age_ns(5), 0);
}

#[test]
fn how_old_contact_is_is_told_only_while_answers_would_be_current() {
    let lease = Lease::none();
    assert_eq!(lease.current_age_ns(5), None, "no lease yet");
    lease.renew(u64::MAX, 1_000);
    assert_eq!(lease.current_age_ns(1_000 + CURRENT_NS - 1), Some(CURRENT_NS - 1));
    assert_eq!(lease.current_age_ns(1_000 + CURRENT_NS), None);
    lease.drop_now();
    assert_eq!(lease.current_age_ns(1_000), None);
    assert_eq!(Lease::embedded().current_age_ns(7), Some(0));
}

use super::*;
use crate::chaos::keys::{Act, Probe, State, Verdict};

const GET: Probe = Probe { secret: 0, wide: false };
const PUT: Probe = Probe { secret: 0, wide: true };

fn write(revision: u64, at_us: u64, state: State) -> Write {
    let (invoked_us, answered_us) = (at_us, at_us + 10);
    Write { key: 0, revision, invoked_us, answered_us, enforced_us: Some(answered_us), state }
}

fn read(revision: u64, at_us: u64, probe: Probe, verdict: Verdict) -> Read {
    Read { key: 0, verifier: 0, probe, begun_us: at_us, ended_us: at_us + 5, revision, at_least: 0, verdict }
}

/// Made, narrowed at 100 and switched off at 200; read between.
fn good() -> History {
    let narrow = State::NEW.after(Act::Narrow);
    History {
        before: 4,
        writes: vec![
            write(5, 0, State::NEW),
            write(6, 100, narrow),
            write(7, 200, narrow.after(Act::Disable)),
        ],
        reads: vec![
            read(5, 50, PUT, Verdict::Allowed),
            read(5, 102, PUT, Verdict::Allowed),
            read(6, 102, PUT, Verdict::InsufficientPermission),
            read(6, 150, GET, Verdict::Allowed),
            read(7, 250, GET, Verdict::Disabled),
        ],
    }
}

fn found(change: impl FnOnce(&mut History)) -> Faults {
    let mut history = good();
    change(&mut history);
    check(&history).0
}

#[test]
fn what_may_happen_while_a_write_is_open_is_no_fault() {
    assert_eq!(check(&good()), (Faults::default(), Vec::new()));
}

#[test]
fn a_verdict_of_the_state_before_an_acknowledged_write_is_stale_whatever_it_claims() {
    let honest = found(|h| h.reads.push(read(5, 111, PUT, Verdict::Allowed)));
    assert_eq!(honest, Faults { stale_verdicts: 1, below_acknowledged: 1, ..Faults::default() });
    let claims_more = found(|h| h.reads.push(read(6, 111, PUT, Verdict::Allowed)));
    assert_eq!(claims_more, Faults { stale_verdicts: 1, not_of_its_revision: 1, ..Faults::default() });
    // The same question a moment earlier was open together with the write.
    assert_eq!(found(|h| h.reads.push(read(5, 110, PUT, Verdict::Allowed))), Faults::default());
}

#[test]
fn another_key_must_not_be_older_than_what_was_acknowledged_either() {
    let other = |h: &mut History| {
        h.writes.insert(0, Write { key: 1, ..write(4, 0, State::NEW) });
        h.before = 3;
        h.reads.push(Read { key: 1, ..read(5, 150, GET, Verdict::Allowed) });
    };
    assert_eq!(found(other), Faults { below_acknowledged: 1, ..Faults::default() });
}

#[test]
fn a_pending_write_promises_nothing() {
    let pending = |h: &mut History| {
        h.writes[1].enforced_us = None;
        h.writes.truncate(2);
        h.reads.truncate(3);
        h.reads.push(read(5, 500, PUT, Verdict::Allowed));
    };
    assert_eq!(found(pending), Faults::default());
}

#[test]
fn a_key_whose_creation_is_pending_may_be_unknown_and_not_once_it_is_enforced() {
    let unknown = |enforced_us| {
        found(|h| {
            h.writes[0].enforced_us = Some(enforced_us);
            h.writes.truncate(1);
            h.reads = vec![read(4, 50, GET, Verdict::NotFound)];
        })
    };
    assert_eq!(unknown(60), Faults::default());
    assert_eq!(unknown(40), Faults { stale_verdicts: 1, below_acknowledged: 1, ..Faults::default() });
}

#[test]
fn a_revision_from_the_future_is_a_fault() {
    let early = found(|h| h.reads.push(read(7, 120, GET, Verdict::Allowed)));
    assert_eq!(early.not_yet_invoked, 1);
    let unknown = found(|h| h.reads.push(read(8, 300, GET, Verdict::Disabled)));
    assert_eq!(unknown, Faults { not_yet_invoked: 1, ..Faults::default() });
}

#[test]
fn less_than_was_asked_for_is_a_fault() {
    let less = found(|h| h.reads.push(Read { at_least: 7, ..read(6, 202, GET, Verdict::Allowed) }));
    assert_eq!(less, Faults { below_at_least: 1, ..Faults::default() });
}

#[test]
fn revisions_follow_real_time_without_a_gap() {
    let swapped = found(|h| {
        h.reads.clear();
        (h.writes[1].revision, h.writes[2].revision) = (7, 6);
    });
    assert_eq!(swapped, Faults { out_of_order: 1, ..Faults::default() });
    let missing = found(|h| {
        h.reads.clear();
        h.writes.remove(1);
    });
    assert_eq!(missing, Faults { gaps: 1, ..Faults::default() });
    let twice = found(|h| {
        h.reads.clear();
        h.writes.push(write(7, 300, State::NEW));
    });
    assert_eq!(twice, Faults { gaps: 1, ..Faults::default() });
}

#[test]
fn every_injected_stale_read_is_flagged() {
    for seed in 0..3 {
        let injected = with_a_stale_read(&good(), seed).unwrap();
        let (faults, words) = check(&injected);
        assert_eq!((faults.stale_verdicts, faults.below_acknowledged), (1, 1), "{seed}");
        assert_eq!(words.len(), 1);
    }
    assert!(with_a_stale_read(&History { writes: vec![write(5, 0, State::NEW)], ..good() }, 0).is_none());
}

/// Deliberately slow and simple: the promise as it is written, read by read and write by write.
fn stale_by_the_book(history: &History) -> u64 {
    let broken = |read: &&Read| {
        let writes = history.writes.iter();
        writes
            .clone()
            .any(|w| w.enforced_us.is_some_and(|at| at < read.begun_us) && w.revision > read.revision)
    };
    history.reads.iter().filter(broken).count() as u64
}

#[test]
fn the_fast_check_agrees_with_the_promise_as_it_is_written() {
    let mut dice = crate::cluster::Dice::new(3);
    for _ in 0..200 {
        let mut history = History::default();
        let mut revisions: Vec<u64> = (1..=12).collect();
        while !revisions.is_empty() {
            let revision = revisions.remove(dice.below(revisions.len()));
            let mut write = write(revision, dice.throw() % 1_000, State::NEW);
            write.enforced_us = dice.percent(70).then(|| write.answered_us + dice.throw() % 200);
            history.writes.push(write);
        }
        for _ in 0..40 {
            history.reads.push(read(dice.throw() % 13, dice.throw() % 1_300, GET, Verdict::Allowed));
        }
        assert_eq!(check(&history).0.below_acknowledged, stale_by_the_book(&history));
    }
}

//! Judges a history in O(n log n): keys as registers whose revision every answer names.
//!
//! What it tests: no answer by a revision that was not yet written; none by less than the highest that was acknowledged as
//! enforced before the question; none by less than the question asked for; revisions in the order of real time, without
//! a gap; each verdict that of the state that its revision names; and, without believing any revision, each verdict one
//! of the states that the key could then be in.

use std::collections::HashMap;

use serde::Serialize;

use super::history::{History, Read, Write};
use super::keys::Verdict;

/// How many of each fault were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Verdicts of a state that was over when the question was asked, whatever revision they claim.
    pub(super) stale_verdicts: u64,
    /// Answers by less than the highest revision acknowledged as enforced before the question.
    pub(super) below_acknowledged: u64,
    /// Answers by less than the revision that the question asked for.
    pub(super) below_at_least: u64,
    /// Answers by a revision that was not yet written.
    pub(super) not_yet_invoked: u64,
    /// Verdicts that are not those of the state that their revision names.
    pub(super) not_of_its_revision: u64,
    /// Writes that began after another's answer and have a lower revision.
    pub(super) out_of_order: u64,
    /// Revisions that no write has, or more than one.
    pub(super) gaps: u64,
}

impl Faults {
    pub(super) const fn all(&self) -> u64 {
        self.stale()
            + self.below_at_least
            + self.not_yet_invoked
            + self.not_of_its_revision
            + self.out_of_order
            + self.gaps
    }

    /// What breaks the promise itself.
    pub(super) const fn stale(&self) -> u64 {
        self.stale_verdicts + self.below_acknowledged
    }
}

/// A fault in words, the first few of which a person wants to see.
pub(super) const SHOWN_MAX: usize = 5;

/// Judges it; the words are about the first faults.
pub(super) fn check(history: &History) -> (Faults, Vec<String>) {
    let mut faults =
        Faults { out_of_order: out_of_order(&history.writes), gaps: gaps(history), ..Faults::default() };
    let invoked: HashMap<u64, u64> = history.writes.iter().map(|w| (w.revision, w.invoked_us)).collect();
    let keys = by_key(&history.writes);
    let acknowledged = Acknowledged::new(&history.writes);
    let mut words = Vec::new();
    for read in &history.reads {
        let before = faults;
        let floor = acknowledged.before(read.begun_us);
        faults.below_acknowledged += u64::from(read.revision < floor);
        faults.below_at_least += u64::from(read.revision < read.at_least);
        let early = match invoked.get(&read.revision) {
            Some(invoked_us) => *invoked_us > read.ended_us,
            None => read.revision > history.before,
        };
        faults.not_yet_invoked += u64::from(early);
        let writes = keys.get(&read.key).map(Vec::as_slice).unwrap_or_default();
        faults.stale_verdicts += u64::from(!is_possible(writes, read));
        faults.not_of_its_revision += u64::from(!is_of_its_revision(writes, read));
        if faults != before && words.len() < SHOWN_MAX {
            words.push(in_words(read, floor, writes));
        }
    }
    (faults, words)
}

/// A suspicious answer with what was written to its key around it.
fn in_words(read: &Read, floor: u64, writes: &[&Write]) -> String {
    let Read { key, verifier, probe, begun_us, ended_us, revision, at_least, verdict } = read;
    let around = writes.iter().filter(|write| write.revision + 20 > *revision && write.revision < floor + 20);
    let around: Vec<_> = around.collect();
    format!(
        "verifier {verifier} said {verdict:?} to {probe:?} of key {key} by revision {revision}, asked for at least {at_least}, \
         from {begun_us} to {ended_us} µs, when {floor} had been acknowledged; the key's writes then: {around:?}"
    )
}

/// The highest revision acknowledged as enforced up to each moment.
struct Acknowledged(Vec<(u64, u64)>);

impl Acknowledged {
    fn new(writes: &[Write]) -> Self {
        let mut all: Vec<_> = writes.iter().filter_map(|w| Some((w.enforced_us?, w.revision))).collect();
        all.sort_unstable();
        let mut highest = 0;
        for (_, revision) in &mut all {
            highest = highest.max(*revision);
            *revision = highest;
        }
        Self(all)
    }

    fn before(&self, moment_us: u64) -> u64 {
        let count = self.0.partition_point(|(enforced_us, _)| *enforced_us < moment_us);
        count.checked_sub(1).and_then(|last| self.0.get(last)).map_or(0, |(_, revision)| *revision)
    }
}

/// Each key's writes in the order of their revisions.
fn by_key(writes: &[Write]) -> HashMap<usize, Vec<&Write>> {
    let mut keys: HashMap<usize, Vec<&Write>> = HashMap::new();
    for write in writes {
        keys.entry(write.key).or_default().push(write);
    }
    for writes in keys.values_mut() {
        writes.sort_unstable_by_key(|write| write.revision);
    }
    keys
}

/// Whether some state that the key could be in while the question was open gives this verdict. A key has one writer at a
/// time, which waits until a write is enforced before the next: its moments are in the order of its revisions.
fn is_possible(writes: &[&Write], read: &Read) -> bool {
    let over = |write: &&Write| write.enforced_us.is_some_and(|enforced_us| enforced_us < read.begun_us);
    // Until its creation is enforced nobody need know a key.
    let Some(first) = writes.partition_point(over).checked_sub(1) else {
        return read.verdict == Verdict::NotFound || is_answered_by(writes, read);
    };
    is_answered_by(writes.get(first..).unwrap_or_default(), read)
}

fn is_answered_by(writes: &[&Write], read: &Read) -> bool {
    let open = writes.iter().take_while(|write| write.invoked_us <= read.ended_us);
    open.into_iter().any(|write| write.state.answer(read.probe) == read.verdict)
}

/// Whether the verdict is that of the revision that it names. Before the key was made no secret of it is known.
fn is_of_its_revision(writes: &[&Write], read: &Read) -> bool {
    let count = writes.partition_point(|write| write.revision <= read.revision);
    match count.checked_sub(1).and_then(|last| writes.get(last)) {
        Some(write) => write.state.answer(read.probe) == read.verdict,
        None => read.verdict == Verdict::NotFound,
    }
}

fn out_of_order(writes: &[Write]) -> u64 {
    let mut answers: Vec<_> = writes.iter().map(|write| (write.answered_us, write.revision)).collect();
    answers.sort_unstable();
    let mut calls: Vec<_> = writes.iter().map(|write| (write.invoked_us, write.revision)).collect();
    calls.sort_unstable();
    let (mut answered, mut highest, mut found) = (answers.iter().peekable(), 0, 0);
    for (invoked_us, revision) in calls {
        while let Some((_, earlier)) = answered.next_if(|(answered_us, _)| *answered_us < invoked_us) {
            highest = highest.max(*earlier);
        }
        found += u64::from(revision < highest);
    }
    found
}

fn gaps(history: &History) -> u64 {
    let mut revisions: Vec<u64> = history.writes.iter().map(|write| write.revision).collect();
    revisions.push(history.before);
    revisions.sort_unstable();
    let pairs = revisions.iter().zip(revisions.iter().skip(1));
    pairs.map(|(one, next)| u64::from(*next != one + 1)).sum()
}

/// The history with one stale answer in it: an old verdict, claimed to be by the revision before the one that had been
/// acknowledged. `None` when no key's answer has changed before a read.
pub(super) fn with_a_stale_read(history: &History, seed: usize) -> Option<History> {
    let keys = by_key(&history.writes);
    let count = history.writes.len();
    let candidates = (0..count).filter_map(|at| history.writes.get((seed + at) % count));
    for write in candidates {
        let (Some(enforced_us), Some(writes)) = (write.enforced_us, keys.get(&write.key)) else { continue };
        let place = writes.partition_point(|other| other.revision < write.revision);
        let Some(before) = place.checked_sub(1).and_then(|place| writes.get(place)) else { continue };
        let probes = [(write.state.secret, true), (write.state.secret, false), (before.state.secret, false)];
        let probes = probes.map(|(secret, wide)| super::keys::Probe { secret, wide });
        let told = |probe: &super::keys::Probe| before.state.answer(*probe) != write.state.answer(*probe);
        let Some(probe) = probes.into_iter().find(told) else { continue };
        let mut history = history.clone();
        history.reads.push(Read {
            key: write.key,
            verifier: 0,
            probe,
            begun_us: enforced_us + 1,
            ended_us: enforced_us + 2,
            revision: write.revision - 1,
            at_least: 0,
            verdict: before.state.answer(probe),
        });
        return Some(history);
    }
    None
}

#[cfg(test)]
mod tests;

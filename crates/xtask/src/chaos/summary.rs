//! One line of JSON about a run, and whether it passed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::away::Answers;
use super::campaign::{Asked, Counts};
use super::check::Faults;
use super::followers::Part;

/// A run in figures.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) scenario: &'static str,
    pub(super) control: bool,
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) seconds: u64,
    pub(super) max_staleness_ms: u64,
    pub(super) writes: Writes,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) after_acknowledgement: Asked,
    pub(super) readers: Asked,
    /// Those of followers are not among those above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) followers: Option<Part>,
    /// Answers by a state that an acknowledged write had ended.
    pub(super) stale: u64,
    pub(super) history: Judged,
    pub(super) acknowledged_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) while_away: Option<Answers>,
    /// Answers that nothing explains.
    pub(super) unexpected: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Writes {
    pub(super) by_kind: BTreeMap<String, u64>,
    /// Answered with `Keywright-Enforced: all`.
    pub(super) acknowledged: u64,
    pub(super) pending: u64,
    pub(super) pending_then_enforced: u64,
    pub(super) repeated: u64,
    pub(super) replayed: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// Keys that are not, in the end, as their last write left them.
    pub(super) lost: u64,
    pub(super) receipts: u64,
    pub(super) receipts_incomplete: u64,
}

/// What the record says.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) writes: usize,
    pub(super) reads: usize,
    #[serde(flatten)]
    pub(super) faults: Faults,
    /// The checker's own test: stale reads put into this history, and how many of them it flagged.
    pub(super) injected: u64,
    pub(super) injected_found: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Percentiles {
    p50: Option<f64>,
    p90: Option<f64>,
    max: Option<f64>,
}

impl Percentiles {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |percent: usize| values.get(last * percent / 100).copied();
        Self { p50: at(50), p90: at(90), max: at(100) }
    }
}

impl Writes {
    pub(super) fn of(counts: &Counts, lost: u64, receipts: (u64, u64)) -> Self {
        let by_kind = counts.acts.iter().map(|(act, times)| (format!("{act:?}").to_lowercase(), *times));
        Self {
            by_kind: by_kind.collect(),
            acknowledged: counts.acknowledged,
            pending: counts.pending,
            pending_then_enforced: counts.pending_enforced,
            repeated: counts.repeated,
            replayed: counts.replayed,
            refused: counts.writes_refused,
            unknown: counts.unknown,
            lost,
            receipts: receipts.0,
            receipts_incomplete: receipts.1,
        }
    }
}

impl Summary {
    /// Whether stale answers were found wherever a control must find them: of nodes and followers together, and of followers.
    pub(super) fn has_found_stale(&self) -> bool {
        self.stale > 0 && self.followers.as_ref().is_none_or(|part| part.judged.stale() > 0)
    }

    /// Why the run did not show what it should; empty when it did.
    pub(super) fn complaints(&self) -> Vec<String> {
        let asked = self.after_acknowledgement.allowed + self.after_acknowledgement.denied;
        let mut found = Vec::new();
        let mut must = |holds: bool, words: &str| found.extend((!holds).then(|| words.to_owned()));
        must(self.writes.acknowledged > 0 && asked > 0, "nothing was acknowledged or asked");
        must(self.history.injected > 0, "no stale read could be injected");
        must(self.history.injected == self.history.injected_found, "an injected stale read was not flagged");
        let silent = self.followers.as_ref().is_some_and(|part| part.answers.contains(&0));
        must(!silent, "a follower has answered nothing");
        if self.control {
            must(self.has_found_stale(), "the control found no stale answer: this run could not have failed");
            return found;
        }
        must(self.stale == 0, "there were stale answers");
        must(self.history.faults.all() == self.stale, "the history is not consistent");
        must(self.writes.pending == self.writes.pending_then_enforced, "a pending write was never enforced");
        must(self.writes.unknown == 0, "the end of a write was never known");
        must(self.writes.lost == 0, "an acknowledged write was lost");
        must(self.writes.receipts > 0 && self.writes.receipts_incomplete == 0, "a receipt is not complete");
        must(self.unexpected.is_empty(), "there were answers that nothing explains");
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Summary {
        let counts = Counts { acknowledged: 5, pending: 1, pending_enforced: 1, ..Counts::default() };
        Summary {
            scenario: "faults",
            control: false,
            seed: 1,
            nodes: 3,
            seconds: 1,
            max_staleness_ms: 2_000,
            writes: Writes::of(&counts, 0, (6, 0)),
            faults: BTreeMap::new(),
            after_acknowledgement: Asked { allowed: 3, denied: 4, refused: 1, unreachable: 0 },
            readers: Asked::default(),
            followers: Some(Part { answers: vec![3, 1], ..Part::default() }),
            stale: 0,
            history: Judged {
                writes: 6,
                reads: 7,
                faults: Faults::default(),
                injected: 2,
                injected_found: 2,
            },
            acknowledged_ms: Percentiles::of(vec![3.0, 1.0, 2.0]),
            while_away: None,
            unexpected: BTreeMap::new(),
        }
    }

    fn complaints_after(change: impl FnOnce(&mut Summary)) -> usize {
        let mut summary = good();
        change(&mut summary);
        summary.complaints().len()
    }

    #[test]
    fn a_run_passes_when_nothing_is_wrong_and_fails_by_each_thing_alone() {
        assert_eq!(good().complaints(), [""; 0]);
        assert_eq!(complaints_after(|s| s.writes.acknowledged = 0), 1);
        assert_eq!(complaints_after(|s| s.history.injected = 0), 2);
        assert_eq!(complaints_after(|s| s.history.injected_found = 1), 1);
        assert_eq!(complaints_after(|s| (s.stale, s.history.faults.stale_verdicts) = (1, 1)), 1);
        assert_eq!(complaints_after(|s| s.history.faults.gaps = 1), 1);
        assert_eq!(complaints_after(|s| s.writes.pending_then_enforced = 0), 1);
        assert_eq!(complaints_after(|s| s.writes.unknown = 1), 1);
        assert_eq!(complaints_after(|s| s.writes.lost = 1), 1);
        assert_eq!(
            complaints_after(|s| s.followers = Some(Part { answers: vec![3, 0], ..Part::default() })),
            1
        );
        assert_eq!(complaints_after(|s| s.followers = None), 0);
        assert_eq!(complaints_after(|s| s.writes.receipts_incomplete = 1), 1);
        assert_eq!(complaints_after(|s| _ = s.unexpected.insert("500".to_owned(), 1)), 1);
    }

    #[test]
    fn a_control_fails_when_it_finds_nothing() {
        assert_eq!(complaints_after(|s| s.control = true), 1);
        // Nodes' answers alone show nothing about followers.
        assert_eq!(complaints_after(|s| (s.control, s.stale) = (true, 3)), 1);
        let stale = || Faults { below_acknowledged: 2, ..Faults::default() };
        let by_follower = || Some(Part { answers: vec![3], judged: stale(), ..Part::default() });
        assert_eq!(complaints_after(|s| (s.control, s.stale, s.followers) = (true, 3, by_follower())), 0);
        assert_eq!(complaints_after(|s| (s.control, s.stale, s.followers) = (true, 3, None)), 0);
    }

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let json = serde_json::to_string(&Percentiles::of((1..=101).rev().map(f64::from).collect())).unwrap();
        assert_eq!(json, r#"{"p50":51.0,"p90":91.0,"max":101.0}"#);
        assert_eq!(
            serde_json::to_string(&Percentiles::of(Vec::new())).unwrap(),
            r#"{"p50":null,"p90":null,"max":null}"#
        );
    }
}

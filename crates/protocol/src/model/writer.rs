//! A writer: `store`'s commit and `barrier.rs`.

use super::state::{LIVES, PerLife, Row, State, Status, Writer};
use super::{Protocol, Variant};

/// What a writer does at once. The two numbers are a node and its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriterStep {
    /// Reads who verifies before its commit (`NodesBeforeCommit`).
    LookEarly,
    /// The write is durable.
    Commit,
    /// Reads who verifies, in a snapshot that begins after the commit.
    Look,
    /// The fence is durable.
    Fence(usize, usize),
    /// Sees for the first time that a life is fenced, by itself or by another: its own wait begins.
    Timer(usize, usize),
    /// The last lease is over: the row says that the life is.
    Bury(usize, usize),
    /// Nobody is missing.
    Acknowledge,
}

impl Protocol {
    /// How long a writer waits for a lease that was given before its fence.
    fn wait(&self) -> u8 {
        if self.variant == Variant::NoDriftMargin { self.lease } else { self.lease + self.lag }
    }

    fn satisfied(&self, row: Row, revision: u8) -> bool {
        match row.status {
            Status::Absent | Status::Gone => true,
            Status::Joining => self.variant != Variant::JoiningIsWaitedFor,
            Status::Fenced if self.variant == Variant::FencedMeansGone => true,
            Status::Live | Status::Fenced => row.applied >= revision,
        }
    }

    pub(super) fn writer_steps(&self, s: &State, w: usize, out: &mut Vec<WriterStep>) {
        match s.writers[w] {
            Writer::Idle if self.variant == Variant::NodesBeforeCommit => out.push(WriterStep::LookEarly),
            Writer::Idle | Writer::Looked { .. } => out.push(WriterStep::Commit),
            Writer::Committed { .. } => out.push(WriterStep::Look),
            Writer::Waiting { revision, at, need, since } => {
                let before = out.len();
                for n in 0..self.nodes {
                    for life in 0..LIVES {
                        let row = s.rows[n][life];
                        if need[n][life] && !self.satisfied(row, revision) {
                            self.wait_steps(s.now, at, row, since[n][life], |step| out.push(step(n, life)));
                        }
                    }
                }
                if out.len() == before && self.none_missing(s, revision, &need) {
                    out.push(WriterStep::Acknowledge);
                }
            }
            Writer::Acknowledged { .. } => {}
        }
    }

    fn none_missing(&self, s: &State, revision: u8, need: &PerLife<bool>) -> bool {
        let rows = s.rows.iter().flatten().zip(need.iter().flatten());
        rows.into_iter().all(|(row, need)| !need || self.satisfied(*row, revision))
    }

    /// What may be done about one that is missing.
    fn wait_steps(
        &self,
        now: u8,
        at: u8,
        row: Row,
        since: Option<u8>,
        mut push: impl FnMut(fn(usize, usize) -> WriterStep),
    ) {
        if self.variant == Variant::WaitFromCommit {
            if now >= at + self.wait() {
                push(WriterStep::Bury);
            }
            return;
        }
        let patient = self.patience.is_some_and(|patience| now < at + patience);
        if row.status == Status::Live && self.variant != Variant::NeverFences && !patient {
            push(WriterStep::Fence);
        }
        let early = self.variant == Variant::WaitFromFenceSent && row.status == Status::Live;
        if since.is_none() && (row.status == Status::Fenced || early) {
            push(WriterStep::Timer);
        }
        if row.status == Status::Fenced && since.is_some_and(|since| now >= since + self.wait()) {
            push(WriterStep::Bury);
        }
    }

    pub(super) fn writer_step(&self, s: &mut State, w: usize, step: WriterStep) {
        let verifiers = s.verifiers(self.variant == Variant::JoiningIsWaitedFor);
        let since = PerLife::<Option<u8>>::default();
        // When it was committed is part of the state only where something counts from it.
        let counted = self.patience.is_some() || self.variant == Variant::WaitFromCommit;
        let now = if counted { s.now } else { 0 };
        match (step, &mut s.writers[w]) {
            (WriterStep::LookEarly, writer) => *writer = Writer::Looked { need: verifiers },
            (WriterStep::Commit, writer) => {
                s.revision += 1;
                let revision = s.revision;
                *writer = match *writer {
                    Writer::Looked { need } => Writer::Waiting { revision, at: now, need, since },
                    _ => Writer::Committed { revision, at: now },
                };
            }
            (WriterStep::Look, writer) => {
                if let Writer::Committed { revision, at } = *writer {
                    *writer = Writer::Waiting { revision, at, need: verifiers, since };
                }
            }
            (WriterStep::Fence(n, life), _) => s.rows[n][life].status = Status::Fenced,
            (WriterStep::Timer(n, life), Writer::Waiting { since, .. }) => since[n][life] = Some(s.now),
            (WriterStep::Bury(n, life), _) => s.rows[n][life].status = Status::Gone,
            (WriterStep::Acknowledge, writer) => {
                if let Writer::Waiting { revision, .. } = *writer {
                    *writer = Writer::Acknowledged { revision };
                }
            }
            (WriterStep::Timer(..), _) => {}
        }
    }
}

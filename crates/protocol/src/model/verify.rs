//! One verification: `Verifier::verify`, and `still_holds` of the server.

use super::state::{State, Verify};
use super::{Protocol, Variant};

/// What a verification does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifyStep {
    /// Reads the deadline.
    Deadline,
    /// Reads the state.
    State,
    /// Reads the clock before the state (`CheckBeforeLookupOnly`). Where it comes last it is no step: the property looks
    /// at it.
    Clock,
}

impl Protocol {
    /// A verification begins with its first read: what was acknowledged between its beginning and that read only asks
    /// more of it. Left out is what cannot end in an old answer: one that begins before any acknowledgement, and what
    /// happens after the last read. One verification stands for all, as none changes anything.
    pub(super) fn verify_steps(&self, s: &State, n: usize, out: &mut Vec<VerifyStep>) {
        let node = &s.nodes[n];
        let state_first = matches!(self.variant, Variant::LookupThenCurrentLease | Variant::NoLeaseCheck);
        match node.verify {
            Verify::Idle if node.memory == 0 || s.acknowledged() == 1 => {}
            Verify::Idle => out.push(if state_first { VerifyStep::State } else { VerifyStep::Deadline }),
            Verify::Deadline { .. } if self.variant == Variant::CheckBeforeLookupOnly => {
                out.push(VerifyStep::Clock);
            }
            Verify::Deadline { .. } | Verify::Checked { .. } => out.push(VerifyStep::State),
            Verify::Bare { .. } if self.variant == Variant::LookupThenCurrentLease => {
                out.push(VerifyStep::Deadline);
            }
            Verify::Bare { .. } | Verify::Both { .. } => {}
        }
    }

    /// Whether all that is left of a verification is the clock: whatever happens until then, a later moment can only
    /// refuse more.
    pub(super) fn is_at_its_clock(&self, s: &State, n: usize) -> bool {
        match s.nodes[n].verify {
            Verify::Both { .. } => true,
            Verify::Bare { .. } => self.variant != Variant::LookupThenCurrentLease,
            Verify::Idle | Verify::Deadline { .. } | Verify::Checked { .. } => false,
        }
    }

    pub(super) fn verify_step(&self, s: &mut State, n: usize, step: VerifyStep) {
        let (since, clock) = (s.acknowledged(), s.clock(n));
        let node = &mut s.nodes[n];
        let (deadline, state) = (node.deadline, node.memory);
        node.verify = match (step, node.verify) {
            (VerifyStep::Deadline, Verify::Bare { since, state }) => Verify::Both { since, deadline, state },
            (VerifyStep::Deadline, _) => Verify::Deadline { since, deadline },
            (VerifyStep::State, Verify::Deadline { since, deadline }) => {
                Verify::Both { since, deadline, state }
            }
            (VerifyStep::State, Verify::Checked { since }) => Verify::Bare { since, state },
            (VerifyStep::State, _) => Verify::Bare { since, state },
            (VerifyStep::Clock, Verify::Deadline { since, deadline }) if clock < deadline => {
                Verify::Checked { since }
            }
            (VerifyStep::Clock, _) => Verify::Idle,
        };
    }

    /// What a verification that reads the clock now would answer by, and what it must not be older than.
    pub(super) fn answer(&self, s: &State, n: usize) -> Option<(u8, u8)> {
        match s.nodes[n].verify {
            Verify::Both { since, deadline, state } => (s.clock(n) < deadline).then_some((state, since)),
            Verify::Bare { since, state } => {
                (self.variant != Variant::LookupThenCurrentLease).then_some((state, since))
            }
            Verify::Idle | Verify::Deadline { .. } | Verify::Checked { .. } => None,
        }
    }

    /// Whether it is the lease that keeps it from answering by an old state.
    pub(super) fn refuses_an_old_state(&self, s: &State, n: usize) -> bool {
        match s.nodes[n].verify {
            Verify::Both { since, deadline, state } => s.clock(n) >= deadline && state < since,
            _ => false,
        }
    }
}

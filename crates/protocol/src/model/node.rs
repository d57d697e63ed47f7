//! A node: `keeper.rs`, `follower.rs` and the rows' side of their calls.

use super::state::{LIVES, Phase, Row, State, Status};
use super::{Protocol, Variant};

/// What a node, or the store on its behalf, does at once. A call to the store that changes nothing when its answer is
/// lost needs no step of its own: giving up covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeStep {
    /// The process ends without a word.
    Crash,
    /// `Follower::start`: a snapshot is published.
    Load,
    /// `Membership::join`.
    Register,
    /// `Membership::go_live`, its first transaction.
    GoLive,
    /// Its second, which begins after the first is committed.
    ReadRevision,
    /// `Applied::wait_for` returns.
    CaughtUp,
    /// The clock is read, then a renewal sent.
    RenewSend,
    /// The store takes the renewal.
    RenewStore,
    /// Its answer comes.
    RenewReceive,
    /// It does not come.
    RenewLost,
    /// Behind, a clock that drifts, or a call whose outcome is unknown: the lease is dropped, the life over.
    GiveUp,
    /// `Membership::leave` of a life that is over.
    Leave,
    /// The next batch is fetched (`ReportBeforePublish`).
    Fetch,
    /// The next batch is published.
    Apply,
    /// `Reports::report`.
    Report,
    /// `Keeper::drain`.
    Drain,
    /// `Keeper::leave`, and the process ends.
    LeaveDrained,
}

impl Protocol {
    pub(super) fn node_steps(&self, s: &State, n: usize, out: &mut Vec<NodeStep>) {
        let node = &s.nodes[n];
        if node.phase != Phase::Down && node.crashes < self.crashes {
            out.push(NodeStep::Crash);
        }
        if node.memory == 0 && matches!(node.phase, Phase::Down | Phase::Joining) {
            out.push(NodeStep::Load);
        }
        let may_begin = node.lives < self.lives || (self.variant == Variant::IdReused && node.lives > 0);
        match node.phase {
            Phase::Down | Phase::NoLife if may_begin => out.push(NodeStep::Register),
            Phase::Down | Phase::NoLife => {}
            Phase::Over if self.variant == Variant::NeverRejoins => {}
            Phase::Over => {
                if may_begin {
                    out.push(NodeStep::Register);
                }
                out.push(NodeStep::Leave);
            }
            Phase::Joining if node.memory == 0 => {}
            Phase::Joining if self.variant == Variant::CatchUpInOldSnapshot => {
                out.push(NodeStep::ReadRevision);
            }
            Phase::Joining | Phase::Seen(_) => out.push(NodeStep::GoLive),
            Phase::Live => out.extend([NodeStep::ReadRevision, NodeStep::GiveUp]),
            Phase::CatchUp(wanted) => {
                if node.memory >= wanted {
                    out.push(NodeStep::CaughtUp);
                }
                out.push(NodeStep::GiveUp);
            }
            Phase::Keep => out.extend([NodeStep::RenewSend, NodeStep::Drain]),
            Phase::Sent { .. } => out.extend([NodeStep::RenewStore, NodeStep::RenewLost]),
            Phase::Done { granted, .. } => {
                out.extend([NodeStep::RenewReceive, NodeStep::RenewLost]);
                if granted {
                    out.push(NodeStep::GiveUp);
                }
            }
            Phase::Draining => out.push(NodeStep::LeaveDrained),
        }
        self.feed_steps(s, n, out);
    }

    /// The follower goes its own way, whatever the keeper does.
    fn feed_steps(&self, s: &State, n: usize, out: &mut Vec<NodeStep>) {
        let node = &s.nodes[n];
        if node.phase == Phase::Down || node.memory == 0 {
            return;
        }
        let early = self.variant == Variant::ReportBeforePublish;
        if early && node.fetched < s.revision {
            out.push(NodeStep::Fetch);
        }
        if node.memory < if early { node.fetched } else { s.revision } {
            out.push(NodeStep::Apply);
        }
        let behind = |row: &Row| row.may_answer() && row.applied < self.reported(s, n);
        if node.life().is_some_and(|life| behind(&s.rows[n][life])) {
            out.push(NodeStep::Report);
        }
    }

    fn reported(&self, s: &State, n: usize) -> u8 {
        if self.variant == Variant::ReportBeforePublish { s.nodes[n].fetched } else { s.nodes[n].memory }
    }

    pub(super) fn node_step(&self, s: &mut State, n: usize, step: NodeStep) {
        match step {
            NodeStep::Crash => {
                s.nodes[n] = s.nodes[n].down();
                s.nodes[n].crashes += 1;
            }
            NodeStep::Load => {
                (s.nodes[n].memory, s.nodes[n].fetched) = (s.revision, s.revision);
                if s.nodes[n].phase == Phase::Down {
                    s.nodes[n].phase = Phase::NoLife;
                }
            }
            NodeStep::Register => self.register(s, n),
            NodeStep::GoLive => self.go_live(s, n),
            NodeStep::ReadRevision => {
                let early = s.nodes[n].phase == Phase::Joining;
                s.nodes[n].phase = if early { Phase::Seen(s.revision) } else { Phase::CatchUp(s.revision) };
            }
            NodeStep::CaughtUp | NodeStep::RenewLost => s.nodes[n].phase = Phase::Keep,
            NodeStep::RenewSend => s.nodes[n].phase = Phase::Sent { t0: s.clock(n) },
            NodeStep::RenewStore => self.renew_store(s, n),
            NodeStep::RenewReceive => self.renew_receive(s, n),
            NodeStep::GiveUp => self.end_life(s, n),
            NodeStep::Leave => {
                self.set_gone(s, n);
                s.nodes[n].phase = Phase::NoLife;
            }
            NodeStep::Fetch => s.nodes[n].fetched += 1,
            NodeStep::Apply => {
                s.nodes[n].memory += 1;
                s.nodes[n].fetched = s.nodes[n].fetched.max(s.nodes[n].memory);
            }
            NodeStep::Report => {
                let reported = self.reported(s, n);
                if let Some(life) = s.nodes[n].life() {
                    s.rows[n][life].applied = reported;
                }
            }
            NodeStep::Drain => s.nodes[n].phase = Phase::Draining,
            NodeStep::LeaveDrained => {
                self.set_gone(s, n);
                if self.variant != Variant::LeavesWithItsLease {
                    s.nodes[n] = s.nodes[n].down();
                }
            }
        }
    }

    fn set_gone(&self, s: &mut State, n: usize) {
        if let Some(life) = s.nodes[n].life() {
            s.rows[n][life].status = Status::Gone;
        }
    }

    fn register(&self, s: &mut State, n: usize) {
        let before = s.nodes[n].life();
        let life = match before {
            Some(life) if self.variant == Variant::IdReused => life,
            _ => usize::from(s.nodes[n].lives),
        };
        let kept = before.filter(|_| self.variant == Variant::RejoinKeepsApplied);
        let applied = kept.map_or(0, |before| s.rows[n][before].applied);
        s.rows[n][life] = Row { status: Status::Joining, applied };
        s.nodes[n].lives = u8::try_from(life + 1).unwrap_or(u8::MAX);
        // What is in memory is kept: a re-join catches up from the feed.
        s.nodes[n].phase = Phase::Joining;
    }

    fn go_live(&self, s: &mut State, n: usize) {
        let Some(life) = s.nodes[n].life() else { return };
        let memory = s.nodes[n].memory;
        if self.variant == Variant::RenewsWhileJoining {
            s.nodes[n].phase = Phase::Keep;
            return;
        }
        let row = &mut s.rows[n][life];
        if row.status != Status::Joining {
            self.end_life(s, n);
            return;
        }
        *row = Row { status: Status::Live, applied: row.applied.max(memory) };
        s.nodes[n].phase = match (self.variant, s.nodes[n].phase) {
            (Variant::NoCatchUp, _) => Phase::Keep,
            (_, Phase::Seen(early)) => Phase::CatchUp(early),
            _ => Phase::Live,
        };
    }

    fn renew_store(&self, s: &mut State, n: usize) {
        let (Phase::Sent { t0 }, Some(life)) = (s.nodes[n].phase, s.nodes[n].life()) else { return };
        let granted = match s.rows[n][life].status {
            Status::Live => true,
            Status::Fenced => self.variant == Variant::RenewIgnoresFence,
            Status::Joining => self.variant == Variant::RenewsWhileJoining,
            Status::Absent | Status::Gone => false,
        };
        s.nodes[n].phase = Phase::Done { t0, granted };
    }

    fn renew_receive(&self, s: &mut State, n: usize) {
        let Phase::Done { t0, granted } = s.nodes[n].phase else { return };
        if !granted {
            self.end_life(s, n);
            return;
        }
        let from = if self.variant == Variant::DeadlineFromReceive { s.clock(n) } else { t0 };
        s.nodes[n].deadline = s.nodes[n].deadline.max(from + self.lease);
        s.nodes[n].phase = Phase::Keep;
    }

    fn end_life(&self, s: &mut State, n: usize) {
        if self.variant != Variant::RejoinKeepsDeadline {
            s.nodes[n].deadline = 0;
        }
        s.nodes[n].phase = Phase::Over;
    }

    /// Lives that somebody may know to be over: their process is dead, or has gone on to another life. The successor in
    /// a supervisor's slot knows it, and an operator may.
    pub(super) fn known_to_be_over(&self, s: &State, n: usize) -> impl Iterator<Item = usize> {
        let node = s.nodes[n];
        let rows = s.rows[n];
        let any = self.variant == Variant::BuriesTheLiving;
        let over = move |life: usize| any || node.phase == Phase::Down || Some(life) != node.life();
        (0..LIVES).filter(move |life| rows[*life].may_answer() && over(*life))
    }
}

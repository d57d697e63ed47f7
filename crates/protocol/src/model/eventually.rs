//! Whether the protocol gets anywhere: every write is acknowledged at last, whoever is lost, and every node that is alive
//! answers again.
//!
//! Without fairness nothing ever happens: time could pass while everybody waits. So here time goes on only when nobody who
//! runs has anything left to do, faults are bounded and end at a moment, and each node renews once a moment. What is left
//! is finite and never returns to where it was ([`measure`] grows with every step), so that every run ends, and what is
//! true of every end is true eventually: a bounded liveness, with `end` as the bound.

use std::cmp::Reverse;

use stateright::{Model, Property};

use super::state::{LIVES, NODES, Phase, Row, State, Status, WRITERS, Writer};
use super::{NodeStep, Protocol, Step, WriterStep};

/// The protocol with faults that end.
#[derive(Clone, Debug)]
pub struct Eventually {
    pub protocol: Protocol,
    /// From then on nothing fails, nobody writes and nobody is started again.
    pub calm_from: u8,
    /// How often a node may stand still until the next moment.
    pub pauses: u8,
    /// How many answers may be lost, lives given up or nodes shut down.
    pub losses: u8,
}

impl Eventually {
    /// A writer, and a node that is lost or falters in every way. Lives are enough for every fault.
    pub const ONE: Self = Self {
        protocol: Protocol { end: 8, lives: LIVES as u8, patience: Some(1), ..Protocol::ONE },
        calm_from: 3,
        pauses: 1,
        losses: 1,
    };
}

/// The protocol's state, and what is left of the faults.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Faltering {
    s: State,
    renewed: [bool; NODES],
    paused: [bool; NODES],
    pauses: u8,
    losses: u8,
}

/// A step of the protocol, or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Step(Step),
    Pause(usize),
}

/// Whether something is done as soon as it can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    AtOnce,
    Perhaps,
    Never,
}

impl Eventually {
    fn due(&self, f: &Faltering, step: Step) -> Due {
        let stormy = f.s.now < self.calm_from;
        let perhaps = |may: bool| if may && stormy { Due::Perhaps } else { Due::Never };
        match step {
            Step::Tick(_) | Step::Verify(..) => Due::Never,
            Step::ProofOfDeath(..) | Step::Writer(_, WriterStep::Commit) => perhaps(true),
            Step::Writer(..) => Due::AtOnce,
            Step::Node(_, NodeStep::Crash) => perhaps(true),
            Step::Node(n, _) if f.paused[n] => Due::Never,
            Step::Node(_, NodeStep::RenewLost | NodeStep::GiveUp | NodeStep::Drain) => perhaps(f.losses > 0),
            Step::Node(n, NodeStep::Load | NodeStep::Register) if f.s.nodes[n].phase == Phase::Down => {
                perhaps(true)
            }
            Step::Node(n, NodeStep::RenewSend) if f.renewed[n] => Due::Never,
            Step::Node(..) => Due::AtOnce,
        }
    }

    /// Whether everything that was promised has come about.
    fn is_well(&self, f: &Faltering) -> bool {
        let protocol = &self.protocol;
        let done = |w: &Writer| matches!(w, Writer::Idle | Writer::Acknowledged { .. });
        f.s.writers.iter().take(protocol.writers).all(done) && (0..protocol.nodes).all(|n| is_well(&f.s, n))
    }
}

/// Down, or with a lease and everything applied.
fn is_well(s: &State, n: usize) -> bool {
    let node = &s.nodes[n];
    node.phase == Phase::Down || (s.clock(n) < node.deadline && node.memory == s.revision)
}

/// Grows with every step: lives before what a life does, a crash before what a process holds.
fn measure(f: &Faltering) -> impl Ord + use<> {
    let s = &f.s;
    let sum = |of: &dyn Fn(usize) -> u32| (0..NODES).map(of).sum::<u32>();
    let rows = |of: fn(&Row) -> u8| s.rows.iter().flatten().map(|row| u32::from(of(row))).sum::<u32>();
    let stage = |n: usize| match s.nodes[n].phase {
        Phase::Down if s.nodes[n].lives == 0 => 0,
        Phase::Joining => 1,
        Phase::Seen(_) => 2,
        Phase::Live => 3,
        Phase::CatchUp(_) => 4,
        Phase::Sent { .. } => renewal(5, f.renewed[n]),
        Phase::Done { .. } => renewal(6, f.renewed[n]),
        Phase::Keep => renewal(7, f.renewed[n]),
        Phase::Draining => 11,
        Phase::Over => 12,
        Phase::Down => 13,
        Phase::NoLife => 14,
    };
    let writers: u32 = (0..WRITERS).map(|w| writer_stage(&s.writers[w])).sum();
    let crashes = sum(&|n| u32::from(s.nodes[n].crashes));
    let lives = sum(&|n| u32::from(s.nodes[n].lives));
    let left = rows(|row| u8::from(row.status == Status::Gone));
    let memory = sum(&|n| u32::from(s.nodes[n].memory));
    let statuses = rows(|row| row.status as u8);
    let paused = (Reverse(f.pauses), Reverse(f.losses));
    (s.now, crashes, lives, left, sum(&stage), writers, statuses, memory, rows(|row| row.applied), paused)
}

/// A renewal of the moment before may end in this one, and then this moment's begins.
fn renewal(stage: u32, renewed: bool) -> u32 {
    if renewed { stage + 3 } else { stage }
}

fn writer_stage(writer: &Writer) -> u32 {
    match writer {
        Writer::Idle => 0,
        Writer::Looked { .. } => 1,
        Writer::Committed { .. } => 2,
        Writer::Waiting { since, .. } => {
            3 + u32::try_from(since.iter().flatten().flatten().count()).unwrap_or(0)
        }
        Writer::Acknowledged { .. } => 100,
    }
}

impl Model for Eventually {
    type State = Faltering;
    type Action = Event;

    fn init_states(&self) -> Vec<Faltering> {
        let (renewed, paused) = ([false; NODES], [false; NODES]);
        vec![Faltering { s: State::FIRST, renewed, paused, pauses: self.pauses, losses: self.losses }]
    }

    fn actions(&self, f: &Faltering, out: &mut Vec<Event>) {
        let mut steps = Vec::new();
        self.protocol.actions(&f.s, &mut steps);
        let mut idle = true;
        let mut ticks = Vec::new();
        for step in steps {
            match (step, self.due(f, step)) {
                (Step::Tick(_), _) => ticks.push(Event::Step(step)),
                (_, Due::Never) => {}
                (_, due) => {
                    idle &= due != Due::AtOnce;
                    out.push(Event::Step(step));
                }
            }
        }
        let may_pause = |n: &usize| !f.paused[*n] && f.s.nodes[*n].phase != Phase::Down;
        if f.pauses > 0 && f.s.now < self.calm_from {
            out.extend((0..self.protocol.nodes).filter(may_pause).map(Event::Pause));
        }
        if idle {
            out.append(&mut ticks);
        }
    }

    fn next_state(&self, last: &Faltering, event: Event) -> Option<Faltering> {
        let mut f = last.clone();
        match event {
            Event::Pause(n) => {
                f.paused[n] = true;
                f.pauses -= 1;
            }
            Event::Step(step) => {
                f.s = self.protocol.next_state(&f.s, step)?;
                match step {
                    Step::Tick(_) => (f.renewed, f.paused) = ([false; NODES], [false; NODES]),
                    Step::Node(n, NodeStep::RenewSend) => f.renewed[n] = true,
                    Step::Node(_, NodeStep::RenewLost | NodeStep::GiveUp | NodeStep::Drain) => f.losses -= 1,
                    _ => {}
                }
            }
        }
        assert!(measure(last) < measure(&f), "{event:?} leads back: {last:?}");
        Some(f)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::eventually(ACKNOWLEDGED, |m: &Self, f: &Faltering| {
                let over = |w: &Writer| {
                    matches!(w, Writer::Acknowledged { .. }) || (*w == Writer::Idle && f.s.now >= m.calm_from)
                };
                f.s.writers.iter().take(m.protocol.writers).all(over)
            }),
            Property::always(ENDS_WELL, |m: &Self, f: &Faltering| {
                f.s.now < m.protocol.end || m.is_well(f) || {
                    let mut left = Vec::new();
                    m.actions(f, &mut left);
                    !left.is_empty()
                }
            }),
            Property::sometimes("an acknowledgement although a node is lost", |_, f: &Faltering| {
                f.s.acknowledged() > 1 && f.s.nodes.iter().any(|n| n.phase == Phase::Down && n.crashes > 0)
            }),
            Property::sometimes("a third life answers", |_, f: &Faltering| {
                (0..NODES)
                    .any(|n| f.s.nodes[n].lives > 2 && is_well(&f.s, n) && f.s.nodes[n].phase == Phase::Keep)
            }),
        ]
    }
}

const ACKNOWLEDGED: &str = "every write is acknowledged at last";
const ENDS_WELL: &str =
    "when all is calm, every write is acknowledged and every node that is alive answers by it";

#[cfg(test)]
mod tests {
    use stateright::{Checker, HasDiscoveries};

    use super::*;
    use crate::model::Variant;

    #[test]
    fn every_write_is_acknowledged_at_last_and_every_node_that_is_alive_answers_again() {
        let checker = Eventually::ONE.checker().threads(2).spawn_bfs().join();
        println!("{} states, {} steps at the deepest", checker.unique_state_count(), checker.max_depth());
        let found = checker.discoveries();
        for failed in [ACKNOWLEDGED, ENDS_WELL] {
            assert!(!found.contains_key(failed), "{failed}: {}", found[failed]);
        }
        assert_eq!(found.len(), 2, "{:?}", found.keys());
        assert!(checker.is_done());
    }

    #[test]
    fn every_variant_that_gets_stuck_is_found() {
        for variant in Variant::STUCK {
            let protocol = Protocol { variant, ..Eventually::ONE.protocol };
            let stuck = Eventually { protocol, ..Eventually::ONE };
            let checker =
                stuck.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
            let found = checker.discoveries();
            println!("{variant:?}: {} states", checker.unique_state_count());
            assert!(found.contains_key(ACKNOWLEDGED) || found.contains_key(ENDS_WELL), "{variant:?}");
        }
    }
}

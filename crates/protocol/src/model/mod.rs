//! The store (the only arbiter), nodes that verify and writers, in discrete time, with clocks that fall behind by a bound.
//!
//! A process may stop anywhere for any time: other steps come between its own. A message may take any time or be lost: a
//! request, what the store makes of it, and its answer are three steps. Each step has the name of what the code does at
//! once; where the code can do less than the model lets happen, the model is on the safe side:
//!
//! - a writer may fence at any moment, where the code waits for its patience and for at most a fifth of the nodes;
//! - a writer waits for whom its first look showed, where the code waits for those of its newest look too;
//! - a life may end at any moment, where the code wants to be behind, to drift or to have lost an answer;
//! - a verification reads the clock once, last; that the code also reads it early can only refuse more.
//!
//! Not modelled: a store that fails over (renewals, fences and registrations are as durable as writes, which makes it one
//! store), and memory orders (`verifier/tests/memory.rs`).

pub mod eventually;
mod node;
mod state;
mod variant;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use stateright::{Model, Property};

pub use self::node::NodeStep;
pub use self::state::State;
use self::state::{Phase, Status, Writer};
pub use self::variant::Variant;
pub use self::verify::VerifyStep;
pub use self::writer::WriterStep;

/// The protocol at one size.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub nodes: usize,
    pub writers: usize,
    /// Where time ends.
    pub end: u8,
    pub lease: u8,
    /// How far a node's clock may fall behind in all: a lease may last longer by so much.
    pub lag: u8,
    pub crashes: u8,
    /// Lives of each node.
    pub lives: u8,
    /// How long a writer waits before it fences; `None` is any time.
    pub patience: Option<u8>,
    pub variant: Variant,
}

impl Protocol {
    /// The essential case: nodes meet only in the writer's wait for all of them.
    pub const ONE: Self = Self {
        nodes: 1,
        writers: 1,
        end: 5,
        lease: 2,
        lag: 1,
        crashes: 1,
        lives: 2,
        patience: None,
        variant: Variant::None,
    };
    /// Two that fence the same node, each with a clock of its own.
    pub const TWO_WRITERS: Self = Self { writers: 2, end: 3, lease: 1, crashes: 0, lives: 1, ..Self::ONE };
}

/// What somebody does at once; the first number says which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Time goes on. The clocks of the nodes whose bits are set do not.
    Tick(u8),
    Node(usize, NodeStep),
    Writer(usize, WriterStep),
    Verify(usize, VerifyStep),
    /// Somebody who knows that a life is over says so: the successor in its slot, or an operator.
    ProofOfDeath(usize, usize),
}

const NO_STALE_ANSWER: &str = "no verification after an acknowledgement answers by a state before it";
const SECOND_LIFE: &str = "a second life answers without a load";
const REFUSED: &str = "the lease refuses an old state";

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::FIRST]
    }

    fn actions(&self, s: &State, out: &mut Vec<Step>) {
        if (0..self.nodes).any(|n| self.is_at_its_clock(s, n)) {
            return;
        }
        if s.now < self.end {
            let may_lag =
                |mask: u8| (0..self.nodes).all(|n| mask & (1 << n) == 0 || s.nodes[n].lag < self.lag);
            out.extend((0..1 << self.nodes).filter(|mask| may_lag(*mask)).map(Step::Tick));
        }
        let (mut writer, mut node, mut verify) = (Vec::new(), Vec::new(), Vec::new());
        for w in 0..self.writers {
            self.writer_steps(s, w, &mut writer);
            out.extend(writer.drain(..).map(|step| Step::Writer(w, step)));
        }
        for n in 0..self.nodes {
            self.node_steps(s, n, &mut node);
            out.extend(node.drain(..).map(|step| Step::Node(n, step)));
            self.verify_steps(s, n, &mut verify);
            out.extend(verify.drain(..).map(|step| Step::Verify(n, step)));
            out.extend(self.known_to_be_over(s, n).map(|life| Step::ProofOfDeath(n, life)));
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Tick(mask) => {
                s.now += 1;
                for n in 0..self.nodes {
                    s.nodes[n].lag += u8::from(mask & (1 << n) != 0);
                }
            }
            Step::Node(n, step) => self.node_step(&mut s, n, step),
            Step::Writer(w, step) => self.writer_step(&mut s, w, step),
            Step::Verify(n, step) => self.verify_step(&mut s, n, step),
            Step::ProofOfDeath(n, life) => s.rows[n][life].status = Status::Gone,
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ANSWER, |m: &Self, s: &State| {
                (0..m.nodes).all(|n| m.answer(s, n).is_none_or(|(state, since)| state >= since))
            }),
            Property::sometimes("a verification is answered", |m: &Self, s: &State| {
                (0..m.nodes).any(|n| m.answer(s, n).is_some())
            }),
            Property::sometimes("every writer is acknowledged", |m: &Self, s: &State| {
                s.writers.iter().take(m.writers).all(|w| matches!(w, Writer::Acknowledged { .. }))
            }),
            Property::sometimes(SECOND_LIFE, |m: &Self, s: &State| {
                let again = |n: usize| s.nodes[n].lives > 1 && s.nodes[n].crashes == 0;
                (0..m.nodes).any(|n| again(n) && m.answer(s, n).is_some())
            }),
            Property::sometimes("an acknowledgement while a node drains", |m: &Self, s: &State| {
                s.acknowledged() > 1 && (0..m.nodes).any(|n| s.nodes[n].phase == Phase::Draining)
            }),
            Property::sometimes(REFUSED, |m: &Self, s: &State| {
                (0..m.nodes).any(|n| m.refuses_an_old_state(s, n))
            }),
        ]
    }
}

//! What the store, the nodes and the writers hold between two steps.

/// Nodes at most.
pub const NODES: usize = 2;
/// Writers at most.
pub const WRITERS: usize = 2;
/// Lives of one node at most: each has an identifier and a row of its own.
pub const LIVES: usize = 4;

/// A life's status in the store. It only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Absent,
    Joining,
    Live,
    Fenced,
    Gone,
}

/// A life's row in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub status: Status,
    pub applied: u8,
}

impl Row {
    pub fn may_answer(self) -> bool {
        matches!(self.status, Status::Live | Status::Fenced)
    }
}

/// Where a node's keeper is: it does one thing after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// No process.
    Down,
    /// A process that has loaded and is not registered.
    NoLife,
    /// Registered: nobody waits for it.
    Joining,
    /// What to catch up to was read too early (`CatchUpInOldSnapshot`).
    Seen(u8),
    /// `live` is committed.
    Live,
    /// Everything up to here must be applied before the first lease.
    CatchUp(u8),
    /// Between two renewals.
    Keep,
    /// A renewal is on its way to the store.
    Sent { t0: u8 },
    /// Its answer is on its way back.
    Done { t0: u8, granted: bool },
    /// The last lease runs on while open requests are answered.
    Draining,
    /// Its life is over and its deadline 0; its row may not say so yet.
    Over,
}

/// One verification of a node; `since` is the newest revision that was acknowledged when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    Idle,
    /// The deadline was read.
    Deadline {
        since: u8,
        deadline: u8,
    },
    /// The clock was found to be before the deadline (`CheckBeforeLookupOnly`).
    Checked {
        since: u8,
    },
    /// The state was read and nothing is compared with the clock any more.
    Bare {
        since: u8,
        state: u8,
    },
    /// Both were read; the clock is left.
    Both {
        since: u8,
        deadline: u8,
        state: u8,
    },
}

/// A node's process, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub phase: Phase,
    /// How many lives it has had; the last of them is the one that it lives.
    pub lives: u8,
    /// The revision that verifications read; 0 before the load.
    pub memory: u8,
    /// The revision fetched, where that is not the same (`ReportBeforePublish`).
    pub fetched: u8,
    /// By its own clock; 0 is none.
    pub deadline: u8,
    /// How far its clock is behind.
    pub lag: u8,
    pub crashes: u8,
    pub verify: Verify,
}

impl Node {
    pub const DOWN: Self = Self {
        phase: Phase::Down,
        lives: 0,
        memory: 0,
        fetched: 0,
        deadline: 0,
        lag: 0,
        crashes: 0,
        verify: Verify::Idle,
    };

    /// The row of the life that it lives.
    pub fn life(&self) -> Option<usize> {
        usize::from(self.lives).checked_sub(1)
    }

    /// Without its process. The machine's clock goes on.
    pub fn down(self) -> Self {
        Self { lives: self.lives, lag: self.lag, crashes: self.crashes, ..Self::DOWN }
    }
}

/// For each life of each node.
pub type PerLife<T> = [[T; LIVES]; NODES];

/// A writer of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Idle,
    /// Who verifies was read too early (`NodesBeforeCommit`).
    Looked {
        need: PerLife<bool>,
    },
    Committed {
        revision: u8,
        at: u8,
    },
    /// Waits for those whom it needs; for some of them since a moment on its own clock.
    Waiting {
        revision: u8,
        at: u8,
        need: PerLife<bool>,
        since: PerLife<Option<u8>>,
    },
    Acknowledged {
        revision: u8,
    },
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: u8,
    pub revision: u8,
    pub rows: PerLife<Row>,
    pub nodes: [Node; NODES],
    pub writers: [Writer; WRITERS],
}

impl State {
    pub const FIRST: Self = Self {
        now: 0,
        revision: 1,
        rows: [[Row { status: Status::Absent, applied: 0 }; LIVES]; NODES],
        nodes: [Node::DOWN; NODES],
        writers: [Writer::Idle; WRITERS],
    };

    /// The newest revision that was acknowledged.
    pub fn acknowledged(&self) -> u8 {
        let of = |writer: &Writer| match writer {
            Writer::Acknowledged { revision } => *revision,
            _ => 1,
        };
        self.writers.iter().map(of).max().unwrap_or(1)
    }

    /// A node's own clock. It begins at 1, so that 0 is no deadline.
    pub fn clock(&self, node: usize) -> u8 {
        self.now + 1 - self.nodes[node].lag.min(self.now + 1)
    }

    /// Who may answer now, as the rows say.
    pub fn verifiers(&self, joining_too: bool) -> PerLife<bool> {
        self.rows
            .map(|lives| lives.map(|row| row.may_answer() || (joining_too && row.status == Status::Joining)))
    }
}

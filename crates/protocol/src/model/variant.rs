//! Ways to get the protocol wrong, and two that look wrong and are not.

/// A change of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As it ships.
    None,
    /// Verify: state, then the deadline that holds by now, then the clock ("check the lease after the lookup").
    LookupThenCurrentLease,
    /// Verify: deadline and clock before the state, nothing after it. Harmless to the promise; the age of an answer has
    /// no bound.
    CheckBeforeLookupOnly,
    /// Verify: no lease.
    NoLeaseCheck,
    /// Join: the first lease without catching up to what was committed before `live`. Without a state of joining this is
    /// "load, then register".
    NoCatchUp,
    /// Join: what is caught up to was read before `live` was committed.
    CatchUpInOldSnapshot,
    /// Join: a lease is given to who is not live, whom nobody waits for.
    RenewsWhileJoining,
    /// Re-join: the old life is over, its deadline stands. What makes a new life no proof that the old one is over.
    RejoinKeepsDeadline,
    /// Re-join: under the old identifier, whose row a writer that fenced it will bury.
    IdReused,
    /// Re-join: the new row begins with the old one's figure. Harmless: what was reported was true.
    RejoinKeepsApplied,
    /// Proof of death of who lives: a second process in its slot, or an operator who errs.
    BuriesTheLiving,
    /// Shutdown: gone while its lease stands.
    LeavesWithItsLease,
    /// Writer: who verifies is read before the commit.
    NodesBeforeCommit,
    /// Node: the deadline counts from when the renewal's answer came.
    DeadlineFromReceive,
    /// Writer: waits exactly for the lease, whatever the clocks do.
    NoDriftMargin,
    /// Writer: one that somebody else fenced is not waited for.
    FencedMeansGone,
    /// Writer: counts from its commit and fences at the end.
    WaitFromCommit,
    /// Writer: counts from when it sends the fence, not from when that is durable.
    WaitFromFenceSent,
    /// Node: reports before verifications read it.
    ReportBeforePublish,
    /// Store: a fenced life is given a lease.
    RenewIgnoresFence,
    /// Writer: fences nobody. Safe, and a write never ends.
    NeverFences,
    /// Writer: waits for who is joining. Safe, and a write never ends when that one died.
    JoiningIsWaitedFor,
    /// Node: stays out once it was fenced. Safe, and it never answers again.
    NeverRejoins,
}

impl Variant {
    /// Each lets a verification answer by an old state.
    pub const UNSAFE: [Self; 17] = [
        Self::LookupThenCurrentLease,
        Self::NoLeaseCheck,
        Self::NoCatchUp,
        Self::CatchUpInOldSnapshot,
        Self::RenewsWhileJoining,
        Self::RejoinKeepsDeadline,
        Self::IdReused,
        Self::BuriesTheLiving,
        Self::LeavesWithItsLease,
        Self::NodesBeforeCommit,
        Self::DeadlineFromReceive,
        Self::NoDriftMargin,
        Self::FencedMeansGone,
        Self::WaitFromCommit,
        Self::WaitFromFenceSent,
        Self::ReportBeforePublish,
        Self::RenewIgnoresFence,
    ];
    /// Each looks unsafe.
    pub const HARMLESS: [Self; 2] = [Self::CheckBeforeLookupOnly, Self::RejoinKeepsApplied];
    /// Each is safe and gets stuck.
    pub const STUCK: [Self; 3] = [Self::NeverFences, Self::JoiningIsWaitedFor, Self::NeverRejoins];
}

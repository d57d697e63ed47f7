//! Limits that several nodes share.
//!
//! A verification spends units that its node was given **ahead of use**, on an atomic word in memory; only a node that
//! has none of a limit asks. Two things can give:
//!
//! - **a server** ([`Allowances`]; `redis.rs` speaks to Redis and Valkey), which keeps one bucket a limit, as
//!   `keywright_model::limit` states it, by its own clock, and takes from it in one atomic script whatever it gives;
//! - **the store** ([`Exchange`]), which divides each limit: half of it evenly among the live nodes, half by what they
//!   used, anew every second; what a node may use of its share it counts by itself, and never waits.
//!
//! # The bound
//!
//! With `n` nodes, `b = ⌊max / (8 × n)⌋` (a block, [`Rate::block`]) and `c` the largest cost of a call, all nodes
//! together admit, in any stretch of `t` seconds, at most
//!
//! ```text
//! max × (1 + t / per_seconds) + n × max(b, c)              by a server
//! max × (1 + t / per_seconds) + n × (max(b, c) + c)        by shares of the store
//! ```
//!
//! units; the second term is at most `max / 8` where `c ≤ b`. The argument: every unit that is admitted was given
//! before, once. What was given in the stretch is bounded by the buckets; what was given before it and was still there
//! when it began is what nodes hold, at most `max(b, c)` each (`Entry::ask`, `Entry::grant_locally`). Shares never add
//! up to more than the whole, a share that grows brings no units with it (`Bucket::reshare`), and a full bucket admits
//! one call that is larger than its share, whose excess of at most `c` it owes. Nobody's clock is compared with
//! another's.
//!
//! Beyond the bound, and stated in `docs/limits.md`: nodes that join count as one fewer for up to a second; a server
//! that has lost its memory begins with full buckets; each change from the server to the policy and back begins
//! another window. Whatever a server or store answers, one node never admits more than `max × (2 + t / per_seconds)`
//! by it (`Entry::credit`).
//!
//! Small limits (`max < 8 × n`) are held by nobody: each of their calls asks the server, and a refusal is remembered
//! until it ends, for a second at most.
//!
//! This crate must not know SQL, HTTP, or who may do what. It alone speaks to the limiter's server.

mod core;
mod entry;
mod figures;
mod port;
mod rate;
mod redis;
mod run;

use std::time::Duration;

use keywright_verifier::Counting;

pub use crate::port::{Allowances, Exchange, Grant, Granted, Share, Shares, Unreachable, Usage, Wish};
pub use crate::rate::Rate;
pub use crate::redis::{RedisAllowances, RedisUrl, UrlFault};
pub use crate::run::{Clock, Limiter, Parts, Source};

/// How often what is held is looked at.
pub const TICK: Duration = Duration::from_millis(50);
/// How many ticks' use a node holds, as far as a block has it.
const TICKS_AHEAD: u64 = 4;
/// How often limits are divided anew.
pub const EXCHANGE: Duration = Duration::from_secs(1);
/// How long a share counts after it was asked for.
pub const SHARE_HELD: Duration = Duration::from_secs(3);
/// The part of a limit that the store divides by use, in millionths; the rest is divided evenly.
pub const SHARED_MAX: u32 = 500_000;
/// How many limits one call to a server asks for.
pub const WISHES_MAX: usize = 256;
/// How many limits one exchange with the store is about: of more, those that are used most.
pub const USES_MAX: usize = 4_096;
/// How many limits a node remembers at once; calls with more are refused for a second.
pub const METERS_MAX: usize = 262_144;
/// How many calls may wait for one limit.
pub const WAITING_MAX: usize = 4_096;

/// What a node does while it cannot reach what counts for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It counts by itself: each node admits its share of a limit.
    Local,
    /// It admits without counting.
    Allow,
    /// It refuses what it was not given before.
    Deny,
}

impl Policy {
    /// How limits are counted while the policy is in force.
    pub const fn counting(self) -> Counting {
        match self {
            Self::Local => Counting::Node,
            Self::Allow => Counting::Nobody,
            Self::Deny => Counting::Refusing,
        }
    }
}

#[cfg(test)]
mod tests;

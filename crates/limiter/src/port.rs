//! What a limiter asks of the outside, as traits: a server that counts for all nodes, or a store that divides limits
//! among them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use keywright_verifier::{Meter, QuotaSubject};

/// The limit's name for everybody: the same on every node, and no secret.
pub(crate) fn name_of(meter: &Meter) -> String {
    let name = &meter.name;
    match meter.subject {
        QuotaSubject::Key(key) => format!("{key}:{name}"),
        QuotaSubject::PlanOfKey(plan, key) => format!("{plan}:{key}:{name}"),
        QuotaSubject::Principal(owner) => format!("{owner}:{name}"),
    }
}

/// What a node wants of one limit. All numbers are microseconds of its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which limit.
    pub name: String,
    /// What its bucket holds.
    pub capacity_us: u64,
    /// What a unit costs: a grant is `need_us` and whole units of this.
    pub unit_us: u64,
    /// Less than this is of no use.
    pub need_us: u64,
    /// More than this is not wanted.
    pub want_us: u64,
    /// What the node gives back.
    pub back_us: u64,
}

/// What a node was given of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Of what it wanted.
    pub granted_us: u64,
    /// What is used of the bucket now.
    pub used_us: u64,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How many nodes have asked in the last seconds.
    pub nodes: u32,
    /// One for each wish, in their order.
    pub grants: Vec<Grant>,
}

/// What counts for all nodes cannot be reached, or makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Unreachable {
    /// What was tried.
    pub what: &'static str,
    /// Why it came to nothing.
    #[source]
    pub why: Box<dyn std::error::Error + Send + Sync>,
}

impl Unreachable {
    /// Says what was tried and why it came to nothing.
    pub fn new(what: &'static str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what, why: why.into() }
    }
}

/// A server that keeps one bucket a limit for all nodes.
#[async_trait]
pub trait Allowances: Send + Sync + fmt::Debug {
    /// Asks for units of several limits at once; each is decided by itself, in one step. With no wish it says only
    /// that the node is there.
    async fn lease(&self, wishes: &[Wish]) -> Result<Granted, Unreachable>;
}

/// How much of a limit a node could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which limit.
    pub name: String,
    /// What it would use if it could, in millionths of the limit.
    pub demand: u32,
    /// What it asks for now, in millionths; 0 lets go.
    pub wish: u32,
}

/// A node's part of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its own, in millionths of the limit, for as long as was asked for.
    pub granted: u32,
    /// What all others said that they would use.
    pub others_demand: u32,
}

/// How limits are divided now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// How many nodes have asked in the last seconds.
    pub nodes: u32,
    /// One for each usage, in their order.
    pub shares: Vec<Share>,
}

/// A store that divides limits among nodes and never gives more than [`crate::SHARED_MAX`] millionths of one.
#[async_trait]
pub trait Exchange: Send + Sync + fmt::Debug {
    /// Says what was used and takes shares, which are this node's for `hold`.
    async fn exchange(&self, usage: &[Usage], hold: Duration) -> Result<Shares, Unreachable>;
}

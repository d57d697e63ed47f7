//! What every write takes and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// How a write is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Only if the noun has this entity tag (`"3"`, quotes included, or `*`).
    pub if_match: Option<String>,
    /// Names the call, so that making it again does nothing twice.
    pub idempotency_key: Option<String>,
    /// Write nothing; say what would change.
    pub dry_run: bool,
    /// How many seconds to wait until every verifier answers by it; `None` is the server's own patience.
    pub wait: Option<u32>,
}

impl WriteOptions {
    /// Of a call that writes nothing.
    pub fn dry_run() -> Self {
        Self { dry_run: true, ..Self::default() }
    }
}

/// The answer to a write: it was made, or what it would have done.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// It was made.
    Written(Box<Written<T>>),
    /// It was a dry run.
    DryRun(Box<DryRun>),
}

impl<T> Answer<T> {
    /// What was written; an error after a dry run.
    pub fn written(self) -> Result<Written<T>, Error> {
        match self {
            Self::Written(written) => Ok(*written),
            Self::DryRun(_) => Err(Error::Unexpected("nothing was written: it was a dry run")),
        }
    }

    /// What would be written; an error after a real write.
    pub fn planned(self) -> Result<DryRun, Error> {
        match self {
            Self::DryRun(plan) => Ok(*plan),
            Self::Written(_) => Err(Error::Unexpected("the server wrote in spite of dry_run")),
        }
    }
}

/// A write that was made.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// The noun after it.
    pub value: T,
    /// Its place among all writes, opaque.
    pub revision: Option<String>,
    /// How far it has come.
    pub enforced: Enforced,
    /// The noun's entity tag after it.
    pub etag: Option<String>,
    /// Whether this is the answer to an earlier call with the same `Idempotency-Key`.
    pub replayed: bool,
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforced {
    /// Every verifier of the installation answers by it.
    All,
    /// Some may still answer by the state before it: ask [`crate::Client::revision`].
    Pending,
}

impl Enforced {
    /// Whether every verifier answers by it.
    pub fn is_all(self) -> bool {
        self == Self::All
    }
}

/// What a write would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// Always true.
    pub dry_run: bool,
    /// Every field that would change.
    #[serde(default)]
    pub changes: Vec<FieldChange>,
    /// What the key could do that it cannot do now, and the other way round.
    #[serde(default)]
    pub access: AccessDifference,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One field that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where (RFC 6901).
    pub path: String,
    /// The value before.
    #[serde(default)]
    pub from: Value,
    /// The value after.
    #[serde(default)]
    pub to: Value,
}

/// A difference of access.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessDifference {
    /// Allowed after, not before.
    #[serde(default)]
    pub gained: Vec<AccessRegion>,
    /// Allowed before, not after.
    #[serde(default)]
    pub lost: Vec<AccessRegion>,
}

/// (`actions` − `except_actions`) on (`resources` − `except_resources`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRegion {
    /// These actions,
    pub actions: Vec<String>,
    /// on these resources.
    pub resources: Vec<String>,
    /// Not these actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_actions: Vec<String>,
    /// Not these resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_resources: Vec<String>,
}

/// `get, put on devices/7/** except devices/7/secret`.
impl fmt::Display for AccessRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.actions.join(", "))?;
        if !self.except_actions.is_empty() {
            write!(f, " except {}", self.except_actions.join(", "))?;
        }
        write!(f, " on {}", self.resources.join(", "))?;
        if !self.except_resources.is_empty() {
            write!(f, " except {}", self.except_resources.join(", "))?;
        }
        Ok(())
    }
}

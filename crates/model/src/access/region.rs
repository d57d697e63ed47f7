//! Differences of access as people and programs read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::grant::{Action, ActionPattern, Resource, ResourcePattern};

/// Some actions on some resources: (`actions` − `except_actions`) × (`resources` − `except_resources`).
///
/// A list of regions means their union, and is exact. In JSON it is
/// `{"actions":["get"],"resources":["devices/7/**"]}`, with `except_actions` and `except_resources` only when there are
/// any (`api.md` §3: the `access` of a dry run).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccessRegion {
    /// These actions, each by its pattern,
    pub actions: Vec<ActionPattern>,
    /// on these resources.
    pub resources: Vec<ResourcePattern>,
    /// Not these actions, though `actions` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_actions: Vec<ActionPattern>,
    /// Not these resources, though `resources` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_resources: Vec<ResourcePattern>,
}

/// What a change of access gives and what it takes away; neither, when it changes nothing (`api.md` §3, `dry_run`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessChange {
    /// Allowed after, not before.
    pub gained: Vec<AccessRegion>,
    /// Allowed before, not after.
    pub lost: Vec<AccessRegion>,
}

impl AccessRegion {
    /// Says whether this request is in the region.
    pub fn contains(&self, action: &Action, resource: &Resource) -> bool {
        let acts = |patterns: &[ActionPattern]| patterns.iter().any(|pattern| pattern.covers(action));
        let touches = |patterns: &[ResourcePattern]| patterns.iter().any(|pattern| pattern.covers(resource));
        acts(&self.actions)
            && touches(&self.resources)
            && !acts(&self.except_actions)
            && !touches(&self.except_resources)
    }
}

impl AccessChange {
    /// Says whether both mean the same.
    pub fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }
}

/// `get, put on devices/7/** except devices/7/secret`.
impl fmt::Display for AccessRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, "", &self.actions)?;
        write_list(f, " except ", &self.except_actions)?;
        write_list(f, " on ", &self.resources)?;
        write_list(f, " except ", &self.except_resources)
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, before: &str, patterns: &[impl fmt::Display]) -> fmt::Result {
    for (index, pattern) in patterns.iter().enumerate() {
        write!(f, "{}{pattern}", if index == 0 { before } else { ", " })?;
    }
    Ok(())
}

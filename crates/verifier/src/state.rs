//! What readers see: replaced as a whole, so that a batch is seen whole or not at all.

use keywright_model::revision::{Incarnation, Revision};

use crate::directory::Directory;
use crate::pairs::Pairs;
use crate::table::Table;

/// Everything at one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) pairs: Pairs,
    pub(crate) directory: Directory,
    /// `None` before the first load.
    pub(crate) at: Option<Position>,
}

/// How far a state has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) incarnation: Incarnation,
    pub(crate) revision: Revision,
}

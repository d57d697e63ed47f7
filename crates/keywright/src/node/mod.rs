//! What works on a data directory: the service itself, and what an operator does to it. And the sidecar, which has none.

mod assembled;
mod backup;
mod copy;
mod data;
mod doctor;
mod door;
mod follow;
mod limiter;
mod logs;
mod master;
mod master_key;
mod migrate;
mod nodes;
mod restore;
mod root;
mod serve;
mod tasks;
mod verify_audit;

pub(crate) use backup::backup;
pub(crate) use copy::copy;
pub(crate) use doctor::doctor;
pub(crate) use follow::follow;
pub(crate) use master_key::master_key;
pub(crate) use migrate::migrate;
pub(crate) use nodes::nodes;
pub(crate) use restore::restore;
pub(crate) use root::root;
pub(crate) use serve::serve;
pub(crate) use verify_audit::verify_audit;

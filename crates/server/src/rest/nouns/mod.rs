//! `/v1/orgs`, `/v1/keyspaces`, `/v1/principals`, `/v1/roles`, `/v1/plans`: the same six verbs, one file each.

mod create;
mod delete;
mod list;
mod patch;
mod replace;
mod show;

pub use create::create;
pub use delete::delete;
pub use list::list;
pub use patch::patch;
pub use replace::replace;
pub use show::show;

//! `/v1/keys`: one file a verb.

mod create;
mod delete;
mod disable;
mod enable;
mod expire_secret;
mod list;
mod lookup;
mod patch;
mod replace;
mod reveal;
mod revoke;
mod rotate;
mod self_revoke;
mod show;
mod undelete;

pub use create::create;
pub use delete::delete;
pub use disable::disable;
pub use enable::enable;
pub use expire_secret::expire_secret;
pub use list::list;
pub use lookup::lookup;
pub use patch::patch;
pub use replace::replace;
pub use reveal::reveal;
pub use revoke::revoke;
pub use rotate::rotate;
pub use self_revoke::self_revoke;
pub use show::show;
pub use undelete::undelete;

use keywright_model::id::SecretId;

use super::call::Call;
use super::problem::{NOT_FOUND, Problem};

/// The secret that the path names. What is no identifier names nothing.
fn secret_id(call: &Call) -> Result<SecretId, Problem> {
    call.asked.segment("sid")?.parse().map_err(|_| Problem::new(NOT_FOUND).detail("no such secret"))
}

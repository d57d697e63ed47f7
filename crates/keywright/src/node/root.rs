//! `keywright root …`: the root key, in the data directory of a server that is stopped, or in the database of a cluster.

use keywright_control::bootstrap::ROOT_PREFIX;
use keywright_model::secret::Secret;
use keywright_store::InstallationChange;
use serde_json::json;

use super::data::{Data, entropy};
use crate::cli::data::RootCommand;
use crate::commands::{Outcome, Session};
use crate::settings::ROOT_KEY;

/// Makes another root key, or lets there be none.
pub(crate) async fn root(session: &Session, command: &RootCommand) -> anyhow::Result<Outcome> {
    let output = session.output;
    let (started, vault, _) = Data::open(&session.settings).await?.start(None).await?;
    let store = started.store;
    match command {
        RootCommand::Rotate => {
            let given = session.settings.text(&ROOT_KEY).map(Secret::new);
            let key = given.clone().unwrap_or_else(|| Secret::generate(ROOT_PREFIX, entropy().as_ref()));
            store.reconfigure(InstallationChange::Root(Some(vault.digest(&key)))).await?;
            if given.is_some() {
                output.note("the root key is now the one in KEYWRIGHT_ROOT_KEY");
            } else if output.json {
                output.say_json(&json!({"root_key": key.expose()}));
            } else {
                output.note("The new root key, which is shown only this once (export it as KEYWRIGHT_KEY):");
                output.say(&format!("root key: {}", key.expose()));
            }
        }
        RootCommand::Disable => {
            let question = "Let no root key be good? Management keys go on; `keywright root rotate` makes a root key again.";
            if output.is_interactive() && !output.confirm(question) {
                return Ok(Outcome::No);
            }
            store.reconfigure(InstallationChange::Root(None)).await?;
            output.note("there is no root key any more; `keywright root rotate` makes one");
        }
    }
    Ok(Outcome::Done)
}

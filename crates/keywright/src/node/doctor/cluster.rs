//! What `keywright doctor` looks at in a cluster: the database, what takes over for it, and who verifies.

use keywright_model::revision::Revision;
use keywright_store::postgres::PostgresDatabase;
use keywright_store::{Member, MemberStatus, Members as _};

use super::{Findings, installation};
use crate::node::door;
use crate::node::nodes::{holds_up, is_silent};
use crate::settings::{Settings, without_password};

pub(super) async fn look(settings: &Settings, url: &str, findings: &mut Findings) {
    let database = match PostgresDatabase::open(url).await {
        Ok(database) => database,
        Err(error) => return findings.problem("database", format!("{:#}", anyhow::Error::from(error))),
    };
    findings.good("database", format!("{} can be used", without_password(url)));
    match database.check_failover(door::failover(settings)).await {
        Ok(()) => findings.good("failover", "is as it was declared"),
        Err(error) => findings.problem("failover", error.to_string()),
    }
    match database.installation().await {
        Ok(Some(found)) => {
            let keyring = database.keyring().await.map_err(anyhow::Error::from);
            installation(settings, &found, keyring, findings);
        }
        Ok(None) => {
            return findings.problem("installation", "was never served from: start `keywright serve`");
        }
        Err(error) => return findings.problem("installation", error.to_string()),
    }
    match (database.members(None).members().await, database.head().await) {
        (Ok(members), Ok(head)) => nodes(&members, head, findings),
        (Err(error), _) | (_, Err(error)) => findings.problem("nodes", error.to_string()),
    }
}

fn nodes(members: &[Member], head: Revision, findings: &mut Findings) {
    if members.is_empty() {
        return findings.warning("nodes", "none is running");
    }
    findings.good("nodes", format!("{} registered; the newest revision is {}", members.len(), head.0));
    for member in members {
        let behind = head.0.saturating_sub(member.applied.0);
        let who = member
            .name
            .as_ref()
            .map_or_else(|| member.id.to_string(), |name| format!("{} ({name})", member.id));
        match member.status {
            MemberStatus::Fenced => {
                findings.problem("node", format!("{who} is fenced: it did not answer by a write in time"));
            }
            _ if is_silent(member) => findings.problem(
                "node",
                format!(
                    "{who} has renewed nothing for a while: if it is dead, `keywright nodes forget {}`",
                    member.id
                ),
            ),
            _ if holds_up(member, head) => {
                findings.warning("node", format!("{who} is {behind} revisions behind"));
            }
            MemberStatus::Joining => findings.warning("node", format!("{who} is loading")),
            MemberStatus::Live | MemberStatus::Gone => {
                findings.good("node", format!("{who} answers by the newest revision"));
            }
        }
    }
}

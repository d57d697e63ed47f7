//! Followers of the nodes: `keywright follow` with a lease, each behind a link of its own to one node at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::node::Role;
use super::process::{self, Account};
use super::{Cluster, Lease, Node, Proxy, Shape};

/// How long the key that followers call with may take to be made.
const KEY_WAIT: Duration = Duration::from_secs(10);
/// What a node gives a lease for.
const LEASE_SECONDS_MAX: u64 = 60;

/// How a follower is started.
#[derive(Debug)]
pub(super) struct Following {
    bin: PathBuf,
    /// Where it finds its node: at its proxy.
    server: String,
    key: String,
    /// It follows this keyspace alone, or else every one.
    keyspace: Option<&'static str>,
    slot: Option<String>,
    lease_seconds: u64,
    lease: Lease,
}

impl Following {
    pub(super) fn command(&self) -> Command {
        let mut command = process::command(&Account::Own, &self.bin);
        command.args(["follow", "--listen", "127.0.0.1:0", "--follow-lease"]);
        command.args(["--follow-staleness", &format!("{}s", self.lease_seconds)]);
        if let Some(keyspace) = self.keyspace {
            command.args(["--follow-keyspaces", keyspace]);
        }
        if let Some(slot) = &self.slot {
            command.args(["--follow-name", slot]);
        }
        command.env("KEYWRIGHT_SERVER", &self.server).env("KEYWRIGHT_KEY", &self.key);
        self.lease.tell(&mut command);
        command
    }
}

impl Cluster {
    /// Starts so many followers, spread over the nodes, which run. Writers wait for them from then on.
    pub(super) async fn add_followers(&mut self, shape: &Shape) -> anyhow::Result<()> {
        let addresses = self.addresses();
        let mut nodes = addresses.iter().map(|(_, address)| *address).cycle();
        let first = nodes.clone().next().context("no node runs")?;
        let actions = ["feed.read", "feed.lease", "keys.verify"];
        let key = self.rest.make_management_key(first, "follower", &actions, KEY_WAIT).await?;
        self.note_secret(&key);
        for place in 0..shape.followers {
            let proxy = Proxy::start(nodes.next().context("no node runs")?).await?;
            let name = format!("follower-{place}");
            let following = Following {
                bin: shape.bin.clone(),
                server: format!("http://{}", proxy.address()),
                key: key.clone(),
                keyspace: place.is_multiple_of(2).then_some("default"),
                slot: shape.named.then(|| name.clone()),
                // Less than is asked for, if anything: answers may then only end sooner.
                lease_seconds: shape.max_staleness.as_secs().clamp(1, LEASE_SECONDS_MAX),
                lease: shape.lease,
            };
            let index = shape.nodes + place;
            let follower = Node::new(index, name, Role::Follows(following), proxy, self.scratch.path());
            follower.start(1.0).await?;
            self.followers.push(Arc::new(follower));
        }
        Ok(())
    }
}

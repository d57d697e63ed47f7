//! What takes over when the server fails, as the operator has declared it, against what the server says of itself.
//!
//! An acknowledged write is only as durable as what takes over for the server that acknowledged it.

use super::value::column;
use super::{OpenError, PostgresDatabase, Timeline};

/// What takes over when the server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// Nothing was said: fine while there is no standby.
    Undeclared,
    /// Nothing: it is repaired or restored. A standby that there is will never be promoted.
    Nothing,
    /// A standby that has every write before it is acknowledged.
    SyncStandby,
    /// Another server on the same storage.
    ManagedStorage,
}

const SETTINGS: &str = "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'), \
     (SELECT count(*) FROM pg_stat_replication)";

impl PostgresDatabase {
    /// Compares what was declared with the server's settings and standbys. A server that is not what was declared is
    /// refused: a failover would lose acknowledged writes, or bring back what was revoked. From then on this process is
    /// part of the server's present [`Timeline`].
    pub async fn check_failover(&self, declared: Failover) -> Result<(), OpenError> {
        let row = self.link.first(SETTINGS, &[]).await?;
        let row = row.ok_or(OpenError::State("the server does not say what its settings are"))?;
        let (names, commit, standbys) =
            (column::<String>(&row, 0)?, column::<String>(&row, 1)?, column::<i64>(&row, 2)?);
        let waits = !names.trim().is_empty() && matches!(commit.as_str(), "on" | "remote_apply");
        match declared {
            Failover::Undeclared if standbys > 0 && !waits => Err(OpenError::Failover(
                "a standby replicates this server and no write waits for it, so that promoting it would lose \
                 acknowledged writes. Say what takes over with `postgres-failover`: `sync_standby` once \
                 synchronous_standby_names is set, or `none` if the standby is never promoted",
            )),
            Failover::SyncStandby if !waits => Err(OpenError::Failover(
                "`postgres-failover` is `sync_standby`, but no write waits for a standby: set \
                 synchronous_standby_names, and synchronous_commit to `on`",
            )),
            // Whoever takes over has every commit that was ever seen, and may not know of timelines at all.
            Failover::ManagedStorage => Ok(()),
            Failover::Undeclared | Failover::Nothing | Failover::SyncStandby => {
                self.connector.timeline().bind(&self.link).await
            }
        }
    }

    /// The history that this process is part of.
    pub fn timeline(&self) -> Timeline {
        self.connector.timeline().clone()
    }
}

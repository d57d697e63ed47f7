//! Which history of the data a process is part of: one server's, or one that was promoted out of it.
//!
//! A server whose standby is cut off shows, once it gives up waiting for it, commits that the standby has never got. A
//! process that has applied such a commit and goes on with the promoted standby would never apply what stands in its
//! place there. So a process belongs to the first history that it sees, and ends when it finds another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::link::Link;
use super::open::OpenError;
use super::value::column;

/// The cluster's identifier and the timeline that the server writes now. A promotion or a restore to a moment begins
/// another timeline; a crash does not.
const NOW: &str = "SELECT (SELECT system_identifier::text FROM pg_control_system()), \
     left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// The history that a process is part of, known to all its connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Not set where another server on the same storage may take over, or before anything was read.
    first: OnceLock<(String, String)>,
    left: AtomicBool,
}

impl Timeline {
    /// Whether the database that is there now is on another timeline: this process is of no use any more.
    pub fn is_left(&self) -> bool {
        self.0.left.load(Ordering::Relaxed)
    }

    /// The history as a text to be compared: `None` where it is not known, because whoever takes over goes on with it.
    pub fn text(&self) -> Option<String> {
        self.0.first.get().map(|(system, timeline)| format!("{system}.{timeline}"))
    }

    /// Belongs from now on to the history of this connection.
    pub(super) async fn bind(&self, link: &Link) -> Result<(), OpenError> {
        let now = read(link).await?;
        if *self.0.first.get_or_init(|| now.clone()) == now { Ok(()) } else { Err(self.leave()) }
    }

    /// Refuses a connection to another history.
    pub(super) async fn check(&self, link: &Link) -> Result<(), OpenError> {
        // Invariant: a connection is part of one history for as long as it lives, so that it is enough to ask at its start.
        let Some(first) = self.0.first.get() else { return Ok(()) };
        if read(link).await? == *first { Ok(()) } else { Err(self.leave()) }
    }

    fn leave(&self) -> OpenError {
        self.0.left.store(true, Ordering::Relaxed);
        OpenError::OtherTimeline
    }
}

async fn read(link: &Link) -> Result<(String, String), OpenError> {
    let row = link.client().query_one(NOW, &[]).await?;
    Ok((column(&row, 0)?, column(&row, 1)?))
}

#[cfg(test)]
mod tests {
    use keywright_testkit::postgres::shared;

    use super::*;
    use crate::members::Members as _;
    use crate::postgres::{Failover, PostgresDatabase};

    #[tokio::test]
    async fn a_process_ends_with_the_history_that_it_began_in() {
        let Some(postgres) = shared() else { return };
        let made = postgres.database();
        let open = || async { PostgresDatabase::open(&made.url).await.unwrap() };
        let same = open().await;
        same.check_failover(Failover::Nothing).await.unwrap();
        same.head().await.unwrap();
        same.members(None).members().await.unwrap();
        assert!(!same.timeline().is_left(), "a server that goes on is the same history");
        let again = open().await;
        again.check_failover(Failover::SyncStandby).await.unwrap_err();
        assert_eq!(again.timeline().text(), None, "it is not bound yet");
        again.check_failover(Failover::Nothing).await.unwrap();
        assert!(again.timeline().text().is_some() && again.timeline().text() == same.timeline().text());

        let other = open().await;
        let before = ("1".to_owned(), "00000001".to_owned());
        other.timeline().0.first.set(before).unwrap();
        assert!(other.members(None).members().await.is_err(), "what was promoted is not read");
        assert!(other.timeline().is_left());
        assert!(matches!(other.check_failover(Failover::SyncStandby).await, Err(OpenError::Failover(_))));
        assert!(matches!(other.check_failover(Failover::Nothing).await, Err(OpenError::OtherTimeline)));
        open().await.check_failover(Failover::ManagedStorage).await.unwrap();
    }
}

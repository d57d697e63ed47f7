//! Tells this process of commits: of its own with the batch, of other nodes' that there is something to read.
//!
//! Nothing rests on it: whoever follows looks by itself too, so that a hint that is lost costs time and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keywright_model::change::Batch;
use keywright_model::revision::Revision;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{Notification, Row};

use super::connect::{Connector, Purpose};
use super::error::Failure;
use super::link::{Answer, Ask, Link};
use super::signals::Signals;
use super::value::count_column;
use crate::StoreError;

/// How many hints a slow listener may fall behind before it loses some.
const HINTS_MAX: usize = 1_024;
/// How often the head is looked at even when notifications come: it shows that the connection lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a failure the next connection is tried, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What has been hinted at, and whom to tell.
#[derive(Debug)]
pub(super) struct Hints {
    send: broadcast::Sender<Option<Arc<Batch>>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The newest revision that was hinted at.
    revision: Revision,
    /// Whether a group of ours is on its way: what is seen meanwhile may be ours.
    committing: bool,
    /// The newest revision seen meanwhile.
    meanwhile: Revision,
}

impl Hints {
    /// Nothing after `head` was hinted at yet.
    pub(super) fn new(head: Revision) -> Self {
        let (send, _) = broadcast::channel(HINTS_MAX);
        Self { send, seen: Mutex::new(Seen { revision: head, ..Seen::default() }) }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Option<Arc<Batch>>> {
        self.send.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody may be listening, and that is well.
    fn tell(&self, hint: Option<Arc<Batch>>) {
        let _heard = self.send.send(hint);
    }

    /// A group of ours is about to be committed.
    pub(super) fn committing(&self) {
        self.lock().committing = true;
    }

    /// The group is durable, with these batches, or it is not and there are none.
    pub(super) fn committed<'a>(&self, batches: impl Iterator<Item = &'a Arc<Batch>>) {
        let mut seen = self.lock();
        for batch in batches.filter(|batch| !batch.changes.is_empty()) {
            // Behind another node's commit it would be a gap: whoever follows reads both.
            let in_order = batch.revision == seen.revision.next();
            if batch.revision > seen.revision {
                seen.revision = batch.revision;
                self.tell(in_order.then(|| Arc::clone(batch)));
            }
        }
        seen.committing = false;
        if seen.meanwhile > seen.revision {
            seen.revision = seen.meanwhile;
            self.tell(None);
        }
    }

    /// The head was read: a signal from before a restore may have named a newer revision, which would hide the next ones.
    fn correct(&self, head: Revision) {
        let mut seen = self.lock();
        if !seen.committing {
            seen.revision = seen.revision.min(head);
        }
    }

    /// This revision is in the database.
    fn saw(&self, revision: Revision) {
        let mut seen = self.lock();
        if seen.committing {
            seen.meanwhile = seen.meanwhile.max(revision);
        } else if revision > seen.revision {
            seen.revision = revision;
            self.tell(None);
        }
    }
}

/// Listens for other nodes' commits, until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(super) fn start(connector: Connector, hints: Arc<Hints>, signals: Option<&Signals>) -> Self {
        let heard = signals.map_or_else(|| watch::Sender::default().subscribe(), Signals::heard);
        Self { task: tokio::spawn(listen(connector, hints, heard)) }
    }
}

async fn listen(connector: Connector, hints: Arc<Hints>, mut heard: watch::Receiver<Revision>) {
    let mut pause = RETRY.0;
    loop {
        let failure = match connector.listen(Purpose::Listen).await {
            Ok((link, notifications)) => {
                pause = RETRY.0;
                hear(&link, notifications, &hints, &mut heard).await.err().map(Into::into)
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failure {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "listening to PostgreSQL was interrupted"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// Hears until the connection fails.
async fn hear(
    link: &Link,
    mut notifications: mpsc::Receiver<Notification>,
    hints: &Hints,
    heard: &mut watch::Receiver<Revision>,
) -> Result<(), Failure> {
    link.run("LISTEN keywright_rev").await?;
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let notified = tokio::select! {
            _ = beat.tick() => None,
            // Without signals nobody sends, and the branch is off for good.
            Ok(()) = heard.changed() => Some(*heard.borrow_and_update()),
            notification = notifications.recv() => match notification {
                Some(notification) => notification.payload().parse().ok().map(Revision),
                // The connection is gone.
                None => return Ok(()),
            },
        };
        if let Some(revision) = notified {
            hints.saw(revision);
        } else {
            let newest = head(link).await?;
            hints.correct(newest);
            hints.saw(newest);
        }
    }
}

/// The newest revision.
pub(super) async fn head(link: &Link) -> Result<Revision, Failure> {
    let rows = link.all(&[ask_head()]).await?.pop().map(Answer::rows).unwrap_or_default();
    head_from(&rows).map_err(Failure::Damaged)
}

/// Asks for the newest revision.
pub(super) const fn ask_head() -> Ask {
    Ask::rows("SELECT revision FROM head", Vec::new())
}

/// The newest revision in its rows.
pub(super) fn head_from(rows: &[Row]) -> Result<Revision, StoreError> {
    let missing = || StoreError::Corrupt("the head is missing".to_owned());
    count_column(rows.first().ok_or_else(missing)?, 0).map(Revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fixture::{at, org};
    use keywright_model::change::Change;

    fn batch(revision: u64) -> Arc<Batch> {
        let changes = vec![Change::OrgChanged(org(1))];
        Arc::new(Batch { revision: Revision(revision), at: at(0), changes })
    }

    /// What a listener hears: revisions of batches, and 0 for "look".
    fn heard(receiver: &mut broadcast::Receiver<Option<Arc<Batch>>>) -> Vec<u64> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|hint| hint.map_or(0, |batch| batch.revision.0))
            .collect()
    }

    #[test]
    fn own_commits_carry_their_batch_only_when_nothing_lies_between() {
        let hints = Hints::new(Revision(5));
        let mut receiver = hints.subscribe();
        hints.committed([batch(6), batch(7)].iter());
        assert_eq!(heard(&mut receiver), [6, 7]);
        hints.committed([batch(9), batch(10)].iter());
        assert_eq!(heard(&mut receiver), [0, 10]);
    }

    #[test]
    fn an_own_commit_that_is_notified_first_is_not_hinted_at_twice() {
        let hints = Hints::new(Revision(5));
        let mut receiver = hints.subscribe();
        hints.committing();
        hints.saw(Revision(6));
        assert!(heard(&mut receiver).is_empty());
        hints.committed([batch(6)].iter());
        hints.saw(Revision(6));
        assert_eq!(heard(&mut receiver), [6]);
    }

    #[test]
    fn a_revision_that_is_not_there_hides_commits_only_until_the_head_is_read() {
        let hints = Hints::new(Revision(5));
        let mut receiver = hints.subscribe();
        hints.saw(Revision(900));
        assert_eq!(heard(&mut receiver), [0]);
        hints.correct(Revision(5));
        hints.saw(Revision(6));
        assert_eq!(heard(&mut receiver), [0]);
    }

    #[test]
    fn another_nodes_commit_seen_meanwhile_is_hinted_at_afterwards() {
        let hints = Hints::new(Revision(5));
        let mut receiver = hints.subscribe();
        hints.committing();
        hints.saw(Revision(7));
        hints.committed([batch(6)].iter());
        assert_eq!(heard(&mut receiver), [6, 0]);
        hints.committing();
        hints.saw(Revision(8));
        hints.committed(std::iter::empty());
        assert_eq!(heard(&mut receiver), [0]);
    }
}

//! The task that follows, and the handle by which others see how far it has come.

use std::sync::Arc;
use std::time::Duration;

use keywright_model::revision::Revision;
use keywright_verifier::{Gap, Verifier};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::source::{Hint, Source, SourceError};

/// How often the source is looked at when no hint comes.
pub const POLL: Duration = Duration::from_millis(500);

/// How long after a failed read the next one is tried.
const RETRY: Duration = Duration::from_millis(200);

/// Batches read at once.
const PAGE: usize = 1_000;

/// Follows a source into an index until it is dropped.
#[derive(Debug)]
pub struct Follower {
    applied: Applied,
    task: JoinHandle<()>,
}

/// How far an index has come. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Applied {
    revision: watch::Receiver<Revision>,
}

/// A revision was not applied in time, or the follower has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {wanted} is not applied yet; {have} is")]
pub struct NotApplied {
    /// The one that was waited for.
    pub wanted: Revision,
    /// The newest applied.
    pub have: Revision,
}

impl Applied {
    /// How far whoever sends says that an index has come.
    pub fn following(progress: &watch::Sender<Revision>) -> Self {
        Self { revision: progress.subscribe() }
    }

    /// The newest revision that the index answers by.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Whether anybody still moves it on.
    pub fn is_followed(&self) -> bool {
        self.revision.has_changed().is_ok()
    }

    /// Hears of each step.
    pub(crate) fn changes(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }

    /// Waits until the index answers by this revision or a newer one.
    pub async fn wait_for(&self, wanted: Revision, timeout: Duration) -> Result<Revision, NotApplied> {
        let mut revision = self.revision.clone();
        let reached = tokio::time::timeout(timeout, revision.wait_for(|have| *have >= wanted)).await;
        match reached {
            Ok(Ok(have)) => Ok(*have),
            Ok(Err(_)) | Err(_) => Err(NotApplied { wanted, have: self.revision() }),
        }
    }
}

impl Follower {
    /// Loads everything, then follows in a task of its own. On return the index can answer.
    pub async fn start(source: Arc<dyn Source>, verifier: Arc<Verifier>) -> Result<Self, SourceError> {
        // Hints first: what is committed while the snapshot is read is not missed, only read twice.
        let hints = source.hints();
        let (progress, revision) = watch::channel(Revision(0));
        let mut following = Following { source, verifier, progress };
        following.reload().await?;
        let task = tokio::spawn(following.run(hints));
        Ok(Self { applied: Applied { revision }, task })
    }

    /// How far it has come.
    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }

    /// Whether it still follows.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    source: Arc<dyn Source>,
    verifier: Arc<Verifier>,
    progress: watch::Sender<Revision>,
}

impl Following {
    async fn run(mut self, mut hints: broadcast::Receiver<Hint>) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        loop {
            // The poll has a beat of its own: hints that say nothing new cannot keep it away.
            let look = tokio::select! {
                biased;
                _ = poll.tick() => true,
                hint = hints.recv(), if open => match hint {
                    Ok(hint) => self.apply_hints(hint, &mut hints),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => {
                        open = false;
                        true
                    }
                },
            };
            if look && let Err(error) = self.catch_up().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the feed could not be read");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Applies the batch of a hint and of those that are waiting behind it. Says whether the source must be looked at
    /// instead.
    ///
    /// Whoever waits is told once for all of them: telling it of each would wake every waiter as often.
    fn apply_hints(&self, first: Hint, hints: &mut broadcast::Receiver<Hint>) -> bool {
        let mut next = Ok(first);
        let mut look = false;
        for _ in 0..PAGE {
            match next {
                Ok(hint) => look = hint.is_none_or(|batch| self.verifier.apply(&batch).is_err()),
                Err(TryRecvError::Lagged(_)) => look = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
            if look {
                break;
            }
            next = hints.try_recv();
        }
        self.tell();
        look
    }

    async fn catch_up(&mut self) -> Result<(), SourceError> {
        loop {
            let have = self.verifier.revision();
            let Some(batches) = self.source.batches_after(have, PAGE).await? else {
                tracing::warn!(
                    revision = have.0,
                    "the feed does not reach back to here: loading everything anew"
                );
                return self.reload().await;
            };
            let full = batches.len() >= PAGE;
            let applied = batches.iter().try_for_each(|batch| self.verifier.apply(batch));
            self.tell();
            if let Err(Gap { have, got }) = applied {
                tracing::warn!(have = have.0, got = got.0, "a batch is missing: loading everything anew");
                return self.reload().await;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn reload(&mut self) -> Result<(), SourceError> {
        let snapshot = self.source.snapshot().await?;
        let verifier = Arc::clone(&self.verifier);
        let load = move || verifier.load(snapshot.changes, snapshot.revision, snapshot.incarnation);
        // A million keys take a second or more: not on a thread that others wait for.
        if let Err(error) = tokio::task::spawn_blocking(load).await {
            return Err(SourceError(Box::new(error)));
        }
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        // Invariant: what is told, and so reported, is what verifications read already.
        let now = self.verifier.revision();
        self.progress.send_if_modified(|told| std::mem::replace(told, now) != now);
    }
}

#[cfg(test)]
pub(crate) mod tests;

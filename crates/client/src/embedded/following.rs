//! The task that follows: load everything, then ask again and again for what came next.

use std::sync::Arc;
use std::time::Duration;

use keywright_model::change::Batch;
use keywright_model::feed::{Line, Scope};
use keywright_model::revision::Revision;
use keywright_verifier::Verifier;
use tokio::sync::watch;

use super::lines::Asking;
use super::{Ambient, Figures};
use crate::error::Error;

/// How long after a failed call the next one is made.
const RETRY: Duration = Duration::from_millis(200);
/// The same after a refusal, which will not be another one a moment later.
const RETRY_REFUSED: Duration = Duration::from_secs(1);
/// How long a call waits for something new at the most.
const WAIT_SECONDS: u64 = 1;
/// A bound of less than this could not be kept by calls that wait.
const STALENESS_MIN: Duration = Duration::from_secs(1);
/// From this bound on calls may wait.
const WAITING_FROM: Duration = Duration::from_secs(3);
/// How often is asked where calls do not wait.
const PAUSE: Duration = Duration::from_millis(100);

/// What one call came to.
enum Step {
    /// All that there was then is applied.
    Current,
    /// There is more.
    More,
    /// What is in memory cannot be gone on from.
    Reload,
}

pub(super) struct Following {
    asking: Asking,
    verifier: Arc<Verifier>,
    ambient: Arc<dyn Ambient>,
    staleness: Duration,
    progress: watch::Sender<Revision>,
    scope: Option<watch::Sender<Scope>>,
    figures: Arc<Figures>,
}

impl Following {
    pub(super) fn new(
        asking: Asking,
        verifier: Arc<Verifier>,
        ambient: Arc<dyn Ambient>,
        staleness: Duration,
        progress: watch::Sender<Revision>,
    ) -> Self {
        let (staleness, figures) = (staleness.max(STALENESS_MIN), Arc::default());
        Self { asking, verifier, ambient, staleness, progress, scope: None, figures }
    }

    pub(super) fn count_in(&mut self, figures: Arc<Figures>) {
        self.figures = figures;
    }

    /// Loads everything for the first time, and says what it is.
    pub(super) async fn load_first(&mut self) -> Result<watch::Receiver<Scope>, Error> {
        let scope = self.load().await?;
        let (sender, receiver) = watch::channel(scope);
        self.scope = Some(sender);
        Ok(receiver)
    }

    pub(super) async fn run(self) {
        let mut is_away = false;
        loop {
            let stepped = match self.step().await {
                Ok(Step::Reload) => self.reload().await,
                Ok(Step::Current) if !self.waits() => {
                    tokio::time::sleep(PAUSE).await;
                    Ok(())
                }
                Ok(Step::Current | Step::More) => Ok(()),
                Err(error) => Err(error),
            };
            match stepped {
                Ok(()) => {
                    Figures::count(&self.figures.answers);
                    if std::mem::take(&mut is_away) {
                        tracing::info!("the node's feed is followed again");
                    }
                }
                Err(error) => {
                    Figures::count(&self.figures.failures);
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the node's feed cannot be followed"
                        );
                    }
                    tokio::time::sleep(if error.status().is_some() { RETRY_REFUSED } else { RETRY }).await;
                }
            }
        }
    }

    const fn waits(&self) -> bool {
        self.staleness.as_millis() >= WAITING_FROM.as_millis()
    }

    /// Asks for what came next, and applies it.
    async fn step(&self) -> Result<Step, Error> {
        let Some(after) = self.verifier.position() else { return Ok(Step::Reload) };
        // Invariant: what is known to be so at the end was so when the call was sent, at the earliest.
        let sent_ns = self.ambient.boot_ns();
        let mut lines = match self.asking.after(after, if self.waits() { WAIT_SECONDS } else { 0 }).await {
            Ok(lines) => lines,
            Err(error) if error.code() == Some("feed_gone") => return Ok(Step::Reload),
            Err(error) => return Err(error),
        };
        loop {
            match lines.next().await? {
                Line::Since { scope } if self.has(&scope) => {}
                Line::Since { .. } => {
                    tracing::warn!("what may be followed has changed: loading everything anew");
                    return Ok(Step::Reload);
                }
                Line::Write { revision, at, told } if revision.incarnation == after.incarnation => {
                    let batch =
                        Batch { revision: revision.revision, at, changes: told.into_changes().collect() };
                    if self.verifier.apply(&batch).is_err() {
                        return Ok(Step::Reload);
                    }
                }
                Line::End { revision, more } => {
                    self.tell();
                    if self.verifier.position() != Some(revision) {
                        return Ok(Step::Reload);
                    }
                    if more {
                        return Ok(Step::More);
                    }
                    self.heard(sent_ns);
                    return Ok(Step::Current);
                }
                Line::Write { .. } | Line::Snapshot { .. } | Line::Nouns(_) => return Err(lines.foreign()),
            }
        }
    }

    fn has(&self, scope: &Scope) -> bool {
        self.scope.as_ref().is_some_and(|mine| *mine.borrow() == *scope)
    }

    async fn reload(&self) -> Result<(), Error> {
        let scope = self.load().await?;
        if let Some(mine) = &self.scope {
            mine.send_replace(scope);
        }
        Ok(())
    }

    async fn load(&self) -> Result<Scope, Error> {
        let sent_ns = self.ambient.boot_ns();
        let mut lines = self.asking.snapshot().await?;
        let Line::Snapshot { revision, scope } = lines.next().await? else { return Err(lines.foreign()) };
        let mut changes = Vec::new();
        loop {
            match lines.next().await? {
                Line::Nouns(told) => changes.extend(told.into_changes()),
                Line::End { revision: end, .. } if end == revision => break,
                _ => return Err(lines.foreign()),
            }
        }
        let verifier = Arc::clone(&self.verifier);
        let load = move || verifier.load(changes, revision.revision, revision.incarnation);
        // A million keys take a second or more: not on a thread that others wait for.
        if tokio::task::spawn_blocking(load).await.is_err() {
            return Err(Error::Unexpected("the index could not be loaded"));
        }
        Figures::count(&self.figures.snapshots);
        self.tell();
        self.heard(sent_ns);
        Ok(scope)
    }

    fn tell(&self) {
        // Invariant: what is told is what verifications read already.
        let now = self.verifier.revision();
        self.progress.send_if_modified(|told| std::mem::replace(told, now) != now);
    }

    /// What is in memory was the newest when a call was sent.
    fn heard(&self, sent_ns: u64) {
        let most = u64::try_from(self.staleness.as_nanos()).unwrap_or(u64::MAX);
        self.verifier.lease().renew(sent_ns.saturating_add(most), sent_ns);
    }
}

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
/// The same where the credential was refused: the node counts such calls against this address.
const RETRY_UNKNOWN: Duration = Duration::from_secs(5);
/// How long is waited before everything is loaded anew.
const PAUSE_BEFORE_RELOAD: Duration = Duration::from_secs(1);
/// How often a start asks for everything, when the node tells it to others first.
const TURNS_MAX: u32 = 24;
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
    /// Nothing is left that could be followed.
    Over,
}

/// What is in memory, besides the revision that the index knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What is answered for.
    pub(super) scope: Scope,
    /// Which history of the node's database it is of.
    pub(super) history: String,
}

/// What a load came to.
enum Loaded {
    /// This is in memory now.
    Yes(Held),
    /// It would have been of another scope, or of another life or history of the data, than the lease is.
    NotOfTheLease,
}

/// What following works with.
pub(super) struct Parts {
    pub(super) asking: Asking,
    pub(super) verifier: Arc<Verifier>,
    pub(super) ambient: Arc<dyn Ambient>,
    /// How old what is answered by may be; `None` where a lease says it.
    pub(super) staleness: Option<Duration>,
    pub(super) progress: watch::Sender<Revision>,
    pub(super) figures: Arc<Figures>,
    /// Told when it cannot go on.
    pub(super) ending: watch::Sender<bool>,
}

pub(super) struct Following {
    parts: Parts,
    held: watch::Sender<Held>,
}

impl Following {
    /// Loads everything for the first time, and says what it is.
    pub(super) async fn load(parts: Parts) -> Result<(Self, watch::Receiver<Held>), Error> {
        for _ in 0..TURNS_MAX {
            match parts.load(None).await {
                Err(error) if error.status() == Some(429) => tokio::time::sleep(RETRY_UNKNOWN).await,
                Err(error) => return Err(error),
                Ok(Loaded::Yes(held)) => {
                    let (held, shown) = watch::channel(held);
                    return Ok((Self { parts, held }, shown));
                }
                Ok(Loaded::NotOfTheLease) => {}
            }
        }
        Err(Error::Unexpected("the node has no time to tell everything: it tells it to others"))
    }

    pub(super) async fn run(self) {
        let mut is_away = false;
        loop {
            let stepped = match self.step().await {
                Ok(Step::Reload) => match self.reload().await {
                    Ok(Loaded::Yes(held)) => {
                        self.held.send_replace(held);
                        Ok(())
                    }
                    Ok(Loaded::NotOfTheLease) => return self.end().await,
                    Err(error) => Err(error),
                },
                Ok(Step::Over) => return self.end().await,
                Ok(Step::Current) if !self.parts.waits() => {
                    tokio::time::sleep(PAUSE).await;
                    Ok(())
                }
                Ok(Step::Current | Step::More) => Ok(()),
                Err(error) => Err(error),
            };
            match stepped {
                Ok(()) => {
                    Figures::count(&self.parts.figures.answers);
                    if std::mem::take(&mut is_away) {
                        tracing::info!("the node's feed is followed again");
                    }
                }
                Err(error) => {
                    Figures::count(&self.parts.figures.failures);
                    let again = std::mem::replace(&mut is_away, true);
                    if !again {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the node's feed cannot be followed"
                        );
                    }
                    tokio::time::sleep(self.parts.pause_after(&error, again)).await;
                }
            }
        }
    }

    /// The lease is of something that is no more: writers wait for this process as long as it does not apply what they
    /// write, and it applies nothing any more, so that its lease ends.
    async fn end(self) {
        tracing::error!(
            "what may be followed has changed: nothing is left of it, or a lease is of another scope, life or history of the data"
        );
        self.parts.ending.send_replace(true);
        // Whoever waits for its progress finds that there is none, and not that nobody is there.
        std::future::pending::<()>().await;
    }

    /// Asks for what came next, and applies it.
    async fn step(&self) -> Result<Step, Error> {
        let Parts { asking, verifier, ambient, .. } = &self.parts;
        let Some(after) = verifier.position() else { return Ok(Step::Reload) };
        // Invariant: what is known to be so at the end was so when the call was sent, at the earliest.
        let sent_ns = ambient.boot_ns();
        let wait_seconds = if self.parts.waits() { WAIT_SECONDS } else { 0 };
        let held = self.held.borrow().clone();
        let mut lines = match asking.after(after, &held.history, wait_seconds).await {
            Ok(lines) => lines,
            Err(error) if error.code() == Some("feed_gone") => return Ok(Step::Reload),
            Err(error) => return Err(error),
        };
        loop {
            let line = match lines.next().await {
                Ok(line) => line,
                // It would be as long each time: a snapshot has the same in shorter ones.
                Err(_) if lines.is_too_long() => return Ok(Step::Reload),
                Err(error) => return Err(error),
            };
            match line {
                // Invariant: it is compared before anything is applied by it.
                Line::Since { scope, history } if held.scope == scope && held.history == history => {}
                // What is renamed is followed on, and what is deleted is not asked for any more.
                Line::Since { scope, .. } if asking.named(&scope) => return Ok(Step::Reload),
                Line::Since { .. } => return Ok(Step::Over),
                Line::Write { revision, at, told } if revision.incarnation == after.incarnation => {
                    let batch =
                        Batch { revision: revision.revision, at, changes: told.into_changes().collect() };
                    if verifier.apply(&batch).is_err() {
                        return Ok(Step::Reload);
                    }
                }
                Line::End { revision, more, age_ms } => {
                    self.parts.tell();
                    if verifier.position() != Some(revision) {
                        return Ok(Step::Reload);
                    }
                    if more {
                        return Ok(Step::More);
                    }
                    self.parts.heard(sent_ns, age_ms);
                    return Ok(Step::Current);
                }
                Line::Write { .. } | Line::Snapshot { .. } | Line::Nouns(_) => return Err(lines.foreign()),
            }
        }
    }

    async fn reload(&self) -> Result<Loaded, Error> {
        tracing::warn!("what is in memory cannot be gone on from: loading everything anew");
        // A node that says so each time is not asked for everything without a pause.
        tokio::time::sleep(PAUSE_BEFORE_RELOAD).await;
        let held = self.held.borrow().clone();
        self.parts.load(Some(&held)).await
    }
}

impl Parts {
    fn waits(&self) -> bool {
        self.staleness.is_none_or(|most| most >= WAITING_FROM)
    }

    async fn load(&self, before: Option<&Held>) -> Result<Loaded, Error> {
        let sent_ns = self.ambient.boot_ns();
        let mut lines = self.asking.snapshot().await?;
        let Line::Snapshot { revision, scope, history } = lines.next().await? else {
            return Err(lines.foreign());
        };
        let held = Held { scope, history };
        let same_life = self.verifier.position().is_none_or(|at| at.incarnation == revision.incarnation);
        // Invariant: writers wait for all that is answered from memory under a lease.
        if self.staleness.is_none() && !(same_life && before.is_none_or(|before| *before == held)) {
            return Ok(Loaded::NotOfTheLease);
        }
        let mut changes = Vec::new();
        let age_ms = loop {
            match lines.next().await? {
                Line::Nouns(told) => changes.extend(told.into_changes()),
                Line::End { revision: end, age_ms, .. } if end == revision => break age_ms,
                _ => return Err(lines.foreign()),
            }
        };
        let verifier = Arc::clone(&self.verifier);
        let load = move || verifier.load(changes, revision.revision, revision.incarnation);
        // A million keys take a second or more: not on a thread that others wait for.
        if tokio::task::spawn_blocking(load).await.is_err() {
            return Err(Error::Unexpected("the index could not be loaded"));
        }
        // A keyspace may be named anew: what is followed is that one and not its name.
        self.asking.named(&held.scope);
        Figures::count(&self.figures.snapshots);
        self.tell();
        self.heard(sent_ns, age_ms);
        Ok(Loaded::Yes(held))
    }

    /// How long after a failure the next call is made.
    fn pause_after(&self, error: &Error, again: bool) -> Duration {
        match error.status() {
            None => RETRY,
            Some(401 | 429) if again => RETRY_UNKNOWN,
            // A single refusal uses up no more than a third of the bound.
            Some(401 | 429) => self.staleness.map_or(RETRY_REFUSED, |most| RETRY_UNKNOWN.min(most / 3)),
            Some(_) => RETRY_REFUSED,
        }
    }

    fn tell(&self) {
        // Invariant: what is told is what verifications read already.
        let now = self.verifier.revision();
        self.progress.send_if_modified(|told| std::mem::replace(told, now) != now);
    }

    /// What is in memory was the newest so long before a call was sent.
    fn heard(&self, sent_ns: u64, age_ms: u64) {
        let Some(most) = self.staleness else { return };
        let sent_ns = sent_ns.saturating_sub(age_ms.saturating_mul(1_000_000));
        let most = u64::try_from(most.max(STALENESS_MIN).as_nanos()).unwrap_or(u64::MAX);
        self.verifier.lease().renew(sent_ns.saturating_add(most), sent_ns);
    }
}

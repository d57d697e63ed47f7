//! The one thread that writes. What is queued while a group is being made durable becomes the next group, so under load
//! many commits share one fsync and a lone one waits for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use keywright_model::change::Batch;
use keywright_model::revision::Revision;
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::bookkeeping::{self, Chore};
use super::commit::{self, SpelledCommit, Tip};
use super::kept::Touched;
use super::open::DirectoryLock;
use crate::audit::AuditKey;
use crate::{CommitError, Committed, QuotaBlock, StoreError};

/// How many writes share one fsync at most.
const GROUP_MAX: usize = 128;
/// How many writes wait at most; more wait outside, where their callers can give up.
const QUEUE_MAX: usize = 1_024;
/// How many hints a slow listener may fall behind before it loses some.
const HINTS_MAX: usize = 1_024;

/// A write and whom to answer.
pub(super) enum Job {
    /// A write of nouns.
    Commit(Box<SpelledCommit>, oneshot::Sender<Result<Committed, CommitError>>),
    /// Takes units out of a quota.
    Reserve(bookkeeping::Reservation, oneshot::Sender<Result<QuotaBlock, StoreError>>),
    /// Anything else.
    Chore(Chore, oneshot::Sender<Result<(), StoreError>>),
}

/// What a write came to, told only once its group is durable.
enum Answer {
    Commit(oneshot::Sender<Result<Committed, CommitError>>, Result<Committed, CommitError>),
    Reserve(oneshot::Sender<Result<QuotaBlock, StoreError>>, Result<QuotaBlock, StoreError>),
    Chore(oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

/// The writer's end that callers hold.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    head: Arc<AtomicU64>,
    hints: broadcast::Sender<Option<Arc<Batch>>>,
    // Invariant: dropped after `drop` has waited for the thread, so nobody else serves while it can still write.
    _lock: DirectoryLock,
}

impl Writer {
    /// Starts the thread. The lock is kept until its connection is closed.
    pub(super) fn start(
        connection: Connection,
        lock: DirectoryLock,
        key: AuditKey,
        mut tip: Tip,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (hints, _) = broadcast::channel(HINTS_MAX);
        tip.revision = tip.audit.reload(&connection)?;
        tip.kept.reload(&connection)?;
        let head = Arc::new(AtomicU64::new(tip.revision.0));
        let mut own = Thread {
            connection,
            queue,
            tip,
            key,
            head: Arc::clone(&head),
            hints: hints.clone(),
            stale: false,
        };
        let named = std::thread::Builder::new().name("keywright-writer".to_owned());
        let thread =
            named.spawn(move || own.run()).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), head, hints, _lock: lock })
    }

    /// The newest durable revision.
    pub(super) fn head(&self) -> Revision {
        Revision(self.head.load(Ordering::Acquire))
    }

    /// Hears of each commit from now on.
    pub(super) fn hints(&self) -> broadcast::Receiver<Option<Arc<Batch>>> {
        self.hints.subscribe()
    }

    /// Queues a write and waits until it is durable or refused.
    pub(super) async fn ask<T, E: From<StoreError>>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Job,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread writes what is queued, then closes the database and lets go of the directory.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer ended in a panic");
        }
    }
}

struct Thread {
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    tip: Tip,
    key: AuditKey,
    head: Arc<AtomicU64>,
    hints: broadcast::Sender<Option<Arc<Batch>>>,
    /// Whether what is in memory went further than what is on disk, because a group failed.
    stale: bool,
}

impl Thread {
    fn run(&mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut before = 0;
        while self.queue.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            // Those who were just answered may be about to write again: they share the fsync if they run first. After a lone
            // write nobody is let through.
            if group.len() < before {
                std::thread::yield_now();
                while group.len() < GROUP_MAX
                    && let Ok(job) = self.queue.try_recv()
                {
                    group.push(job);
                }
            }
            before = group.len();
            self.write(group.drain(..));
        }
    }

    fn write(&mut self, group: impl Iterator<Item = Job>) {
        let mut answers = Vec::with_capacity(GROUP_MAX);
        let mut failure = self.begin().err();
        for job in group {
            let answer = if failure.is_some() { job.unanswered() } else { self.perform(job) };
            if let Some(reason) = answer.ends_group() {
                failure = Some(reason);
            }
            answers.push(answer);
        }
        if failure.is_none() {
            failure = self.finish().err();
        }
        match failure {
            None => self.publish(answers),
            Some(error) => self.give_up(&error, answers),
        }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.tip.touched = Touched::default();
        if !self.tip.kept.is_settled() {
            self.tip.kept.reload(&self.connection)?;
        }
        if self.stale {
            self.tip.revision = self.tip.audit.reload(&self.connection)?;
            self.stale = false;
        }
        Ok(())
    }

    fn perform(&mut self, job: Job) -> Answer {
        match job {
            Job::Commit(commit, sender) => {
                Answer::Commit(sender, commit::apply(&self.connection, &mut self.tip, *commit))
            }
            Job::Reserve(wanted, sender) => {
                Answer::Reserve(sender, bookkeeping::reserve(&self.connection, &wanted))
            }
            Job::Chore(chore, sender) => {
                self.tip.touched.installation |= matches!(chore, Chore::Reconfigure(_));
                self.tip.touched.uses |= matches!(chore, Chore::Uses(_));
                Answer::Chore(sender, bookkeeping::perform(&self.connection, &self.key, &chore))
            }
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.tip.audit.store(&self.connection, self.tip.revision)?;
        self.tip.kept.unsettle(&self.tip.touched);
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// The group is durable: first what is kept and the head, then the hints in commit order, then the answers.
    fn publish(&self, answers: Vec<Answer>) {
        self.settle(&answers);
        self.head.store(self.tip.revision.0, Ordering::Release);
        for answer in &answers {
            if let Answer::Commit(_, Ok(committed)) = answer
                && !committed.batch.changes.is_empty()
            {
                // Nobody may be listening, and that is well.
                let _heard = self.hints.send(Some(Arc::clone(&committed.batch)));
            }
        }
        answers.into_iter().for_each(Answer::send);
    }

    fn settle(&self, answers: &[Answer]) {
        let installation = if self.tip.touched.installation {
            let Ok(Some(installation)) = bookkeeping::installation(&self.connection) else {
                // The database is asked until the next group begins, which reads everything anew.
                return;
            };
            Some(installation)
        } else {
            None
        };
        let committed = answers.iter().filter_map(|answer| match answer {
            Answer::Commit(_, Ok(committed)) => Some(&committed.batch.changes[..]),
            _ => None,
        });
        self.tip.kept.settle(&self.tip.touched, committed, installation);
    }

    /// Nothing of the group was written: everyone is told so, for a refusal too may have rested on what is now gone.
    fn give_up(&mut self, error: &StoreError, answers: Vec<Answer>) {
        if after_write_error(error) == Verdict::Stop {
            tracing::error!(error = %Chained(error), "fsync failed: what was written before may be lost, so this process ends");
            std::process::abort();
        }
        tracing::error!(error = %Chained(error), writes = answers.len(), "a group of writes was not made");
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
        self.stale = true;
        self.tip.kept.abandon();
        let reason = Chained(error).to_string();
        for answer in answers {
            answer.unavailable(&reason).send();
        }
    }
}

impl Job {
    /// A job whose group has already failed.
    fn unanswered(self) -> Answer {
        let never = || StoreError::Unavailable("its group failed".into());
        match self {
            Self::Commit(_, sender) => Answer::Commit(sender, Err(never().into())),
            Self::Reserve(_, sender) => Answer::Reserve(sender, Err(never())),
            Self::Chore(_, sender) => Answer::Chore(sender, Err(never())),
        }
    }
}

impl Answer {
    /// Why the whole group cannot go on, if this write met the database's own failure.
    fn ends_group(&self) -> Option<StoreError> {
        let error = match self {
            Self::Commit(_, Err(CommitError::Store(error)))
            | Self::Reserve(_, Err(error))
            | Self::Chore(_, Err(error)) => error,
            Self::Commit(..) | Self::Reserve(..) | Self::Chore(..) => return None,
        };
        match error {
            StoreError::Unavailable(_) => Some(StoreError::Unavailable(Box::new(Failed {
                code: sqlite_code(error),
                reason: Chained(error).to_string(),
            }))),
            StoreError::Corrupt(_) => None,
        }
    }

    fn unavailable(self, reason: &str) -> Self {
        let error = || StoreError::Unavailable(reason.into());
        match self {
            Self::Commit(sender, _) => Self::Commit(sender, Err(error().into())),
            Self::Reserve(sender, _) => Self::Reserve(sender, Err(error())),
            Self::Chore(sender, _) => Self::Chore(sender, Err(error())),
        }
    }

    fn send(self) {
        // A caller that has gone away loses its answer, not its write.
        match self {
            Self::Commit(sender, result) => drop(sender.send(result)),
            Self::Reserve(sender, result) => drop(sender.send(result)),
            Self::Chore(sender, result) => drop(sender.send(result)),
        }
    }
}

/// A failure told to a whole group.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Failed {
    code: Option<i32>,
    reason: String,
}

/// What to do after the database failed to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Refuse the group, go on serving, try the next one.
    ServeOn,
    /// End the process: only reading the file anew says what is in it.
    Stop,
}

/// After a failed fsync the kernel may have dropped the pages and report success the next time, so a retry would
/// acknowledge what is not on disk (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
const fn verdict(extended_code: i32) -> Verdict {
    match extended_code {
        rusqlite::ffi::SQLITE_IOERR_FSYNC
        | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC
        | rusqlite::ffi::SQLITE_IOERR_COMMIT_ATOMIC => Verdict::Stop,
        _ => Verdict::ServeOn,
    }
}

fn after_write_error(error: &StoreError) -> Verdict {
    sqlite_code(error).map_or(Verdict::ServeOn, verdict)
}

fn sqlite_code(error: &StoreError) -> Option<i32> {
    let StoreError::Unavailable(source) = error else { return None };
    match source.downcast_ref::<Failed>() {
        Some(failed) => failed.code,
        None => source.downcast_ref::<rusqlite::Error>()?.sqlite_error().map(|error| error.extended_code),
    }
}

/// An error with everything behind it, for the log.
struct Chained<'a>(&'a StoreError);

impl std::fmt::Display for Chained<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.0, f)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(extended_code: i32, expected: Verdict) {
        let failure = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(extended_code), None);
        let error = StoreError::from(failure);
        assert_eq!(after_write_error(&error), expected, "{extended_code}");
        let (sender, _answered) = oneshot::channel();
        let shared = Answer::Chore(sender, Err(error)).ends_group().unwrap();
        assert_eq!(after_write_error(&shared), expected, "{extended_code} told to the group");
    }

    #[test]
    fn a_failed_fsync_ends_the_process_and_a_full_disk_does_not() {
        check(rusqlite::ffi::SQLITE_IOERR_FSYNC, Verdict::Stop);
        check(rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC, Verdict::Stop);
        check(rusqlite::ffi::SQLITE_FULL, Verdict::ServeOn);
        check(rusqlite::ffi::SQLITE_IOERR_WRITE, Verdict::ServeOn);
        check(rusqlite::ffi::SQLITE_BUSY, Verdict::ServeOn);
    }
}

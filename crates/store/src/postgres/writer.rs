//! The task that commits. What is queued while a group is being made durable becomes the next group, so under load many
//! commits share one transaction and a lone one waits for nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use keywright_model::change::Batch;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::audit_log::{AuditLog, Proof, is_written};
use super::commit::{self, Bounds, Broken, Transaction, Written, is_loner};
use super::connect::{Connector, Purpose};
use super::error::{Failure, lost};
use super::hints::Hints;
use super::link::Link;
use super::signals::Signals;
use crate::{Commit, CommitError, Committed, StoreError};

/// How many commits share one transaction at most.
const GROUP_MAX: usize = 128;
/// How many commits wait at most; more wait outside, where their callers can give up.
const QUEUE_MAX: usize = 1_024;
/// How often a group is tried that met another node, or a connection that had died unnoticed.
const ATTEMPTS_MAX: u32 = 6;
/// How long to wait between two attempts, times their number.
const BACK_OFF: Duration = Duration::from_millis(4);
/// How long a caller waits at most, the queue included, until `COMMIT` is sent: what has not come so far was not written.
const PREPARE_MAX: Duration = Duration::from_secs(5);
/// How long until it is answered: a standby may be slow.
const COMMIT_MAX: Duration = Duration::from_secs(8);
/// How long until the caller is told that nobody knows.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long it is looked at least, however late it is.
const LOOK_MIN: Duration = Duration::from_secs(2);
/// How long to wait between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long a `ROLLBACK` may take before its connection is left instead.
const ROLLBACK_MAX: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<Result<Committed, CommitError>>;

/// A commit and whom to answer.
struct Job {
    commit: Commit,
    answer: Answer,
    since: Instant,
}

/// The writer's end that callers hold.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task. It ends when the last handle is gone and what was queued is written.
    pub(super) fn start(
        connector: Connector,
        log: AuditLog,
        hints: Arc<Hints>,
        signals: Option<Signals>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let own = Task { connector, link: None, log, hints, signals };
        tokio::spawn(own.run(queue));
        Self { jobs }
    }

    /// Queues a commit and waits until it is durable or refused.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        let job = Job { commit, answer, since: Instant::now() };
        let queued = timeout(PREPARE_MAX, self.jobs.send(job)).await;
        queued.map_err(|_| late())?.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

struct Task {
    connector: Connector,
    link: Option<Link>,
    log: AuditLog,
    hints: Arc<Hints>,
    signals: Option<Signals>,
}

/// What a group came to.
enum Outcome {
    Done(Vec<Result<Batch, CommitError>>),
    Spoiled(usize, CommitError),
    /// Nothing was written.
    Failed(Failure),
    /// Nobody knows.
    Unknown(Failure),
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        let mut taken = Vec::with_capacity(GROUP_MAX);
        while queue.recv_many(&mut taken, GROUP_MAX).await > 0 {
            waiting.extend(taken.drain(..));
            while let Some(group) = next_group(&mut waiting) {
                self.write(group).await;
            }
        }
    }

    /// Writes a group and answers it. A commit that the server refuses, and so spoils the group, comes by itself afterwards:
    /// only then its refusal rests on nothing that may not come about.
    async fn write(&mut self, mut group: Vec<Job>) {
        let mut alone = Vec::new();
        while !group.is_empty() {
            let commits: Vec<&Commit> = group.iter().map(|job| &job.commit).collect();
            // The first has waited for the longest.
            let since = group.first().map_or_else(Instant::now, |job| job.since);
            match self.settle(&commits, since).await {
                Outcome::Spoiled(at, _) if group.len() > 1 => {
                    alone.push(group.remove(at.min(group.len() - 1)));
                }
                Outcome::Spoiled(_, why) => {
                    answer_all(std::mem::take(&mut group), vec![Err(why)], &self.hints);
                }
                Outcome::Done(results) => {
                    self.signal(&results);
                    answer_all(std::mem::take(&mut group), results, &self.hints);
                }
                Outcome::Failed(failure) => self.give_up(std::mem::take(&mut group), failure),
                Outcome::Unknown(failure) => self.give_up_unknown(std::mem::take(&mut group), failure),
            }
            if group.is_empty()
                && let Some(next) = alone.pop()
            {
                group.push(next);
            }
        }
    }

    /// Tells the other nodes of what is durable now.
    fn signal(&self, results: &[Result<Batch, CommitError>]) {
        let written = results.iter().flatten().filter(|batch| !batch.changes.is_empty());
        if let Some((signals, newest)) = self.signals.as_ref().zip(written.map(|batch| batch.revision).max())
        {
            signals.committed(newest);
        }
    }

    /// Tries a group until it is written, refused, or given up, which it is in a bounded time.
    async fn settle(&mut self, commits: &[&Commit], since: Instant) -> Outcome {
        let bounds = Bounds { prepared: since + PREPARE_MAX, committed: since + COMMIT_MAX };
        for attempt in 1.. {
            let broken = match self.attempt(commits, bounds).await {
                Ok(Written::Done(results)) => return Outcome::Done(results),
                Ok(Written::Spoiled(at, why)) => {
                    self.roll_back().await;
                    return Outcome::Spoiled(at, why);
                }
                Err(broken) => broken,
            };
            let Broken { failure, doubt } = broken;
            if let Some((proof, results)) = doubt {
                return self.look_up(proof, results, failure, since).await;
            }
            let again = match &failure {
                Failure::Outdated | Failure::Lost(_) => true,
                Failure::Refused(refusal) => refusal.is_again(),
                Failure::Damaged(_) => false,
                Failure::Doubtful(_) => {
                    self.link = None;
                    return Outcome::Unknown(failure);
                }
            };
            // A connection that is lost may be so in the middle of an answer. And what refuses to write was the primary: the
            // next connection finds the one that is now.
            let leave = match &failure {
                Failure::Lost(_) => true,
                Failure::Refused(refusal) => refusal.is_read_only(),
                Failure::Outdated | Failure::Damaged(_) | Failure::Doubtful(_) => false,
            };
            if leave {
                self.link = None;
            }
            self.roll_back().await;
            if !again || attempt >= ATTEMPTS_MAX || Instant::now() >= bounds.prepared {
                return Outcome::Failed(failure);
            }
            sleep(BACK_OFF * attempt).await;
        }
        Outcome::Failed(Failure::Outdated)
    }

    async fn attempt(&mut self, commits: &[&Commit], bounds: Bounds) -> Result<Written, Broken> {
        let link = match self.link.take().filter(|link| !link.is_closed()) {
            Some(link) => link,
            None => match timeout_at(bounds.prepared, self.connector.connect(Purpose::Statements)).await {
                Ok(connected) => connected.map_err(Failure::Damaged)?,
                Err(_) => return Err(lost("PostgreSQL did not answer in time").into()),
            },
        };
        let link = self.link.insert(link);
        self.hints.committing();
        let own = Transaction::Own(bounds);
        let written = commit::write(link, &self.log, commits, own).await;
        if !matches!(written, Ok(Written::Done(_))) {
            self.hints.committed(std::iter::empty());
        }
        written
    }

    /// Leaves the connection without a transaction, or leaves it.
    async fn roll_back(&mut self) {
        if let Some(link) = self.link.take()
            && timeout(ROLLBACK_MAX, link.run("ROLLBACK")).await.is_ok_and(|done| done.is_ok())
        {
            self.link = Some(link);
        }
    }

    /// After a `COMMIT` of which nobody knows what it came to: looks for the group on a new connection. What is found must
    /// also be proven durable, by a commit of ours behind it.
    async fn look_up(
        &mut self,
        proof: Proof,
        results: Vec<Result<Batch, CommitError>>,
        failure: Failure,
        since: Instant,
    ) -> Outcome {
        self.link = None;
        tracing::warn!(error = ?failure, "a commit's outcome is unknown: looking it up");
        let end = (since + WRITE_MAX).max(Instant::now() + LOOK_MIN);
        let look = async {
            loop {
                match self.is_durable(proof).await {
                    Ok(durable) => return durable,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the commit could not be looked up"
                        );
                    }
                }
                sleep(LOOK_PAUSE).await;
            }
        };
        match timeout_at(end, look).await {
            Ok(true) => Outcome::Done(results),
            Ok(false) => Outcome::Failed(failure),
            Err(_) => Outcome::Unknown(failure),
        }
    }

    async fn is_durable(&self, proof: Proof) -> Result<bool, StoreError> {
        let link = self.connector.connect(Purpose::Statements).await?;
        if !is_written(&link, proof).await? {
            return Ok(false);
        }
        link.run("UPDATE head SET revision = revision").await?;
        link.commit().await?;
        Ok(true)
    }

    fn give_up(&self, group: Vec<Job>, failure: Failure) {
        self.hints.committed(std::iter::empty());
        let error = StoreError::from(failure);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            writes = group.len(),
            "a group of writes was not made"
        );
        let reason = chained(&error);
        for job in group {
            let error = match &error {
                StoreError::Corrupt(what) => StoreError::Corrupt(what.clone()),
                StoreError::Unavailable(_) => StoreError::Unavailable(reason.as_str().into()),
            };
            send(job.answer, Err(error.into()));
        }
    }

    fn give_up_unknown(&self, group: Vec<Job>, failure: Failure) {
        self.hints.committed(std::iter::empty());
        let error = StoreError::from(failure);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            writes = group.len(),
            "nobody knows whether a group of writes was made"
        );
        let reason = chained(&error);
        for job in group {
            send(job.answer, Err(CommitError::Unknown(reason.as_str().into())));
        }
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("too many writes are waiting".into())
}

/// The commits that go together next.
fn next_group(waiting: &mut VecDeque<Job>) -> Option<Vec<Job>> {
    let first = waiting.pop_front()?;
    let alone = is_loner(&first.commit);
    let mut group = vec![first];
    while !alone && group.len() < GROUP_MAX {
        match waiting.pop_front_if(|next| !is_loner(&next.commit)) {
            Some(next) => group.push(next),
            None => break,
        }
    }
    Some(group)
}

/// First the hints in commit order, then the answers.
fn answer_all(group: Vec<Job>, results: Vec<Result<Batch, CommitError>>, hints: &Hints) {
    let results: Vec<Result<Arc<Batch>, CommitError>> =
        results.into_iter().map(|result| result.map(Arc::new)).collect();
    hints.committed(results.iter().filter_map(|result| result.as_ref().ok()));
    for (job, result) in group.into_iter().zip(results) {
        send(job.answer, result.map(|batch| Committed { batch }));
    }
}

/// A caller that has gone away loses its answer, not its write.
fn send(answer: Answer, result: Result<Committed, CommitError>) {
    drop(answer.send(result));
}

fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

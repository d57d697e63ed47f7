//! The task that commits. What is queued while a group is being made durable becomes the next group, so under load many
//! commits share one transaction and a lone one waits for nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use keywright_model::change::Batch;
use tokio::sync::{mpsc, oneshot};

use super::audit_log::{AuditLog, Proof, is_written};
use super::commit::{self, Broken, Transaction, Written, is_loner};
use super::connect::{Connector, Purpose};
use super::error::Failure;
use super::hints::Hints;
use super::link::Link;
use crate::{Commit, CommitError, Committed, StoreError};

/// How many commits share one transaction at most.
const GROUP_MAX: usize = 128;
/// How many commits wait at most; more wait outside, where their callers can give up.
const QUEUE_MAX: usize = 1_024;
/// How often a group is tried that met another node, or a connection that had died unnoticed.
const ATTEMPTS_MAX: u32 = 6;
/// How long to wait between two attempts, times their number.
const BACK_OFF: Duration = Duration::from_millis(4);
/// How often, and how long apart, it is tried to find out whether a group was written.
const LOOKS: (u32, Duration) = (8, Duration::from_millis(500));

type Answer = oneshot::Sender<Result<Committed, CommitError>>;

/// A commit and whom to answer.
struct Job {
    commit: Commit,
    answer: Answer,
}

/// The writer's end that callers hold.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task. It ends when the last handle is gone and what was queued is written.
    pub(super) fn start(connector: Connector, log: AuditLog, hints: Arc<Hints>, notify: bool) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let own = Task { connector, link: None, log, hints, notify };
        tokio::spawn(own.run(queue));
        Self { jobs }
    }

    /// Queues a commit and waits until it is durable or refused.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        self.jobs.send(Job { commit, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

struct Task {
    connector: Connector,
    link: Option<Link>,
    log: AuditLog,
    hints: Arc<Hints>,
    notify: bool,
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
            match self.settle(&commits).await {
                Outcome::Spoiled(at, _) if group.len() > 1 => {
                    alone.push(group.remove(at.min(group.len() - 1)));
                }
                Outcome::Spoiled(_, why) => {
                    answer_all(std::mem::take(&mut group), vec![Err(why)], &self.hints);
                }
                Outcome::Done(results) => answer_all(std::mem::take(&mut group), results, &self.hints),
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

    /// Tries a group until it is written, refused, or given up.
    async fn settle(&mut self, commits: &[&Commit]) -> Outcome {
        for attempt in 1.. {
            let broken = match self.attempt(commits).await {
                Ok(Written::Done(results)) => return Outcome::Done(results),
                Ok(Written::Spoiled(at, why)) => {
                    self.roll_back().await;
                    return Outcome::Spoiled(at, why);
                }
                Err(broken) => broken,
            };
            let Broken { failure, doubt } = broken;
            if let Some((proof, results)) = doubt {
                return self.look_up(proof, results, failure).await;
            }
            let again = match &failure {
                Failure::Outdated | Failure::Lost(_) => true,
                Failure::Refused(refusal) => refusal.is_again(),
                Failure::Damaged(_) | Failure::Doubtful(_) => false,
            };
            if matches!(&failure, Failure::Refused(refusal) if refusal.is_read_only()) {
                // It was the primary: the next connection finds the one that is now.
                self.link = None;
            }
            self.roll_back().await;
            if !again || attempt >= ATTEMPTS_MAX {
                return Outcome::Failed(failure);
            }
            tokio::time::sleep(BACK_OFF * attempt).await;
        }
        Outcome::Failed(Failure::Outdated)
    }

    async fn attempt(&mut self, commits: &[&Commit]) -> Result<Written, Broken> {
        let link = match self.link.take().filter(|link| !link.is_closed()) {
            Some(link) => link,
            None => self.connector.connect(Purpose::Statements).await.map_err(Failure::Damaged)?,
        };
        let link = self.link.insert(link);
        self.hints.committing();
        let written = commit::write(link, &self.log, commits, Transaction::Own { notify: self.notify }).await;
        if !matches!(written, Ok(Written::Done(_))) {
            self.hints.committed(std::iter::empty());
        }
        written
    }

    /// Leaves the connection without a transaction, or leaves it.
    async fn roll_back(&mut self) {
        if let Some(link) = self.link.take()
            && link.run("ROLLBACK").await.is_ok()
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
    ) -> Outcome {
        self.link = None;
        tracing::warn!(error = ?failure, "a commit's outcome is unknown: looking it up");
        for _ in 0..LOOKS.0 {
            match self.is_durable(proof).await {
                Ok(true) => return Outcome::Done(results),
                Ok(false) => return Outcome::Failed(failure),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the commit could not be looked up"
                    );
                }
            }
            tokio::time::sleep(LOOKS.1).await;
        }
        Outcome::Unknown(failure)
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

//! One connection: statements prepared once, many sent before the first is answered, every wait bounded.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::error::{Failure, lost};
use super::value::Owned;

/// How many prepared statements a connection keeps. Their texts are all constants of ours.
const STATEMENTS_MAX: usize = 192;

/// A parameter of a statement.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);
/// A connection to the server. Dropping it closes it, whatever it is doing.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    driver: JoinHandle<()>,
    warnings: Arc<AtomicU64>,
    statements: Mutex<HashMap<&'static str, Statement>>,
    patience: Duration,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) fn new(
        client: Client,
        driver: JoinHandle<()>,
        warnings: Arc<AtomicU64>,
        patience: Duration,
    ) -> Self {
        Self { client, driver, warnings, statements: Mutex::default(), patience }
    }

    /// The driver's own handle, for what is not a plain statement.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How many warnings the server has sent on it.
    pub(super) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }

    /// Waits as long as this connection's purpose allows.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(result) => result,
            Err(_) => Err(lost("PostgreSQL did not answer in time")),
        }
    }

    /// A statement, prepared once.
    pub(super) async fn prepared(&self, sql: &'static str) -> Result<Statement, Failure> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.bounded(async { Ok(self.client.prepare(sql).await?) }).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Every row of a statement.
    pub(crate) async fn query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let statement = self.prepared(sql).await?;
        self.bounded(async { Ok(self.client.query(&statement, params).await?) }).await
    }

    /// The first row of a statement.
    pub(crate) async fn first(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, Failure> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and says how many rows it touched.
    pub(crate) async fn execute(&self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, Failure> {
        let statement = self.prepared(sql).await?;
        self.bounded(async { Ok(self.client.execute(&statement, params).await?) }).await
    }

    /// Runs statements without parameters, such as `BEGIN`.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), Failure> {
        self.bounded(async { Ok(self.client.batch_execute(sql).await?) }).await
    }

    /// Makes a transaction durable. A warning meanwhile means that it may not be: see [`Failure::Doubtful`].
    pub(crate) async fn commit(&self) -> Result<(), Failure> {
        let before = self.warnings();
        let done = self.bounded(async { Ok(self.client.batch_execute("COMMIT").await?) }).await;
        self.judge_commit(before, done)
    }

    /// What an answer to `COMMIT` means when so many warnings were there before it.
    pub(super) fn judge_commit<T>(&self, before: u64, done: Result<T, Failure>) -> Result<T, Failure> {
        match done {
            Ok(_) if self.warnings() != before => {
                Err(Failure::Doubtful("the server warned that the write may not be replicated".into()))
            }
            Err(Failure::Lost(source)) => Err(Failure::Doubtful(source)),
            other => other,
        }
    }
}

/// What a statement was answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its rows.
    Rows(Vec<Row>),
    /// How many rows it touched.
    Touched(u64),
}

impl Answer {
    /// The rows, if it was asked for any.
    pub(super) fn rows(self) -> Vec<Row> {
        match self {
            Self::Rows(rows) => rows,
            Self::Touched(_) => Vec::new(),
        }
    }
}

/// A statement to be sent with others.
pub(super) struct Ask {
    kind: Kind,
    params: Vec<Owned>,
}

enum Kind {
    /// Without parameters or answer.
    Run(&'static str),
    /// Its rows are wanted.
    Rows(&'static str),
    /// Only the number of rows is wanted.
    Count(&'static str),
    /// Made for this once, with the types of its parameters; its rows are wanted.
    Once(String, Vec<Type>),
}

impl Ask {
    /// Without parameters, such as `BEGIN`.
    pub(super) const fn run(sql: &'static str) -> Self {
        Self { kind: Kind::Run(sql), params: Vec::new() }
    }

    /// For its rows.
    pub(super) const fn rows(sql: &'static str, params: Vec<Owned>) -> Self {
        Self { kind: Kind::Rows(sql), params }
    }

    /// For what it does.
    pub(super) const fn count(sql: &'static str, params: Vec<Owned>) -> Self {
        Self { kind: Kind::Count(sql), params }
    }

    /// For the rows of a statement that is made for this once.
    pub(super) fn once(sql: String, params: Vec<(Owned, Type)>) -> Self {
        let (params, types) = params.into_iter().unzip();
        Self { kind: Kind::Once(sql, types), params }
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

impl Link {
    /// Sends statements one behind the other without waiting in between, one exchange with the server for all, and takes
    /// every answer, refusals too.
    pub(super) async fn answers(&self, asks: &[Ask]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let mut sent: Vec<Sent<'_>> = Vec::with_capacity(asks.len());
        for ask in asks {
            sent.push(self.prepare_to_send(ask).await?);
        }
        self.bounded(async { Ok(in_order(sent).await) }).await
    }

    /// As [`Self::answers`]; the first refusal is the answer.
    pub(super) async fn all(&self, asks: &[Ask]) -> Result<Vec<Answer>, Failure> {
        self.answers(asks).await?.into_iter().collect()
    }

    async fn prepare_to_send<'a>(&'a self, ask: &'a Ask) -> Result<Sent<'a>, Failure> {
        let client = &self.client;
        let params: Vec<Param<'a>> = ask.params.iter().map(|param| &**param as Param<'a>).collect();
        Ok(match &ask.kind {
            Kind::Run(sql) => Box::pin(async move {
                client.batch_execute(sql).await?;
                Ok(Answer::Touched(0))
            }),
            Kind::Rows(sql) => {
                let statement = self.prepared(sql).await?;
                Box::pin(async move { Ok(Answer::Rows(client.query(&statement, &params).await?)) })
            }
            Kind::Count(sql) => {
                let statement = self.prepared(sql).await?;
                Box::pin(async move { Ok(Answer::Touched(client.execute(&statement, &params).await?)) })
            }
            Kind::Once(sql, types) => {
                let paired: Vec<(Param<'a>, Type)> = params.into_iter().zip(types.iter().cloned()).collect();
                Box::pin(async move { Ok(Answer::Rows(client.query_typed(sql, &paired).await?)) })
            }
        })
    }
}

/// Polls each once, in this order, which is that in which the server works on them; then takes their answers.
async fn in_order(mut sent: Vec<Sent<'_>>) -> Vec<Result<Answer, Failure>> {
    let mut answers: Vec<Option<Result<Answer, Failure>>> = sent.iter().map(|_| None).collect();
    let mut next = 0;
    let mut all_sent = false;
    std::future::poll_fn(|context| {
        if !all_sent {
            all_sent = true;
            for (one, answer) in sent.iter_mut().zip(&mut answers) {
                if let Poll::Ready(done) = one.as_mut().poll(context) {
                    *answer = Some(done);
                }
            }
        }
        // Answers come in the order of the statements, so only the first that is missing can have come.
        while let Some((one, answer)) = sent.get_mut(next).zip(answers.get_mut(next)) {
            if answer.is_none() {
                match one.as_mut().poll(context) {
                    Poll::Ready(done) => *answer = Some(done),
                    Poll::Pending => return Poll::Pending,
                }
            }
            next += 1;
        }
        Poll::Ready(())
    })
    .await;
    answers.into_iter().flatten().collect()
}

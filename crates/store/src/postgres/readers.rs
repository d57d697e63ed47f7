//! The connections that short statements share; how many run at once is bounded by them. Each long read has a connection
//! of its own.
//!
//! A pool of our own instead of a library's: a connection whose user went away in the middle must be closed, not reused,
//! and each connection carries the count of the server's warnings that a `COMMIT` is judged by.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Row;

use super::connect::{Connector, Purpose};
use super::error::Failure;
use super::link::{Answer, Ask, Link};
use crate::StoreError;

/// How many short statements run at once.
const CONNECTIONS: usize = 8;
/// How many of them lists can hold: a list may walk through a whole organization, and writes read nouns meanwhile.
const LISTS: usize = 4;
/// How many long reads (a snapshot, an audit) run at once.
const LONG_READS: usize = 2;

/// How long a caller waits for short reads, whatever goes wrong meanwhile.
const READ_MAX: Duration = Duration::from_secs(10);

/// Reads that see one moment.
pub(super) const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A bounded set of connections.
#[derive(Debug)]
pub(super) struct Readers {
    connector: Connector,
    idle: Arc<Mutex<Vec<Link>>>,
    free: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Readers {
    /// Opens none yet.
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            idle: Arc::default(),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            lists: Arc::new(Semaphore::new(LISTS)),
            long: Arc::new(Semaphore::new(LONG_READS)),
        }
    }

    /// A connection for short statements.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        let permit = permit(&self.free).await?;
        let idle = Arc::clone(&self.idle);
        loop {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match taken {
                Some(link) if link.is_closed() => {}
                Some(link) => return Ok(Lent { link, reused: true, idle, _permit: permit }),
                None => {
                    let link = self.connector.connect(Purpose::Statements).await?;
                    return Ok(Lent { link, reused: false, idle, _permit: permit });
                }
            }
        }
    }

    /// A turn for a list.
    pub(super) async fn list(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        permit(&self.lists).await
    }

    /// A connection for one long read.
    pub(super) async fn apart(&self) -> Result<(Link, OwnedSemaphorePermit), StoreError> {
        let permit = permit(&self.long).await?;
        Ok((self.connector.connect(Purpose::LongRead).await?, permit))
    }

    /// Runs short reads, all of one moment, in one exchange. A connection that died while nobody used it (the server was
    /// restarted) costs one more.
    pub(super) async fn read(&self, asks: Vec<Ask>) -> Result<Vec<Answer>, StoreError> {
        match tokio::time::timeout(READ_MAX, self.read_at_last(asks)).await {
            Ok(read) => read,
            Err(_) => Err(StoreError::Unavailable("PostgreSQL did not answer in time".into())),
        }
    }

    async fn read_at_last(&self, asks: Vec<Ask>) -> Result<Vec<Answer>, StoreError> {
        let several = asks.len() > 1;
        let asks = if several { of_one_moment(asks) } else { asks };
        loop {
            let lent = self.lend().await?;
            match lent.all(&asks).await {
                Ok(mut answers) => {
                    lent.give_back();
                    if several {
                        answers.pop();
                        answers.remove(0);
                    }
                    return Ok(answers);
                }
                // The others have stood as idle, and are likely as dead.
                Err(Failure::Lost(_)) if lent.reused => self.leave_idle(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn leave_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The rows of one short read.
    pub(super) async fn rows(&self, ask: Ask) -> Result<Vec<Row>, StoreError> {
        Ok(self.read(vec![ask]).await?.pop().map(Answer::rows).unwrap_or_default())
    }
}

/// A statement by itself sees one moment anyway; several need a transaction for it.
fn of_one_moment(asks: Vec<Ask>) -> Vec<Ask> {
    std::iter::once(Ask::run(ONE_MOMENT)).chain(asks).chain([Ask::run("COMMIT")]).collect()
}

/// A connection on loan. Dropped in the middle of something it is closed, given back it is used again.
#[derive(Debug)]
pub(super) struct Lent {
    link: Link,
    /// Whether somebody had it before: then it may have died meanwhile.
    reused: bool,
    idle: Arc<Mutex<Vec<Link>>>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    /// Nothing is under way on it, and no transaction open.
    pub(super) fn give_back(self) {
        if !self.link.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.link);
        }
    }
}

impl Deref for Lent {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

async fn permit(free: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    Arc::clone(free).acquire_owned().await.map_err(|error| StoreError::Unavailable(Box::new(error)))
}

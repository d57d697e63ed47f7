//! The connections that read; how many reads run at once is bounded by them.
//!
//! A read of a few nouns takes 3 to 5 µs and runs where it is asked for: another thread would cost ten times that. All
//! others run on tokio's blocking threads, so that they hold up no worker.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::open::{OpenError, connect_to_read};
use crate::StoreError;

/// How many reads run at once.
const CONNECTIONS: usize = 6;
/// How many of them lists can hold: a list may walk through a whole organization, and writes read nouns meanwhile.
const LISTS: usize = 3;
/// How many rows a read may touch to run where it is asked for.
const FEW: usize = 16;
/// How many long reads (a snapshot, an audit) run at once, each on a connection of its own.
const LONG_READS: usize = 2;

/// A bounded set of connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    lists: Semaphore,
    long: Arc<Semaphore>,
}

impl Readers {
    /// Opens them all.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let connections = (0..CONNECTIONS).map(|_| connect_to_read(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path: path.to_owned(),
            idle: Arc::new(Mutex::new(connections)),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            lists: Semaphore::new(LISTS),
            long: Arc::new(Semaphore::new(LONG_READS)),
        })
    }

    /// Reads with one statement.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = permit(&self.free).await?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        blocking(permit, move || pooled(&idle, &path, read)).await
    }

    /// Reads a few rows by their keys, all in one snapshot, here if a connection is idle.
    pub(super) async fn few<T: Send + 'static>(
        &self,
        rows: usize,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if rows > FEW {
            return self.snapshot(read).await;
        }
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { return self.snapshot(read).await };
        let result = pooled(&self.idle, &self.path, |connection| in_snapshot(connection, read));
        drop(permit);
        result
    }

    /// Reads with several statements, all in one snapshot.
    pub(super) async fn snapshot<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |connection| in_snapshot(connection, read)).await
    }

    /// Reads a page of a list, all in one snapshot.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.lists.acquire().await.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        self.snapshot(read).await
    }

    /// Reads for long, on a connection of its own, all in one snapshot.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = permit(&self.long).await?;
        let path = self.path.clone();
        blocking(permit, move || in_snapshot(&connect_to_read(&path).map_err(unopened)?, read)).await
    }
}

/// Runs a read on an idle connection. The caller holds a permit, so there is one.
fn pooled<T>(
    idle: &Mutex<Vec<Connection>>,
    path: &Path,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    // A read that panicked took its connection with it.
    let connection = taken.map_or_else(|| connect_to_read(path).map_err(unopened), Ok)?;
    let result = read(&connection);
    idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    result
}

/// Runs a read in one read transaction.
pub(super) fn in_snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read(connection);
    connection.prepare_cached("ROLLBACK")?.execute([])?;
    result
}

async fn permit(free: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    Arc::clone(free).acquire_owned().await.map_err(|error| StoreError::Unavailable(Box::new(error)))
}

async fn blocking<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let work = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    work.await.map_err(|error| StoreError::Unavailable(Box::new(error)))?
}

fn unopened(error: OpenError) -> StoreError {
    match error {
        OpenError::Store(error) => error,
        other => StoreError::Unavailable(Box::new(other)),
    }
}

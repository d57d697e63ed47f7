//! The data directory and connections to the database in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// The database's file name in a data directory.
pub const DATABASE: &str = "keywright.db";
/// The file that a running server holds locked.
pub const LOCK: &str = "keywright.lock";
/// How often the lock is tried and how long between: a server that has just ended, or a program that it was starting at that
/// moment, may hold it for an instant more.
const LOCK_TRIES: (u32, Duration) = (25, Duration::from_millis(10));

/// How long a statement waits for another process (a backup, an audit) before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many prepared statements a connection keeps.
const STATEMENTS_MAX: usize = 192;
/// How much of the file is read out of the operating system's page cache without a copy: the most that SQLite allows.
const MMAP_BYTES: i64 = 0x7fff_0000;
/// How much of the rest each connection keeps, in KiB (SQLite counts these below zero).
const CACHE_KIB: i64 = 16_384;
/// After how many pages the log is copied back into the database.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves from it.
    #[error(
        "another keywright server is using {0}: stop it first, or give this one a directory of its own with --data-dir"
    )]
    InUse(PathBuf),
    /// There is nothing there.
    #[error("there is no keywright database in {0}")]
    Missing(PathBuf),
    /// A newer program has migrated it.
    #[error(
        "the database was written by a newer keywright (schema {found}, this one knows {known}): \
         install that version again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database's schema.
        found: usize,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// An SQLite file, but of something else.
    #[error("the database file belongs to another program")]
    NotOurs,
    /// Already initialised, or not yet.
    #[error("{0}")]
    State(&'static str),
    /// The operating system refuses.
    #[error("cannot use {path}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The database refuses, or a stored value does not read back.
    #[error("the database cannot be opened")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Names the path that an error of the operating system is about.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    |source| OpenError::Io { path: path.to_owned(), source }
}

/// The right to serve from a data directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

/// Makes the directory, for its owner only, if it is not there, and takes its lock.
pub(super) fn lock_directory(directory: &Path) -> Result<DirectoryLock, OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error(directory))?;
    let path = directory.join(LOCK);
    let file = private_file(&path)?;
    for _ in 0..LOCK_TRIES.0 {
        match file.try_lock() {
            Ok(()) => return Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_TRIES.1),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
        }
    }
    Err(OpenError::InUse(directory.to_owned()))
}

/// Opens or makes a file that only its owner can read.
pub(super) fn private_file(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(io_error(path))
}

/// The connection that writes.
pub(super) fn connect_to_write(path: &Path) -> Result<Connection, OpenError> {
    // SQLite gives the log and its index the permissions of the database, so it is made here, closed to others.
    drop(private_file(path)?);
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.parent().unwrap_or(path).to_owned()));
    }
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    prepare(&connection)?;
    Ok(connection)
}

fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

//! Copying the database while a server writes, with a manifest that says what the copy is.

use std::fs::{DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use keywright_model::revision::{Incarnation, Revision};
use keywright_model::time::Timestamp;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::audit_log::stored_head;
use super::bookkeeping::installation;
use super::open::{DATABASE, OpenError, private_file};
use super::readers::in_snapshot;
use crate::StoreError;
pub use crate::audit::Progress;

/// The manifest's file name in a backup.
pub(super) const MANIFEST: &str = "manifest.json";
/// How a backup is laid out; another number is another layout.
const FORMAT: u32 = 1;
/// How many pages are copied between two reports of progress.
const PAGES_PER_STEP: i32 = 2_000;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How it is laid out.
    pub format: u32,
    /// Which master key opens it.
    pub master_fingerprint: String,
    /// The newest revision in it.
    pub revision: Revision,
    /// The life of the data that it was taken from.
    pub incarnation: Incarnation,
    /// When it was taken.
    pub created_at: Timestamp,
    /// SHA-256 of the database file, as hex digits.
    pub sha256: String,
}

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something there already.
    #[error("{0} is not empty: name a new directory for the backup")]
    Occupied(PathBuf),
    /// The files are not what the manifest says, or it does not read.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A backup of a newer program.
    #[error("the backup has format {0}, which this keywright does not know: use the version that made it")]
    Format(u32),
    /// Restoring would bring back keys that were ended since.
    #[error("{0} keys that have been ended since the backup would be valid again")]
    WouldRevive(usize),
    /// The data directory is in use, or the operating system refuses.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Copies the database as it is now into a new directory. A server may go on writing.
pub(super) fn backup(
    source: &Connection,
    destination: &Path,
    created_at: Timestamp,
    progress: Progress<'_>,
) -> Result<Manifest, BackupError> {
    make_empty(destination)?;
    let path = destination.join(DATABASE);
    drop(private_file(&path)?);
    copy(source, &path, progress)?;
    let copied = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // One file and nothing beside it: a copy of the log would be forgotten.
    copied.pragma_update(None, "journal_mode", "DELETE")?;
    let described = installation(&copied)?.ok_or_else(|| damaged("it holds no installation"))?;
    let (revision, _) = stored_head(&copied)?;
    copied.close().map_err(|(_, error)| error)?;
    let manifest = Manifest {
        format: FORMAT,
        master_fingerprint: described.master_fingerprint,
        revision,
        incarnation: described.incarnation,
        created_at,
        sha256: sha256(&path)?,
    };
    write_manifest(destination, &manifest)?;
    Ok(manifest)
}

fn make_empty(destination: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(destination);
    let listed = made.and_then(|()| std::fs::read_dir(destination));
    let mut entries = listed.map_err(io(destination))?;
    if entries.next().is_some() { Err(BackupError::Occupied(destination.to_owned())) } else { Ok(()) }
}

fn copy(source: &Connection, path: &Path, progress: Progress<'_>) -> Result<(), BackupError> {
    let mut target = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The read transaction holds still what is copied, so that writes meanwhile do not start the copy anew.
    let copied = in_snapshot(source, |source| {
        stored_head(source)?;
        let backup = Backup::new(source, &mut target)?;
        loop {
            let step = backup.step(PAGES_PER_STEP)?;
            let pages = backup.progress();
            let (all, left) = (u64::try_from(pages.pagecount), u64::try_from(pages.remaining));
            let (all, left) = (all.unwrap_or(0), left.unwrap_or(0));
            progress(all.saturating_sub(left), all);
            match step {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                _ => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
    });
    copied?;
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn write_manifest(destination: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let text = serde_json::to_string_pretty(manifest).map_err(|error| damaged(&error.to_string()))?;
    let path = destination.join(MANIFEST);
    let mut file = private_file(&path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io(&path))?;
    File::open(destination).and_then(|directory| directory.sync_all()).map_err(io(destination))
}

/// Reads a backup's manifest and makes sure that the files are what it says. Nothing of it is changed.
pub(super) fn checked_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    let path = backup.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(io(&path))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(BackupError::Format(manifest.format));
    }
    let database = backup.join(DATABASE);
    if sha256(&database)? != manifest.sha256 {
        return Err(damaged("its database file is not the one that the manifest describes"));
    }
    Ok(manifest)
}

/// Makes sure that a database is whole.
pub(super) fn check_integrity(connection: &Connection) -> Result<(), BackupError> {
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(damaged(&said)) }
}

fn sha256(path: &Path) -> Result<String, BackupError> {
    let mut file = File::open(path).map_err(io(path))?;
    file.sync_all().map_err(io(path))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block).map_err(io(path))?;
        match block.get(..read) {
            Some(bytes) if read > 0 => hash.update(bytes),
            _ => return Ok(hex::encode(hash.finalize())),
        }
    }
}

pub(super) fn damaged(what: &str) -> BackupError {
    BackupError::Damaged(what.to_owned())
}

/// Names the path that an error of the operating system is about.
pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + '_ {
    |source| BackupError::Open(OpenError::Io { path: path.to_owned(), source })
}

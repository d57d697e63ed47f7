//! Moving an installation from a data directory into a PostgreSQL database, so that it can be broken off at any point and
//! gone on with.
//!
//! Rows go over in the order of their keys, some at a time, and so the last key that arrived says where to go on. Until
//! the last transaction the target says that it is half a copy, and nothing but a copy from the same source can be done
//! with it. Before that transaction every row is read back and compared. What arrives is another life of the data:
//! revisions that clients and followers hold of the source mean nothing there, so that the two never pass for one.

mod tables;

use keywright_model::revision::{Incarnation, Revision};

pub(crate) use self::tables::{Cell, Column, HEAD, INSTALLATION, Kind, TABLES, Table};

use crate::StoreError;
use crate::audit::Progress;
use crate::postgres::{CopyTarget, OpenError};
use crate::sqlite::SqliteFile;

/// How many rows are one step, which is whole or not there.
const STEP_ROWS: usize = 2_000;

/// A row as it is copied.
pub(crate) type Row = Vec<Cell>;

/// Why an installation was not copied. Nothing that the source holds is changed by it.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The data directory was never served from.
    #[error("the source holds no installation")]
    Nothing,
    /// There is something else in the target.
    #[error("the target holds an installation already, or rows of one: name an empty database")]
    Occupied,
    /// A copy of something else was begun there.
    #[error(
        "the target holds half a copy of another installation: go on with that one, or make the database anew \
         (DROP DATABASE, CREATE DATABASE)"
    )]
    HalfOfAnother,
    /// Somebody else is at it.
    #[error("another process is copying into the target: wait for it, or stop it and run this again")]
    Busy,
    /// What arrived is not what was sent.
    #[error("the copy differs from its source in {0}: make the target's database anew and copy again")]
    Differs(&'static str),
    /// The target cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a copy began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// With an empty target.
    Anew,
    /// With what an earlier run had copied.
    GoneOn,
    /// With half a copy that was given up, since the source was written to after it.
    Outdated,
    /// It had nothing to do: the target is a whole copy of the source as it is.
    Whole,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How it began.
    pub begun: Begun,
    /// How many rows the copy has.
    pub rows: u64,
    /// Its newest revision.
    pub revision: Revision,
    /// How many entries its audit has.
    pub entries: u64,
    /// The copy's life, which is not its source's.
    pub incarnation: Incarnation,
}

/// What a source is at a moment: the same bytes for the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The source's life.
    pub(crate) incarnation: Incarnation,
    /// What it holds, bookkeeping included.
    pub(crate) fingerprint: [u8; 32],
    /// Its row of `head`.
    pub(crate) head: Row,
    /// Its row of `installation`.
    pub(crate) installation: Row,
}

/// Copies an installation, or goes on with a copy that was broken off. `incarnation` is the copy's life if it begins here.
/// The source is taken as long as this lasts: no server writes to it meanwhile. `progress` hears of every step.
pub async fn copy(
    source: &SqliteFile,
    target: &CopyTarget,
    incarnation: Incarnation,
    progress: Progress<'_>,
) -> Result<Copied, CopyError> {
    copy_by(STEP_ROWS, source, target, incarnation, progress).await
}

async fn copy_by(
    step: usize,
    source: &SqliteFile,
    target: &CopyTarget,
    incarnation: Incarnation,
    progress: Progress<'_>,
) -> Result<Copied, CopyError> {
    let stamp = source.stamp()?.ok_or(CopyError::Nothing)?;
    let (begun, incarnation) = target.begin(&stamp, incarnation).await?;
    let mut rows = 0;
    for table in TABLES {
        rows += source.count(table)?;
    }
    let [revision, entries] = [1, 2].map(|at| stamp.head.get(at).and_then(Cell::count).unwrap_or_default());
    let copied = Copied { begun, rows, revision: Revision(revision), entries, incarnation };
    let mut copying = Copying { step, source, target, done: 0, all: rows, progress };
    if begun == Begun::Whole {
        // What is in no audit may have changed since: quotas, last uses, the keyring.
        for table in TABLES {
            copying.compare(table).await.map_err(|error| match error {
                CopyError::Differs(_) => CopyError::Occupied,
                other => other,
            })?;
        }
        return Ok(copied);
    }
    // Each row goes over, and is then read back.
    copying.all = 2 * rows;
    for table in TABLES {
        copying.send(table).await?;
    }
    for table in TABLES {
        copying.compare(table).await?;
    }
    target.finish(&stamp, incarnation).await?;
    Ok(copied)
}

/// A copy on its way, and how far it has come.
struct Copying<'a> {
    step: usize,
    source: &'a SqliteFile,
    target: &'a CopyTarget,
    done: u64,
    all: u64,
    progress: Progress<'a>,
}

impl Copying<'_> {
    fn add(&mut self, rows: u64) {
        self.done += rows;
        (self.progress)(self.done, self.all.max(self.done));
    }

    /// Sends what the target's table does not have yet.
    async fn send(&mut self, table: &Table) -> Result<(), CopyError> {
        let (there, mut last) = self.target.arrived(table).await?;
        self.add(there);
        loop {
            let rows = self.source.rows_after(table, last.as_deref(), self.step)?;
            let Some(row) = rows.last() else { return Ok(()) };
            last = Some(table.key_of(row));
            let sent = rows.len() as u64;
            self.target.write(table, rows).await?;
            self.add(sent);
        }
    }

    /// Reads a table back and compares it with its source, row by row.
    async fn compare(&mut self, table: &Table) -> Result<(), CopyError> {
        let mut last: Option<Row> = None;
        loop {
            let rows = self.source.rows_after(table, last.as_deref(), self.step)?;
            // Behind the last row of the source there must be none in the target.
            let arrived = self.target.rows_after(table, last.as_deref(), rows.len().max(1)).await?;
            if rows != arrived {
                return Err(CopyError::Differs(table.name));
            }
            let Some(row) = rows.last() else { return Ok(()) };
            last = Some(table.key_of(row));
            self.add(rows.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests;

//! Reading a data directory for a copy of it: rows in the order of their keys, and what tells one content from another.

use keywright_model::revision::Incarnation;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{ToSql, params_from_iter};
use sha2::{Digest as _, Sha256};

use super::SqliteFile;
use super::value::uncount;
use crate::StoreError;
use crate::copy::{Cell, HEAD, INSTALLATION, Row, Stamp, TABLES, Table};

/// A step ends after so many bytes, however few rows they are.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// What of the bookkeeping, which moves no revision, tells that a server ran meanwhile.
const BOOKKEEPING: &str = "SELECT \
    (SELECT max(last_used_at) FROM secrets), (SELECT sum(last_used_at & 4294967295) FROM secrets), \
    (SELECT count(*) FROM quotas), (SELECT sum(reserved & 4294967295) FROM quotas), \
    (SELECT count(*) FROM idempotency), (SELECT count(secret_sealed) FROM idempotency), \
    (SELECT sum(until & 4294967295) FROM idempotency), (SELECT min(revision) FROM feed)";

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Nothing => ToSqlOutput::Owned(Value::Null),
            Self::Count(count) => ToSqlOutput::Owned(Value::Integer(*count)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

impl SqliteFile {
    /// What it holds now; `None` before the first start has made an installation.
    pub(crate) fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        let one = |table: &Table| Ok::<_, StoreError>(self.rows_after(table, None, 1)?.pop());
        let (Some(head), Some(installation)) = (one(HEAD)?, one(INSTALLATION)?) else { return Ok(None) };
        let Some(Cell::Count(incarnation)) = installation.get(1) else {
            return Err(StoreError::Corrupt("the incarnation is no number".to_owned()));
        };
        let mut hash = Sha256::new();
        let bookkeeping = self.connection.query_row(BOOKKEEPING, [], |row| {
            (0..row.as_ref().column_count()).map(|at| row.get::<_, Option<i64>>(at)).collect()
        });
        let bookkeeping: Vec<Option<i64>> = bookkeeping?;
        let bookkeeping = bookkeeping.into_iter().map(|count| count.map_or(Cell::Nothing, Cell::Count));
        for cell in head.iter().chain(&installation).cloned().chain(bookkeeping) {
            add(&mut hash, &cell);
        }
        for table in TABLES.iter().filter(|table| table.name == "keyring") {
            self.rows_after(table, None, usize::MAX)?.iter().flatten().for_each(|cell| add(&mut hash, cell));
        }
        let incarnation = Incarnation(u64::from_ne_bytes(incarnation.to_ne_bytes()));
        Ok(Some(Stamp { incarnation, fingerprint: hash.finalize().into(), head, installation }))
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        Ok(uncount(self.connection.query_row(&sql, [], |row| row.get(0))?))
    }

    /// The rows behind a key, in the order of their keys: at most so many, and fewer when they are large.
    pub(crate) fn rows_after(
        &self,
        table: &Table,
        after: Option<&[Cell]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let columns: Vec<&str> = table.columns.iter().map(|one| one.derived.unwrap_or(one.name)).collect();
        let key: Vec<&str> = table.key_columns().iter().map(|one| one.name).collect();
        let (name, columns, key) = (table.name, columns.join(", "), key.join(", "));
        let places = vec!["?"; table.key].join(", ");
        let behind = after.map(|_| format!("WHERE ({key}) > ({places})")).unwrap_or_default();
        let sql = format!("SELECT {columns} FROM {name} {behind} ORDER BY {key}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(after.unwrap_or_default()))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < limit
            && bytes < STEP_BYTES
            && let Some(row) = found.next()?
        {
            let mut copied = Vec::with_capacity(table.columns.len());
            for at in 0..table.columns.len() {
                let cell = cell(row.get_ref(at)?)?;
                bytes += cell.weight();
                copied.push(cell);
            }
            rows.push(copied);
        }
        Ok(rows)
    }
}

fn cell(value: ValueRef<'_>) -> Result<Cell, StoreError> {
    match value {
        ValueRef::Null => Ok(Cell::Nothing),
        ValueRef::Integer(count) => Ok(Cell::Count(count)),
        ValueRef::Text(text) => {
            let text = str::from_utf8(text).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            Ok(Cell::Text(text.to_owned()))
        }
        ValueRef::Blob(bytes) => Ok(Cell::Bytes(bytes.to_vec())),
        ValueRef::Real(_) => Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
    }
}

/// Each value behind its kind and length, so that no two contents look alike.
fn add(hash: &mut Sha256, cell: &Cell) {
    let (kind, bytes) = match cell {
        Cell::Nothing => (0_u8, Vec::new()),
        Cell::Count(count) => (1, count.to_be_bytes().to_vec()),
        Cell::Text(text) => (2, text.clone().into_bytes()),
        Cell::Bytes(bytes) => (3, bytes.clone()),
    };
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

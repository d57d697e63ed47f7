//! A database that an installation is copied into: says that it is half a copy until it is a whole one.

use std::time::Duration;

use keywright_model::revision::Incarnation;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::Type;

use super::link::{Answer, Ask, Link};
use super::migrate::{LOCK_SCHEMA, is_half_copied};
use super::open::{self, OpenError};
use super::value::{Id, Owned, column, count_column, rows as limit_of};
use crate::StoreError;
use crate::copy::{Begun, Cell, Column, CopyError, HEAD, INSTALLATION, Kind, Row, Stamp, TABLES, Table};

/// Whoever copies holds this for as long as its connection lasts.
const TRY_LOCK_COPY: &str = "SELECT pg_try_advisory_lock(1262836055, 3)";
/// How often, and how long apart, it is tried: the server may not have seen yet that a killed copy is gone.
const TRIES: (u32, Duration) = (40, Duration::from_millis(250));

/// While this table is there the database is half a copy. No migration makes it, and the last transaction of a copy drops
/// it, so that nothing is left of it.
const MARK: &str = "CREATE TABLE keywright_copy (only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1), \
     source BIGINT NOT NULL, incarnation BIGINT NOT NULL, fingerprint BYTEA NOT NULL)";

/// A database to copy an installation into.
#[derive(Debug)]
pub struct CopyTarget {
    link: Link,
}

/// What a copy that was broken off has left.
struct Half {
    source: i64,
    incarnation: i64,
    fingerprint: Vec<u8>,
}

impl CopyTarget {
    /// Connects to `postgres://user:password@host:port/database` and brings its schema up to this program's.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Ok(Self { link: open::open_even_half_copied(url).await? })
    }

    /// Says that the database is half a copy of this source, or finds that it is already. Answers the copy's incarnation.
    pub(crate) async fn begin(
        &self,
        stamp: &Stamp,
        incarnation: Incarnation,
    ) -> Result<(Begun, Incarnation), CopyError> {
        self.take().await?;
        let link = &self.link;
        link.run("BEGIN").await.map_err(StoreError::from)?;
        link.run(LOCK_SCHEMA).await.map_err(StoreError::from)?;
        let (begun, bits) = self.prepare(stamp, to_bits(incarnation)).await?;
        link.commit().await.map_err(StoreError::from)?;
        Ok((begun, from_bits(bits)))
    }

    /// Keeps other copies out.
    async fn take(&self) -> Result<(), CopyError> {
        for _ in 0..TRIES.0 {
            let row = self.link.first(TRY_LOCK_COPY, &[]).await.map_err(StoreError::from)?;
            if row.as_ref().map(|row| column(row, 0)).transpose()? == Some(true) {
                return Ok(());
            }
            tokio::time::sleep(TRIES.1).await;
        }
        Err(CopyError::Busy)
    }

    async fn prepare(&self, stamp: &Stamp, incarnation: i64) -> Result<(Begun, i64), CopyError> {
        let source = to_bits(stamp.incarnation);
        if let Some(installation) = self.rows_after(INSTALLATION, None, 1).await?.pop() {
            // Its life is its own, and its MAC vouches for that life.
            let but_its_life = |row: &Row| [0, 2, 3, 4].map(|at| row.get(at).cloned());
            let same = self.rows_after(HEAD, None, 1).await?.pop().as_ref() == Some(&stamp.head)
                && but_its_life(&installation) == but_its_life(&stamp.installation);
            return match installation.get(1) {
                Some(Cell::Count(own)) if same => Ok((Begun::Whole, *own)),
                _ => Err(CopyError::Occupied),
            };
        }
        let fingerprint = stamp.fingerprint.to_vec();
        let Some(half) = self.half().await? else {
            for table in TABLES {
                if !self.rows_after(table, None, 1).await?.is_empty() {
                    return Err(CopyError::Occupied);
                }
            }
            self.link.run(MARK).await.map_err(StoreError::from)?;
            let mark = "INSERT INTO keywright_copy VALUES (1, $1, $2, $3)";
            let marked = self.link.execute(mark, &[&source, &incarnation, &fingerprint]).await;
            marked.map_err(StoreError::from)?;
            return Ok((Begun::Anew, incarnation));
        };
        if half.source != source {
            return Err(CopyError::HalfOfAnother);
        }
        if half.fingerprint == fingerprint {
            return Ok((Begun::GoneOn, half.incarnation));
        }
        let tables: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        self.link.run(&format!("TRUNCATE {}", tables.join(", "))).await.map_err(StoreError::from)?;
        let marked = self.link.execute("UPDATE keywright_copy SET fingerprint = $1", &[&fingerprint]).await;
        marked.map_err(StoreError::from)?;
        Ok((Begun::Outdated, half.incarnation))
    }

    async fn half(&self) -> Result<Option<Half>, StoreError> {
        if !is_half_copied(&self.link).await? {
            return Ok(None);
        }
        let row = self.link.first("SELECT source, incarnation, fingerprint FROM keywright_copy", &[]).await?;
        let read = |row: &SqlRow| {
            Ok(Half { source: column(row, 0)?, incarnation: column(row, 1)?, fingerprint: column(row, 2)? })
        };
        row.as_ref().map(read).transpose()
    }

    /// How many rows of a table have arrived, and the key of the last one.
    pub(crate) async fn arrived(&self, table: &Table) -> Result<(u64, Option<Row>), StoreError> {
        let (name, key) = (table.name, names(table.key_columns()));
        let down = key.replace(", ", " DESC, ");
        let asks = [
            Ask::once(format!("SELECT count(*) FROM {name}"), vec![]),
            Ask::once(format!("SELECT {key} FROM {name} ORDER BY {down} DESC LIMIT 1"), vec![]),
        ];
        let mut answers = self.link.all(&asks).await?.into_iter().map(Answer::rows);
        let (count, last) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
        let count = count.first().map(|row| count_column(row, 0)).transpose()?.unwrap_or_default();
        Ok((count, last.first().map(|row| cells(row, table.key_columns())).transpose()?))
    }

    /// The rows behind a key, in the order of their keys.
    pub(crate) async fn rows_after(
        &self,
        table: &Table,
        after: Option<&[Cell]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (name, key, columns) = (table.name, names(table.key_columns()), names(table.columns));
        let mut params = Vec::new();
        for (cell, column) in after.unwrap_or_default().iter().zip(table.key_columns()) {
            params.push((owned(cell.clone(), column.kind)?, single(column.kind)));
        }
        let places: Vec<String> = (1..=params.len()).map(|at| format!("${at}")).collect();
        let behind = after.map(|_| format!("WHERE ({key}) > ({})", places.join(", "))).unwrap_or_default();
        let at = params.len() + 1;
        params.push((Box::new(limit_of(limit)), Type::INT8));
        let sql = format!("SELECT {columns} FROM {name} {behind} ORDER BY {key} LIMIT ${at}");
        let rows =
            self.link.all(&[Ask::once(sql, params)]).await?.pop().map(Answer::rows).unwrap_or_default();
        rows.iter().map(|row| cells(row, table.columns)).collect()
    }

    /// Writes rows in one statement: all of them, or none.
    pub(crate) async fn write(&self, table: &Table, rows: Vec<Row>) -> Result<(), StoreError> {
        self.link.all(&[insert(table, rows)?]).await?;
        Ok(())
    }

    /// Makes the half copy a whole one.
    pub(crate) async fn finish(&self, stamp: &Stamp, incarnation: Incarnation) -> Result<(), StoreError> {
        let mut installation = stamp.installation.clone();
        if let Some(own) = installation.get_mut(1) {
            *own = Cell::Count(to_bits(incarnation));
        }
        let asks = [
            Ask::run("BEGIN"),
            Ask::run(LOCK_SCHEMA),
            insert(INSTALLATION, vec![installation])?,
            insert(HEAD, vec![stamp.head.clone()])?,
            Ask::run("DROP TABLE keywright_copy"),
        ];
        self.link.all(&asks).await?;
        self.link.commit().await?;
        // The first reads should not have to guess how large the tables are. A copy without it is as good.
        for table in TABLES {
            if let Err(error) = self.link.run(&format!("ANALYZE {}", table.name)).await {
                tracing::warn!(error = ?error, table = table.name, "a table could not be analyzed");
                break;
            }
        }
        Ok(())
    }
}

/// Any 64 bits are an incarnation, so they are kept as they are.
fn to_bits(incarnation: Incarnation) -> i64 {
    i64::from_ne_bytes(incarnation.0.to_ne_bytes())
}

fn from_bits(bits: i64) -> Incarnation {
    Incarnation(u64::from_ne_bytes(bits.to_ne_bytes()))
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// One statement for all of these rows, column by column.
fn insert(table: &Table, rows: Vec<Row>) -> Result<Ask, StoreError> {
    let mut by_column: Vec<Vec<Cell>> =
        table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (cell, cells) in row.into_iter().zip(&mut by_column) {
            cells.push(cell);
        }
    }
    let mut params = Vec::with_capacity(table.columns.len());
    let mut places = Vec::with_capacity(table.columns.len());
    for (at, (column, cells)) in table.columns.iter().zip(by_column).enumerate() {
        places.push(format!("${}::{}[]", at + 1, single(column.kind).name()));
        params.push((many(cells, column.kind)?, array(column.kind)));
    }
    let (name, columns, places) = (table.name, names(table.columns), places.join(", "));
    Ok(Ask::once(format!("INSERT INTO {name} ({columns}) SELECT * FROM unnest({places})"), params))
}

const fn single(kind: Kind) -> Type {
    match kind {
        Kind::Id => Type::UUID,
        Kind::Count => Type::INT8,
        Kind::Number => Type::INT4,
        Kind::Switch => Type::BOOL,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
    }
}

const fn array(kind: Kind) -> Type {
    match kind {
        Kind::Id => Type::UUID_ARRAY,
        Kind::Count => Type::INT8_ARRAY,
        Kind::Number => Type::INT4_ARRAY,
        Kind::Switch => Type::BOOL_ARRAY,
        Kind::Text => Type::TEXT_ARRAY,
        Kind::Bytes => Type::BYTEA_ARRAY,
    }
}

fn owned(cell: Cell, kind: Kind) -> Result<Owned, StoreError> {
    Ok(match kind {
        Kind::Id => Box::new(id(cell)?),
        Kind::Count => Box::new(number(&cell)?),
        Kind::Number => Box::new(small(&cell)?),
        Kind::Switch => Box::new(switch(&cell)?),
        Kind::Text => Box::new(text(cell)?),
        Kind::Bytes => Box::new(bytes(cell)?),
    })
}

fn many(cells: Vec<Cell>, kind: Kind) -> Result<Owned, StoreError> {
    fn each<T>(cells: Vec<Cell>, read: fn(Cell) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        cells.into_iter().map(read).collect()
    }
    Ok(match kind {
        Kind::Id => Box::new(each(cells, id)?),
        Kind::Count => Box::new(each(cells, |cell| number(&cell))?),
        Kind::Number => Box::new(each(cells, |cell| small(&cell))?),
        Kind::Switch => Box::new(each(cells, |cell| switch(&cell))?),
        Kind::Text => Box::new(each(cells, text)?),
        Kind::Bytes => Box::new(each(cells, bytes)?),
    })
}

fn strange(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a column of the source holds what is no {what}"))
}

fn number(cell: &Cell) -> Result<Option<i64>, StoreError> {
    match cell {
        Cell::Nothing => Ok(None),
        Cell::Count(count) => Ok(Some(*count)),
        Cell::Text(_) | Cell::Bytes(_) => Err(strange("number")),
    }
}

fn switch(cell: &Cell) -> Result<Option<bool>, StoreError> {
    Ok(number(cell)?.map(|number| number != 0))
}

fn small(cell: &Cell) -> Result<Option<i32>, StoreError> {
    number(cell)?.map(i32::try_from).transpose().map_err(|_| strange("small number"))
}

fn text(cell: Cell) -> Result<Option<String>, StoreError> {
    match cell {
        Cell::Nothing => Ok(None),
        Cell::Text(text) => Ok(Some(text)),
        Cell::Count(_) | Cell::Bytes(_) => Err(strange("text")),
    }
}

fn bytes(cell: Cell) -> Result<Option<Vec<u8>>, StoreError> {
    match cell {
        Cell::Nothing => Ok(None),
        Cell::Bytes(bytes) => Ok(Some(bytes)),
        Cell::Count(_) | Cell::Text(_) => Err(strange("value of bytes")),
    }
}

fn id(cell: Cell) -> Result<Option<Id>, StoreError> {
    let id =
        |bytes: Vec<u8>| Ok(Id(u128::from_be_bytes(bytes.try_into().map_err(|_| strange("identifier"))?)));
    bytes(cell)?.map(id).transpose()
}

/// A row as SQLite would have it.
fn cells(row: &SqlRow, columns: &[Column]) -> Result<Row, StoreError> {
    let cell = |(at, column): (usize, &Column)| cell(row, at, column.kind);
    columns.iter().enumerate().map(cell).collect()
}

fn cell(row: &SqlRow, at: usize, kind: Kind) -> Result<Cell, StoreError> {
    let count = |count: Option<i64>| count.map_or(Cell::Nothing, Cell::Count);
    let bytes = |bytes: Option<Vec<u8>>| bytes.map_or(Cell::Nothing, Cell::Bytes);
    Ok(match kind {
        Kind::Id => bytes(column::<Option<Id>>(row, at)?.map(|id| id.0.to_be_bytes().to_vec())),
        Kind::Count => count(column(row, at)?),
        Kind::Number => count(column::<Option<i32>>(row, at)?.map(i64::from)),
        Kind::Switch => count(column::<Option<bool>>(row, at)?.map(i64::from)),
        Kind::Text => column::<Option<String>>(row, at)?.map_or(Cell::Nothing, Cell::Text),
        Kind::Bytes => bytes(column(row, at)?),
    })
}

//! How single values stand in SQLite's rows.

use keywright_model::time::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::StoreError;
pub(super) use crate::value::{
    Id, count, from_json, id, noun_bits, noun_ref, parse, rows, sealed_blob, sealed_from, table, to_json,
    uncount,
};

/// The value of a column.
pub(super) fn column<T: FromSql>(row: &Row<'_>, index: usize) -> Result<T, StoreError> {
    Ok(row.get(index)?)
}

/// The identifier in a column.
pub(super) fn id_column(row: &Row<'_>, index: usize) -> Result<u128, StoreError> {
    column::<Id>(row, index).map(u128::from_be_bytes)
}

/// The moment in a column.
pub(super) fn time_column(row: &Row<'_>, index: usize) -> Result<Timestamp, StoreError> {
    column(row, index).map(Timestamp::from_unix_ms)
}

/// The moment in a column that may be empty.
pub(super) fn optional_time_column(row: &Row<'_>, index: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(column::<Option<i64>>(row, index)?.map(Timestamp::from_unix_ms))
}

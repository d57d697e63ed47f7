//! How single values stand in PostgreSQL's rows.

use std::error::Error;

use bytes::BytesMut;
use keywright_model::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::StoreError;
pub(super) use crate::value::{
    count, from_json, noun_bits, noun_ref, parse, rows, sealed_blob, sealed_from, to_json, uncount,
};

/// A parameter that a statement on its way owns.
pub(super) type Owned = Box<dyn ToSql + Sync + Send>;

/// Boxes parameters of several types.
macro_rules! owned {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as $crate::postgres::value::Owned),*] };
}
pub(super) use owned;

/// An identifier, which PostgreSQL keeps as a `UUID`: 16 bytes that sort as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) u128);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl FromSql<'_> for Id {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(u128::from_be_bytes(raw.try_into()?)))
    }

    accepts!(UUID);
}

/// The value of a column.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The identifier in a column.
pub(super) fn id_column(row: &Row, index: usize) -> Result<u128, StoreError> {
    column::<Id>(row, index).map(|id| id.0)
}

/// The count in a column.
pub(super) fn count_column(row: &Row, index: usize) -> Result<u64, StoreError> {
    column(row, index).map(uncount)
}

/// The number of a key or role in a column.
pub(super) fn number_column(row: &Row, index: usize) -> Result<u32, StoreError> {
    let number: i32 = column(row, index)?;
    u32::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} is no number")))
}

/// The moment in a column.
pub(super) fn time_column(row: &Row, index: usize) -> Result<Timestamp, StoreError> {
    column(row, index).map(Timestamp::from_unix_ms)
}

/// The moment in a column that may be empty.
pub(super) fn optional_time_column(row: &Row, index: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(column::<Option<i64>>(row, index)?.map(Timestamp::from_unix_ms))
}

/// The 32 bytes in a column.
pub(super) fn link_column(row: &Row, index: usize) -> Result<[u8; 32], StoreError> {
    column::<&[u8]>(row, index)?.try_into().map_err(|_| StoreError::Corrupt("a hash is cut off".to_owned()))
}

/// The 32 bytes in a column that may be empty.
pub(super) fn optional_link_column(row: &Row, index: usize) -> Result<Option<[u8; 32]>, StoreError> {
    let bytes: Option<&[u8]> = column(row, index)?;
    let damaged = |_| StoreError::Corrupt("a hash is cut off".to_owned());
    bytes.map(TryInto::try_into).transpose().map_err(damaged)
}

/// A number of a key or role as PostgreSQL holds it. They stay below 2^31.
pub(super) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Whether PostgreSQL can hold a text. Names from outside never hold a NUL, but what is searched for may.
pub(super) fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

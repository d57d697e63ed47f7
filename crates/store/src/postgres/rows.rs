//! A key's rows read from PostgreSQL.

use std::sync::Arc;

use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, SecretId};
use keywright_model::key::{Key, KeySecret, SecretMaterial};
use keywright_model::noun::{Actor, Meta};
use keywright_model::revision::Version;
use tokio_postgres::Row;

use super::value::{
    Id, column, count_column, id_column, number_column, optional_link_column, optional_time_column, parse,
    sealed_from, time_column,
};
use crate::StoreError;
pub(super) use crate::key_row::{KeyRow, RowsOfKey, SecretRow, key_body};

/// The columns of [`key_row`], in its order, and behind them those of [`secret_from`]: a key without secrets has one
/// row, in which these are empty.
macro_rules! key_and_secret_columns {
    () => {
        "k.id, k.org_id, k.keyspace_id, k.number, k.kind, k.access_id, k.external_id, k.name, k.owner_id, k.enabled, \
         k.not_before, k.expires_at, k.revoked_at, k.deleted_at, k.created_at, k.created_by, k.updated_at, \
         k.updated_by, k.version, k.body, s.position, s.id, s.hint, s.recoverable, s.custom, s.created_at, \
         s.expires_at, s.digest, s.pepper_version, s.hash_sealed, s.secret_sealed, s.argon2"
    };
}
/// Keys with their secrets. What is behind it must keep the rows of a key together.
macro_rules! keys_with_secrets {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::postgres::rows::key_and_secret_columns!(),
            " FROM keys k LEFT JOIN secrets s ON s.key_id = k.id ",
            $rest
        )
    };
}
pub(super) use {key_and_secret_columns, keys_with_secrets};

/// Where a secret's columns begin.
const SECRET: usize = 20;

/// Takes the columns of a key.
pub(super) fn key_row(row: &Row) -> Result<KeyRow, StoreError> {
    let actor = |index| -> Result<Actor, StoreError> { parse(column::<&str>(row, index)?, "actor") };
    Ok(KeyRow {
        id: KeyId::from_bits(id_column(row, 0)?),
        org: OrgId::from_bits(id_column(row, 1)?),
        keyspace: KeyspaceId::from_bits(id_column(row, 2)?),
        number: number_column(row, 3)?,
        management: column::<&str>(row, 4)? == "management",
        access_id: column(row, 5)?,
        external_id: column(row, 6)?,
        name: column(row, 7)?,
        owner: column::<Option<Id>>(row, 8)?.map(|owner| PrincipalId::from_bits(owner.0)),
        enabled: column(row, 9)?,
        not_before: optional_time_column(row, 10)?,
        expires_at: optional_time_column(row, 11)?,
        revoked_at: optional_time_column(row, 12)?,
        deleted_at: optional_time_column(row, 13)?,
        meta: Meta {
            created_at: time_column(row, 14)?,
            created_by: actor(15)?,
            updated_at: time_column(row, 16)?,
            updated_by: actor(17)?,
            version: Version(count_column(row, 18)?),
        },
        body: column(row, 19)?,
    })
}

/// The secret beside a key; `None` when it has none.
pub(super) fn secret_from(row: &Row) -> Result<Option<SecretRow>, StoreError> {
    let Some(position) = column::<Option<i64>>(row, SECRET)? else { return Ok(None) };
    let hash_sealed: Option<&[u8]> = column(row, SECRET + 9)?;
    let material = match hash_sealed {
        None => None,
        Some(hash_sealed) => Some(Arc::new(SecretMaterial {
            digest: optional_link_column(row, SECRET + 7)?.map(Digest),
            pepper_version: pepper_version(column(row, SECRET + 8)?)?,
            hash_sealed: sealed_from(hash_sealed)?,
            secret_sealed: column::<Option<&[u8]>>(row, SECRET + 10)?.map(sealed_from).transpose()?,
            argon2: column(row, SECRET + 11)?,
        })),
    };
    let secret = KeySecret {
        id: SecretId::from_bits(id_column(row, SECRET + 1)?),
        hint: column(row, SECRET + 2)?,
        recoverable: column(row, SECRET + 3)?,
        custom: column(row, SECRET + 4)?,
        created_at: time_column(row, SECRET + 5)?,
        expires_at: optional_time_column(row, SECRET + 6)?,
        material,
    };
    Ok(Some(SecretRow { position, secret }))
}

fn pepper_version(stored: Option<i64>) -> Result<u32, StoreError> {
    let version = stored.unwrap_or_default();
    u32::try_from(version).map_err(|_| StoreError::Corrupt(format!("{version} is no version of a pepper")))
}

/// Puts the rows of keys together; those of one key stand one behind the other.
pub(super) fn keys_from(rows: &[Row]) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut grouping = Grouping::default();
    for row in rows {
        if let Some(whole) = grouping.take(row)? {
            keys.push(whole.into_key()?);
        }
    }
    if let Some(last) = grouping.finish() {
        keys.push(last.into_key()?);
    }
    Ok(keys)
}

/// The key whose rows are being read.
#[derive(Default)]
pub(super) struct Grouping {
    open: Option<RowsOfKey>,
}

impl Grouping {
    /// Takes one more row. Hands out the key before it, when the row is another's.
    pub(super) fn take(&mut self, row: &Row) -> Result<Option<RowsOfKey>, StoreError> {
        let id = KeyId::from_bits(id_column(row, 0)?);
        let secret = secret_from(row).transpose();
        if let Some(open) = self.open.as_mut().filter(|open| open.key.id == id) {
            open.secrets.extend(secret);
            return Ok(None);
        }
        let next = RowsOfKey { key: key_row(row)?, secrets: secret.into_iter().collect() };
        Ok(self.open.replace(next))
    }

    /// The last key.
    pub(super) fn finish(self) -> Option<RowsOfKey> {
        self.open
    }
}

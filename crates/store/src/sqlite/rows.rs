//! A key's rows read from SQLite.

use std::sync::{Arc, LazyLock};

use keywright_model::digest::Digest;
use keywright_model::id::{KeyId, KeyspaceId, OrgId, PrincipalId, SecretId};
use keywright_model::key::{Key, KeySecret, SecretMaterial};
use keywright_model::noun::{Actor, Meta};
use keywright_model::revision::Version;
use rusqlite::Row;

use super::value::{column, id_column, optional_time_column, parse, sealed_from, time_column, uncount};
use crate::StoreError;
pub(super) use crate::key_row::{KeyRow, RowsOfKey, SecretRow, key_body};

/// The columns of [`key_from`], in its order.
pub(super) const KEY_COLUMNS: &str = "k.id, k.org_id, k.keyspace_id, k.number, k.kind, k.access_id, k.external_id, \
     k.name, k.owner_id, k.enabled, k.not_before, k.expires_at, k.revoked_at, k.deleted_at, k.created_at, k.created_by, \
     k.updated_at, k.updated_by, k.version, k.body";

/// The columns of [`secret_from`], in its order. `last_used_at` is bookkeeping and not among them.
pub(super) const SECRET_COLUMNS: &str = "s.key_id, s.position, s.id, s.hint, s.recoverable, s.custom, s.created_at, \
     s.expires_at, s.digest, s.pepper_version, s.hash_sealed, s.secret_sealed, s.argon2";

/// Reads a key's row by its identifier. Put together once: it is asked with each read and each write of a key.
pub(super) static KEY_BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {KEY_COLUMNS} FROM keys k WHERE k.id = ?1"));

/// Reads a key's secrets by its identifier, oldest first; behind [`SECRET_COLUMNS`] when each was used last.
pub(super) static SECRETS_OF_KEY: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {SECRET_COLUMNS}, s.last_used_at FROM secrets s WHERE s.key_id = ?1 ORDER BY s.position")
});

/// The place of `last_used_at` in [`SECRETS_OF_KEY`].
pub(super) const LAST_USED_AT: usize = 13;

/// A key from its row, still without its secrets.
pub(super) fn key_from(row: &Row<'_>) -> Result<Key, StoreError> {
    key_row(row)?.into_key()
}

/// Takes the columns of [`KEY_COLUMNS`].
pub(super) fn key_row(row: &Row<'_>) -> Result<KeyRow, StoreError> {
    let actor = |index| -> Result<Actor, StoreError> {
        parse(row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?, "actor")
    };
    Ok(KeyRow {
        id: KeyId::from_bits(id_column(row, 0)?),
        org: OrgId::from_bits(id_column(row, 1)?),
        keyspace: KeyspaceId::from_bits(id_column(row, 2)?),
        number: column(row, 3)?,
        management: row.get_ref(4)?.as_bytes().map_err(rusqlite::Error::from)? == b"management",
        access_id: column(row, 5)?,
        external_id: column(row, 6)?,
        name: column(row, 7)?,
        owner: column::<Option<[u8; 16]>>(row, 8)?.map(u128::from_be_bytes).map(PrincipalId::from_bits),
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
            version: Version(uncount(column(row, 18)?)),
        },
        body: column(row, 19)?,
    })
}

/// A secret from its row.
pub(super) fn secret_from(row: &Row<'_>) -> Result<SecretRow, StoreError> {
    let hash_sealed: Option<Vec<u8>> = column(row, 10)?;
    let material = match hash_sealed {
        None => None,
        Some(hash_sealed) => Some(Arc::new(SecretMaterial {
            digest: column::<Option<[u8; 32]>>(row, 8)?.map(Digest),
            pepper_version: column::<Option<u32>>(row, 9)?.unwrap_or_default(),
            hash_sealed: sealed_from(&hash_sealed)?,
            secret_sealed: column::<Option<Vec<u8>>>(row, 11)?.map(|blob| sealed_from(&blob)).transpose()?,
            argon2: column(row, 12)?,
        })),
    };
    Ok(SecretRow {
        position: column(row, 1)?,
        secret: KeySecret {
            id: SecretId::from_bits(id_column(row, 2)?),
            hint: column(row, 3)?,
            recoverable: column(row, 4)?,
            custom: column(row, 5)?,
            created_at: time_column(row, 6)?,
            expires_at: optional_time_column(row, 7)?,
            material,
        },
    })
}

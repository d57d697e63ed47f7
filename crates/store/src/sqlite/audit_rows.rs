//! Reads every row for the audit's verification.

use std::collections::BTreeSet;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::KeyId;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::audit_page::{AUDIT_COLUMNS, StoredEntry, entry_from};
use super::feed::each_key;
use super::nouns::{all, first};
use super::value::{Id, column, count, id, id_column, noun_bits};
use crate::StoreError;
use crate::audit::rows::{Column, Links, Table};
use crate::audit::verify::Verifier;

/// Compares all rows. What an entry speaks of and no row holds is found last.
pub(super) fn compare(connection: &Connection, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    for table in Table::ALL {
        compare_table(connection, verifier, table)?;
    }
    each_key(connection, |bits, key| match key {
        Ok(key) => {
            let own = id(bits);
            let labels = "SELECT label, value FROM key_labels WHERE key_id = ?1 ORDER BY label";
            let links = Links {
                roles: linked(connection, "SELECT role_id FROM key_roles WHERE key_id = ?1", own)?,
                plans: linked(connection, "SELECT plan_id FROM key_plans WHERE key_id = ?1", own)?,
                labels: all(connection, labels, [own], |row| Ok((column(row, 0)?, column(row, 1)?)))?,
            };
            let entry = last_entry(connection, verifier, NounRef::Key(key.id))?;
            verifier.take_key(key, &links, entry.as_ref())
        }
        Err(error) => {
            verifier.take_damaged_key(KeyId::from_bits(bits), &error);
            Ok(())
        }
    })?;
    verifier.end_rows();
    for (table, parent) in foreign_key_violations(connection)? {
        verifier.take_dangling(&table, &parent);
    }
    Ok(())
}

fn compare_table(
    connection: &Connection,
    verifier: &mut Verifier<'_>,
    table: Table,
) -> Result<(), StoreError> {
    let sql = format!("SELECT id, body, {} FROM {} ORDER BY id", table.columns(), table.name());
    let mut statement = connection.prepare(&sql)?;
    let width = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bits = id_column(row, 0)?;
        let change = match table.read(&column::<String>(row, 1)?) {
            Ok(change) => change,
            Err(error) => {
                verifier.take_damaged(table, bits, &error);
                continue;
            }
        };
        let columns = (2..width).map(|index| beside(row, index)).collect::<Result<Vec<_>, _>>()?;
        let mut links = Links::default();
        if let Change::PrincipalChanged(_) = change {
            let sql = "SELECT role_id FROM principal_roles WHERE principal_id = ?1";
            links.roles = linked(connection, sql, id(noun_bits(change.noun())))?;
        }
        let entry = last_entry(connection, verifier, change.noun())?;
        verifier.take_noun(table, (bits, &columns), &change, &links, entry.as_ref())?;
    }
    Ok(())
}

fn beside(row: &Row<'_>, index: usize) -> Result<Column, StoreError> {
    Ok(match column::<Value>(row, index)? {
        Value::Null => Column::Text(None),
        Value::Integer(number) => Column::Integer(number),
        Value::Text(text) => Column::Text(Some(text)),
        Value::Blob(_) => Column::Id(id_column(row, index)?),
        Value::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
    })
}

fn linked(connection: &Connection, sql: &str, own: Id) -> Result<BTreeSet<u128>, StoreError> {
    Ok(all(connection, sql, [own], |row| id_column(row, 0))?.into_iter().collect())
}

fn last_entry(
    connection: &Connection,
    verifier: &Verifier<'_>,
    noun: NounRef,
) -> Result<Option<StoredEntry>, StoreError> {
    let Some(seq) = verifier.last_entry(noun) else { return Ok(None) };
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE seq = ?1");
    first(connection, &sql, [count(seq)], entry_from)
}

fn foreign_key_violations(connection: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    all(connection, "SELECT \"table\", parent FROM pragma_foreign_key_check", [], |row| {
        Ok((column(row, 0)?, column(row, 1)?))
    })
}

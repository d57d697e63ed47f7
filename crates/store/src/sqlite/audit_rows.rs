//! Compares every row with the last audit entry about it: the noun itself, the columns that lists filter by, the tables
//! of links, and what proves a key's secrets.

use std::collections::BTreeSet;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, OrgId};
use keywright_model::key::Key;
use rusqlite::types::Value as Column;
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::audit_log::{image, secrets_proof};
use super::audit_page::{AUDIT_COLUMNS, entry_from};
use super::audit_verify::{Verifier, differences};
use super::feed::each_key;
use super::nouns::{all, first};
use super::value::{column, count, from_json, id, id_column};
use crate::StoreError;

/// Compares all rows. What an entry speaks of and no row holds is found last.
pub(super) fn compare(verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    for table in TABLES {
        compare_table(verifier, table)?;
    }
    let connection = verifier.connection;
    each_key(connection, |bits, key| match key {
        Ok(key) => compare_key(verifier, key),
        Err(error) => {
            verifier.latest.remove(&NounRef::Key(KeyId::from_bits(bits)));
            verifier.find(None, KeyId::from_bits(bits).to_string(), format!("does not read back: {error}"));
            Ok(())
        }
    })?;
    let mut lost: Vec<NounRef> = verifier.latest.keys().copied().collect();
    lost.sort_unstable();
    for noun in lost {
        verifier.find(None, noun.to_string(), "its row is missing, and no entry says that it was deleted");
    }
    dangling_rows(verifier)
}

/// One table of nouns that hold themselves as JSON: which columns it has, and what they must be.
struct Table {
    name: &'static str,
    columns: &'static str,
    read: fn(&str) -> Read,
}

const TABLES: &[Table] = &[
    Table { name: "orgs", columns: "name, version", read: read_org },
    Table { name: "keyspaces", columns: "org_id, name, version", read: read_keyspace },
    Table { name: "roles", columns: "org_id, number, name, version", read: read_role },
    Table { name: "plans", columns: "org_id, name, version", read: read_plan },
    Table { name: "principals", columns: "org_id, external_id, version", read: read_principal },
];

/// A noun, and what the columns beside it must hold.
type Read = Result<(Change, Vec<Column>), StoreError>;

fn blob(bits: u128) -> Column {
    Column::Blob(id(bits).to_vec())
}

fn read<T: DeserializeOwned>(body: &str) -> Result<Arc<T>, StoreError> {
    from_json(body, "a noun").map(Arc::new)
}

fn read_org(body: &str) -> Read {
    let org: Arc<keywright_model::noun::Org> = read(body)?;
    let columns = vec![org.spec.name.clone().into(), count(org.meta.version.0).into()];
    Ok((Change::OrgChanged(org), columns))
}

fn read_keyspace(body: &str) -> Read {
    let noun: Arc<keywright_model::noun::Keyspace> = read(body)?;
    let columns =
        vec![blob(noun.org.bits()), noun.spec.name.clone().into(), count(noun.meta.version.0).into()];
    Ok((Change::KeyspaceChanged(noun), columns))
}

fn read_role(body: &str) -> Read {
    let noun: Arc<keywright_model::noun::Role> = read(body)?;
    let (number, name) = (i64::from(noun.number).into(), noun.spec.name.clone().into());
    let columns = vec![blob(noun.org.bits()), number, name, count(noun.meta.version.0).into()];
    Ok((Change::RoleChanged(noun), columns))
}

fn read_plan(body: &str) -> Read {
    let noun: Arc<keywright_model::noun::Plan> = read(body)?;
    let columns =
        vec![blob(noun.org.bits()), noun.spec.name.clone().into(), count(noun.meta.version.0).into()];
    Ok((Change::PlanChanged(noun), columns))
}

fn read_principal(body: &str) -> Read {
    let noun: Arc<keywright_model::noun::Principal> = read(body)?;
    let external_id = noun.spec.external_id.clone().map_or(Column::Null, Column::from);
    let columns = vec![blob(noun.org.bits()), external_id, count(noun.meta.version.0).into()];
    Ok((Change::PrincipalChanged(noun), columns))
}

fn compare_table(verifier: &mut Verifier<'_>, table: &Table) -> Result<(), StoreError> {
    let sql = format!("SELECT id, body, {} FROM {} ORDER BY id", table.columns, table.name);
    let connection = verifier.connection;
    let mut statement = connection.prepare(&sql)?;
    let width = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bits = id_column(row, 0)?;
        let (change, expected) = match (table.read)(&column::<String>(row, 1)?) {
            Ok(read) => read,
            Err(error) => {
                verifier.find(None, format!("{} row {bits:032x}", table.name), error.to_string());
                continue;
            }
        };
        let stored = columns(row, 2..width)?;
        if stored != expected || super::value::noun_bits(change.noun()) != bits {
            let what = format!("its columns ({}) differ from its body", table.columns);
            verifier.find(Some(change.org()), change.noun().to_string(), what);
        }
        if let Change::PrincipalChanged(principal) = &change {
            let roles = principal.spec.roles.iter().map(|role| role.bits()).collect();
            let sql = "SELECT role_id FROM principal_roles WHERE principal_id = ?1";
            compare_links(verifier, change.org(), change.noun(), sql, &roles)?;
        }
        compare_noun(verifier, &change)?;
    }
    Ok(())
}

fn columns(row: &Row<'_>, indexes: std::ops::Range<usize>) -> Result<Vec<Column>, StoreError> {
    indexes.map(|index| column(row, index)).collect()
}

fn compare_key(verifier: &mut Verifier<'_>, key: Key) -> Result<(), StoreError> {
    let (org, noun) = (key.org, NounRef::Key(key.id));
    let roles = key.spec.roles.iter().map(|role| role.bits()).collect();
    compare_links(verifier, org, noun, "SELECT role_id FROM key_roles WHERE key_id = ?1", &roles)?;
    let plans = key.spec.plans.iter().map(|plan| plan.bits()).collect();
    compare_links(verifier, org, noun, "SELECT plan_id FROM key_plans WHERE key_id = ?1", &plans)?;
    let sql = "SELECT label, value FROM key_labels WHERE key_id = ?1 ORDER BY label";
    let labels = all(verifier.connection, sql, [id(key.id.bits())], |row| {
        Ok((column::<String>(row, 0)?, column::<String>(row, 1)?))
    })?;
    if !labels.iter().map(|(label, value)| (label, value)).eq(&key.spec.labels) {
        verifier.find(Some(org), noun.to_string(), "its rows in key_labels differ from its body");
    }
    compare_noun(verifier, &Change::KeyChanged(Arc::new(key)))
}

fn compare_links(
    verifier: &mut Verifier<'_>,
    org: OrgId,
    noun: NounRef,
    sql: &str,
    expected: &BTreeSet<u128>,
) -> Result<(), StoreError> {
    let own = id(super::value::noun_bits(noun));
    let stored: BTreeSet<u128> =
        all(verifier.connection, sql, [own], |row| id_column(row, 0))?.into_iter().collect();
    if stored != *expected {
        let table = sql.split_whitespace().nth(3).unwrap_or(sql);
        verifier.find(Some(org), noun.to_string(), format!("its rows in {table} differ from its body"));
    }
    Ok(())
}

/// Compares a noun as its rows have it with the last entry about it.
fn compare_noun(verifier: &mut Verifier<'_>, change: &Change) -> Result<(), StoreError> {
    verifier.report.rows += 1;
    verifier.step();
    let (org, noun) = (change.org(), change.noun());
    let Some(seq) = verifier.latest.remove(&noun) else {
        verifier.find(Some(org), noun.to_string(), "no entry speaks of it: its row was added by hand");
        return Ok(());
    };
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE seq = ?1");
    let Some(entry) = first(verifier.connection, &sql, [count(seq)], entry_from)? else { return Ok(()) };
    let entry_place = format!("entry {}", entry.sealed.number);
    match differences(image(change)?, &entry) {
        Ok(fields) if fields.is_empty() => {}
        Ok(fields) => {
            let what = format!("differs from {entry_place} in {}", fields.join(", "));
            verifier.find(Some(org), noun.to_string(), what);
        }
        Err(error) => verifier.find(Some(org), entry_place.as_str(), error.to_string()),
    }
    let Change::KeyChanged(key) = change else { return Ok(()) };
    if entry.sealed.proof != Some(secrets_proof(verifier.key, key)) {
        let what = format!("what proves its secrets differs from {entry_place}");
        verifier.find(Some(org), noun.to_string(), what);
    }
    Ok(())
}

/// Rows that refer to nothing: whoever added them had foreign keys switched off.
fn dangling_rows(verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    let violations = foreign_key_violations(verifier.connection)?;
    for (table, parent) in violations {
        verifier.find(None, table, format!("a row refers to a row of {parent} that is not there"));
    }
    Ok(())
}

fn foreign_key_violations(connection: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    all(connection, "SELECT \"table\", parent FROM pragma_foreign_key_check", [], |row| {
        Ok((column(row, 0)?, column(row, 1)?))
    })
}

//! Reads every row for the audit's verification.

use std::collections::HashMap;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::KeyId;
use keywright_model::key::Key;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::audit_page::{StoredEntry, audit_columns, entry_from};
use super::audit_verify::fetch;
use super::feed::ALL_KEYS;
use super::link::{Answer, Ask, Link};
use super::rows::{key_row, secret_from};
use super::value::{Id, column, count, id_column, noun_bits};
use super::write_nouns::principal_kind;
use crate::StoreError;
use crate::audit::rows::{Column, Links, Table};
use crate::audit::verify::Verifier;
use crate::key_row::RowsOfKey;

/// Compares all rows. What an entry speaks of and no row holds is found last.
pub(super) async fn compare(link: &Link, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    for table in Table::ALL {
        compare_table(link, verifier, table).await?;
    }
    compare_keys(link, verifier).await?;
    verifier.end_rows();
    for (table, parent, sql) in REFERENCES {
        let row = link.first(sql, &[]).await?;
        if row.as_ref().map(|row| column(row, 0)).transpose()? == Some(true) {
            verifier.take_dangling(table, parent);
        }
    }
    Ok(())
}

async fn compare_table(link: &Link, verifier: &mut Verifier<'_>, table: Table) -> Result<(), StoreError> {
    // PostgreSQL has one more column, which only lists of keys use.
    let kind = if table == Table::Principals { ", kind" } else { "" };
    let name = table.name();
    let declare = format!(
        "DECLARE nouns NO SCROLL CURSOR FOR SELECT id, body{kind}, {} FROM {name} ORDER BY id",
        table.columns()
    );
    link.run(&declare).await?;
    loop {
        let rows = fetch(link, "nouns").await?;
        if rows.is_empty() {
            break;
        }
        let mut nouns = Vec::with_capacity(rows.len());
        for row in &rows {
            let bits = id_column(row, 0)?;
            match table.read(column(row, 1)?) {
                Ok(change) => nouns.push((bits, row, change)),
                Err(error) => verifier.take_damaged(table, bits, &error),
            }
        }
        let wanted = wanted(verifier, nouns.iter().map(|(_, _, change)| change.noun()));
        let entries = last_entries(link, wanted).await?;
        let ids: Vec<Id> = nouns.iter().map(|(_, _, change)| Id(noun_bits(change.noun()))).collect();
        let links =
            if table == Table::Principals { principal_links(link, &ids).await? } else { HashMap::new() };
        let none = Links::default();
        for (bits, row, change) in &nouns {
            let first = if kind.is_empty() { 2 } else { 3 };
            let columns =
                (first..row.len()).map(|index| beside(row, index)).collect::<Result<Vec<_>, _>>()?;
            compare_kind(verifier, row, change)?;
            let links = links.get(&noun_bits(change.noun())).unwrap_or(&none);
            verifier.take_noun(table, (*bits, &columns), change, links, entries.get(&change.noun()))?;
        }
    }
    link.run("CLOSE nouns").await?;
    Ok(())
}

fn compare_kind(verifier: &mut Verifier<'_>, row: &Row, change: &Change) -> Result<(), StoreError> {
    if let Change::PrincipalChanged(principal) = change
        && column::<&str>(row, 2)? != principal_kind(principal.spec.kind)
    {
        verifier.find(Some(change.org()), change.noun().to_string(), "its column kind differs from its body");
    }
    Ok(())
}

fn beside(row: &Row, index: usize) -> Result<Column, StoreError> {
    let kind = row.columns().get(index).map(tokio_postgres::Column::type_);
    Ok(match kind {
        Some(&Type::UUID) => Column::Id(id_column(row, index)?),
        Some(&Type::INT8) => Column::Integer(column(row, index)?),
        Some(&Type::INT4) => Column::Integer(column::<i32>(row, index)?.into()),
        _ => Column::Text(column(row, index)?),
    })
}

async fn compare_keys(link: &Link, verifier: &mut Verifier<'_>) -> Result<(), StoreError> {
    link.run(&format!("DECLARE keys_read NO SCROLL CURSOR FOR {ALL_KEYS}")).await?;
    // The last key of a chunk may go on in the next.
    let mut open: Option<Whole> = None;
    loop {
        let rows = fetch(link, "keys_read").await?;
        let mut whole = Vec::new();
        for row in &rows {
            let bits = id_column(row, 0)?;
            match open.as_mut().filter(|open| open.bits == bits) {
                Some(open) => open.add(row),
                None => whole.extend(open.replace(Whole::begin(bits, row))),
            }
        }
        if rows.is_empty() {
            whole.extend(open.take());
        }
        take_keys(link, verifier, whole).await?;
        if rows.is_empty() {
            break;
        }
    }
    link.run("CLOSE keys_read").await?;
    Ok(())
}

/// The rows of one key, whether they read back or not.
struct Whole {
    bits: u128,
    rows: Result<RowsOfKey, StoreError>,
}

impl Whole {
    fn begin(bits: u128, row: &Row) -> Self {
        let secrets = secret_from(row).transpose().into_iter().collect();
        Self { bits, rows: key_row(row).map(|key| RowsOfKey { key, secrets }) }
    }

    fn add(&mut self, row: &Row) {
        if let Ok(rows) = &mut self.rows {
            rows.secrets.extend(secret_from(row).transpose());
        }
    }
}

async fn take_keys(link: &Link, verifier: &mut Verifier<'_>, whole: Vec<Whole>) -> Result<(), StoreError> {
    let mut keys: Vec<Key> = Vec::with_capacity(whole.len());
    for Whole { bits, rows } in whole {
        match rows.and_then(RowsOfKey::into_key) {
            Ok(key) => keys.push(key),
            Err(error) => verifier.take_damaged_key(KeyId::from_bits(bits), &error),
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = keys.iter().map(|key| Id(key.id.bits())).collect();
    let mut links = key_links(link, &ids).await?;
    let wanted = wanted(verifier, keys.iter().map(|key| NounRef::Key(key.id)));
    let entries = last_entries(link, wanted).await?;
    for key in keys {
        let links = links.remove(&key.id.bits()).unwrap_or_default();
        let entry = entries.get(&NounRef::Key(key.id));
        verifier.take_key(key, &links, entry)?;
    }
    Ok(())
}

async fn principal_links(link: &Link, ids: &Vec<Id>) -> Result<HashMap<u128, Links>, StoreError> {
    let sql = "SELECT principal_id, role_id FROM principal_roles WHERE principal_id = ANY($1)";
    let mut links: HashMap<u128, Links> = HashMap::new();
    for row in &link.query(sql, &[ids]).await? {
        links.entry(id_column(row, 0)?).or_default().roles.insert(id_column(row, 1)?);
    }
    Ok(links)
}

async fn key_links(link: &Link, ids: &[Id]) -> Result<HashMap<u128, Links>, StoreError> {
    let param = || vec![Box::new(ids.to_vec()) as super::value::Owned];
    let labels = "SELECT key_id, label, value FROM key_labels WHERE key_id = ANY($1) ORDER BY key_id, label";
    let asks = [
        Ask::rows("SELECT key_id, role_id FROM key_roles WHERE key_id = ANY($1)", param()),
        Ask::rows("SELECT key_id, plan_id FROM key_plans WHERE key_id = ANY($1)", param()),
        Ask::rows(labels, param()),
    ];
    let mut answers = link.all(&asks).await?.into_iter().map(Answer::rows);
    let mut next = || answers.next().unwrap_or_default();
    let mut links: HashMap<u128, Links> = HashMap::new();
    for row in next() {
        links.entry(id_column(&row, 0)?).or_default().roles.insert(id_column(&row, 1)?);
    }
    for row in next() {
        links.entry(id_column(&row, 0)?).or_default().plans.insert(id_column(&row, 1)?);
    }
    for row in next() {
        let label = (column(&row, 1)?, column(&row, 2)?);
        links.entry(id_column(&row, 0)?).or_default().labels.push(label);
    }
    Ok(links)
}

/// The number of the last entry about each of these nouns.
fn wanted(verifier: &Verifier<'_>, nouns: impl Iterator<Item = NounRef>) -> HashMap<u64, NounRef> {
    nouns.filter_map(|noun| Some((verifier.last_entry(noun)?, noun))).collect()
}

/// The last entry about each of these nouns.
async fn last_entries(
    link: &Link,
    wanted: HashMap<u64, NounRef>,
) -> Result<HashMap<NounRef, StoredEntry>, StoreError> {
    let seqs: Vec<i64> = wanted.keys().copied().map(count).collect();
    let sql = concat!("SELECT ", audit_columns!(), " FROM audit WHERE seq = ANY($1)");
    let mut entries = HashMap::new();
    for row in &link.query(sql, &[&seqs]).await? {
        // One that does not read back was found when the entries were read.
        let Ok(entry) = entry_from(row) else { continue };
        if let Some(noun) = wanted.get(&entry.seq) {
            entries.insert(*noun, entry);
        }
    }
    Ok(entries)
}

macro_rules! dangling {
    ($child:literal, $column:literal, $parent:literal) => {
        (
            $child,
            $parent,
            concat!(
                "SELECT EXISTS (SELECT 1 FROM ",
                $child,
                " c LEFT JOIN ",
                $parent,
                " p ON p.id = c.",
                $column,
                " WHERE c.",
                $column,
                " IS NOT NULL AND p.id IS NULL)"
            ),
        )
    };
}

/// Every reference between tables, and whether any row of it refers to nothing.
const REFERENCES: [(&str, &str, &str); 15] = [
    dangling!("keyspaces", "org_id", "orgs"),
    dangling!("roles", "org_id", "orgs"),
    dangling!("plans", "org_id", "orgs"),
    dangling!("principals", "org_id", "orgs"),
    dangling!("principal_roles", "principal_id", "principals"),
    dangling!("principal_roles", "role_id", "roles"),
    dangling!("keys", "org_id", "orgs"),
    dangling!("keys", "keyspace_id", "keyspaces"),
    dangling!("keys", "owner_id", "principals"),
    dangling!("key_roles", "key_id", "keys"),
    dangling!("key_roles", "role_id", "roles"),
    dangling!("key_plans", "key_id", "keys"),
    dangling!("key_plans", "plan_id", "plans"),
    dangling!("key_labels", "key_id", "keys"),
    dangling!("secrets", "key_id", "keys"),
];

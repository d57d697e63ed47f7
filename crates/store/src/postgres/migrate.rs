//! The schema, step by step. Forward only: each step is applied once, all missing ones in one transaction, by one process
//! at a time.

use super::link::Link;
use super::open::OpenError;
use super::value::column;
use crate::{Migrated, StoreError};

/// Every step, oldest first. `keywright_schema` says how many a database has.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_init.sql"),
    include_str!("../../migrations/postgres/0002_members.sql"),
    include_str!("../../migrations/postgres/0003_limit_shares.sql"),
    include_str!("../../migrations/postgres/0004_audit_subjects.sql"),
    include_str!("../../migrations/postgres/0005_signals.sql"),
];

/// Whoever changes the schema or makes the installation holds this, so that of two first starts one waits.
pub(super) const LOCK_SCHEMA: &str = "SELECT pg_advisory_xact_lock(1262836055, 1)";
/// Whoever sweeps holds this; the others leave it to it.
/// (Copies hold 3, exchanges of shares 4.)
pub(super) const TRY_LOCK_SWEEP: &str = "SELECT pg_try_advisory_xact_lock(1262836055, 2)";

/// Marks a schema as ours.
const MARKER: &str = "CREATE TABLE keywright_schema (only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1), \
     version INTEGER NOT NULL); INSERT INTO keywright_schema VALUES (1, 0)";

/// How many steps this program knows.
const fn known() -> usize {
    MIGRATIONS.len()
}

/// Brings the schema up to what this program knows.
pub(super) async fn migrate(link: &Link) -> Result<Migrated, OpenError> {
    let before = found(link).await?;
    let migrated = Migrated { from: before.unwrap_or_default(), to: known() };
    if before == Some(known()) {
        return Ok(migrated);
    }
    link.run("BEGIN").await?;
    link.run(LOCK_SCHEMA).await?;
    // Another process may have done it while this one waited.
    let found = found(link).await?;
    if found.is_none() {
        refuse_foreign_tables(link).await?;
        link.run(MARKER).await?;
    }
    let found = found.unwrap_or_default();
    for step in MIGRATIONS.get(found..).unwrap_or_default() {
        link.run(step).await?;
    }
    let version = i32::try_from(known()).unwrap_or(i32::MAX);
    link.execute("UPDATE keywright_schema SET version = $1", &[&version]).await?;
    link.commit().await?;
    Ok(migrated)
}

/// Whether a copy into the database was begun and not finished.
pub(super) async fn is_half_copied(link: &Link) -> Result<bool, StoreError> {
    let sql = "SELECT to_regclass(quote_ident(current_schema()) || '.keywright_copy') IS NOT NULL";
    let row = link.first(sql, &[]).await?;
    Ok(row.as_ref().map(|row| column(row, 0)).transpose()? == Some(true))
}

/// How many steps the schema has; `None` when it is not ours yet.
async fn found(link: &Link) -> Result<Option<usize>, OpenError> {
    let client = link.client();
    let sql = "SELECT current_schema(), to_regclass(quote_ident(current_schema()) || '.keywright_schema') IS NOT NULL";
    let row = client.query_one(sql, &[]).await?;
    if row.try_get::<_, Option<String>>(0)?.is_none() {
        return Err(OpenError::State("the database's search_path names no schema that is there"));
    }
    if !row.try_get::<_, Option<bool>>(1)?.unwrap_or_default() {
        return Ok(None);
    }
    let version: i32 = client.query_one("SELECT version FROM keywright_schema", &[]).await?.try_get(0)?;
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    if found > known() { Err(OpenError::Newer { found, known: known() }) } else { Ok(Some(found)) }
}

async fn refuse_foreign_tables(link: &Link) -> Result<(), OpenError> {
    let sql = "SELECT current_schema(), EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = \
               (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p'))";
    let row = link.client().query_one(sql, &[]).await?;
    if row.try_get(1)? { Err(OpenError::NotOurs(row.try_get(0)?)) } else { Ok(()) }
}

//! The schema, step by step. Forward only: each step is applied once, all missing ones in one transaction.

use rusqlite::{Connection, TransactionBehavior};

use super::open::OpenError;
use crate::Migrated;

/// Every step, oldest first. The database's `user_version` is how many it has.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_members.sql"),
    include_str!("../../migrations/sqlite/0003_limit_shares.sql"),
    include_str!("../../migrations/sqlite/0004_audit_subjects.sql"),
    include_str!("../../migrations/sqlite/0005_signals.sql"),
];

/// Marks the file as ours: "KEYW".
const APPLICATION_ID: i64 = 0x4B45_5957;

/// How many steps this program knows.
const fn known() -> usize {
    MIGRATIONS.len()
}

/// Refuses a database that is not ours, or that a newer program has written. Says how many steps it has.
pub(super) fn check(connection: &Connection) -> Result<usize, OpenError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    if found > known() {
        return Err(OpenError::Newer { found, known: known() });
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (found > 0 || tables > 0) {
        return Err(OpenError::NotOurs);
    }
    Ok(found)
}

/// Brings the schema up to what this program knows.
pub(super) fn migrate(connection: &mut Connection) -> Result<Migrated, OpenError> {
    let found = check(connection)?;
    let migrated = Migrated { from: found, to: known() };
    let missing = MIGRATIONS.get(found..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(migrated);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(known()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(migrated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(check(&connection).unwrap(), known());
    }

    #[test]
    fn a_newer_database_and_a_strange_one_are_refused_in_words() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(error.to_string().contains("newer keywright"), "{error}");
        let mut strange = Connection::open_in_memory().unwrap();
        strange.execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
        assert!(matches!(migrate(&mut strange), Err(OpenError::NotOurs)));
    }
}

//! Writing every noun but the key; numbers; what a refused statement means.

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{OrgId, RoleId};
use keywright_model::noun::{Keyspace, Org, Plan, Principal, Role};
use rusqlite::{Connection, params};

use super::commit::Tip;
use super::nouns::first;
use super::value::{column, count, id, noun_bits, table, to_json};
use super::write_keys::{self, StoredKeys};
use crate::writing::NUMBER_MAX;
pub(super) use crate::writing::rank;
use crate::{CommitError, StoreError};

/// Makes the rows say what the change says; fills in what the store assigns.
pub(super) fn write(
    connection: &Connection,
    tip: &Tip,
    change: &mut Change,
    stored: &mut StoredKeys,
) -> Result<(), CommitError> {
    match change {
        Change::OrgChanged(org) => write_org(connection, org),
        Change::KeyspaceChanged(keyspace) => write_keyspace(connection, keyspace),
        Change::PrincipalChanged(principal) => write_principal(connection, principal),
        Change::RoleChanged(role) => write_role(connection, std::sync::Arc::make_mut(role)),
        Change::PlanChanged(plan) => write_plan(connection, plan),
        Change::KeyChanged(key) => write_keys::write(connection, tip, std::sync::Arc::make_mut(key), stored),
        Change::KeyPurged(_, _, id) => write_keys::purge(connection, *id),
        Change::OrgDeleted(_)
        | Change::KeyspaceDeleted(..)
        | Change::PrincipalDeleted(..)
        | Change::RoleDeleted(..)
        | Change::PlanDeleted(..) => delete(connection, change.noun()),
    }
}

/// Whether a noun is there.
pub(super) fn exists(connection: &Connection, noun: NounRef) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM {} WHERE id = ?1", table(noun));
    Ok(first(connection, &sql, [id(noun_bits(noun))], |_| Ok(()))?.is_some())
}

/// Takes the next of an organization's numbers. A rolled back commit gives it back, a deleted noun does not.
pub(super) fn next_number(connection: &Connection, org: OrgId, name: &str) -> Result<u32, CommitError> {
    let sql = "INSERT INTO counters (org_id, name, last) VALUES (?1, ?2, 1) \
               ON CONFLICT (org_id, name) DO UPDATE SET last = last + 1 RETURNING last";
    let next: Option<i64> = first(connection, sql, (id(org.bits()), name), |row| column(row, 0))?;
    let next = next.filter(|next| *next <= NUMBER_MAX).and_then(|next| u32::try_from(next).ok());
    next.ok_or(CommitError::NumbersExhausted)
}

/// Sees to it that a number that was given by the caller is not given out again.
pub(super) fn keep_number(
    connection: &Connection,
    org: OrgId,
    name: &str,
    number: u32,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO counters (org_id, name, last) VALUES (?1, ?2, ?3) \
               ON CONFLICT (org_id, name) DO UPDATE SET last = max(last, excluded.last)";
    connection.prepare_cached(sql)?.execute((id(org.bits()), name, number))?;
    Ok(())
}

/// Says which of the nouns that a row refers to is missing, when that is why it was refused.
pub(super) fn dangling(
    connection: &Connection,
    error: rusqlite::Error,
    references: &[NounRef],
) -> CommitError {
    if !is_foreign_key(&error) {
        return error.into();
    }
    for reference in references {
        match exists(connection, *reference) {
            Ok(true) => {}
            Ok(false) => return CommitError::DanglingReference(*reference),
            Err(error) => return error.into(),
        }
    }
    error.into()
}

fn is_foreign_key(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// Which word a client gave that another noun has already, from SQLite's list of columns.
pub(super) fn taken(error: &rusqlite::Error) -> Option<&'static str> {
    let rusqlite::Error::SqliteFailure(code, Some(message)) = error else { return None };
    let unique = [rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY];
    if !unique.contains(&code.extended_code) {
        return None;
    }
    let (_, last) = message.rsplit_once('.')?;
    let known = ["name", "access_id", "external_id", "number", "digest", "id"];
    let column = known.into_iter().find(|known| *known == last)?;
    Some(if column == "digest" { "secret" } else { column })
}

fn delete(connection: &Connection, noun: NounRef) -> Result<(), CommitError> {
    let mut statement = connection.prepare_cached(&format!("DELETE FROM {} WHERE id = ?1", table(noun)))?;
    match statement.execute([id(noun_bits(noun))]) {
        Ok(0) => Err(CommitError::Conflict(noun)),
        Ok(_) => Ok(()),
        Err(error) if is_foreign_key(&error) => Err(CommitError::InUse(noun)),
        Err(error) => Err(error.into()),
    }
}

fn write_org(connection: &Connection, org: &Org) -> Result<(), CommitError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO orgs (id, name, version, body) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, body = excluded.body",
    )?;
    statement.execute(params![id(org.id.bits()), org.spec.name, count(org.meta.version.0), to_json(org)?])?;
    Ok(())
}

fn write_keyspace(connection: &Connection, keyspace: &Keyspace) -> Result<(), CommitError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO keyspaces (id, org_id, name, version, body) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, body = excluded.body",
    )?;
    let (own, org) = (id(keyspace.id.bits()), id(keyspace.org.bits()));
    let version = count(keyspace.meta.version.0);
    let written = statement.execute(params![own, org, keyspace.spec.name, version, to_json(keyspace)?]);
    written.map(drop).map_err(|error| dangling(connection, error, &[NounRef::Org(keyspace.org)]))
}

fn write_plan(connection: &Connection, plan: &Plan) -> Result<(), CommitError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO plans (id, org_id, name, version, body) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, body = excluded.body",
    )?;
    let (own, org) = (id(plan.id.bits()), id(plan.org.bits()));
    let written =
        statement.execute(params![own, org, plan.spec.name, count(plan.meta.version.0), to_json(plan)?]);
    written.map(drop).map_err(|error| dangling(connection, error, &[NounRef::Org(plan.org)]))
}

fn write_role(connection: &Connection, role: &mut Role) -> Result<(), CommitError> {
    if role.number != 0 {
        keep_number(connection, role.org, "roles", role.number)?;
    } else {
        let sql = "SELECT number FROM roles WHERE id = ?1";
        role.number = match first(connection, sql, [id(role.id.bits())], |row| column(row, 0))? {
            Some(number) => number,
            None => next_number(connection, role.org, "roles")?,
        };
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO roles (id, org_id, number, name, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, body = excluded.body",
    )?;
    let (own, org) = (id(role.id.bits()), id(role.org.bits()));
    let version = count(role.meta.version.0);
    let written = statement.execute(params![own, org, role.number, role.spec.name, version, to_json(role)?]);
    written.map(drop).map_err(|error| dangling(connection, error, &[NounRef::Org(role.org)]))
}

fn write_principal(connection: &Connection, principal: &Principal) -> Result<(), CommitError> {
    let spec = &principal.spec;
    let (own, org) = (id(principal.id.bits()), id(principal.org.bits()));
    let mut statement = connection.prepare_cached(
        "INSERT INTO principals (id, org_id, external_id, version, body) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, version = excluded.version, body = excluded.body",
    )?;
    let version = count(principal.meta.version.0);
    let written = statement.execute(params![own, org, spec.external_id, version, to_json(principal)?]);
    written.map_err(|error| dangling(connection, error, &[NounRef::Org(principal.org)]))?;
    write_principal_roles(connection, principal)
}

fn write_principal_roles(connection: &Connection, principal: &Principal) -> Result<(), CommitError> {
    let own = id(principal.id.bits());
    connection.prepare_cached("DELETE FROM principal_roles WHERE principal_id = ?1")?.execute([own])?;
    let sql = "INSERT OR IGNORE INTO principal_roles (principal_id, role_id) VALUES (?1, ?2)";
    let mut add = connection.prepare_cached(sql)?;
    let roles: &[RoleId] = &principal.spec.roles;
    for role in roles {
        let written = add.execute((own, id(role.bits())));
        written.map_err(|error| dangling(connection, error, &[NounRef::Role(*role)]))?;
    }
    Ok(())
}

/// Whether anything still refers to a noun. Keys whose record is hidden count until they are purged.
pub(super) fn in_use(connection: &Connection, noun: NounRef) -> Result<bool, StoreError> {
    let sql = match noun {
        NounRef::Org(_) => {
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM keyspaces WHERE org_id = ?1) OR EXISTS (SELECT 1 FROM keys \
             WHERE org_id = ?1) OR EXISTS (SELECT 1 FROM principals WHERE org_id = ?1) OR EXISTS (SELECT 1 FROM roles \
             WHERE org_id = ?1) OR EXISTS (SELECT 1 FROM plans WHERE org_id = ?1)"
        }
        NounRef::Keyspace(_) => "SELECT 1 FROM keys WHERE keyspace_id = ?1 LIMIT 1",
        NounRef::Principal(_) => "SELECT 1 FROM keys WHERE owner_id = ?1 LIMIT 1",
        NounRef::Role(_) => {
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM key_roles WHERE role_id = ?1) \
             OR EXISTS (SELECT 1 FROM principal_roles WHERE role_id = ?1)"
        }
        NounRef::Plan(_) => "SELECT 1 FROM key_plans WHERE plan_id = ?1 LIMIT 1",
        NounRef::Key(_) => return Ok(false),
    };
    Ok(first(connection, sql, [id(noun_bits(noun))], |_| Ok(()))?.is_some())
}

//! Writing every noun but the key: what one commit does to the rows, as statements that are sent later.

use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::noun::{Principal, PrincipalKind, Role};

use super::state::{Draft, Series};
use super::value::{Id, Owned, count, noun_bits, number, owned, to_json};
use super::write_keys;
use crate::writing::NUMBER_MAX;
use crate::{CommitError, StoreError};

/// A statement of a commit.
pub(super) struct Op {
    pub(super) sql: &'static str,
    pub(super) params: Vec<Owned>,
    /// What it means when the server refuses it, or it touches nothing.
    pub(super) meaning: Meaning,
}

/// What a refused statement means, beyond what the name of a constraint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing special.
    Plain,
    /// Something refers to the noun.
    Delete(NounRef),
    /// Touching nothing, the call was answered already.
    Remember,
}

impl Op {
    pub(super) const fn plain(sql: &'static str, params: Vec<Owned>) -> Self {
        Self { sql, params, meaning: Meaning::Plain }
    }
}

/// Why a commit cannot be planned.
pub(super) enum Obstacle {
    /// It is refused.
    Refused(CommitError),
    /// A series of numbers must be locked first.
    Wants(Series),
}

impl<E: Into<CommitError>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Adds the statements that make the rows say what the change says; fills in what the store assigns.
pub(super) fn write(draft: &mut Draft<'_>, change: &mut Change, ops: &mut Vec<Op>) -> Result<(), Obstacle> {
    let noun = change.noun();
    match change {
        Change::OrgChanged(org) => {
            let params =
                owned![Id(org.id.bits()), org.spec.name.clone(), count(org.meta.version.0), to_json(org)?];
            ops.push(Op::plain(
                if draft.exists(noun) {
                    "UPDATE orgs SET name = $2, version = $3, body = $4 WHERE id = $1"
                } else {
                    "INSERT INTO orgs (id, name, version, body) VALUES ($1, $2, $3, $4)"
                },
                params,
            ));
        }
        Change::KeyspaceChanged(keyspace) => {
            let sql = if draft.exists(noun) { UPDATE_KEYSPACE } else { INSERT_KEYSPACE };
            let (name, version) = (keyspace.spec.name.clone(), count(keyspace.meta.version.0));
            ops.push(in_org(draft, sql, noun, keyspace.org, name, version, to_json(keyspace)?)?);
        }
        Change::PlanChanged(plan) => {
            let sql = if draft.exists(noun) { UPDATE_PLAN } else { INSERT_PLAN };
            let (name, version) = (plan.spec.name.clone(), count(plan.meta.version.0));
            ops.push(in_org(draft, sql, noun, plan.org, name, version, to_json(plan)?)?);
        }
        Change::RoleChanged(role) => write_role(draft, Arc::make_mut(role), ops)?,
        Change::PrincipalChanged(principal) => write_principal(draft, principal, ops)?,
        Change::KeyChanged(key) => return write_keys::write(draft, Arc::make_mut(key), ops),
        Change::KeyPurged(_, _, key) => {
            draft.set_key(*key, None);
            delete(draft, noun, ops)?;
        }
        Change::OrgDeleted(_)
        | Change::KeyspaceDeleted(..)
        | Change::PrincipalDeleted(..)
        | Change::RoleDeleted(..)
        | Change::PlanDeleted(..) => delete(draft, noun, ops)?,
    }
    draft.set_version(noun, change.version());
    Ok(())
}

const INSERT_KEYSPACE: &str =
    "INSERT INTO keyspaces (id, org_id, name, version, body) VALUES ($1, $2, $3, $4, $5)";
const UPDATE_KEYSPACE: &str =
    "UPDATE keyspaces SET name = $3, version = $4, body = $5 WHERE id = $1 AND ($2::uuid IS NOT NULL)";
const INSERT_PLAN: &str = "INSERT INTO plans (id, org_id, name, version, body) VALUES ($1, $2, $3, $4, $5)";
const UPDATE_PLAN: &str =
    "UPDATE plans SET name = $3, version = $4, body = $5 WHERE id = $1 AND ($2::uuid IS NOT NULL)";

/// A noun of an organization that has a name and nothing else beside its body.
fn in_org(
    draft: &Draft<'_>,
    sql: &'static str,
    noun: NounRef,
    org: OrgId,
    name: String,
    version: i64,
    body: String,
) -> Result<Op, CommitError> {
    must_exist(draft, NounRef::Org(org))?;
    Ok(Op::plain(sql, owned![Id(noun_bits(noun)), Id(org.bits()), name, version, body]))
}

/// Refuses a reference to what is not there. It cannot go afterwards: its row is locked.
pub(super) fn must_exist(draft: &Draft<'_>, noun: NounRef) -> Result<(), CommitError> {
    if draft.exists(noun) { Ok(()) } else { Err(CommitError::DanglingReference(noun)) }
}

/// Takes the next number of a series. A refused commit gives it back, a deleted noun does not.
pub(super) fn next_number(draft: &mut Draft<'_>, series: Series) -> Result<u32, Obstacle> {
    let last = draft.counter(series).ok_or(Obstacle::Wants(series))?;
    let next = u32::try_from(last + 1).ok().filter(|next| i64::from(*next) <= NUMBER_MAX);
    let next = next.ok_or(CommitError::NumbersExhausted)?;
    draft.set_counter(series, u64::from(next));
    Ok(next)
}

/// Sees to it that a number that was given by the caller is not given out again.
pub(super) fn keep_number(draft: &mut Draft<'_>, series: Series, given: u32) -> Result<(), Obstacle> {
    let last = draft.counter(series).ok_or(Obstacle::Wants(series))?;
    draft.set_counter(series, last.max(u64::from(given)));
    Ok(())
}

fn write_role(draft: &mut Draft<'_>, role: &mut Role, ops: &mut Vec<Op>) -> Result<(), Obstacle> {
    must_exist(draft, NounRef::Org(role.org))?;
    let series = (role.org, "roles");
    let stored = draft.role_number(role.id).filter(|_| draft.exists(NounRef::Role(role.id)));
    match stored {
        Some(stored) if role.number == 0 => role.number = stored,
        None if role.number == 0 => role.number = next_number(draft, series)?,
        Some(_) | None => keep_number(draft, series, role.number)?,
    }
    let (own, name, version) = (Id(role.id.bits()), role.spec.name.clone(), count(role.meta.version.0));
    let body = to_json(role)?;
    ops.push(match stored {
        // A role's number is for ever.
        Some(_) => Op::plain(
            "UPDATE roles SET name = $2, version = $3, body = $4 WHERE id = $1",
            owned![own, name, version, body],
        ),
        None => Op::plain(
            "INSERT INTO roles (id, org_id, number, name, version, body) VALUES ($1, $2, $3, $4, $5, $6)",
            owned![own, Id(role.org.bits()), number(role.number), name, version, body],
        ),
    });
    draft.set_role_number(role.id, stored.unwrap_or(role.number));
    Ok(())
}

fn write_principal(draft: &Draft<'_>, principal: &Principal, ops: &mut Vec<Op>) -> Result<(), Obstacle> {
    must_exist(draft, NounRef::Org(principal.org))?;
    let spec = &principal.spec;
    for role in &spec.roles {
        must_exist(draft, NounRef::Role(*role))?;
    }
    let own = Id(principal.id.bits());
    let there = draft.exists(NounRef::Principal(principal.id));
    let sql = if there {
        "UPDATE principals SET external_id = $3, kind = $4, version = $5, body = $6 WHERE id = $1 AND ($2::uuid IS NOT NULL)"
    } else {
        "INSERT INTO principals (id, org_id, external_id, kind, version, body) VALUES ($1, $2, $3, $4, $5, $6)"
    };
    let (external_id, version) = (spec.external_id.clone(), count(principal.meta.version.0));
    let kind = principal_kind(spec.kind);
    let params = owned![own, Id(principal.org.bits()), external_id, kind, version, to_json(principal)?];
    ops.push(Op::plain(sql, params));
    if there {
        ops.push(Op::plain("DELETE FROM principal_roles WHERE principal_id = $1", owned![own]));
    }
    if !spec.roles.is_empty() {
        let roles: Vec<Id> = spec.roles.iter().map(|role| Id(role.bits())).collect();
        let sql = "INSERT INTO principal_roles (principal_id, role_id) SELECT $1, unnest($2::uuid[]) \
                   ON CONFLICT DO NOTHING";
        ops.push(Op::plain(sql, owned![own, roles]));
    }
    Ok(())
}

/// A principal's kind as a column holds it.
pub(super) const fn principal_kind(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Bot => "bot",
    }
}

fn delete(draft: &mut Draft<'_>, noun: NounRef, ops: &mut Vec<Op>) -> Result<(), CommitError> {
    if !draft.exists(noun) {
        return Err(CommitError::Conflict(noun));
    }
    let sql = match noun {
        NounRef::Org(_) => "DELETE FROM orgs WHERE id = $1",
        NounRef::Keyspace(_) => "DELETE FROM keyspaces WHERE id = $1",
        NounRef::Principal(_) => "DELETE FROM principals WHERE id = $1",
        NounRef::Role(_) => "DELETE FROM roles WHERE id = $1",
        NounRef::Plan(_) => "DELETE FROM plans WHERE id = $1",
        NounRef::Key(_) => "DELETE FROM keys WHERE id = $1",
    };
    ops.push(Op { sql, params: owned![Id(noun_bits(noun))], meaning: Meaning::Delete(noun) });
    Ok(())
}

/// Which word a client gave that another noun has already, from the name of a unique index.
pub(super) fn taken(constraint: &str) -> Option<&'static str> {
    match constraint {
        "orgs_by_name" | "keyspaces_by_name" | "roles_by_name" | "plans_by_name" => Some("name"),
        "roles_by_number" | "keys_by_number" => Some("number"),
        "keys_by_access_id" => Some("access_id"),
        "keys_by_external_id" | "principals_by_external_id" => Some("external_id"),
        "secrets_by_digest" => Some("secret"),
        "keyring_pkey" => Some("wrapped key"),
        _ => None,
    }
}

/// A text that PostgreSQL cannot hold. What comes from outside is checked long before.
pub(super) fn unheld() -> StoreError {
    StoreError::Corrupt("a text holds a NUL, which PostgreSQL cannot keep".to_owned())
}

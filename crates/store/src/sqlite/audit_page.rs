//! Reading the audit: entries from rows, and a page of them.

use keywright_model::id::OrgId;
use keywright_model::revision::{Revision, Version};
use keywright_model::time::Timestamp;
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use serde_json::Value;

use super::nouns::{all, cut};
use super::value::{column, count, from_json, id, id_column, parse, rows, uncount};
use crate::audit::{AuditEntry, Link, Sealable, join_personal};
use crate::{AuditQuery, Page, StoreError};

/// The columns of [`entry_from`], in its order.
pub(super) const AUDIT_COLUMNS: &str = "seq, org_id, number, revision, position, at, actor, wire, verb, subject, \
     version, request_id, rights, proof, personal, salt, personal_hash, hash";

/// An entry as it is stored.
pub(super) struct StoredEntry {
    /// Its place among the entries of every organization.
    pub(super) seq: u64,
    /// What the chain holds of it.
    pub(super) sealed: Sealable,
    /// The personal part, until it is erased.
    pub(super) personal: Option<String>,
    /// What the personal part is hashed with, until it is erased.
    pub(super) salt: Option<Vec<u8>>,
    /// Its hash.
    pub(super) hash: Link,
}

/// An entry from its row.
pub(super) fn entry_from(row: &Row<'_>) -> Result<StoredEntry, StoreError> {
    let optional_count = |index| Ok::<_, StoreError>(column::<Option<i64>>(row, index)?.map(uncount));
    Ok(StoredEntry {
        seq: uncount(column(row, 0)?),
        sealed: Sealable {
            org: id_column(row, 1)?,
            number: uncount(column(row, 2)?),
            revision: optional_count(3)?,
            position: uncount(column(row, 4)?),
            at: column(row, 5)?,
            actor: column(row, 6)?,
            wire: column(row, 7)?,
            verb: column(row, 8)?,
            subject: column(row, 9)?,
            version: optional_count(10)?,
            request_id: column(row, 11)?,
            rights: column(row, 12)?,
            proof: column(row, 13)?,
            personal_hash: column(row, 16)?,
        },
        personal: column(row, 14)?,
        salt: column(row, 15)?,
        hash: column(row, 17)?,
    })
}

impl StoredEntry {
    /// The noun after the write and the caller's address; both are `None` when they were erased.
    pub(super) fn open(&self) -> Result<(Option<Value>, Option<String>), StoreError> {
        let Some(personal) = &self.personal else { return Ok((None, None)) };
        let mut personal: Value = from_json(personal, "an audit entry")?;
        let address = personal.as_object_mut().and_then(|fields| fields.remove("address"));
        let address = address.and_then(|address| address.as_str().map(str::to_owned));
        let rights: Option<Value> =
            self.sealed.rights.as_deref().map(|rights| from_json(rights, "an audit entry")).transpose()?;
        Ok((rights.map(|rights| join_personal(rights, personal)), address))
    }
}

/// A page of an organization's audit, newest first.
pub(super) fn page(connection: &Connection, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
    let mut sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE org_id = ?");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(id(query.org.bits()))];
    let filters: [(&str, Option<Box<dyn ToSql>>); 6] = [
        (" AND number < ?", query.before.map(|before| Box::new(count(before)) as Box<dyn ToSql>)),
        (" AND subject = ?", query.subject.clone().map(|subject| Box::new(subject) as Box<dyn ToSql>)),
        (" AND actor = ?", query.actor.map(|actor| Box::new(actor.to_string()) as Box<dyn ToSql>)),
        (" AND verb = ?", query.verb.clone().map(|verb| Box::new(verb) as Box<dyn ToSql>)),
        (" AND at >= ?", query.since.map(|since| Box::new(since.unix_ms()) as Box<dyn ToSql>)),
        (" AND at < ?", query.until.map(|until| Box::new(until.unix_ms()) as Box<dyn ToSql>)),
    ];
    for (condition, value) in filters {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY number DESC LIMIT ?");
    values.push(Box::new(rows(query.limit.saturating_add(1))));
    let entries = all(connection, &sql, params_from_iter(values), |row| entry(entry_from(row)?))?;
    Ok(cut(entries, query.limit))
}

fn entry(stored: StoredEntry) -> Result<AuditEntry, StoreError> {
    let (after, address) = stored.open()?;
    let sealed = stored.sealed;
    Ok(AuditEntry {
        number: sealed.number,
        org: OrgId::from_bits(sealed.org),
        revision: sealed.revision.map(Revision),
        at: Timestamp::from_unix_ms(sealed.at),
        actor: parse(&sealed.actor, "actor")?,
        wire: sealed.wire,
        verb: sealed.verb,
        subject: sealed.subject,
        version: sealed.version.map(Version),
        after,
        address,
        request_id: sealed.request_id,
    })
}

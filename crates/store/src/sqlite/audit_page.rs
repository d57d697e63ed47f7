//! Reading the audit: entries from rows, and a page of them.

use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::nouns::{all, cut};
use super::value::{column, count, id, id_column, rows, uncount};
pub(super) use crate::audit::entry::StoredEntry;
use crate::audit::{AuditEntry, Sealable};
use crate::{AuditQuery, Page, StoreError};

/// The columns of [`entry_from`], in its order.
pub(super) const AUDIT_COLUMNS: &str = "seq, org_id, number, revision, position, at, actor, wire, verb, subject, \
     version, request_id, rights, proof, personal, salt, personal_hash, hash";

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

/// A page of an organization's audit, newest first.
pub(super) fn page(connection: &Connection, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(id(query.org.bits()))];
    let mut conditions = String::new();
    let filters: [(&str, Option<Box<dyn ToSql>>); 6] = [
        ("number <", query.before.map(|before| Box::new(count(before)) as Box<dyn ToSql>)),
        ("subject =", query.subject.clone().map(|subject| Box::new(subject) as Box<dyn ToSql>)),
        ("actor =", query.actor.map(|actor| Box::new(actor.to_string()) as Box<dyn ToSql>)),
        ("verb =", query.verb.clone().map(|verb| Box::new(verb) as Box<dyn ToSql>)),
        ("at >=", query.since.map(|since| Box::new(since.unix_ms()) as Box<dyn ToSql>)),
        ("at <", query.until.map(|until| Box::new(until.unix_ms()) as Box<dyn ToSql>)),
    ];
    for (condition, value) in filters {
        if let Some(value) = value {
            values.push(value);
            conditions.extend([" AND ", condition, &format!(" ?{}", values.len())]);
        }
    }
    values.push(Box::new(rows(query.limit.saturating_add(1))));
    let limit = values.len();
    let columns = AUDIT_COLUMNS;
    let found = if query.subject.is_some() {
        // What the index by subject has, and what is newer than it.
        let listed = conditions.replace("subject =", "noun =");
        format!(
            "SELECT {columns} FROM audit NOT INDEXED WHERE seq > (SELECT seq FROM audit_indexed) AND org_id = ?1{conditions} \
             UNION ALL SELECT {columns} FROM audit_subjects CROSS JOIN audit USING (org_id, number) WHERE org_id = ?1{listed}"
        )
    } else {
        format!("SELECT {columns} FROM audit WHERE org_id = ?1{conditions}")
    };
    let sql = format!("{found} ORDER BY number DESC LIMIT ?{limit}");
    let entries = all(connection, &sql, params_from_iter(values), |row| entry_from(row)?.into_entry())?;
    Ok(cut(entries, query.limit))
}

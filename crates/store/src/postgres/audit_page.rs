//! Reading the audit: entries from rows, and a page of them.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::link::Ask;
use super::nouns::cut;
use super::readers::Readers;
use super::value::{
    Id, Owned, column, count, count_column, has_nul, id_column, link_column, optional_link_column, rows,
    uncount,
};
pub(super) use crate::audit::entry::StoredEntry;
use crate::audit::{AuditEntry, Sealable};
use crate::{AuditQuery, Page, StoreError};

/// The columns of [`entry_from`], in its order.
macro_rules! audit_columns {
    () => {
        "seq, org_id, number, revision, position, at, actor, wire, verb, subject, version, request_id, rights, proof, \
         personal, salt, personal_hash, hash"
    };
}
pub(super) use audit_columns;

/// An entry from its row.
pub(super) fn entry_from(row: &Row) -> Result<StoredEntry, StoreError> {
    let optional_count = |index| Ok::<_, StoreError>(column::<Option<i64>>(row, index)?.map(uncount));
    Ok(StoredEntry {
        seq: count_column(row, 0)?,
        sealed: Sealable {
            org: id_column(row, 1)?,
            number: count_column(row, 2)?,
            revision: optional_count(3)?,
            position: count_column(row, 4)?,
            at: column(row, 5)?,
            actor: column(row, 6)?,
            wire: column(row, 7)?,
            verb: column(row, 8)?,
            subject: column(row, 9)?,
            version: optional_count(10)?,
            request_id: column(row, 11)?,
            rights: column(row, 12)?,
            proof: optional_link_column(row, 13)?,
            personal_hash: link_column(row, 16)?,
        },
        personal: column(row, 14)?,
        salt: column(row, 15)?,
        hash: link_column(row, 17)?,
    })
}

/// A page of an organization's audit, newest first.
pub(super) async fn page(readers: &Readers, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
    let mut sql = concat!("SELECT ", audit_columns!(), " FROM audit WHERE org_id = $1").to_owned();
    let mut values: Vec<(Owned, Type)> = vec![(Box::new(Id(query.org.bits())), Type::UUID)];
    let text = |text: &String| -> (Owned, Type) {
        // Nothing is equal to NULL, and nothing stored holds a NUL.
        (Box::new((!has_nul(text)).then(|| text.clone())), Type::TEXT)
    };
    let number = |number: i64| -> (Owned, Type) { (Box::new(number), Type::INT8) };
    let filters: [(&str, Option<(Owned, Type)>); 6] = [
        ("number <", query.before.map(|before| number(count(before)))),
        ("subject =", query.subject.as_ref().map(text)),
        ("actor =", query.actor.map(|actor| text(&actor.to_string()))),
        ("verb =", query.verb.as_ref().map(text)),
        ("at >=", query.since.map(|since| number(since.unix_ms()))),
        ("at <", query.until.map(|until| number(until.unix_ms()))),
    ];
    for (condition, value) in filters {
        if let Some(value) = value {
            values.push(value);
            sql = format!("{sql} AND {condition} ${}", values.len());
        }
    }
    values.push(number(rows(query.limit.saturating_add(1))));
    let sql = format!("{sql} ORDER BY number DESC LIMIT ${}", values.len());
    let found = readers.rows(Ask::once(sql, values)).await?;
    let entries = found.iter().map(|row| entry_from(row)?.into_entry()).collect::<Result<_, _>>()?;
    Ok(cut(entries, query.limit))
}

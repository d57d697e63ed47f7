//! What was acknowledged, by revision, and whether the database says the same.

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::{Connection, OpenFlags};

use super::writer::{Acknowledged, Writer};
use crate::installation::Installation;

/// Every write that was acknowledged.
#[derive(Default)]
pub(super) struct Ledger {
    writes: BTreeMap<i64, Acknowledged>,
    retried: u64,
}

impl Ledger {
    /// Takes what a writer noted. A revision belongs to one write for ever.
    pub(super) fn take(&mut self, writer: &mut Writer) {
        for write in writer.acknowledged.drain(..) {
            self.retried += u64::from(write.after_restart);
            if let Some(other) = self.writes.get(&write.revision) {
                assert!(
                    write.after_restart && other.subject == write.subject,
                    "two writes have one revision: {other:?} and {write:?}"
                );
            }
            self.writes.insert(write.revision, write);
        }
    }

    /// Compares it with the rows, beside the running server.
    pub(super) fn compare(&self, installation: &Installation) {
        let path = installation.data().join("keywright.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let head = number("SELECT revision FROM head");
        assert_eq!(number("SELECT min(revision) FROM feed"), 1);
        assert_eq!(number("SELECT max(revision) FROM feed"), head);
        assert_eq!(number("SELECT count(*) FROM feed"), head, "a revision is missing");
        let last = self.writes.keys().next_back().copied().unwrap_or(0);
        assert!(last <= head, "the database ends in {head}, and {last} was acknowledged");
        let mut find = database.prepare("SELECT subject, verb FROM audit WHERE revision = ?1").unwrap();
        for write in self.writes.values() {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            let found: Vec<_> = find.query_map([write.revision], row).unwrap().map(Result::unwrap).collect();
            assert!(
                found.iter().any(|(subject, _)| *subject == write.subject),
                "{write:?} is not in the audit, which has {found:?}"
            );
        }
    }

    /// A run in which nothing happens proves nothing.
    pub(super) fn saw_enough(&self) {
        assert!(self.writes.len() > 300, "{self}");
        assert!(self.retried > 10, "{self}");
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged writes, {} answered after a restart", self.writes.len(), self.retried)
    }
}

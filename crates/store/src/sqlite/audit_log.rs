//! Writing the audit: one entry a change, linked to the one before it.

use std::collections::HashMap;
use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use rusqlite::{Connection, params};

use super::audit_subjects;
use super::nouns::first;
use super::value::{column, count, id, uncount};
use crate::audit::entry::{Linked, Spelled, link, subjects};
use crate::audit::{AuditKey, Chain};
use crate::{AuditContext, StoreError};

/// How many organizations' heads stay in memory between groups.
const HEADS_MAX: usize = 10_000;

/// The ends of all chains, as the open group has moved them.
pub(super) struct AuditLog {
    key: AuditKey,
    entropy: Arc<dyn Entropy>,
    head: Chain,
    orgs: HashMap<OrgId, Chain>,
    touched: Vec<OrgId>,
    /// Up to which entry the index by subject is.
    indexed: u64,
}

/// The ends of the chains that one commit has moved. Dropped with it when it fails.
#[derive(Default)]
pub(super) struct Moved {
    head: Chain,
    orgs: Vec<(OrgId, Chain)>,
    /// The nouns of the commit's entries as JSON, which the feed holds too.
    pub(super) nouns: Vec<Option<String>>,
}

impl AuditLog {
    /// Nothing read yet: [`Self::reload`] comes first.
    pub(super) fn new(key: AuditKey, entropy: Arc<dyn Entropy>) -> Self {
        Self { key, entropy, head: Chain::default(), orgs: HashMap::new(), touched: Vec::new(), indexed: 0 }
    }

    /// Forgets what a group has moved and reads the stored head again. Says the newest revision.
    pub(super) fn reload(&mut self, connection: &Connection) -> Result<Revision, StoreError> {
        self.orgs.clear();
        self.touched.clear();
        let (revision, head) = stored_head(connection)?;
        self.head = head;
        self.indexed = audit_subjects::indexed(connection)?;
        Ok(revision)
    }

    /// Writes the moved ends, at the end of a group.
    pub(super) fn store(&mut self, connection: &Connection, revision: Revision) -> Result<(), StoreError> {
        self.touched.sort_unstable();
        self.touched.dedup();
        for org in &self.touched {
            let chain = self.orgs.get(org).copied().unwrap_or_default();
            let sql = "INSERT INTO audit_heads (org_id, entries, hash, mac) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (org_id) \
                       DO UPDATE SET entries = excluded.entries, hash = excluded.hash, mac = excluded.mac";
            let mac = chain.org_mac(&self.key, *org);
            let mut statement = connection.prepare_cached(sql)?;
            statement.execute((id(org.bits()), count(chain.entries), chain.hash, mac))?;
        }
        if !self.touched.is_empty() {
            write_head(connection, &self.key, revision, self.head)?;
            self.indexed = audit_subjects::catch_up(connection, self.indexed, self.head.entries)?;
        }
        self.touched.clear();
        if self.orgs.len() > HEADS_MAX {
            self.orgs.clear();
        }
        Ok(())
    }

    /// Writes a commit's entries: one a change, or one by itself when nothing changed.
    pub(super) fn append(
        &self,
        connection: &Connection,
        context: &AuditContext,
        revision: Revision,
        changes: &[Change],
        spelled: Vec<Option<Spelled>>,
    ) -> Result<Moved, StoreError> {
        let mut moved = Moved { head: self.head, ..Moved::default() };
        for subject in subjects(context, changes, spelled) {
            let org = subject.org;
            let chain = self.chain(connection, org, &moved)?;
            let entry = link(&self.key, &*self.entropy, chain, context, revision, subject)?;
            moved.head = moved.head.extended(&self.key, &entry.hash);
            insert(connection, moved.head.entries, &entry)?;
            moved.orgs.retain(|(other, _)| *other != org);
            moved.orgs.push((org, chain.with(entry.hash)));
            moved.nouns.push(entry.noun);
        }
        Ok(moved)
    }

    /// Takes over what a commit has moved, once it is sure to be part of the group.
    pub(super) fn advance(&mut self, moved: Moved) {
        self.head = moved.head;
        for (org, chain) in moved.orgs {
            self.orgs.insert(org, chain);
            self.touched.push(org);
        }
    }

    fn chain(&self, connection: &Connection, org: OrgId, moved: &Moved) -> Result<Chain, StoreError> {
        if let Some((_, chain)) = moved.orgs.iter().find(|(moved, _)| *moved == org) {
            return Ok(*chain);
        }
        if let Some(chain) = self.orgs.get(&org) {
            return Ok(*chain);
        }
        let sql = "SELECT entries, hash FROM audit_heads WHERE org_id = ?1";
        let stored = first(connection, sql, [id(org.bits())], |row| {
            Ok(Chain { entries: uncount(column(row, 0)?), hash: column(row, 1)? })
        })?;
        Ok(stored.unwrap_or_default())
    }
}

fn insert(connection: &Connection, seq: u64, linked: &Linked) -> Result<(), StoreError> {
    let entry = &linked.sealed;
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit (seq, org_id, number, revision, position, at, actor, wire, verb, subject, version, request_id, \
         rights, proof, personal, salt, personal_hash, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    statement.execute(params![
        count(seq),
        id(entry.org),
        count(entry.number),
        entry.revision.map(count),
        count(entry.position),
        entry.at,
        entry.actor,
        entry.wire,
        entry.verb,
        entry.subject,
        entry.version.map(count),
        entry.request_id,
        entry.rights,
        entry.proof,
        linked.personal,
        linked.salt,
        entry.personal_hash,
        linked.hash,
    ])?;
    Ok(())
}

/// The newest revision and the end of the chain over everything, as stored.
pub(super) fn stored_head(connection: &Connection) -> Result<(Revision, Chain), StoreError> {
    let head = first(connection, "SELECT revision, entries, hash FROM head", [], |row| {
        let chain = Chain { entries: uncount(column(row, 1)?), hash: column(row, 2)? };
        Ok((Revision(uncount(column(row, 0)?)), chain))
    })?;
    head.ok_or_else(|| StoreError::Corrupt("the head is missing".to_owned()))
}

/// Stores the newest revision and the end of the chain, vouched for.
pub(super) fn write_head(
    connection: &Connection,
    key: &AuditKey,
    revision: Revision,
    head: Chain,
) -> Result<(), StoreError> {
    let sql =
        "INSERT OR REPLACE INTO head (only_row, revision, entries, hash, mac) VALUES (1, ?1, ?2, ?3, ?4)";
    let mac = head.head_mac(key, revision);
    connection.prepare_cached(sql)?.execute((count(revision.0), count(head.entries), head.hash, mac))?;
    Ok(())
}

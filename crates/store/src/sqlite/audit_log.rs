//! Writing the audit: one entry a change, linked to the one before it.

use std::collections::HashMap;
use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::key::Key;
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::nouns::first;
use super::value::{column, count, id, rows, sealed_blob, to_json, uncount};
use crate::audit::{AuditKey, Chain, Link, Sealable, personal_hash, split_personal};
use crate::{AuditContext, StoreError};

/// How many organizations' heads stay in memory between groups.
const HEADS_MAX: usize = 10_000;
/// Random bytes in front of each personal part.
const SALT_BYTES: usize = 16;

/// The ends of all chains, as the open group has moved them.
pub(super) struct AuditLog {
    key: AuditKey,
    entropy: Arc<dyn Entropy>,
    head: Chain,
    orgs: HashMap<OrgId, Chain>,
    touched: Vec<OrgId>,
}

/// The ends of the chains that one commit has moved. Dropped with it when it fails.
#[derive(Default)]
pub(super) struct Moved {
    head: Chain,
    orgs: Vec<(OrgId, Chain)>,
}

impl AuditLog {
    /// Nothing read yet: [`Self::reload`] comes first.
    pub(super) fn new(key: AuditKey, entropy: Arc<dyn Entropy>) -> Self {
        Self { key, entropy, head: Chain::default(), orgs: HashMap::new(), touched: Vec::new() }
    }

    /// Forgets what a group has moved and reads the stored head again. Says the newest revision.
    pub(super) fn reload(&mut self, connection: &Connection) -> Result<Revision, StoreError> {
        self.orgs.clear();
        self.touched.clear();
        let (revision, head) = stored_head(connection)?;
        self.head = head;
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
    ) -> Result<Moved, StoreError> {
        let mut moved = Moved { head: self.head, orgs: Vec::new() };
        if changes.is_empty() {
            let entry = Entry { org: context.org, subject: context.subject.to_string(), change: None };
            self.write(connection, context, None, 0, entry, &mut moved)?;
        }
        for (position, change) in changes.iter().enumerate() {
            let entry = Entry { org: change.org(), subject: change.noun().to_string(), change: Some(change) };
            self.write(connection, context, Some(revision), position as u64, entry, &mut moved)?;
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

    fn write(
        &self,
        connection: &Connection,
        context: &AuditContext,
        revision: Option<Revision>,
        position: u64,
        entry: Entry<'_>,
        moved: &mut Moved,
    ) -> Result<(), StoreError> {
        let chain = self.chain(connection, entry.org, moved)?;
        let (rights, mut personal) = match entry.change.map(image).transpose()?.flatten() {
            Some(noun) => split_personal(&entry.subject, noun),
            None => (Value::Null, Value::Object(serde_json::Map::new())),
        };
        if let (Value::Object(fields), Some(address)) = (&mut personal, context.address) {
            fields.insert("address".to_owned(), Value::String(address.to_string()));
        }
        let personal = to_json(&personal)?;
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt);
        let sealed = Sealable {
            org: entry.org.bits(),
            number: chain.entries + 1,
            revision: revision.map(|revision| revision.0),
            position,
            at: context.at.unix_ms(),
            actor: context.actor.to_string(),
            wire: context.wire.to_owned(),
            verb: context.verb.to_owned(),
            version: entry.change.and_then(Change::version).map(|version| version.0),
            request_id: context.request_id.clone(),
            rights: if rights.is_null() { None } else { Some(to_json(&rights)?) },
            proof: entry.change.and_then(changed_key).map(|key| secrets_proof(&self.key, key)),
            personal_hash: personal_hash(&self.key, &salt, &personal),
            subject: entry.subject,
        };
        let hash = sealed.hash(&self.key, &chain.hash);
        moved.head = moved.head.extended(&self.key, &hash);
        insert(connection, moved.head.entries, &sealed, &personal, &salt, &hash)?;
        moved.orgs.retain(|(org, _)| *org != entry.org);
        moved.orgs.push((entry.org, chain.with(hash)));
        Ok(())
    }
}

/// What an entry is about.
struct Entry<'a> {
    org: OrgId,
    subject: String,
    change: Option<&'a Change>,
}

fn insert(
    connection: &Connection,
    seq: u64,
    entry: &Sealable,
    personal: &str,
    salt: &[u8],
    hash: &Link,
) -> Result<(), StoreError> {
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
        personal,
        salt,
        entry.personal_hash,
        hash,
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

/// The noun after a change as JSON, without what proves secrets; `None` when it is gone.
pub(super) fn image(change: &Change) -> Result<Option<Value>, StoreError> {
    let value = match change {
        Change::OrgChanged(org) => serde_json::to_value(org),
        Change::KeyspaceChanged(keyspace) => serde_json::to_value(keyspace),
        Change::PrincipalChanged(principal) => serde_json::to_value(principal),
        Change::RoleChanged(role) => serde_json::to_value(role),
        Change::PlanChanged(plan) => serde_json::to_value(plan),
        Change::KeyChanged(key) => serde_json::to_value(key),
        Change::OrgDeleted(_)
        | Change::KeyspaceDeleted(..)
        | Change::PrincipalDeleted(..)
        | Change::RoleDeleted(..)
        | Change::PlanDeleted(..)
        | Change::KeyPurged(..) => return Ok(None),
    };
    value.map(Some).map_err(|error| StoreError::Corrupt(format!("cannot be written as JSON: {error}")))
}

/// The key that a change leaves behind.
pub(super) fn changed_key(change: &Change) -> Option<&Key> {
    match change {
        Change::KeyChanged(key) => Some(key),
        _ => None,
    }
}

/// Vouches for what proves a key's secrets, so that no digest can be put in another key's place.
pub(super) fn secrets_proof(key: &AuditKey, of: &Key) -> Link {
    let mut parts: Vec<Vec<u8>> = Vec::with_capacity(of.secrets.len() * 6);
    for (position, secret) in of.secrets.iter().enumerate() {
        parts.push([&rows(position).to_be_bytes()[..], &id(secret.id.bits())].concat());
        let Some(material) = &secret.material else {
            parts.push(Vec::new());
            continue;
        };
        parts.push(material.digest.map_or_else(Vec::new, |digest| digest.0.to_vec()));
        parts.push(material.pepper_version.to_be_bytes().to_vec());
        parts.push(sealed_blob(&material.hash_sealed));
        parts.push(material.secret_sealed.as_ref().map_or_else(Vec::new, sealed_blob));
        parts.push(material.argon2.as_deref().map_or_else(Vec::new, |text| text.as_bytes().to_vec()));
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    key.mac("secrets", &parts)
}

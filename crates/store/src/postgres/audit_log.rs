//! Writing the audit: the entries of a group, linked behind what the locked head names, and the head itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use keywright_model::secret::Entropy;
use tokio_postgres::Row;

use super::commit::Planned;
use super::error::Failure;
use super::link::{Ask, Link};
use super::value::{Id, column, count, count_column, id_column, link_column, owned};
use crate::StoreError;
use crate::audit::entry::{Linked, link, subjects};
use crate::audit::{AuditKey, Chain};

/// What entries are made with.
#[derive(Clone)]
pub(super) struct AuditLog {
    pub(super) key: AuditKey,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// The ends of all chains, locked.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) revision: Revision,
    head: Chain,
    orgs: BTreeMap<OrgId, Chain>,
}

/// Proves that a group was written: nobody else makes an entry with this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
}

/// Locks the head, last of all, and then reads the ends of these organizations' chains.
pub(super) fn ask_ends(asks: &mut Vec<Ask>, orgs: &[OrgId]) {
    asks.push(Ask::rows("SELECT revision, entries, hash FROM head FOR NO KEY UPDATE", vec![]));
    let orgs: Vec<Id> = orgs.iter().map(|org| Id(org.bits())).collect();
    asks.push(Ask::rows(
        "SELECT org_id, entries, hash FROM audit_heads WHERE org_id = ANY($1)",
        owned![orgs],
    ));
}

impl Ends {
    /// From the answers to [`ask_ends`].
    pub(super) fn read(head: &[Row], orgs: &[Row]) -> Result<Self, StoreError> {
        let missing = || StoreError::Corrupt("the head is missing".to_owned());
        let row = head.first().ok_or_else(missing)?;
        let head = Chain { entries: count_column(row, 1)?, hash: link_column(row, 2)? };
        let mut ends = Self { revision: Revision(count_column(row, 0)?), head, orgs: BTreeMap::new() };
        for row in orgs {
            let chain = Chain { entries: count_column(row, 1)?, hash: link_column(row, 2)? };
            ends.orgs.insert(OrgId::from_bits(id_column(row, 0)?), chain);
        }
        Ok(ends)
    }

    /// Gives each commit its revision and its entries, in their order.
    pub(super) fn link(&mut self, log: &AuditLog, planned: &mut [Planned]) -> Result<Entries, StoreError> {
        let mut entries = Entries::default();
        for commit in planned {
            if !commit.changes.is_empty() {
                self.revision = self.revision.next();
            }
            commit.revision = self.revision;
            let spelled = std::mem::take(&mut commit.spelled);
            for subject in subjects(&commit.context, &commit.changes, spelled) {
                let org = subject.org;
                let chain = self.orgs.get(&org).copied().unwrap_or_default();
                let mut linked =
                    link(&log.key, &*log.entropy, chain, &commit.context, self.revision, subject)?;
                self.head = self.head.extended(&log.key, &linked.hash);
                self.orgs.insert(org, chain.with(linked.hash));
                commit.nouns.push(linked.noun.take());
                entries.push(self.head.entries, linked);
            }
        }
        Ok(entries)
    }

    /// Adds the statements that store the moved ends.
    pub(super) fn store(&self, asks: &mut Vec<Ask>, log: &AuditLog) {
        let (mut orgs, mut entries, mut hashes, mut macs) = (vec![], vec![], vec![], vec![]);
        for (org, chain) in &self.orgs {
            orgs.push(Id(org.bits()));
            entries.push(count(chain.entries));
            hashes.push(chain.hash.to_vec());
            macs.push(chain.org_mac(&log.key, *org).to_vec());
        }
        let sql = "INSERT INTO audit_heads (org_id, entries, hash, mac) \
                   SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bytea[]) ON CONFLICT (org_id) \
                   DO UPDATE SET entries = excluded.entries, hash = excluded.hash, mac = excluded.mac";
        asks.push(Ask::count(sql, owned![orgs, entries, hashes, macs]));
        asks.push(write_head(&log.key, self.revision, self.head));
    }
}

/// The statement that stores the newest revision and the end of the chain, vouched for.
pub(super) fn write_head(key: &AuditKey, revision: Revision, head: Chain) -> Ask {
    let sql = "INSERT INTO head (only_row, revision, entries, hash, mac) VALUES (1, $1, $2, $3, $4) \
               ON CONFLICT (only_row) DO UPDATE SET revision = excluded.revision, entries = excluded.entries, \
               hash = excluded.hash, mac = excluded.mac";
    let mac = head.head_mac(key, revision).to_vec();
    Ask::count(sql, owned![count(revision.0), count(head.entries), head.hash.to_vec(), mac])
}

/// The entries of a group, column by column, for one statement.
#[derive(Default)]
pub(super) struct Entries {
    seq: Vec<i64>,
    org: Vec<Id>,
    number: Vec<i64>,
    revision: Vec<Option<i64>>,
    position: Vec<i64>,
    at: Vec<i64>,
    actor: Vec<String>,
    wire: Vec<String>,
    verb: Vec<String>,
    subject: Vec<String>,
    version: Vec<Option<i64>>,
    request_id: Vec<Option<String>>,
    rights: Vec<Option<String>>,
    proof: Vec<Option<Vec<u8>>>,
    personal: Vec<String>,
    salt: Vec<Vec<u8>>,
    personal_hash: Vec<Vec<u8>>,
    hash: Vec<Vec<u8>>,
    last: Option<Proof>,
}

impl Entries {
    fn push(&mut self, seq: u64, linked: Linked) {
        let entry = linked.sealed;
        self.seq.push(count(seq));
        self.org.push(Id(entry.org));
        self.number.push(count(entry.number));
        self.revision.push(entry.revision.map(count));
        self.position.push(count(entry.position));
        self.at.push(entry.at);
        self.actor.push(entry.actor);
        self.wire.push(entry.wire);
        self.verb.push(entry.verb);
        self.subject.push(entry.subject);
        self.version.push(entry.version.map(count));
        self.request_id.push(entry.request_id);
        self.rights.push(entry.rights);
        self.proof.push(entry.proof.map(Vec::from));
        self.personal.push(linked.personal);
        self.salt.push(linked.salt.to_vec());
        self.personal_hash.push(entry.personal_hash.to_vec());
        self.hash.push(linked.hash.to_vec());
        self.last = Some(Proof { seq, hash: linked.hash });
    }

    /// What to look for when nobody knows whether the group was written.
    pub(super) const fn proof(&self) -> Option<Proof> {
        self.last
    }

    /// The statement that writes them.
    pub(super) fn store(self) -> Ask {
        let sql = "INSERT INTO audit (seq, org_id, number, revision, position, at, actor, wire, verb, subject, version, \
                   request_id, rights, proof, personal, salt, personal_hash, hash) \
                   SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], \
                   $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::text[], \
                   $13::text[], $14::bytea[], $15::text[], $16::bytea[], $17::bytea[], $18::bytea[])";
        let params = owned![
            self.seq,
            self.org,
            self.number,
            self.revision,
            self.position,
            self.at,
            self.actor,
            self.wire,
            self.verb,
            self.subject,
            self.version,
            self.request_id,
            self.rights,
            self.proof,
            self.personal,
            self.salt,
            self.personal_hash,
            self.hash,
        ];
        Ask::count(sql, params)
    }
}

/// Looks for a group's last entry while holding the head, which its transaction held until it ended: what is not there
/// now never will be.
pub(super) async fn is_written(link: &Link, proof: Proof) -> Result<bool, Failure> {
    link.run("BEGIN").await?;
    link.query("SELECT 1 FROM head FOR NO KEY UPDATE", &[]).await?;
    let row = link.first("SELECT hash FROM audit WHERE seq = $1", &[&count(proof.seq)]).await?;
    let found: Option<&[u8]> =
        row.as_ref().map(|row| column(row, 0)).transpose().map_err(Failure::Damaged)?;
    Ok(found == Some(&proof.hash[..]))
}

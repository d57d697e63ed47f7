//! Compares the audit with itself, with the feed and (in `audit_rows`) with every row.

use std::collections::HashMap;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use rusqlite::Connection;
use serde_json::Value;

use super::audit_log::{image, stored_head};
use super::audit_page::{AUDIT_COLUMNS, StoredEntry, entry_from};
use super::audit_rows;
use super::backup::Progress;
use super::bookkeeping::{installation, installation_mac};
use super::feed::changes_of;
use super::nouns::{all, first};
use super::value::{column, id_column, noun_ref, uncount};
use crate::StoreError;
use crate::audit::{
    AuditFinding, AuditKey, AuditReport, Chain, FINDINGS_MAX, Link, personal_hash, split_personal,
};

/// After how many entries and rows progress is reported.
const REPORT_EVERY: u64 = 1_000;

/// Reads everything, in the caller's read transaction, and says what Keywright did not write so.
pub(super) fn verify(
    connection: &Connection,
    key: &AuditKey,
    progress: Progress<'_>,
) -> Result<AuditReport, StoreError> {
    let (revision, head) = stored_head(connection)?;
    let keys = first(connection, "SELECT count(*) FROM keys", [], |row| column(row, 0).map(uncount))?;
    let expected = head.entries.saturating_add(keys.unwrap_or(0));
    let mut verifier = Verifier {
        connection,
        key,
        report: AuditReport::default(),
        chains: HashMap::new(),
        whole: Chain::default(),
        latest: HashMap::new(),
        in_feed: None,
        progress,
        expected,
    };
    verifier.read_entries()?;
    verifier.compare_heads(revision, head)?;
    verifier.read_feed(revision)?;
    verifier.compare_installation()?;
    audit_rows::compare(&mut verifier)?;
    verifier.report.head = hex::encode(verifier.whole.hash);
    Ok(verifier.report)
}

/// What has been read so far.
pub(super) struct Verifier<'a> {
    pub(super) connection: &'a Connection,
    pub(super) key: &'a AuditKey,
    pub(super) report: AuditReport,
    /// How far each organization's chain has come.
    chains: HashMap<OrgId, Chain>,
    whole: Chain,
    /// The last entry about each noun that should be there.
    pub(super) latest: HashMap<NounRef, u64>,
    /// The write that the entries are being read of, as the feed has it.
    in_feed: Option<InFeed>,
    progress: Progress<'a>,
    expected: u64,
}

struct InFeed {
    revision: u64,
    changes: Vec<Change>,
    entries: usize,
}

impl Verifier<'_> {
    /// Notes something that is not as it was written.
    pub(super) fn find(&mut self, org: Option<OrgId>, place: impl Into<String>, what: impl Into<String>) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(AuditFinding { org, place: place.into(), what: what.into() });
        }
    }

    /// Reports progress now and then.
    pub(super) fn step(&mut self) {
        let done = self.report.entries + self.report.rows;
        if done.is_multiple_of(REPORT_EVERY) {
            (self.progress)(done, self.expected.max(done));
        }
    }

    fn read_entries(&mut self) -> Result<(), StoreError> {
        let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit ORDER BY seq");
        let mut statement = self.connection.prepare(&sql)?;
        let mut entries = statement.query([])?;
        while let Some(row) = entries.next()? {
            self.report.entries += 1;
            match entry_from(row) {
                Ok(entry) => self.read_entry(&entry)?,
                Err(error) => {
                    let seq: i64 = column(row, 0)?;
                    self.find(None, format!("audit row {seq}"), format!("does not read back: {error}"));
                }
            }
            self.step();
        }
        self.leave_feed_entry();
        Ok(())
    }

    fn read_entry(&mut self, entry: &StoredEntry) -> Result<(), StoreError> {
        let org = OrgId::from_bits(entry.sealed.org);
        let number = entry.sealed.number;
        let chain = self.chains.get(&org).copied().unwrap_or_default();
        let expected = chain.entries + 1;
        let place = format!("entry {number}");
        if number < expected {
            self.find(
                Some(org),
                place,
                format!("stands behind entry {}: it was put in or moved", chain.entries),
            );
            return Ok(());
        }
        if number > expected {
            let missing = match number - 1 {
                last if last == expected => format!("entry {last}"),
                last => format!("entries {expected} to {last}"),
            };
            self.find(Some(org), missing, "missing: dropped or moved");
        } else if entry.sealed.hash(self.key, &chain.hash) != entry.hash {
            self.find(Some(org), place.as_str(), "was edited, or is not the entry that was written here");
        }
        if !personal_part_is_whole(self.key, entry) {
            self.find(Some(org), place.as_str(), "its personal part was edited");
        }
        self.chains.insert(org, Chain { entries: number, hash: entry.hash });
        self.whole = self.whole.extended(self.key, &entry.hash);
        self.note_latest(org, entry);
        self.compare_with_feed(org, entry)
    }

    fn note_latest(&mut self, org: OrgId, entry: &StoredEntry) {
        if entry.sealed.revision.is_none() {
            return;
        }
        match noun_ref(&entry.sealed.subject) {
            Ok(noun) if entry.sealed.version.is_some() => drop(self.latest.insert(noun, entry.seq)),
            Ok(noun) => drop(self.latest.remove(&noun)),
            Err(error) => self.find(Some(org), format!("entry {}", entry.sealed.number), error.to_string()),
        }
    }

    /// The feed holds each write as the audit has it, as far back as it reaches.
    fn compare_with_feed(&mut self, org: OrgId, entry: &StoredEntry) -> Result<(), StoreError> {
        let Some(revision) = entry.sealed.revision else { return Ok(()) };
        if self.in_feed.as_ref().is_none_or(|open| open.revision != revision) {
            self.leave_feed_entry();
            let changes = match changes_of(self.connection, Revision(revision)) {
                Ok(changes) => changes,
                Err(error) => {
                    self.find(Some(org), format!("feed entry {revision}"), error.to_string());
                    None
                }
            };
            self.in_feed = changes.map(|changes| InFeed { revision, changes, entries: 0 });
        }
        let Some(open) = &mut self.in_feed else { return Ok(()) };
        open.entries += 1;
        let position = usize::try_from(entry.sealed.position).unwrap_or(usize::MAX);
        let same = match open.changes.get(position) {
            Some(change) => change.noun().to_string() == entry.sealed.subject && says(image(change)?, entry)?,
            None => false,
        };
        if !same {
            let what = format!("differs from entry {} about {}", entry.sealed.number, entry.sealed.subject);
            self.find(Some(org), format!("feed entry {revision}"), what);
        }
        Ok(())
    }

    fn leave_feed_entry(&mut self) {
        let Some(open) = self.in_feed.take() else { return };
        if open.entries != open.changes.len() {
            let what = format!("holds {} changes, the audit {} of them", open.changes.len(), open.entries);
            self.find(None, format!("feed entry {}", open.revision), what);
        }
    }

    fn compare_heads(&mut self, revision: Revision, head: Chain) -> Result<(), StoreError> {
        let sql = "SELECT org_id, entries, hash, mac FROM audit_heads";
        let heads = all(self.connection, sql, [], |row| {
            let chain = Chain { entries: uncount(column(row, 1)?), hash: column(row, 2)? };
            Ok((OrgId::from_bits(id_column(row, 0)?), chain, column::<Link>(row, 3)?))
        })?;
        let mut unheaded = self.chains.clone();
        for (org, stored, mac) in heads {
            let read = unheaded.remove(&org).unwrap_or_default();
            if stored.org_mac(self.key, org) != mac {
                self.find(Some(org), "head", "was edited");
            }
            if read.entries < stored.entries {
                let what = format!("missing: the log ends at entry {}", read.entries);
                self.find(Some(org), format!("entries {} to {}", read.entries + 1, stored.entries), what);
            } else if read != stored {
                self.find(Some(org), format!("entry {}", read.entries), "is not the one that the head names");
            }
        }
        for (org, _) in unheaded {
            self.find(Some(org), "head", "missing");
        }
        let mac = first(self.connection, "SELECT mac FROM head", [], |row| column::<Link>(row, 0))?;
        if mac != Some(head.head_mac(self.key, revision)) {
            self.find(None, "head", "was edited");
        }
        if self.whole != head {
            let what =
                format!("names {} entries, the log has {}, or others", head.entries, self.whole.entries);
            self.find(None, "head", what);
        }
        Ok(())
    }

    fn read_feed(&mut self, head: Revision) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("SELECT revision FROM feed ORDER BY revision")?;
        let mut entries = statement.query([])?;
        let mut before: Option<u64> = None;
        while let Some(row) = entries.next()? {
            let revision = uncount(column(row, 0)?);
            if let Some(before) = before.filter(|before| before + 1 != revision) {
                self.find(None, format!("feed entry {}", before + 1), "missing");
            }
            before = Some(revision);
        }
        if let Some(last) = before.filter(|last| *last != head.0) {
            self.find(
                None,
                format!("feed entry {last}"),
                format!("is the last, but the newest revision is {head}"),
            );
        }
        Ok(())
    }

    fn compare_installation(&mut self) -> Result<(), StoreError> {
        let Some(stored) = installation(self.connection)? else {
            self.find(None, "installation", "missing");
            return Ok(());
        };
        let mac = first(self.connection, "SELECT mac FROM installation", [], |row| column::<Link>(row, 0))?;
        if mac != Some(installation_mac(self.key, &stored)) {
            self.find(None, "installation", "its root key or master key's fingerprint was edited");
        }
        Ok(())
    }
}

/// An erased personal part is whole; a half erased or a changed one is not.
fn personal_part_is_whole(key: &AuditKey, entry: &StoredEntry) -> bool {
    match (&entry.personal, &entry.salt) {
        (None, None) => true,
        (Some(personal), Some(salt)) => personal_hash(key, salt, personal) == entry.sealed.personal_hash,
        _ => false,
    }
}

/// Whether an entry holds this noun. Of an erased one only what it may do is compared.
fn says(noun: Option<Value>, entry: &StoredEntry) -> Result<bool, StoreError> {
    Ok(differences(noun, entry)?.is_empty())
}

/// In which fields a noun differs from what an entry holds.
pub(super) fn differences(noun: Option<Value>, entry: &StoredEntry) -> Result<Vec<String>, StoreError> {
    let (held, _) = entry.open()?;
    let erased = entry.personal.is_none();
    let (held, noun) = if erased {
        let rights =
            entry.sealed.rights.as_deref().map(|rights| super::value::from_json(rights, "an audit entry"));
        (rights.transpose()?, noun.map(|noun| split_personal(&entry.sealed.subject, noun).0))
    } else {
        (held, noun)
    };
    let (Some(Value::Object(held)), Some(Value::Object(noun))) = (&held, &noun) else {
        return Ok(if held == noun { vec![] } else { vec!["its existence".to_owned()] });
    };
    let names = held.keys().chain(noun.keys().filter(|name| !held.contains_key(*name)));
    Ok(names.filter(|name| held.get(*name) != noun.get(*name)).cloned().collect())
}

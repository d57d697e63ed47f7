//! Compares the audit with itself, with the feed, with the heads and (in `rows`) with every row, whichever database it is
//! read from: a backend reads, this decides.

use std::collections::HashMap;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::revision::Revision;
use serde_json::Value;

use super::entry::{StoredEntry, image};
use super::{
    AuditFinding, AuditKey, AuditReport, Chain, FINDINGS_MAX, Link, Progress, personal_hash, split_personal,
};
use crate::bookkeeping::installation_mac;
use crate::value::noun_ref;
use crate::{Installation, StoreError};

/// After how many entries and rows progress is reported.
const REPORT_EVERY: u64 = 1_000;

/// What has been read so far, and what was wrong with it.
pub(crate) struct Verifier<'a> {
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

/// The end of an organization's chain as it is stored, and what vouches for it.
pub(crate) struct StoredHead {
    pub(crate) org: OrgId,
    pub(crate) chain: Chain,
    pub(crate) mac: Link,
}

impl<'a> Verifier<'a> {
    /// Nothing read yet of so many entries and rows.
    pub(crate) fn new(key: &'a AuditKey, expected: u64, progress: Progress<'a>) -> Self {
        Self {
            key,
            report: AuditReport::default(),
            chains: HashMap::new(),
            whole: Chain::default(),
            latest: HashMap::new(),
            in_feed: None,
            progress,
            expected,
        }
    }

    /// What came of it.
    pub(crate) fn finish(mut self) -> AuditReport {
        self.report.head = hex::encode(self.whole.hash);
        self.report
    }

    /// Notes something that is not as it was written.
    pub(crate) fn find(&mut self, org: Option<OrgId>, place: impl Into<String>, what: impl Into<String>) {
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

    /// Takes an entry, in their order; `Err` holds the row's number and why it does not read. `feed` is asked for the
    /// changes of a write, once for all of its entries, and knows `None` when the feed has let them go.
    pub(crate) fn take_entry(
        &mut self,
        entry: Result<&StoredEntry, (i64, &StoreError)>,
        feed: impl FnOnce(Revision) -> Result<Option<Vec<Change>>, StoreError>,
    ) -> Result<(), StoreError> {
        self.report.entries += 1;
        match entry {
            Ok(entry) => self.read_entry(entry, feed)?,
            Err((seq, error)) => {
                self.find(None, format!("audit row {seq}"), format!("does not read back: {error}"));
            }
        }
        self.step();
        Ok(())
    }

    fn read_entry(
        &mut self,
        entry: &StoredEntry,
        feed: impl FnOnce(Revision) -> Result<Option<Vec<Change>>, StoreError>,
    ) -> Result<(), StoreError> {
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
        self.compare_with_feed(org, entry, feed)
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
    fn compare_with_feed(
        &mut self,
        org: OrgId,
        entry: &StoredEntry,
        feed: impl FnOnce(Revision) -> Result<Option<Vec<Change>>, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(revision) = entry.sealed.revision else { return Ok(()) };
        if self.in_feed.as_ref().is_none_or(|open| open.revision != revision) {
            self.leave_feed_entry();
            let changes = match feed(Revision(revision)) {
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
            Some(change) => change.noun().to_string() == entry.sealed.subject && says(change, entry)?,
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

    /// After the last entry: compares the heads with what was read. `mac` vouches for `head` and `revision`.
    pub(crate) fn take_heads(
        &mut self,
        heads: Vec<StoredHead>,
        revision: Revision,
        head: Chain,
        mac: Option<Link>,
    ) {
        self.leave_feed_entry();
        let mut unheaded = self.chains.clone();
        for StoredHead { org, chain: stored, mac } in heads {
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
        if mac != Some(head.head_mac(self.key, revision)) {
            self.find(None, "head", "was edited");
        }
        if self.whole != head {
            let what =
                format!("names {} entries, the log has {}, or others", head.entries, self.whole.entries);
            self.find(None, "head", what);
        }
    }

    /// Takes a revision of the feed, in their order.
    pub(crate) fn take_feed_revision(&mut self, before: Option<u64>, revision: u64) {
        if let Some(before) = before.filter(|before| before + 1 != revision) {
            self.find(None, format!("feed entry {}", before + 1), "missing");
        }
    }

    /// After the feed's last revision.
    pub(crate) fn end_feed(&mut self, last: Option<u64>, head: Revision) {
        if let Some(last) = last.filter(|last| *last != head.0) {
            let what = format!("is the last, but the newest revision is {head}");
            self.find(None, format!("feed entry {last}"), what);
        }
    }

    /// Compares the installation with what vouches for it.
    pub(crate) fn take_installation(&mut self, stored: Option<&Installation>, mac: Option<Link>) {
        match stored {
            None => self.find(None, "installation", "missing"),
            Some(stored) if mac != Some(installation_mac(self.key, stored)) => {
                self.find(None, "installation", "its root key or master key's fingerprint was edited");
            }
            Some(_) => {}
        }
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
fn says(change: &Change, entry: &StoredEntry) -> Result<bool, StoreError> {
    // Nearly every noun is spelled as in its entry, and then neither needs to be read.
    Ok(entry.is_spelled_as(change)? || differences(image(change)?, entry)?.is_empty())
}

/// In which fields a noun differs from what an entry holds.
pub(super) fn differences(noun: Option<Value>, entry: &StoredEntry) -> Result<Vec<String>, StoreError> {
    let (held, _) = entry.open()?;
    let erased = entry.personal.is_none();
    let (held, noun) = if erased {
        let rights =
            entry.sealed.rights.as_deref().map(|rights| crate::value::from_json(rights, "an audit entry"));
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

//! The audit: who did what, and the whole noun after it, hash-chained for each organization.
//!
//! The chain is keyed: `hash = HMAC-SHA-256(audit key, previous hash, fields)`, so whoever can write to the database
//! but does not hold the master key can neither forge an entry nor close the chain over a missing one. What identifies
//! people enters it only as a salted hash: erasing those fields and the salt leaves the chain whole.
//!
//! **What it cannot see:** the whole database put back to an older state, heads included. Only a head noted somewhere
//! else ([`AuditReport::head`]) shows that.

pub(crate) mod entry;
pub(crate) mod rows;
pub(crate) mod verify;

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use keywright_model::id::OrgId;
use keywright_model::noun::Actor;
use keywright_model::revision::{Revision, Version};
use keywright_model::time::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

/// One entry of an organization's audit.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Counts per organization from 1, gapless.
    pub number: u64,
    /// The organization.
    pub org: OrgId,
    /// The write's revision; `None` for what changed nothing (a reveal).
    pub revision: Option<Revision>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Through which wire.
    pub wire: String,
    /// What was done.
    pub verb: String,
    /// To which noun.
    pub subject: String,
    /// The noun's version after it.
    pub version: Option<Version>,
    /// The noun after it, without anything secret; `None` when it is gone, nothing changed, or it was erased.
    pub after: Option<Value>,
    /// From which address. A personal field.
    pub address: Option<String>,
    /// The request's identifier.
    pub request_id: Option<String>,
}

/// What comparing the audit with itself and with the rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// How many entries were read.
    pub entries: u64,
    /// How many rows were compared with their last entry.
    pub rows: u64,
    /// The end of the chain over the whole installation, as hex digits. Noted outside, it shows a database that was
    /// put back as a whole: a later report must have at least as many entries, and this head at this many.
    pub head: String,
    /// What is not as it was written; empty when all is well. At most [`FINDINGS_MAX`].
    pub findings: Vec<AuditFinding>,
}

/// Hears how much of something long is done, and how much there is: `(done, all)`; `all` is 0 when it is not known.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// How many findings a report lists; one is enough to know.
pub const FINDINGS_MAX: usize = 1_000;

/// Something in the database that Keywright did not write so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFinding {
    /// The organization.
    pub org: Option<OrgId>,
    /// The entry's number, or the noun.
    pub place: String,
    /// What is wrong, in words.
    pub what: String,
}

/// The key that the audit is chained under. Lies in the keyring, so the database alone does not give it.
#[derive(Clone)]
pub struct AuditKey(Hmac<Sha256>);

impl AuditKey {
    /// Prepares 32 secret bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        // HMAC pads a key shorter than its block with zeros (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block.split_at_mut(32).0.copy_from_slice(bytes);
        Self(Hmac::new((&*block).into()))
    }

    /// A MAC over parts, each preceded by its length so that no two lists of parts give the same bytes.
    pub(crate) fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Link {
        self.over(purpose, parts).finalize().into_bytes().into()
    }

    /// Whether a MAC is the one over these parts; compared in constant time.
    pub(crate) fn vouches(&self, purpose: &str, parts: &[&[u8]], mac: &[u8]) -> bool {
        self.over(purpose, parts).verify_slice(mac).is_ok()
    }

    fn over(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

/// One link of a chain.
pub(crate) type Link = [u8; 32];

/// How far a chain has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How many entries it has.
    pub(crate) entries: u64,
    /// The last entry's hash; zeroes before the first.
    pub(crate) hash: Link,
}

impl Chain {
    /// The chain with one more entry.
    pub(crate) const fn with(self, hash: Link) -> Self {
        Self { entries: self.entries + 1, hash }
    }

    /// The chain over every organization's entries with one more.
    pub(crate) fn extended(self, key: &AuditKey, entry: &Link) -> Self {
        self.with(key.mac("all", &[&self.hash, entry]))
    }

    /// Vouches for an organization's head.
    pub(crate) fn org_mac(&self, key: &AuditKey, org: OrgId) -> Link {
        key.mac("org head", &[&org.bits().to_be_bytes(), &self.entries.to_be_bytes(), &self.hash])
    }

    /// Vouches for the installation's head.
    pub(crate) fn head_mac(&self, key: &AuditKey, revision: Revision) -> Link {
        key.mac("head", &[&revision.0.to_be_bytes(), &self.entries.to_be_bytes(), &self.hash])
    }
}

/// An entry's fields as the chain takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealable {
    pub(crate) org: u128,
    pub(crate) number: u64,
    pub(crate) revision: Option<u64>,
    pub(crate) position: u64,
    pub(crate) at: i64,
    pub(crate) actor: String,
    pub(crate) wire: String,
    pub(crate) verb: String,
    pub(crate) subject: String,
    pub(crate) version: Option<u64>,
    pub(crate) request_id: Option<String>,
    /// The part of the noun that says what it may do, as JSON.
    pub(crate) rights: Option<String>,
    /// What vouches for the material of a key's secrets.
    pub(crate) proof: Option<Link>,
    /// What stands for the personal part.
    pub(crate) personal_hash: Link,
}

impl Sealable {
    /// The entry's hash behind `previous`.
    pub(crate) fn hash(&self, key: &AuditKey, previous: &Link) -> Link {
        let number = |value: Option<u64>| value.map(u64::to_be_bytes);
        let (revision, version) = (number(self.revision), number(self.version));
        key.mac(
            "entry",
            &[
                previous,
                &self.org.to_be_bytes(),
                &self.number.to_be_bytes(),
                &optional(revision.as_ref().map(<[u8; 8]>::as_slice)),
                &self.position.to_be_bytes(),
                &self.at.to_be_bytes(),
                self.actor.as_bytes(),
                self.wire.as_bytes(),
                self.verb.as_bytes(),
                self.subject.as_bytes(),
                &optional(version.as_ref().map(<[u8; 8]>::as_slice)),
                &optional(self.request_id.as_deref().map(str::as_bytes)),
                &optional(self.rights.as_deref().map(str::as_bytes)),
                &optional(self.proof.as_ref().map(<[u8; 32]>::as_slice)),
                &self.personal_hash,
            ],
        )
    }
}

/// An absent value and an empty one are two things.
fn optional(value: Option<&[u8]>) -> Vec<u8> {
    value.map_or_else(Vec::new, |bytes| [&[1], bytes].concat())
}

/// What stands for the personal part in the chain.
pub(crate) fn personal_hash(key: &AuditKey, salt: &[u8], personal: &str) -> Link {
    key.mac("personal", &[salt, personal.as_bytes()])
}

/// Which fields of a noun may tell who somebody is.
const fn personal_fields(subject: &str) -> &'static [&'static str] {
    match subject.as_bytes() {
        [b'k', b'e', b'y', b'_', ..] => {
            &["name", "description", "external_id", "labels", "metadata", "ip_allowlist", "revocation_reason"]
        }
        [b'p', b'r', b'n', b'_', ..] => &["name", "external_id", "metadata"],
        _ => &[],
    }
}

/// Splits a noun's JSON into what it may do and what may tell who somebody is.
///
/// A revocation's reason is written by people about people, so it goes with the personal part.
pub(crate) fn split_personal(subject: &str, mut noun: Value) -> (Value, Value) {
    let mut personal = serde_json::Map::new();
    if let Some(reason) = noun.get_mut("revocation").and_then(|revocation| revocation.get_mut("reason")) {
        personal.insert("revocation_reason".to_owned(), reason.take());
    }
    if let Value::Object(fields) = &mut noun {
        for name in personal_fields(subject) {
            if let Some(value) = fields.remove(*name) {
                personal.insert((*name).to_owned(), value);
            }
        }
    }
    (noun, Value::Object(personal))
}

/// [`split_personal`] of a noun that is compact JSON already, without reading its values. `None` for a noun that must be
/// taken apart further down, since it tells why it was revoked.
pub(crate) fn split_personal_text(subject: &str, noun: &str) -> Option<(String, String)> {
    let (mut rights, mut personal) = (String::with_capacity(noun.len()), String::new());
    for member in members(noun) {
        let (name, value) = member.strip_prefix('"')?.split_once("\":")?;
        if name == "revocation" && value != "null" {
            return None;
        }
        let part = if personal_fields(subject).contains(&name) { &mut personal } else { &mut rights };
        part.push(if part.is_empty() { '{' } else { ',' });
        part.push_str(member);
    }
    for part in [&mut rights, &mut personal] {
        part.push_str(if part.is_empty() { "{}" } else { "}" });
    }
    Some((rights, personal))
}

/// The members of an object that is compact JSON, each with its name.
fn members(object: &str) -> impl Iterator<Item = &str> {
    let mut rest = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    std::iter::from_fn(move || {
        let (member, behind) = rest.split_at_checked(end_of_member(rest.as_bytes()))?;
        rest = behind.strip_prefix(',').unwrap_or_default();
        (!member.is_empty()).then_some(member)
    })
}

/// Where a member ends: at a comma that is in no text and in nothing deeper.
fn end_of_member(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(inner) = json.get(at).filter(|inner| **inner != b'"') {
                    at += if *inner == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    json.len()
}

/// Puts together again what [`split_personal`] split.
pub(crate) fn join_personal(mut rights: Value, personal: Value) -> Value {
    let (Value::Object(fields), Value::Object(personal)) = (&mut rights, personal) else { return rights };
    for (name, value) in personal {
        if name != "revocation_reason" {
            fields.insert(name, value);
        } else if let Some(Value::Object(revocation)) = fields.get_mut("revocation") {
            revocation.insert("reason".to_owned(), value);
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_noun_is_whole_again_after_it_was_split() {
        let key = json!({"id": "key_1", "name": "n", "grants": [], "labels": {"a": "b"},
            "revocation": {"at": "x", "by": "root", "reason": "leaked by Bob"}});
        let (rights, personal) = split_personal("key_1", key.clone());
        assert!(!rights.to_string().contains("Bob") && !rights.to_string().contains("\"n\""), "{rights}");
        assert_eq!(join_personal(rights, personal), key);
    }

    #[track_caller]
    fn check_split(subject: &str, noun: &Value) {
        let (rights, personal) = split_personal_text(subject, &noun.to_string()).unwrap();
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!((read(&rights), read(&personal)), split_personal(subject, noun.clone()), "{noun}");
    }

    #[test]
    fn a_noun_that_is_text_is_split_as_one_that_was_read() {
        check_split(
            "key_1",
            &json!({"id": "key_1", "name": "a,\"b\":{[\\", "labels": {"x": "}", "y": ","},
            "grants": [{"actions": ["a", "b"]}, []], "metadata": {"deep": [{"name": 1}]}, "revocation": null}),
        );
        check_split("prn_1", &json!({"id": "prn_1", "external_id": null, "roles": [], "name": "\u{e9}\\\""}));
        check_split("role_1", &json!({"name": "a role's name tells nobody's"}));
        check_split("key_1", &json!({"name": "nothing but what is personal"}));
        check_split("key_1", &json!({}));
    }

    #[test]
    fn a_reason_of_a_revocation_is_not_left_among_the_rights() {
        let noun = json!({"id": "key_1", "revocation": {"reason": "leaked by Bob"}}).to_string();
        assert_eq!(split_personal_text("key_1", &noun), None);
    }

    #[test]
    fn an_absent_field_and_an_empty_one_hash_apart() {
        let key = AuditKey::new(&[1; 32]);
        let entry = Sealable {
            org: 1,
            number: 1,
            revision: None,
            position: 0,
            at: 0,
            actor: "root".to_owned(),
            wire: "rest".to_owned(),
            verb: "key.create".to_owned(),
            subject: "key_1".to_owned(),
            version: None,
            request_id: None,
            rights: None,
            proof: None,
            personal_hash: [0; 32],
        };
        let empty = Sealable { request_id: Some(String::new()), ..entry.clone() };
        assert_ne!(entry.hash(&key, &[0; 32]), empty.hash(&key, &[0; 32]));
        let moved = Sealable { actor: "rootr".to_owned(), wire: "est".to_owned(), ..entry.clone() };
        assert_ne!(entry.hash(&key, &[0; 32]), moved.hash(&key, &[0; 32]));
    }
}

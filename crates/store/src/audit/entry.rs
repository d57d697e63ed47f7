//! One entry of the audit: made from a change, linked to the one before it, and read back.

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::key::Key;
use keywright_model::revision::{Revision, Version};
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use serde_json::Value;

use super::{AuditEntry, AuditKey, Chain, Link, Sealable, join_personal, personal_hash, split_personal};
use crate::value::{from_json, id, parse, rows, sealed_blob, to_json};
use crate::{AuditContext, StoreError};

/// Random bytes in front of each personal part.
const SALT_BYTES: usize = 16;

/// What an entry is about.
pub(crate) struct Subject<'a> {
    pub(crate) org: OrgId,
    pub(crate) noun: String,
    pub(crate) change: Option<&'a Change>,
    /// Its place in the write.
    pub(crate) position: u64,
}

/// What the entries of a write are about: one a change, or one by itself when nothing changed.
pub(crate) fn subjects<'a>(context: &AuditContext, changes: &'a [Change]) -> Vec<Subject<'a>> {
    if changes.is_empty() {
        let subject = context.subject.to_string();
        return vec![Subject { org: context.org, noun: subject, change: None, position: 0 }];
    }
    let of = |(position, change): (usize, &'a Change)| Subject {
        org: change.org(),
        noun: change.noun().to_string(),
        change: Some(change),
        position: position as u64,
    };
    changes.iter().enumerate().map(of).collect()
}

/// An entry ready to be written.
pub(crate) struct Linked {
    pub(crate) sealed: Sealable,
    pub(crate) personal: String,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) hash: Link,
}

/// Makes the entry that stands behind `chain` in its organization.
pub(crate) fn link(
    key: &AuditKey,
    entropy: &dyn Entropy,
    chain: Chain,
    context: &AuditContext,
    revision: Revision,
    entry: Subject<'_>,
) -> Result<Linked, StoreError> {
    let (rights, mut personal) = match entry.change.map(image).transpose()?.flatten() {
        Some(noun) => split_personal(&entry.noun, noun),
        None => (Value::Null, Value::Object(serde_json::Map::new())),
    };
    if let (Value::Object(fields), Some(address)) = (&mut personal, context.address) {
        fields.insert("address".to_owned(), Value::String(address.to_string()));
    }
    let personal = to_json(&personal)?;
    let mut salt = [0; SALT_BYTES];
    entropy.fill(&mut salt);
    let sealed = Sealable {
        org: entry.org.bits(),
        number: chain.entries + 1,
        // What changed nothing took no revision.
        revision: entry.change.map(|_| revision.0),
        position: entry.position,
        at: context.at.unix_ms(),
        actor: context.actor.to_string(),
        wire: context.wire.to_owned(),
        verb: context.verb.to_owned(),
        version: entry.change.and_then(Change::version).map(|version| version.0),
        request_id: context.request_id.clone(),
        rights: if rights.is_null() { None } else { Some(to_json(&rights)?) },
        proof: entry.change.and_then(changed_key).map(|changed| secrets_proof(key, changed)),
        personal_hash: personal_hash(key, &salt, &personal),
        subject: entry.noun,
    };
    let hash = sealed.hash(key, &chain.hash);
    Ok(Linked { sealed, personal, salt, hash })
}

/// The noun after a change as JSON, without what proves secrets; `None` when it is gone.
pub(crate) fn image(change: &Change) -> Result<Option<Value>, StoreError> {
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
pub(crate) fn changed_key(change: &Change) -> Option<&Key> {
    match change {
        Change::KeyChanged(key) => Some(key),
        _ => None,
    }
}

/// Vouches for what proves a key's secrets, so that no digest can be put in another key's place.
pub(crate) fn secrets_proof(key: &AuditKey, of: &Key) -> Link {
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

/// An entry as it is stored.
pub(crate) struct StoredEntry {
    /// Its place among the entries of every organization.
    pub(crate) seq: u64,
    /// What the chain holds of it.
    pub(crate) sealed: Sealable,
    /// The personal part, until it is erased.
    pub(crate) personal: Option<String>,
    /// What the personal part is hashed with, until it is erased.
    pub(crate) salt: Option<Vec<u8>>,
    /// Its hash.
    pub(crate) hash: Link,
}

impl StoredEntry {
    /// The noun after the write and the caller's address; both are `None` when they were erased.
    pub(crate) fn open(&self) -> Result<(Option<Value>, Option<String>), StoreError> {
        let Some(personal) = &self.personal else { return Ok((None, None)) };
        let mut personal: Value = from_json(personal, "an audit entry")?;
        let address = personal.as_object_mut().and_then(|fields| fields.remove("address"));
        let address = address.and_then(|address| address.as_str().map(str::to_owned));
        let rights: Option<Value> =
            self.sealed.rights.as_deref().map(|rights| from_json(rights, "an audit entry")).transpose()?;
        Ok((rights.map(|rights| join_personal(rights, personal)), address))
    }

    /// The entry as others see it.
    pub(crate) fn into_entry(self) -> Result<AuditEntry, StoreError> {
        let (after, address) = self.open()?;
        let sealed = self.sealed;
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
}

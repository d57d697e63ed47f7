//! One entry of the audit: made from a change, linked to the one before it, and read back.

use keywright_model::change::Change;
use keywright_model::id::OrgId;
use keywright_model::key::Key;
use keywright_model::revision::{Revision, Version};
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use serde::Serialize as _;
use serde_json::Value;

use super::{
    AuditEntry, AuditKey, Chain, Link, Sealable, join_personal, personal_hash, split_personal,
    split_personal_text,
};
use crate::value::{from_json, id, parse, rows, sealed_blob, to_json};
use crate::{AuditContext, StoreError};

/// How the caller's address begins in a personal part, of which it is the last.
const ADDRESS: &str = "\"address\":\"";

/// Random bytes in front of each personal part.
const SALT_BYTES: usize = 16;

/// What an entry is about.
pub(crate) struct Subject<'a> {
    pub(crate) org: OrgId,
    pub(crate) noun: String,
    pub(crate) change: Option<&'a Change>,
    /// Its place in the write.
    pub(crate) position: u64,
    /// The noun that the change leaves behind, where it was spelled before.
    pub(crate) spelled: Option<Spelled>,
}

/// A noun as JSON: whole, as the feed holds it, and in the two parts of its entry.
pub(crate) struct Spelled {
    noun: String,
    rights: String,
    personal: String,
}

/// Spells what a write leaves behind before it is its turn, in the order of its changes. `None` for what is gone, and for
/// what the store has still to give a number.
pub(crate) fn spell_ahead(changes: &[Change]) -> Result<Vec<Option<Spelled>>, StoreError> {
    let ahead = |change: &Change| match change {
        Change::KeyChanged(key) if key.number == 0 => Ok(None),
        Change::RoleChanged(role) if role.number == 0 => Ok(None),
        other => spell(other),
    };
    changes.iter().map(ahead).collect()
}

fn spell(change: &Change) -> Result<Option<Spelled>, StoreError> {
    let Some(noun) = image_text(change)? else { return Ok(None) };
    let subject = change.noun().to_string();
    let (rights, personal) = if let Some(parts) = split_personal_text(&subject, &noun) {
        parts
    } else {
        let (rights, personal) = split_personal(&subject, from_json(&noun, "a noun")?);
        (to_json(&rights)?, to_json(&personal)?)
    };
    Ok(Some(Spelled { noun, rights, personal }))
}

/// What the entries of a write are about: one a change, or one by itself when nothing changed. `spelled` is what
/// [`spell_ahead`] made of the changes.
pub(crate) fn subjects<'a>(
    context: &AuditContext,
    changes: &'a [Change],
    spelled: Vec<Option<Spelled>>,
) -> Vec<Subject<'a>> {
    if changes.is_empty() {
        let noun = context.subject.to_string();
        return vec![Subject { org: context.org, noun, change: None, position: 0, spelled: None }];
    }
    let mut spelled = spelled.into_iter();
    let of = |(position, change): (usize, &'a Change)| Subject {
        org: change.org(),
        noun: change.noun().to_string(),
        change: Some(change),
        position: position as u64,
        spelled: spelled.next().flatten(),
    };
    changes.iter().enumerate().map(of).collect()
}

/// An entry ready to be written.
pub(crate) struct Linked {
    pub(crate) sealed: Sealable,
    pub(crate) personal: String,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) hash: Link,
    /// The noun as JSON, for [`feed_text`].
    pub(crate) noun: Option<String>,
}

/// A write as the feed keeps it: the JSON of its changes. `nouns` are those of their entries, in their order.
pub(crate) fn feed_text(changes: &[Change], nouns: &[Option<String>]) -> Result<String, StoreError> {
    let mut text = String::with_capacity(64 + nouns.iter().flatten().map(String::len).sum::<usize>());
    for (index, change) in changes.iter().enumerate() {
        text.push(if index == 0 { '[' } else { ',' });
        match (tag(change), nouns.get(index)) {
            (Some(tag), Some(Some(noun))) => text.extend(["{\"", tag, "\":", noun, "}"]),
            _ => text.push_str(&to_json(change)?),
        }
    }
    text.push_str(if changes.is_empty() { "[]" } else { "]" });
    Ok(text)
}

/// What serde calls a change that leaves a noun behind.
const fn tag(change: &Change) -> Option<&'static str> {
    Some(match change {
        Change::OrgChanged(_) => "org_changed",
        Change::KeyspaceChanged(_) => "keyspace_changed",
        Change::PrincipalChanged(_) => "principal_changed",
        Change::RoleChanged(_) => "role_changed",
        Change::PlanChanged(_) => "plan_changed",
        Change::KeyChanged(_) => "key_changed",
        Change::OrgDeleted(_)
        | Change::KeyspaceDeleted(..)
        | Change::PrincipalDeleted(..)
        | Change::RoleDeleted(..)
        | Change::PlanDeleted(..)
        | Change::KeyPurged(..) => return None,
    })
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
    let spelled = match (entry.spelled, entry.change) {
        (None, Some(change)) => spell(change)?,
        (spelled, _) => spelled,
    };
    let (noun, rights, mut personal) = match spelled {
        Some(Spelled { noun, rights, personal }) => (Some(noun), Some(rights), personal),
        None => (None, None, "{}".to_owned()),
    };
    if let Some(address) = context.address {
        // Nothing in an address needs to be escaped.
        personal.pop();
        let comma = if personal == "{" { "" } else { "," };
        personal.extend([comma, ADDRESS, &address.to_string(), "\"}"]);
    }
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
        rights,
        proof: entry.change.and_then(changed_key).map(|changed| secrets_proof(key, changed)),
        personal_hash: personal_hash(key, &salt, &personal),
        subject: entry.noun,
    };
    let hash = sealed.hash(key, &chain.hash);
    Ok(Linked { sealed, personal, salt, hash, noun })
}

/// The noun after a change as JSON, without what proves secrets; `None` when it is gone.
pub(crate) fn image(change: &Change) -> Result<Option<Value>, StoreError> {
    written(change, serde_json::value::Serializer)
}

/// [`image`] as text, which costs half.
fn image_text(change: &Change) -> Result<Option<String>, StoreError> {
    let mut text = Vec::with_capacity(1_024);
    let noun = written(change, &mut serde_json::Serializer::new(&mut text))?;
    let text = || String::from_utf8(text).map_err(|error| StoreError::Corrupt(error.to_string()));
    noun.map(|()| text()).transpose()
}

fn written<S: serde::Serializer<Error = serde_json::Error>>(
    change: &Change,
    serializer: S,
) -> Result<Option<S::Ok>, StoreError> {
    let value = match change {
        Change::OrgChanged(org) => org.serialize(serializer),
        Change::KeyspaceChanged(keyspace) => keyspace.serialize(serializer),
        Change::PrincipalChanged(principal) => principal.serialize(serializer),
        Change::RoleChanged(role) => role.serialize(serializer),
        Change::PlanChanged(plan) => plan.serialize(serializer),
        Change::KeyChanged(key) => key.serialize(serializer),
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

    /// Whether it holds a noun in the very spelling that it would be written in now. `false` says nothing: older entries
    /// have their fields in another order.
    pub(crate) fn is_spelled_as(&self, change: &Change) -> Result<bool, StoreError> {
        let Some(noun) = image_text(change)? else { return Ok(false) };
        let parts = split_personal_text(&self.sealed.subject, &noun);
        let (Some((rights, personal)), Some(held)) = (parts, &self.personal) else { return Ok(false) };
        let same_personal = *held == personal || without_address(held) == personal.strip_suffix('}');
        Ok(self.sealed.rights.as_ref() == Some(&rights) && same_personal)
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

/// A personal part before its address; `None` when it does not end with one.
fn without_address(personal: &str) -> Option<&str> {
    let (before, address) = personal.rsplit_once(ADDRESS)?;
    let address = address.strip_suffix("\"}")?;
    let last = address.parse::<std::net::IpAddr>().is_ok();
    last.then(|| before.strip_suffix(',').unwrap_or(before))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keywright_model::id::{KeyId, KeyspaceId, RoleId};

    use super::*;
    use crate::contract::fixture::{Counting, commit, key, keyspace, of_key, org, plan, principal, role};

    #[test]
    fn the_feed_holds_what_serde_would_write() {
        let one = OrgId::from_bits(1);
        let changes = [
            Change::OrgChanged(org(1)),
            Change::KeyspaceChanged(keyspace(1, 1)),
            Change::PrincipalChanged(principal(1, 1)),
            Change::RoleChanged(role(1, 1)),
            Change::PlanChanged(plan(1, 1)),
            of_key(key(1, 1, 1)),
            Change::KeyPurged(one, KeyspaceId::from_bits(1), KeyId::from_bits(1)),
            Change::RoleDeleted(one, RoleId::from_bits(1)),
            Change::OrgDeleted(one),
        ];
        let nouns: Vec<_> = changes.iter().map(|change| image_text(change).unwrap()).collect();
        assert_eq!(nouns.iter().flatten().count(), 6);
        assert_eq!(feed_text(&changes, &nouns).unwrap(), to_json(&changes).unwrap());
        assert_eq!(feed_text(&changes[..1], &[]).unwrap(), to_json(&changes[..1]).unwrap());
        assert_eq!(feed_text(&[], &[]).unwrap(), "[]");
    }

    fn stored(linked: Linked) -> StoredEntry {
        let Linked { sealed, personal, salt, hash, noun: _ } = linked;
        StoredEntry { seq: 1, sealed, personal: Some(personal), salt: Some(salt.to_vec()), hash }
    }

    #[test]
    fn an_entry_is_spelled_as_the_noun_that_it_was_made_of_and_no_other() {
        let (mac, entropy) = (AuditKey::new(&[1; 32]), Counting::default());
        let entry_of = |address: Option<&str>, change: &Change| {
            let mut context = commit(vec![]).audit;
            context.address = address.map(|text| text.parse().unwrap());
            let subject = subjects(&context, std::slice::from_ref(change), vec![]).pop().unwrap();
            stored(link(&mac, &entropy, Chain::default(), &context, Revision(1), subject).unwrap())
        };
        for address in [None, Some("192.0.2.7"), Some("2001:db8::7")] {
            for n in [1, 2] {
                let (mut named, mut allowed) = (key(1, 1, n), key(1, 1, n));
                named.spec.name = format!("named {ADDRESS}192.0.2.7");
                allowed.spec.enabled = false;
                for change in [of_key(key(1, 1, n)), of_key(named.clone()), Change::RoleChanged(role(1, n))] {
                    let entry = entry_of(address, &change);
                    assert!(entry.is_spelled_as(&change).unwrap(), "{change:?}");
                    assert_eq!(entry.open().unwrap(), (image(&change).unwrap(), address.map(str::to_owned)));
                }
                let entry = entry_of(address, &of_key(key(1, 1, n)));
                for other in [named, allowed, key(1, 1, n + 10)] {
                    assert!(!entry.is_spelled_as(&of_key(other.clone())).unwrap(), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn an_image_as_text_is_the_image() {
        let revoked = || {
            let mut key = key(1, 1, 1);
            key.revocation = Some(keywright_model::key::Revocation {
                at: Timestamp::from_unix_ms(1),
                by: keywright_model::noun::Actor::Root,
                reason: Some("\"leaked\", by Bob".to_owned()),
            });
            Change::KeyChanged(Arc::new(key))
        };
        for change in [of_key(key(1, 1, 1)), revoked(), Change::PrincipalChanged(principal(1, 1))] {
            let text: Value = from_json(&image_text(&change).unwrap().unwrap(), "an image").unwrap();
            assert_eq!(Some(text), image(&change).unwrap());
        }
    }
}

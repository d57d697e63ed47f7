//! The feed as followers read it: what of a write is theirs, without anything that they do not answer by.
//!
//! A follower gets no secret, nothing sealed and no digest of ours: only `HMAC-SHA-256(key, SHA-256(secret))` under a key
//! that it made itself. Names, notes and who did what stay here too; an answer shows none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::admin::{AdminAction, AdminActions, AdminRights, Reach};
use crate::change::Change;
use crate::digest::Digest;
use crate::id::{KeyspaceId, OrgId, SecretId};
use crate::key::{Key, Revocation, Rights, SecretMaterial};
use crate::noun::{Actor, Meta};
use crate::revision::{RevisionToken, Version};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// What a follower is told instead of a moment that is not its business.
fn long_ago() -> Timestamp {
    Timestamp::from_unix_ms(0)
}

/// Which keyspaces of an organization a follower answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The organization.
    pub org: OrgId,
    /// The keyspaces; all of them includes those made later.
    pub keyspaces: Reach<KeyspaceId>,
}

/// One line of the feed.
///
/// A snapshot is `Snapshot`, any number of `Nouns`, `End`; what came after a revision is `Since`, any number of `Write`,
/// `End`. What ends without `End` was cut off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Everything at one revision begins.
    Snapshot {
        /// The revision that it shows.
        revision: RevisionToken,
        /// What is shown of it.
        scope: Scope,
        /// Which history of the database it was read from.
        history: String,
    },
    /// Some of everything, in an order in which an index can take it.
    Nouns(Told),
    /// What came after a revision begins.
    Since {
        /// What is shown of it. A follower that has something else in memory needs a snapshot: what has come within its
        /// reach was never told, and of what has left it nothing is told any more.
        scope: Scope,
        /// Which history of the database it is read from. In another one the same revisions may be other writes.
        history: String,
    },
    /// One write. Where nothing of it is the follower's, `changes` is empty, so that none is missed.
    Write {
        /// Its place among all writes.
        revision: RevisionToken,
        /// When it was committed; long ago where nothing of it is the follower's.
        at: Timestamp,
        /// What of it is the follower's.
        #[serde(flatten)]
        told: Told,
    },
    /// All was said.
    End {
        /// The newest revision of the lines above; without any, the one that was asked after.
        revision: RevisionToken,
        /// Whether there is more, to be asked for at once.
        more: bool,
        /// How long ago the node last knew that its store takes every write: what was told is no newer than that for certain.
        age_ms: u64,
    },
}

/// Changes as a follower is told of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The nouns, without what a follower does not answer by.
    pub changes: Vec<Change>,
    /// What their keys' secrets are found by, under the follower's own key. Custom secrets have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<SecretId, OwnDigest>,
}

impl Told {
    /// The changes as an index takes them, each secret with what it is found by.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        let Self { changes, digests } = self;
        changes.into_iter().map(move |change| match change {
            Change::KeyChanged(mut key) => {
                for secret in &mut Arc::make_mut(&mut key).secrets {
                    secret.material = digests.get(&secret.id).map(|own| Arc::new(own.material()));
                }
                Change::KeyChanged(key)
            }
            other => other,
        })
    }
}

/// The only version of a follower's own key.
pub const DIGEST_KEY_VERSION: u32 = 1;

impl OwnDigest {
    fn material(self) -> SecretMaterial {
        SecretMaterial {
            digest: Some(self.0),
            pepper_version: DIGEST_KEY_VERSION,
            hash_sealed: Sealed { key_version: 0, bytes: Vec::new() },
            secret_sealed: None,
            argon2: None,
        }
    }
}

/// A digest under a follower's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnDigest(pub Digest);

impl Serialize for OwnDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0.0))
    }
}

impl<'de> Deserialize<'de> for OwnDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text.as_ref()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(Digest(bytes))).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

impl Scope {
    /// Whether a keyspace of an organization is in it.
    pub fn includes(&self, org: OrgId, keyspace: KeyspaceId) -> bool {
        self.org == org && self.keyspaces.includes(keyspace)
    }

    /// Whether a follower is told of a change.
    ///
    /// Principals, roles and plans belong to the whole organization, and a key may come to refer to any of them, so every
    /// follower of the organization knows them.
    pub fn shows(&self, change: &Change) -> bool {
        match change.keyspace() {
            Some((org, keyspace)) => self.includes(org, keyspace),
            None => change.org() == self.org,
        }
    }

    /// What a follower is told of a change; `None` when it is not its own.
    pub fn tell(&self, change: &Change) -> Option<Change> {
        self.shows(change).then(|| self.bare(change))
    }

    /// A change without what no answer shows and no decision rests on.
    fn bare(&self, change: &Change) -> Change {
        match change {
            Change::OrgChanged(org) => {
                let mut org = (**org).clone();
                org.meta = bare_meta(&org.meta);
                Change::OrgChanged(Arc::new(org))
            }
            Change::KeyspaceChanged(keyspace) => {
                let mut keyspace = (**keyspace).clone();
                keyspace.meta = bare_meta(&keyspace.meta);
                Change::KeyspaceChanged(Arc::new(keyspace))
            }
            Change::PrincipalChanged(principal) => {
                let mut principal = (**principal).clone();
                principal.meta = bare_meta(&principal.meta);
                (principal.spec.name, principal.spec.metadata) = (None, serde_json::Map::new());
                Change::PrincipalChanged(Arc::new(principal))
            }
            Change::RoleChanged(role) => {
                let mut role = (**role).clone();
                role.meta = bare_meta(&role.meta);
                role.spec.name.clear();
                Change::RoleChanged(Arc::new(role))
            }
            Change::PlanChanged(plan) => {
                let mut plan = (**plan).clone();
                plan.meta = bare_meta(&plan.meta);
                plan.spec.name.clear();
                Change::PlanChanged(Arc::new(plan))
            }
            Change::KeyChanged(key) => Change::KeyChanged(Arc::new(self.bare_key(key))),
            Change::OrgDeleted(_)
            | Change::KeyspaceDeleted(..)
            | Change::PrincipalDeleted(..)
            | Change::RoleDeleted(..)
            | Change::PlanDeleted(..)
            | Change::KeyPurged(..) => change.clone(),
        }
    }

    fn bare_key(&self, key: &Key) -> Key {
        let mut bare = key.clone();
        bare.meta = bare_meta(&key.meta);
        // Its secret cannot be proven here when it was chosen, and its signature never: the node is asked.
        (bare.access_id, bare.external_id) = (None, None);
        bare.spec.name.clear();
        bare.spec.description = None;
        for secret in &mut bare.secrets {
            (secret.hint, secret.material) = (None, None);
            // Invariant: it has ended for good there too. The moment of the change that says so is not told.
            if key.has_ended_for_good(secret) {
                secret.expires_at = Some(long_ago());
            }
        }
        bare.revocation =
            key.revocation.as_ref().map(|end| Revocation { at: end.at, by: Actor::System, reason: None });
        if let Rights::Management { admin, .. } = &key.spec.rights {
            bare.spec.rights = Rights::Management { admin: self.bare_rights(admin), grantable: Vec::new() };
        }
        bare
    }

    /// Of what a management key may do, whether it may ask here: nothing else is done with a follower.
    fn bare_rights(&self, admin: &AdminRights) -> AdminRights {
        let may = admin.actions.includes(AdminAction::KeysVerify);
        let listed: BTreeSet<AdminAction> = may.then_some(AdminAction::KeysVerify).into_iter().collect();
        let orgs: BTreeSet<OrgId> = admin.orgs.includes(self.org).then_some(self.org).into_iter().collect();
        let keyspaces = match (&admin.keyspaces, &self.keyspaces) {
            (Reach::All, mine) => mine.clone(),
            (theirs, Reach::All) => theirs.clone(),
            (Reach::Only(theirs), Reach::Only(mine)) => Reach::Only(theirs & mine),
        };
        AdminRights { actions: AdminActions { all: false, listed }, orgs: Reach::Only(orgs), keyspaces }
    }
}

/// Who made and changed something, and when, is not a follower's business.
fn bare_meta(meta: &Meta) -> Meta {
    let version: Version = meta.version;
    Meta { version, ..Meta::new(long_ago(), Actor::System) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyId;
    use crate::key::KeySecret;
    use crate::key::tests::plain_key;
    use crate::revision::{Incarnation, Revision};

    const ORG: OrgId = OrgId::from_bits(1);
    const MINE: KeyspaceId = KeyspaceId::from_bits(1);
    const OTHER: KeyspaceId = KeyspaceId::from_bits(2);

    fn scope(keyspaces: &[KeyspaceId]) -> Scope {
        Scope { org: ORG, keyspaces: Reach::Only(keyspaces.iter().copied().collect()) }
    }

    fn key_in(org: OrgId, keyspace: KeyspaceId) -> Key {
        Key { org, keyspace, ..plain_key() }
    }

    #[test]
    fn another_keyspaces_keys_are_not_told() {
        let key = |org, keyspace| Change::KeyChanged(Arc::new(key_in(org, keyspace)));
        let purge = |keyspace| Change::KeyPurged(ORG, keyspace, KeyId::from_bits(7));
        let mine = scope(&[MINE]);
        assert!(mine.tell(&key(ORG, MINE)).is_some() && mine.tell(&purge(MINE)).is_some());
        assert_eq!((mine.tell(&key(ORG, OTHER)), mine.tell(&purge(OTHER))), (None, None));
        assert_eq!(mine.tell(&Change::KeyspaceDeleted(ORG, OTHER)), None);
        let all = Scope { org: ORG, keyspaces: Reach::All };
        assert!(all.tell(&key(ORG, OTHER)).is_some());
        assert_eq!(all.tell(&key(OrgId::from_bits(2), OTHER)), None, "all is all of one organization");
        assert_eq!(all.tell(&Change::OrgDeleted(OrgId::from_bits(2))), None);
    }

    #[test]
    fn what_people_wrote_about_a_key_stays_here() {
        let mut key = key_in(ORG, MINE);
        key.spec.name = "zebra".to_owned();
        key.spec.description = Some("zebra".to_owned());
        (key.access_id, key.external_id) = (Some("zebra".to_owned()), Some("zebra".to_owned()));
        key.secrets = vec![KeySecret {
            id: SecretId::from_bits(1),
            hint: Some("zebra".to_owned()),
            recoverable: true,
            custom: false,
            created_at: Timestamp::from_unix_ms(1),
            expires_at: None,
            material: None,
        }];
        let at = Timestamp::from_unix_ms(5);
        key.meta = Meta::new(at, Actor::Key(KeyId::from_bits(9)));
        key.revocation = Some(Revocation { at, by: Actor::Root, reason: Some("zebra".to_owned()) });
        let told = scope(&[MINE]).tell(&Change::KeyChanged(Arc::new(key))).unwrap();
        let json = serde_json::to_string(&told).unwrap();
        assert!(!json.contains("zebra") && !json.contains(&KeyId::from_bits(9).to_string()), "{json}");
        let Change::KeyChanged(told) = told else { panic!("{json}") };
        assert!(told.revocation.is_some() && told.secrets.len() == 1);
    }

    #[test]
    fn a_secret_that_was_rotated_out_is_over_for_a_follower_whose_clock_is_behind() {
        let (changed, behind) = (Timestamp::from_unix_ms(1_000), Timestamp::from_unix_ms(500));
        let told = |ends_ms| {
            let mut key = key_in(ORG, MINE);
            key.meta.updated_at = changed;
            key.secrets = vec![KeySecret {
                id: SecretId::from_bits(1),
                hint: None,
                recoverable: false,
                custom: false,
                created_at: Timestamp::from_unix_ms(1),
                expires_at: Some(Timestamp::from_unix_ms(ends_ms)),
                material: None,
            }];
            let told = scope(&[MINE]).tell(&Change::KeyChanged(Arc::new(key))).unwrap();
            let Change::KeyChanged(told) = told else { panic!("{told:?}") };
            assert_eq!(told.meta.updated_at, long_ago(), "when it was changed is not told");
            told
        };
        let rotated = told(1_000);
        assert!(rotated.has_ended(&rotated.secrets[0], behind));
        let overlapping = told(1_001);
        assert!(!overlapping.has_ended(&overlapping.secrets[0], changed), "its overlap has not passed");
        assert_eq!(overlapping.secrets[0].expires_at, Some(Timestamp::from_unix_ms(1_001)));
    }

    #[test]
    fn a_management_key_is_told_as_one_that_may_ask_here_or_not() {
        let rights = |actions: &[&str], keyspaces| AdminRights {
            actions: serde_json::from_value(serde_json::json!(actions)).unwrap(),
            orgs: Reach::All,
            keyspaces,
        };
        let mine = scope(&[MINE]);
        let told = mine.bare_rights(&rights(&["*"], Reach::All));
        assert_eq!(
            told,
            AdminRights {
                orgs: Reach::Only([ORG].into()),
                ..rights(&["keys.verify"], Reach::Only([MINE].into()))
            }
        );
        let told = mine.bare_rights(&rights(&["keys.read"], Reach::Only([MINE, OTHER].into())));
        assert_eq!(told.keyspaces, Reach::Only([MINE].into()));
        assert!(
            !told.actions.includes(AdminAction::KeysVerify) && !told.actions.includes(AdminAction::KeysRead)
        );
    }

    #[test]
    fn every_line_reads_back() {
        let revision = RevisionToken { incarnation: Incarnation(7), revision: Revision(3) };
        let told = Told {
            changes: vec![Change::KeyChanged(Arc::new(key_in(ORG, MINE)))],
            digests: [(SecretId::from_bits(4), OwnDigest(Digest([9; 32])))].into(),
        };
        for line in [
            Line::Snapshot { revision, scope: scope(&[MINE]), history: "1".to_owned() },
            Line::Nouns(told.clone()),
            Line::Since { scope: Scope { org: ORG, keyspaces: Reach::All }, history: "1".to_owned() },
            Line::Write { revision, at: Timestamp::from_unix_ms(8), told },
            Line::Write { revision, at: Timestamp::from_unix_ms(8), told: Told::default() },
            Line::End { revision, more: true, age_ms: 7 },
        ] {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
        }
    }
}

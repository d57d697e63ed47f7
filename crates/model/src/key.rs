//! The key: what it is, what may be written, what state it is in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::address::IpRange;
use crate::admin::AdminRights;
use crate::digest::Digest;
use crate::grant::{Grant, ResourcePattern};
use crate::id::{KeyId, KeyspaceId, OrgId, PlanId, PrincipalId, RoleId, SecretId};
use crate::limit::{Limit, Quota};
use crate::noun::{Actor, Meta};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// A key: an identity with rights, and the secrets that prove it.
///
/// As JSON it carries no secret, no digest and nothing sealed: the audit keeps it in that form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its identifier.
    pub id: KeyId,
    /// Counts per organization from 1 to 2^31 − 1, never reused; 0 until the store has assigned it.
    pub number: u32,
    /// Whose it is.
    pub org: OrgId,
    /// Where it is valid, for ever.
    pub keyspace: KeyspaceId,
    /// The public half of a key that signs requests, once in an installation. Given at creation only.
    pub access_id: Option<String>,
    /// The caller's own name for it, once in a keyspace. Given at creation only.
    pub external_id: Option<String>,
    /// Its writable state.
    #[serde(flatten)]
    pub spec: KeySpec,
    /// Its secrets, oldest first; the last is the current one. At most [`SECRETS_MAX`].
    pub secrets: Vec<KeySecret>,
    /// Its end, if it was ended.
    pub revocation: Option<Revocation>,
    /// Hidden since then; its record can come back for 30 days.
    pub deleted_at: Option<Timestamp>,
    /// How it came to be so.
    #[serde(flatten)]
    pub meta: Meta,
}

/// How many secrets a key's record keeps. Older ones are forgotten and answer `not_found` instead of `superseded`.
pub const SECRETS_MAX: usize = 16;

/// How long a deleted key's record can be brought back.
pub const UNDELETE_SECONDS: u64 = 30 * 86_400;

/// The writable state of a [`Key`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySpec {
    /// What people read: 1 to 200 characters.
    pub name: String,
    /// Up to 1,000 characters.
    pub description: Option<String>,
    /// Who owns it.
    pub owner: Option<PrincipalId>,
    /// Roles of its own, within `scope`.
    pub roles: Vec<RoleId>,
    /// The resources within which its roles' grants count; `None` is all.
    pub scope: Option<Vec<ResourcePattern>>,
    /// Switched off, it does not verify.
    pub enabled: bool,
    /// Before this moment it does not verify.
    pub not_before: Option<Timestamp>,
    /// From this moment on it does not verify.
    pub expires_at: Option<Timestamp>,
    /// From where it verifies; `None` is anywhere. Never empty.
    pub ip_allowlist: Option<Vec<IpRange>>,
    /// What it may do, by its kind.
    #[serde(flatten)]
    pub rights: Rights,
    /// Its own limits.
    pub limits: Vec<Limit>,
    /// Its own quota.
    pub quota: Option<Quota>,
    /// The plans that it is bound to.
    pub plans: Vec<PlanId>,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// The caller's own notes: at most 2 KiB of JSON.
    pub metadata: Map<String, Value>,
}

/// What a key may do. Its kind is for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rights {
    /// Calls the product's API.
    Api {
        /// Its own grants; `None` means what its owner's roles give.
        grants: Option<Vec<Grant>>,
    },
    /// Calls Keywright's own API.
    Management {
        /// What it may do to Keywright.
        admin: AdminRights,
        /// The ceiling of what it may hand out.
        grantable: Vec<Grant>,
    },
}

/// A key's kind, apart from what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Calls the product's API.
    Api,
    /// Calls Keywright's own API.
    Management,
}

impl Rights {
    /// Which kind of key has such rights.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Api { .. } => KeyKind::Api,
            Self::Management { .. } => KeyKind::Management,
        }
    }
}

/// One secret of a key, without the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySecret {
    /// Its identifier.
    pub id: SecretId,
    /// The prefix and the last four characters; `None` for a custom one.
    pub hint: Option<String>,
    /// Whether it can be shown again.
    pub recoverable: bool,
    /// Whether a caller chose it: then it counts only together with the access id.
    pub custom: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it counts as rotated out.
    pub expires_at: Option<Timestamp>,
    /// What proves it. Absent in the audit, and after the store has let it go.
    #[serde(skip)]
    pub material: Option<Arc<SecretMaterial>>,
}

/// What is kept of a secret. Never leaves the store, the feed and the index.
#[derive(Clone, PartialEq)]
pub struct SecretMaterial {
    /// What a strong secret is found by; `None` for a custom one.
    pub digest: Option<Digest>,
    /// Which pepper made `digest`.
    pub pepper_version: u32,
    /// `SHA-256(secret)`, sealed.
    pub hash_sealed: Sealed,
    /// The secret itself, sealed: where it is recoverable or signs requests.
    pub secret_sealed: Option<Sealed>,
    /// Argon2id over `SHA-256(secret)` in PHC form: a custom one only.
    pub argon2: Option<String>,
}

impl fmt::Debug for SecretMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMaterial(..)")
    }
}

/// The end of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why, in at most 1,000 characters.
    pub reason: Option<String>,
}

/// What a key's fields add up to at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It verifies, as far as the key itself decides.
    Active,
    /// Switched off.
    Disabled,
    /// Its `not_before` has not come.
    Scheduled,
    /// Its `expires_at` has come.
    Expired,
    /// Ended for ever.
    Revoked,
}

/// What a secret is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretStatus {
    /// The newest.
    Current,
    /// An older one whose overlap has not passed.
    Overlapping,
    /// Rotated out, or expired by hand.
    Ended,
}

impl Key {
    /// The key's state at a moment: of the documented states the last that applies.
    pub fn state_at(&self, now: Timestamp) -> KeyState {
        if self.revocation.is_some() {
            KeyState::Revoked
        } else if self.spec.expires_at.is_some_and(|at| at <= now) {
            KeyState::Expired
        } else if self.spec.not_before.is_some_and(|at| now < at) {
            KeyState::Scheduled
        } else if self.spec.enabled {
            KeyState::Active
        } else {
            KeyState::Disabled
        }
    }

    /// Its newest secret.
    pub fn current_secret(&self) -> Option<&KeySecret> {
        self.secrets.last()
    }

    /// Whether one of its secrets had ended when the key was last changed, by the clock of whoever changed it.
    ///
    /// Such a secret has ended for good, whatever a clock that is behind says later: a rotation without overlap and an
    /// expiry by hand hold on every node as soon as they are applied.
    pub fn has_ended_for_good(&self, secret: &KeySecret) -> bool {
        secret.expires_at.is_some_and(|at| at <= self.meta.updated_at)
    }

    /// Whether one of its secrets has ended.
    pub fn has_ended(&self, secret: &KeySecret, now: Timestamp) -> bool {
        self.has_ended_for_good(secret) || secret.expires_at.is_some_and(|at| at <= now)
    }

    /// What one of its secrets is good for at a moment; `None` when it is not one of them.
    pub fn secret_status_at(&self, id: SecretId, now: Timestamp) -> Option<SecretStatus> {
        let secret = self.secrets.iter().find(|secret| secret.id == id)?;
        let ended = self.has_ended(secret, now);
        let newest = self.current_secret().is_some_and(|newest| newest.id == id);
        Some(match (ended, newest) {
            (true, _) => SecretStatus::Ended,
            (false, true) => SecretStatus::Current,
            (false, false) => SecretStatus::Overlapping,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An API key with one secret and nothing set.
    pub(crate) fn plain_key() -> Key {
        let at = Timestamp::from_unix_ms(1_000);
        Key {
            id: KeyId::new(1, 1),
            number: 1,
            org: OrgId::new(1, 1),
            keyspace: KeyspaceId::new(1, 1),
            access_id: None,
            external_id: None,
            spec: KeySpec {
                name: "k".to_owned(),
                description: None,
                owner: None,
                roles: vec![],
                scope: None,
                enabled: true,
                not_before: None,
                expires_at: None,
                ip_allowlist: None,
                rights: Rights::Api { grants: Some(vec![]) },
                limits: vec![],
                quota: None,
                plans: vec![],
                labels: BTreeMap::new(),
                metadata: Map::new(),
            },
            secrets: vec![],
            revocation: None,
            deleted_at: None,
            meta: Meta::new(at, Actor::Root),
        }
    }

    #[test]
    fn the_state_is_the_last_that_applies() {
        let at = Timestamp::from_unix_ms;
        let mut key = plain_key();
        assert_eq!(key.state_at(at(5)), KeyState::Active);
        key.spec.enabled = false;
        assert_eq!(key.state_at(at(5)), KeyState::Disabled);
        key.spec.not_before = Some(at(6));
        assert_eq!((key.state_at(at(5)), key.state_at(at(6))), (KeyState::Scheduled, KeyState::Disabled));
        key.spec.expires_at = Some(at(5));
        assert_eq!((key.state_at(at(4)), key.state_at(at(5))), (KeyState::Scheduled, KeyState::Expired));
        key.revocation = Some(Revocation { at: at(9), by: Actor::Root, reason: None });
        assert_eq!(key.state_at(at(0)), KeyState::Revoked);
    }

    #[test]
    fn a_secret_overlaps_until_its_moment_and_the_newest_is_current() {
        let secret = |n: u128, expires_at| KeySecret {
            id: SecretId::new(1, n),
            hint: None,
            recoverable: false,
            custom: false,
            created_at: Timestamp::from_unix_ms(0),
            expires_at,
            material: None,
        };
        let mut key = plain_key();
        key.meta.updated_at = Timestamp::from_unix_ms(0);
        key.secrets = vec![secret(1, Some(Timestamp::from_unix_ms(10))), secret(2, None)];
        let status = |n, now| key.secret_status_at(SecretId::new(1, n), Timestamp::from_unix_ms(now));
        assert_eq!(status(1, 9), Some(SecretStatus::Overlapping));
        assert_eq!(status(1, 10), Some(SecretStatus::Ended));
        assert_eq!(status(2, 10), Some(SecretStatus::Current));
        assert_eq!(status(3, 10), None);
        key.meta.updated_at = Timestamp::from_unix_ms(10);
        let status = |n, now| key.secret_status_at(SecretId::new(1, n), Timestamp::from_unix_ms(now));
        assert_eq!(status(1, 9), Some(SecretStatus::Ended), "it had ended when the key was changed");
        assert_eq!(status(2, 9), Some(SecretStatus::Current));
    }

    #[test]
    fn a_key_reads_back_from_its_json_without_what_proves_its_secrets() {
        let key = plain_key();
        let json = serde_json::to_value(&key).unwrap();
        assert_eq!(json["kind"], "api");
        assert_eq!(serde_json::from_value::<Key>(json).unwrap(), key);
    }
}

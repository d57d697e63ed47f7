//! Make a key.

use keywright_model::admin::AdminAction;
use keywright_model::change::Change;
use keywright_model::document::NewKeyDraft;
use keywright_model::fault::Faults;
use keywright_model::id::{KeyId, KeyspaceId, SecretId};
use keywright_model::key::{Key, KeySecret};
use keywright_model::noun::{Keyspace, Meta};
use keywright_model::secret::Secret;

use super::KeyWithSecret;
use super::resolve::Resolved;
use crate::rights::{Held, check_gain};
use crate::write::{Answer, Decision, WriteOptions};
use crate::{Caller, Control, Error};

/// A key that shall be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it shall be.
    pub draft: NewKeyDraft,
    /// Where its secret comes from, if the draft has no custom one.
    pub secret: NewSecret,
}

/// Where a strong secret comes from.
#[derive(Clone, Debug)]
pub enum NewSecret {
    /// Keywright makes one in its own form.
    Generated,
    /// A wire made one in a vendor's form, of at least 128 random bits.
    Given(Secret),
}

/// A secret before it is protected.
pub(crate) struct RawSecret {
    pub(crate) secret: Secret,
    pub(crate) custom: bool,
    pub(crate) hint: Option<String>,
}

impl Control {
    /// Makes a key. The answer carries its secret, once.
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
        options: &WriteOptions,
    ) -> Result<Answer<KeyWithSecret>, Error> {
        let decide = async |caller: Caller| self.decide_create(&caller, &new, options).await;
        self.write(caller, options, decide, async |outcome| {
            Ok(KeyWithSecret { record: self.written_key(caller, &outcome).await?, secret: outcome.secret })
        })
        .await
    }

    async fn decide_create(
        &self,
        caller: &Caller,
        new: &NewKey,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let keyspace = self.keyspace_for(caller, new.draft.keyspace.as_deref()).await?;
        caller.require_in(AdminAction::KeysCreate, keyspace.id)?;
        if options.if_match.is_some() {
            return Err(Error::Invalid(Faults::one(
                "",
                "if_match_on_create",
                "a key that does not exist yet has no version",
            )));
        }
        let NewKeyDraft { draft, access_id, external_id, secret, .. } = new.draft.clone();
        let Resolved { spec, around, new_owner } = self.resolve(caller, draft, &keyspace, None).await?;
        let raw = self.raw_secret(&keyspace, secret, &new.secret)?;
        let now = self.clock.now();
        let mut key = Key {
            id: KeyId::new(now.unix_ms(), self.random_bits()),
            number: 0,
            org: caller.org,
            keyspace: keyspace.id,
            access_id,
            external_id,
            spec,
            secrets: Vec::new(),
            revocation: None,
            deleted_at: None,
            meta: Meta::new(now, caller.actor()),
        };
        check_gain(caller, None, Held { key: &key, around: &around }, now)?;
        if !options.dry_run {
            let secret = self.protected(&key, &keyspace, &raw).await?;
            key.secrets.push(secret);
        }
        let decision = self.decided_new(caller, options, key, around).await?;
        let made_owner = new_owner.map(|owner| Change::PrincipalChanged(owner.into()));
        let changes = made_owner.into_iter().chain(decision.changes).collect();
        let secret = Some(raw.secret);
        Ok(Decision { changes, secret, ..decision }.without_version_of_new())
    }

    /// The keyspace that a call names, or the one that the caller acts in: the one it is bound to, else `default`.
    pub async fn keyspace_for(&self, caller: &Caller, named: Option<&str>) -> Result<Keyspace, Error> {
        let missing = || {
            Error::Invalid(Faults::one(
                "/keyspace",
                "unknown_keyspace",
                "no such keyspace in this organization",
            ))
        };
        let keyspace = match (named, caller.keyspace()) {
            (Some(name), _) => self.keyspace_named(caller.org, name).await?,
            (None, Some(bound)) => self.keyspace_named(caller.org, &bound.to_string()).await?,
            (None, None) => self.keyspace_named(caller.org, crate::bootstrap::DEFAULT).await?,
        };
        let visible = keyspace.filter(|keyspace| caller.reaches(keyspace.id));
        visible.ok_or_else(missing)
    }

    /// The identifier of the keyspace that a wire without keyspaces acts in.
    pub async fn acting_keyspace(&self, caller: &Caller) -> Result<KeyspaceId, Error> {
        self.keyspace_for(caller, None).await.map(|keyspace| keyspace.id)
    }

    /// Takes a custom secret where the keyspace allows it, else a given or a new strong one.
    pub(crate) fn raw_secret(
        &self,
        keyspace: &Keyspace,
        custom: Option<Secret>,
        other: &NewSecret,
    ) -> Result<RawSecret, Error> {
        if let Some(secret) = custom {
            if !keyspace.spec.allow_custom_secrets {
                let faults = Faults::one(
                    "/secret",
                    "custom_secrets_not_allowed",
                    "this keyspace does not allow custom secrets",
                );
                return Err(faults.into());
            }
            return Ok(RawSecret { secret, custom: true, hint: None });
        }
        let secret = match other {
            NewSecret::Generated => Secret::generate(&keyspace.spec.secret_prefix, self.entropy.as_ref()),
            NewSecret::Given(secret) => secret.clone(),
        };
        let hint = match other {
            NewSecret::Generated => secret.hint(),
            NewSecret::Given(_) => {
                secret.expose().get(secret.expose().len().saturating_sub(4)..).map(|tail| format!("…{tail}"))
            }
        };
        Ok(RawSecret { secret, custom: false, hint })
    }

    /// Sees to it that the vault has a keyspace's data key: the keyspace may just have been made, here or by another node.
    async fn take_up_data_key(&self, keyspace: KeyspaceId) -> Result<(), Error> {
        if self.vault.has_data_key(keyspace) {
            return Ok(());
        }
        for wrapped in self.store.keyring().await? {
            self.vault.adopt(&wrapped).map_err(|error| Error::Internal(error.into()))?;
        }
        Ok(())
    }

    /// Digests and seals a secret; Argon2id runs on a thread of its own.
    pub(crate) async fn protected(
        &self,
        key: &Key,
        keyspace: &Keyspace,
        raw: &RawSecret,
    ) -> Result<KeySecret, Error> {
        let id = SecretId::new(self.clock.now().unix_ms(), self.random_bits());
        self.take_up_data_key(key.keyspace).await?;
        let keep = keyspace.spec.recoverable_secrets || must_keep(key);
        let material = if raw.custom {
            let (vault, keyspace, secret) =
                (std::sync::Arc::clone(&self.vault), key.keyspace, raw.secret.clone());
            self.argon2.run(move || vault.protect(keyspace, id, &secret, true, keep)).await?
        } else {
            self.vault.protect(key.keyspace, id, &raw.secret, false, keep)
        };
        let material = material
            .ok_or_else(|| Error::internal("a secret could not be sealed: the keyspace has no data key"))?;
        Ok(KeySecret {
            id,
            hint: raw.hint.clone(),
            // A secret kept only to check signatures is not thereby one that may be shown.
            recoverable: keyspace.spec.recoverable_secrets,
            custom: raw.custom,
            created_at: self.clock.now(),
            expires_at: None,
            material: Some(material.into()),
        })
    }
}

/// A key with an access id signs requests, so that its secret must be at hand to check them.
fn must_keep(key: &Key) -> bool {
    key.access_id.is_some()
}

impl Decision {
    /// A principal that this write makes has no version to expect yet.
    pub(crate) fn without_version_of_new(mut self) -> Self {
        let made: Vec<_> = self
            .changes
            .iter()
            .filter(|change| matches!(change, Change::PrincipalChanged(_)))
            .map(Change::noun)
            .collect();
        self.expect.retain(
            |expect| !matches!(expect, keywright_store::Expect::Version(noun, _) if made.contains(noun)),
        );
        self
    }
}

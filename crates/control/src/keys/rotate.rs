//! Give a key a new secret, and end old ones.

use keywright_model::admin::AdminAction;
use keywright_model::fault::Faults;
use keywright_model::id::SecretId;
use keywright_model::secret::Secret;

use super::create::NewSecret;
use super::{KeyRecord, KeyRef, KeyWithSecret, push_secret};
use crate::rights::check_holds_all;
use crate::write::{Answer, Decision, WriteOptions};
use crate::{Caller, Control, Error};

/// How long an older secret may go on counting: 30 days.
pub const OVERLAP_SECONDS_MAX: u64 = 30 * 86_400;

/// How a key's secret shall be changed.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// How long older secrets still count; 0 ends them all now. At most [`OVERLAP_SECONDS_MAX`].
    pub overlap_seconds: u64,
    /// A secret that the caller chose.
    pub custom: Option<Secret>,
    /// Where a strong one comes from, if there is no custom one.
    pub secret: NewSecret,
}

impl Control {
    /// Gives a key a new secret. The answer carries it, once.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        rotation: &Rotation,
        options: &WriteOptions,
    ) -> Result<Answer<KeyWithSecret>, Error> {
        let decide = async |caller: Caller| self.decide_rotate(&caller, key, rotation, options).await;
        self.write(caller, options, decide, async |outcome| {
            Ok(KeyWithSecret { record: self.written_key(caller, &outcome).await?, secret: outcome.secret })
        })
        .await
    }

    async fn decide_rotate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        rotation: &Rotation,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysRotate).await?;
        before.check_version(options)?;
        before.require_live()?;
        check_holds_all(caller, before.held())?;
        if rotation.overlap_seconds > OVERLAP_SECONDS_MAX {
            return Err(Faults::one(
                "/overlap_seconds",
                "out_of_range",
                format!("must be from 0 to {OVERLAP_SECONDS_MAX}"),
            )
            .into());
        }
        if rotation.custom.is_some() && before.key.access_id.is_none() {
            return Err(Faults::one(
                "/secret",
                "access_id_required",
                "a custom secret needs a key with an access_id",
            )
            .into());
        }
        let keyspace = &before.around.keyspace;
        let raw = self.raw_secret(keyspace, rotation.custom.clone(), &rotation.secret)?;
        let now = self.clock.now();
        let mut after = before.next(caller, now);
        // From the moment of the change, which a clock that was ahead may have set: an overlap is never over before it.
        let end = after.meta.updated_at.plus_seconds(rotation.overlap_seconds);
        for older in &mut after.secrets {
            older.expires_at = Some(older.expires_at.map_or(end, |at| at.min(end)));
        }
        let secret = self.protected(&after, keyspace, &raw).await?;
        push_secret(&mut after, secret, now)?;
        let around = before.around.clone();
        let decision = self.decided((caller, options), "key.rotate", &before, (after, around)).await?;
        Ok(Decision { secret: Some(raw.secret), ..decision })
    }

    /// Ends one secret of a key now.
    pub async fn expire_secret(
        &self,
        caller: &Caller,
        key: &KeyRef,
        secret: SecretId,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let decide = async |caller: Caller| self.decide_expire(&caller, key, secret, options).await;
        self.write(caller, options, decide, async |outcome| self.written_key(caller, &outcome).await).await
    }

    async fn decide_expire(
        &self,
        caller: &Caller,
        key: &KeyRef,
        secret: SecretId,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysRotate).await?;
        before.check_version(options)?;
        before.require_live()?;
        let now = self.clock.now();
        let mut after = before.next(caller, now);
        let named = after
            .secrets
            .iter_mut()
            .find(|candidate| candidate.id == secret)
            .ok_or(Error::NotFound("secret"))?;
        named.expires_at = Some(named.expires_at.map_or(now, |at| at.min(now)));
        let around = before.around.clone();
        self.decided((caller, options), "key.expire_secret", &before, (after, around)).await
    }
}

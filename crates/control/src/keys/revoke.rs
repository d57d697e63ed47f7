//! End a key, by its keeper or by itself; switch it off and on.

use std::sync::Arc;

use keywright_model::admin::AdminAction;
use keywright_model::fault::Faults;
use keywright_model::id::SecretId;
use keywright_model::key::{Key, Revocation};
use keywright_model::secret::Secret;
use keywright_store::Lookup;

use super::{KeyRecord, KeyRef, KeyRule, LoadedKey};
use crate::caller::{Who, unauthenticated};
use crate::rights::{Held, check_gain, check_holds_all};
use crate::write::{Answer, Decision, WriteOptions};
use crate::{Caller, Control, Error, Origin};

/// How long a reason may be, in characters.
const REASON_CHARACTERS_MAX: usize = 1_000;

impl Control {
    /// Ends a key for ever. Ending one that was ended changes nothing.
    pub async fn revoke_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        reason: Option<String>,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let decide = async |caller: Caller| {
            let before = self.load_for(&caller, key, AdminAction::KeysRevoke).await?;
            before.check_version(options)?;
            self.decide_revoke((&caller, options), before, reason.as_deref()).await
        };
        self.write(caller, options, decide, async |outcome| self.written_key(caller, &outcome).await).await
    }

    async fn decide_revoke(
        &self,
        (caller, options): (&Caller, &WriteOptions),
        before: LoadedKey,
        reason: Option<&str>,
    ) -> Result<Decision, Error> {
        check_reason(reason)?;
        if before.key.revocation.is_some() {
            let same = (Key::clone(&before.key), before.around.clone());
            return self.decided((caller, options), "key.revoke", &before, same).await;
        }
        let now = self.clock.now();
        let end = Revocation { at: now, by: caller.actor(), reason: reason.map(str::to_owned) };
        let after = Key { revocation: Some(end), ..before.next(caller, now) };
        let around = before.around.clone();
        self.decided((caller, options), "key.revoke", &before, (after, around)).await
    }

    /// Ends the key whose secret is presented: whoever found it may.
    pub async fn revoke_self(
        &self,
        presented: &Secret,
        reason: Option<String>,
        origin: Origin,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let (key, secret) = self.key_itself(presented).await?;
        // The decision expects the key's version itself, and holding the secret is all the right that is asked for.
        let caller = Caller { who: Who::itself(&key, secret), org: key.org, origin, expect: Vec::new() };
        let decide = async |caller: Caller| {
            let (key, _) = self.key_itself(presented).await?;
            Self::check_version(options, false, key.meta.version)?;
            let before = self.surrounded(key).await?;
            self.decide_revoke((&caller, options), before, reason.as_deref()).await
        };
        self.write(&caller, options, decide, async |outcome| self.written_key(&caller, &outcome).await).await
    }

    /// The key of a presented secret that still counts, in whatever state the key is; a deleted one is not shown.
    async fn key_itself(&self, presented: &Secret) -> Result<(Arc<Key>, SecretId), Error> {
        let digest = self.vault.digest(presented);
        let key = self.find_key(Lookup::KeyByDigest(digest)).await?;
        let key = key.filter(|key| key.deleted_at.is_none()).ok_or_else(|| unauthenticated(None))?;
        let secret = self.live_secret(&key, &digest)?;
        Ok((key, secret))
    }

    /// Switches a key off or on.
    pub async fn set_key_enabled(
        &self,
        caller: &Caller,
        key: &KeyRef,
        enabled: bool,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        self.set_key_enabled_where(caller, key, enabled, &|_| Ok(()), options).await
    }

    /// The same, of a key that a wire's own rule lets be switched.
    pub async fn set_key_enabled_where(
        &self,
        caller: &Caller,
        key: &KeyRef,
        enabled: bool,
        rule: KeyRule<'_>,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let decide = async |caller: Caller| self.decide_enabled((&caller, options), key, enabled, rule).await;
        self.write(caller, options, decide, async |outcome| self.written_key(caller, &outcome).await).await
    }

    async fn decide_enabled(
        &self,
        (caller, options): (&Caller, &WriteOptions),
        key: &KeyRef,
        enabled: bool,
        rule: KeyRule<'_>,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysDisable).await?;
        before.check_version(options)?;
        before.require_live()?;
        rule(&before.key)?;
        let now = self.clock.now();
        let mut after = before.next(caller, now);
        after.spec.enabled = enabled;
        if enabled {
            check_holds_all(caller, before.held())?;
        }
        check_gain(caller, Some(before.held()), Held { key: &after, around: &before.around }, now)?;
        let around = before.around.clone();
        let verb = if enabled { "key.enable" } else { "key.disable" };
        self.decided((caller, options), verb, &before, (after, around)).await
    }
}

impl Who {
    /// A key of any kind that acts on itself alone: it may nothing else.
    fn itself(key: &Key, secret: SecretId) -> Self {
        use keywright_model::access::Access;
        use keywright_model::admin::{AdminActions, AdminRights, Reach};
        let admin = AdminRights {
            actions: AdminActions::default(),
            orgs: Reach::nothing(),
            keyspaces: Reach::nothing(),
        };
        Self::Key { key: key.clone().into(), secret, admin, grantable: Access::nothing() }
    }
}

fn check_reason(reason: Option<&str>) -> Result<(), Error> {
    let long = reason.is_some_and(|reason| reason.chars().count() > REASON_CHARACTERS_MAX);
    let odd = reason.is_some_and(|reason| !reason.chars().all(keywright_model::text::is_printable));
    match (long, odd) {
        (true, _) => Err(Faults::one(
            "/reason",
            "invalid_length",
            format!("at most {REASON_CHARACTERS_MAX} characters"),
        )
        .into()),
        (_, true) => {
            Err(Faults::one("/reason", "invalid_character", "must not hold control characters").into())
        }
        (false, false) => Ok(()),
    }
}

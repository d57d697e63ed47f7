//! Hide a key, which ends it, and bring its record back.

use keywright_model::admin::AdminAction;
use keywright_model::key::{Key, Revocation, UNDELETE_SECONDS};

use super::{KeyRecord, KeyRef, KeyRule};
use crate::write::{Answer, Decision, WriteOptions};
use crate::{Caller, Control, Error};

impl Control {
    /// Ends a key, if it was not ended, and hides it.
    pub async fn delete_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        options: &WriteOptions,
    ) -> Result<Answer<()>, Error> {
        self.delete_key_where(caller, key, &|_| Ok(()), options).await
    }

    /// The same, of a key that a wire's own rule lets go.
    pub async fn delete_key_where(
        &self,
        caller: &Caller,
        key: &KeyRef,
        rule: KeyRule<'_>,
        options: &WriteOptions,
    ) -> Result<Answer<()>, Error> {
        let decide = async |caller: Caller| self.decide_delete(&caller, key, rule, options).await;
        self.write(caller, options, decide, async |_| Ok(())).await
    }

    async fn decide_delete(
        &self,
        caller: &Caller,
        key: &KeyRef,
        rule: KeyRule<'_>,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysDelete).await?;
        before.check_version(options)?;
        rule(&before.key)?;
        let now = self.clock.now();
        let end = Revocation { at: now, by: caller.actor(), reason: None };
        let next = before.next(caller, now);
        let after = Key { deleted_at: Some(now), revocation: next.revocation.clone().or(Some(end)), ..next };
        let around = before.around.clone();
        self.decided((caller, options), "key.delete", &before, (after, around)).await
    }

    /// Brings the record of a deleted key back. The key stays revoked.
    pub async fn undelete_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let decide = async |caller: Caller| self.decide_undelete(&caller, key, options).await;
        self.write(caller, options, decide, async |outcome| self.written_key(caller, &outcome).await).await
    }

    async fn decide_undelete(
        &self,
        caller: &Caller,
        key: &KeyRef,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let hidden = self.find_for(caller, key).await?;
        caller.require_in(AdminAction::KeysDelete, hidden.keyspace)?;
        let now = self.clock.now();
        match hidden.deleted_at {
            None => return Err(Error::WrongState { code: "not_deleted", detail: "the key was not deleted" }),
            Some(at) if at.plus_seconds(UNDELETE_SECONDS) <= now => return Err(Error::NotFound("key")),
            Some(_) => {}
        }
        let before = self.surrounded(hidden).await?;
        before.check_version(options)?;
        let after = Key { deleted_at: None, ..before.next(caller, now) };
        let around = before.around.clone();
        self.decided((caller, options), "key.undelete", &before, (after, around)).await
    }
}

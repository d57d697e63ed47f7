//! See a recoverable secret again.

use keywright_model::access::Access;
use keywright_model::admin::AdminAction;
use keywright_model::change::NounRef;
use keywright_model::id::SecretId;
use keywright_model::key::{Key, KeyKind};
use keywright_model::secret::Secret;
use keywright_store::Expect;

use super::{KeyRef, rests_on};
use crate::caller::Who;
use crate::rights::{check_holds_all, within};
use crate::write::{Answer, Decision, Plan, WriteOptions};
use crate::{Caller, Control, Error};

impl Control {
    /// Shows a secret that its keyspace keeps recoverable. One audit entry.
    pub async fn reveal_secret(
        &self,
        caller: &Caller,
        key: &KeyRef,
        secret: SecretId,
    ) -> Result<Secret, Error> {
        let options = WriteOptions::default();
        let decide = async |caller: Caller| self.decide_reveal(&caller, key, secret).await;
        let answer: Answer<Option<Secret>> =
            self.write(caller, &options, decide, async |outcome| Ok(outcome.secret)).await?;
        answer.done()?.value.ok_or_else(|| Error::internal("a reveal without a secret"))
    }

    async fn decide_reveal(
        &self,
        caller: &Caller,
        key: &KeyRef,
        secret: SecretId,
    ) -> Result<Decision, Error> {
        let loaded = self.load_for(caller, key, AdminAction::KeysReveal).await?;
        check_holds_all(caller, loaded.held())?;
        let named = loaded
            .key
            .secrets
            .iter()
            .find(|candidate| candidate.id == secret)
            .ok_or(Error::NotFound("secret"))?;
        let recoverable = named.recoverable.then(|| self.vault.reveal(&loaded.key, named)).flatten();
        let plain = recoverable.ok_or(Error::WrongState {
            code: "not_recoverable",
            detail: "this secret was not kept; rotate the key to get a new one",
        })?;
        let subject = NounRef::Key(loaded.key.id);
        let mut expect = vec![Expect::Version(subject, loaded.key.meta.version)];
        expect.extend(rests_on(&loaded.around));
        Ok(Decision {
            shown: None,
            verb: "key.reveal",
            subject,
            expect,
            changes: Vec::new(),
            wrapped_keys: Vec::new(),
            secret: Some(plain),
            takes_away: false,
            plan: Plan::default(),
        })
    }

    /// The current secret of an API key that a wire's own answer carries, where the keyspace keeps it recoverable and the
    /// caller may see it. The write that it belongs to is what the audit names. Since it does not look up what the key's
    /// rights rest on, it is only for whoever may hand out everything.
    pub fn recoverable_secret(&self, caller: &Caller, key: &Key) -> Option<Secret> {
        let current = key.current_secret().filter(|secret| secret.recoverable)?;
        let hands_out_all = match &caller.who {
            Who::Root => true,
            Who::Key { grantable, .. } => {
                key.spec.rights.kind() == KeyKind::Api
                    && within(&Access::nothing(), &Access::everything(), grantable).is_ok()
            }
        };
        let may = hands_out_all && caller.may_in(AdminAction::KeysReveal, Some(key.keyspace));
        may.then(|| self.vault.reveal(key, current)).flatten()
    }
}

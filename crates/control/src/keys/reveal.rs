//! See a recoverable secret again.

use keywright_model::access::Access;
use keywright_model::admin::AdminAction;
use keywright_model::change::NounRef;
use keywright_model::id::SecretId;
use keywright_model::key::{Key, KeyKind};
use keywright_model::secret::Secret;
use keywright_store::{Commit, Expect};

use super::{KeyRef, rests_on};
use crate::caller::Who;
use crate::rights::{Held, check_holds_all, within};
use crate::write::{Answer, Decision, Plan, WriteOptions};
use crate::{Caller, Control, Error};

/// What the audit says of a secret that was shown again.
const REVEAL: &str = "key.reveal";

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
            verb: REVEAL,
            subject,
            expect,
            changes: Vec::new(),
            wrapped_keys: Vec::new(),
            secret: Some(plain),
            takes_away: false,
            plan: Plan::default(),
        })
    }

    /// The current secrets of keys that a wire's own answer shows, where their keyspaces keep them recoverable and the
    /// caller may see them: `None` for every other. However many they are, it is one entry of the audit, and without that
    /// entry nothing is shown.
    pub async fn reveal_current(&self, caller: &Caller, keys: &[&Key]) -> Result<Vec<Option<Secret>>, Error> {
        let mut shown = Vec::with_capacity(keys.len());
        for key in keys {
            shown.push(self.revealed(caller, key).await?);
        }
        let mut revealed =
            keys.iter().zip(&shown).filter(|(_, secret)| secret.is_some()).map(|(key, _)| *key);
        let Some(first) = revealed.next() else { return Ok(shown) };
        let subject = match revealed.next() {
            None => NounRef::Key(first.id),
            Some(second)
                if revealed.all(|key| key.keyspace == first.keyspace)
                    && second.keyspace == first.keyspace =>
            {
                NounRef::Keyspace(first.keyspace)
            }
            Some(_) => NounRef::Org(first.org),
        };
        self.store
            .commit(Commit {
                expect: caller.expect.clone(),
                changes: Vec::new(),
                audit: self.audit_context(caller, REVEAL, subject),
                idempotency: None,
                wrapped_keys: Vec::new(),
            })
            .await?;
        Ok(shown)
    }

    async fn revealed(&self, caller: &Caller, key: &Key) -> Result<Option<Secret>, Error> {
        let kept = key.current_secret().filter(|secret| secret.recoverable);
        let Some(current) = kept.filter(|_| caller.may_in(AdminAction::KeysReveal, Some(key.keyspace)))
        else {
            return Ok(None);
        };
        if !hands_out_all(caller, key) {
            let around = self.surroundings(key.keyspace, &key.spec).await?;
            match check_holds_all(caller, Held { key, around: &around }) {
                Ok(()) => {}
                Err(Error::BeyondGrantable { .. } | Error::Forbidden { .. } | Error::TooComplex) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.vault.reveal(key, current))
    }
}

/// Whether the caller may hand out whatever an API key can hold, so that what its rights rest on need not be read.
fn hands_out_all(caller: &Caller, key: &Key) -> bool {
    match &caller.who {
        Who::Root => true,
        Who::Key { grantable, .. } => {
            key.spec.rights.kind() == KeyKind::Api
                && within(&Access::nothing(), &Access::everything(), grantable).is_ok()
        }
    }
}

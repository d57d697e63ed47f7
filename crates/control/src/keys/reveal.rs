//! See a recoverable secret again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keywright_model::access::Access;
use keywright_model::admin::AdminAction;
use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::{Key, KeyKind, KeySecret};
use keywright_model::secret::Secret;
use keywright_store::Expect;

use super::{KeyRef, rests_on};
use crate::caller::Who;
use crate::lookup::into_key;
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
    /// entry nothing is shown. What the answer rests on is read in a fixed number of round trips, and tested again with it.
    pub async fn reveal_current(&self, caller: &Caller, keys: &[&Key]) -> Result<Vec<Option<Secret>>, Error> {
        let may = |key: &Key| caller.may_in(AdminAction::KeysReveal, Some(key.keyspace));
        let kept = keys.iter().filter(|key| kept_secret(key).is_some() && may(key));
        let refs: Vec<NounRef> = kept.map(|key| NounRef::Key(key.id)).collect();
        if refs.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let found = Mutex::new(BTreeMap::new());
        let decide = async |caller: Caller| {
            let (secrets, decision) = self.decide_reveals(&caller, &refs).await?;
            *found.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
            Ok(decision)
        };
        // It changes nothing that a verifier would have to apply.
        let options = WriteOptions { wait: Some(Duration::ZERO), ..WriteOptions::default() };
        self.write(caller, &options, decide, async |_| Ok(())).await?.done()?;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().map(|key| found.get(&key.id).cloned()).collect())
    }

    async fn decide_reveals(
        &self,
        caller: &Caller,
        refs: &[NounRef],
    ) -> Result<(BTreeMap<KeyId, Secret>, Decision), Error> {
        // Read anew: another write may have come in between, and with it another secret or other rights.
        let mut keys: Vec<Arc<Key>> =
            self.store.nouns(refs).await?.into_iter().flatten().filter_map(into_key).collect();
        keys.retain(|key| {
            let there = key.org == caller.org && key.deleted_at.is_none() && caller.reaches(key.keyspace);
            there && caller.may_in(AdminAction::KeysReveal, Some(key.keyspace))
        });
        let hands_out_all = hands_out_all(caller);
        // Whoever may hand out everything holds all access of every API key, whatever that rests on.
        let is_free = |key: &Key| hands_out_all && key.spec.rights.kind() == KeyKind::Api;
        let judged: Vec<&Key> = keys.iter().map(Arc::as_ref).filter(|key| !is_free(key)).collect();
        let read = self.surroundings_of(&judged).await?;
        let (mut secrets, mut rests, mut homes) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for key in &keys {
            if !is_free(key) {
                let Some(around) = read.around(key) else { continue };
                if check_holds_all(caller, Held { key, around: &around }).is_err() {
                    continue;
                }
                rests.extend(around.versions());
            }
            if let Some(secret) = kept_secret(key).and_then(|kept| self.vault.reveal(key, kept)) {
                rests.insert(NounRef::Key(key.id), key.meta.version);
                homes.insert(key.keyspace);
                secrets.insert(key.id, secret);
            }
        }
        let subject = match (secrets.len(), homes.len()) {
            (1, _) => secrets.keys().next().map(|id| NounRef::Key(*id)),
            (_, 1) => homes.first().map(|id| NounRef::Keyspace(*id)),
            _ => None,
        };
        let decision = Decision {
            shown: None,
            verb: REVEAL,
            subject: subject.unwrap_or(NounRef::Org(caller.org)),
            expect: rests.into_iter().map(|(noun, version)| Expect::Version(noun, version)).collect(),
            changes: Vec::new(),
            wrapped_keys: Vec::new(),
            // One stands for all: with none there is nothing to tell the audit.
            secret: secrets.values().next().cloned(),
            takes_away: false,
            plan: Plan::default(),
        };
        Ok((secrets, decision))
    }
}

/// The current secret of a key, if its keyspace kept it to be shown again.
fn kept_secret(key: &Key) -> Option<&KeySecret> {
    key.current_secret().filter(|secret| secret.recoverable)
}

/// Whether the caller may hand out whatever an API key can hold, so that what its rights rest on need not be read.
fn hands_out_all(caller: &Caller) -> bool {
    match &caller.who {
        Who::Root => true,
        Who::Key { grantable, .. } => within(&Access::nothing(), &Access::everything(), grantable).is_ok(),
    }
}

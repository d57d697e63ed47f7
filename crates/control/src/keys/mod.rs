//! The verbs of keys, one file each, and what they share: finding a key, what surrounds it, showing it.

mod bind;
mod create;
mod delete;
mod list;
mod owner;
mod resolve;
mod reveal;
mod revoke;
mod rotate;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::access::{Access, difference};
use keywright_model::admin::AdminAction;
use keywright_model::change::{Change, NounRef};
use keywright_model::document::field_changes;
use keywright_model::id::{KeyId, KeyspaceId, SecretId};
use keywright_model::key::{Key, KeySecret, Rights, SECRETS_MAX};
use keywright_model::secret::Secret;
use keywright_model::time::Timestamp;
use keywright_model::view::{Names, key_view};
use keywright_store::{Expect, LastUsed, Lookup};
use serde_json::{Map, Value};

use crate::lookup::Surroundings;
use crate::rights::{Held, takes_away};
use crate::write::{Decision, Outcome, Plan, Shown, WriteOptions};
use crate::{Caller, Control, Error};

pub use bind::Binding;
pub use create::{NewKey, NewSecret};
pub use list::{Can, KeyList, KeyPage, NumberedPage};
pub use owner::Owner;
pub use rotate::{OVERLAP_SECONDS_MAX, Rotation};
pub use update::{KeyEdit, SetFields};

/// A key as it stands, and as clients see it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The key.
    pub key: Arc<Key>,
    /// Its JSON (api.md §2).
    pub view: Map<String, Value>,
}

/// A key and the secret that was just made for it.
#[derive(Clone, Debug)]
pub struct KeyWithSecret {
    /// The key.
    pub record: KeyRecord,
    /// The secret; `None` in a replay after it is no longer given.
    pub secret: Option<Secret>,
}

/// How a wire names a key.
#[derive(Clone, Debug)]
pub enum KeyRef {
    /// By identifier.
    Id(KeyId),
    /// By identifier as text; what is none names nothing.
    Text(String),
    /// By number in the caller's organization.
    Number(u32),
    /// By its public half.
    AccessId(String),
    /// By the caller's own name, in the keyspace that the caller acts in.
    ExternalId(KeyspaceId, String),
    /// By one of its secrets.
    Secret(Secret),
}

/// A rule of a wire about the key that a write is about, tested inside the write.
pub type KeyRule<'a> = &'a (dyn Fn(&Key) -> Result<(), Error> + Sync);

/// A key with all that its rights rest on.
#[derive(Clone, Debug)]
pub(crate) struct LoadedKey {
    pub(crate) key: Arc<Key>,
    pub(crate) around: Surroundings,
    /// The names of its organization and its keyspace.
    pub(crate) home: Names,
    pub(crate) last_used: BTreeMap<SecretId, Timestamp>,
}

impl Control {
    /// Finds a key that exists for the caller. Deleted ones do not.
    pub(crate) async fn find_for(&self, caller: &Caller, key: &KeyRef) -> Result<Arc<Key>, Error> {
        Ok(self.find_with_uses(caller, key).await?.0)
    }

    /// [`Self::find_for`], with when the key was used last where the same question to the store tells that.
    async fn find_with_uses(
        &self,
        caller: &Caller,
        key: &KeyRef,
    ) -> Result<(Arc<Key>, Option<LastUsed>), Error> {
        let by = |lookup| async { Ok::<_, Error>(self.find_key(lookup).await?.map(|key| (key, None))) };
        let by_id = |id| async move {
            let found = self.store.key_and_uses(id).await?;
            Ok::<_, Error>(found.map(|(key, uses)| (key, Some(uses))))
        };
        let found = match key {
            KeyRef::Id(id) => by_id(*id).await?,
            KeyRef::Text(text) => match text.parse() {
                Ok(id) => by_id(id).await?,
                Err(_) => None,
            },
            KeyRef::Number(number) => by(Lookup::KeyByNumber(caller.org, *number)).await?,
            KeyRef::AccessId(id) => by(Lookup::KeyByAccessId(id.clone())).await?,
            KeyRef::ExternalId(keyspace, id) => by(Lookup::KeyByExternalId(*keyspace, id.clone())).await?,
            KeyRef::Secret(secret) => by(Lookup::KeyByDigest(self.vault.digest(secret))).await?,
        };
        let visible = found.filter(|(key, _)| key.org == caller.org && caller.reaches(key.keyspace));
        visible.ok_or(Error::NotFound("key"))
    }

    /// Finds a key that the caller may do `action` to, with what its rights rest on.
    pub(crate) async fn load_for(
        &self,
        caller: &Caller,
        key: &KeyRef,
        action: AdminAction,
    ) -> Result<LoadedKey, Error> {
        let (key, uses) = self.find_with_uses(caller, key).await?;
        if key.deleted_at.is_some() {
            return Err(Error::NotFound("key"));
        }
        caller.require_in(action, key.keyspace)?;
        let (around, home) = self.surroundings_and_home(&key).await?;
        let last_used = match uses {
            Some(uses) => uses.secrets,
            None => self.last_used(key.id).await?,
        };
        Ok(LoadedKey { key, around, home, last_used })
    }

    pub(crate) async fn surrounded(&self, key: Arc<Key>) -> Result<LoadedKey, Error> {
        let (around, home) = self.surroundings_and_home(&key).await?;
        let last_used = self.last_used(key.id).await?;
        Ok(LoadedKey { key, around, home, last_used })
    }

    async fn last_used(&self, key: KeyId) -> Result<BTreeMap<SecretId, Timestamp>, Error> {
        Ok(self.store.last_used(&[key]).await?.pop().unwrap_or_default().secrets)
    }

    /// The names that the views of a key before and after a change show.
    pub(crate) async fn names_of_both(
        &self,
        caller: &Caller,
        before: &LoadedKey,
        after: &Key,
    ) -> Result<Names, Error> {
        match &after.spec.rights {
            // Nobody moves a key, and an API key's view names nothing but its home.
            Rights::Api { .. } => Ok(before.home.clone()),
            Rights::Management { .. } => self.names_for(caller, &[&before.key, after]).await,
        }
    }

    /// A key as clients see it now.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        key: Arc<Key>,
        last_used: &BTreeMap<SecretId, Timestamp>,
    ) -> Result<KeyRecord, Error> {
        let names = self.names_for(caller, &[&key]).await?;
        let view = key_view(&key, &names, last_used, self.clock.now());
        Ok(KeyRecord { key, view })
    }

    /// The key that a write was about, after it. What the decision has read for it is not read again.
    pub(crate) async fn written_key(&self, caller: &Caller, outcome: &Outcome) -> Result<KeyRecord, Error> {
        let NounRef::Key(id) = outcome.subject else {
            return Err(Error::internal("a key's write about something else"));
        };
        let written = outcome.changes.iter().find_map(|change| match change {
            Change::KeyChanged(key) if key.id == id => Some(Arc::clone(key)),
            _ => None,
        });
        let key = match written {
            Some(key) => key,
            None => self.key_by_id(id).await?.ok_or(Error::NotFound("key"))?,
        };
        if let Some(Shown { names, last_used }) = &outcome.shown {
            let view = key_view(&key, names, last_used, self.clock.now());
            return Ok(KeyRecord { key, view });
        }
        let last_used = self.last_used(id).await?;
        self.record(caller, key, &last_used).await
    }

    /// What a change of a key shows and rests on. Nothing is written when nothing would be different.
    pub(crate) async fn decided(
        &self,
        (caller, options): (&Caller, &WriteOptions),
        verb: &'static str,
        before: &LoadedKey,
        after: (Key, Surroundings),
    ) -> Result<Decision, Error> {
        let (key, around) = after;
        let after = Held { key: &key, around: &around };
        let names = self.names_of_both(caller, before, &key).await?;
        let plan = if options.dry_run {
            let now = self.clock.now();
            let view = |key: &Key| key_view(key, &names, &before.last_used, now);
            Plan {
                changes: field_changes(&view(&before.key), &view(&key)),
                access: difference(&before.held().access_shown_at(now), &after.access_shown_at(now))?,
            }
        } else {
            Plan::default()
        };
        let takes_away = takes_away(before.held(), after);
        let subject = NounRef::Key(key.id);
        let mut expect = vec![Expect::Version(subject, before.key.meta.version)];
        expect.extend(rests_on(&before.around));
        expect
            .extend(rests_on(&around).into_iter().filter(|more| !expect.contains(more)).collect::<Vec<_>>());
        let different = before.key.spec != key.spec
            || before.key.secrets != key.secrets
            || before.key.revocation != key.revocation
            || before.key.deleted_at != key.deleted_at;
        let changes = if different { vec![Change::KeyChanged(Arc::new(key))] } else { Vec::new() };
        Ok(Decision {
            verb,
            subject,
            expect,
            changes,
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away,
            shown: Some(Shown { names, last_used: before.last_used.clone() }),
            plan,
        })
    }

    /// What a key that is being made shows and rests on.
    pub(crate) async fn decided_new(
        &self,
        caller: &Caller,
        options: &WriteOptions,
        key: Key,
        around: Surroundings,
    ) -> Result<Decision, Error> {
        let plan = if options.dry_run {
            let now = self.clock.now();
            let names = self.names_for(caller, &[&key]).await?;
            let mut view = key_view(&key, &names, &BTreeMap::new(), now);
            // What is only known once it is written.
            for unknown in ["id", "number", "secrets", "created_at", "created_by"] {
                view.remove(unknown);
            }
            let access = Held { key: &key, around: &around }.access_shown_at(now);
            Plan {
                changes: field_changes(&Map::new(), &view),
                access: difference(&Access::nothing(), &access)?,
            }
        } else {
            Plan::default()
        };
        Ok(Decision {
            verb: "key.create",
            subject: NounRef::Key(key.id),
            expect: rests_on(&around),
            plan,
            changes: vec![Change::KeyChanged(Arc::new(key))],
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away: false,
            shown: None,
        })
    }
}

/// The versions that a key's rights were judged by.
pub(crate) fn rests_on(around: &Surroundings) -> Vec<Expect> {
    around.versions().map(|(noun, version)| Expect::Version(noun, version)).collect()
}

/// Adds a secret as the current one. When there are too many, the oldest that has ended is let go; one that still counts
/// is not.
pub(crate) fn push_secret(key: &mut Key, secret: KeySecret, now: Timestamp) -> Result<(), Error> {
    if key.secrets.len() >= SECRETS_MAX {
        let ended = key.secrets.iter().position(|old| key.has_ended(old, now));
        let ended = ended.ok_or(Error::WrongState {
            code: "too_many_secrets",
            detail: "too many of the key's secrets still count; expire some, or rotate without an overlap",
        })?;
        key.secrets.remove(ended);
    }
    key.secrets.push(secret);
    Ok(())
}

impl LoadedKey {
    /// The key and its surroundings, for the checks of [`crate::rights`].
    pub(crate) fn held(&self) -> Held<'_> {
        Held { key: &self.key, around: &self.around }
    }

    /// Refuses to change a key that was ended.
    pub(crate) fn require_live(&self) -> Result<(), Error> {
        if self.key.revocation.is_some() { Err(Error::KeyRevoked) } else { Ok(()) }
    }

    /// A copy of the key, one version on.
    pub(crate) fn next(&self, caller: &Caller, now: Timestamp) -> Key {
        Key { meta: self.key.meta.changed(now, caller.actor()), ..Key::clone(&self.key) }
    }

    /// Tests `If-Match` as the keyspace wants it.
    pub(crate) fn check_version(&self, options: &WriteOptions) -> Result<(), Error> {
        Control::check_version(options, self.around.keyspace.spec.require_if_match, self.key.meta.version)
    }
}

//! Change a key: replace, merge, edit, or set fields (a dialect).

use std::sync::Arc;

use keywright_model::admin::{AdminAction, Reach};
use keywright_model::change::Change;
use keywright_model::document::{Edit, KeyDraft, OwnerDraft, ReachDraft, decode_key, edited_as, shape};
use keywright_model::fault::Faults;
use keywright_model::key::{Key, KeySpec, Rights};
use keywright_model::view::{key_view, writable_key_view};
use serde_json::{Map, Value};

use super::resolve::Resolved;
use super::{KeyRecord, KeyRef, KeyRule, LoadedKey};
use crate::rights::{Held, check_gain};
use crate::write::{Answer, Decision, WriteOptions};
use crate::{Caller, Control, Error};

/// Changes some fields of a key's present writable state; told the key as it is.
pub type SetFields = Arc<dyn Fn(&mut KeyDraft, &Key) -> Result<(), Faults> + Send + Sync>;

/// How a key shall change.
#[derive(Clone)]
pub enum KeyEdit {
    /// Through its JSON.
    Document(Edit),
    /// Field by field: what a wire does that shows only some of them.
    Set(SetFields),
}

impl std::fmt::Debug for KeyEdit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Document(edit) => f.debug_tuple("Document").field(edit).finish(),
            Self::Set(_) => f.write_str("Set(..)"),
        }
    }
}

impl Control {
    /// Changes a key.
    pub async fn update_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        edit: &KeyEdit,
        options: &WriteOptions,
    ) -> Result<Answer<KeyRecord>, Error> {
        let decide =
            async |caller: Caller| self.decide_update(&caller, key, edit, &|_| Ok(()), options).await;
        self.write(caller, options, decide, async |outcome| self.written_key(caller, &outcome).await).await
    }

    pub(super) async fn decide_update(
        &self,
        caller: &Caller,
        key: &KeyRef,
        edit: &KeyEdit,
        rule: KeyRule<'_>,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysUpdate).await?;
        before.check_version(options)?;
        before.require_live()?;
        rule(&before.key)?;
        let draft = self.edited_draft(caller, &before, edit).await?;
        let Resolved { spec, around, new_owner } =
            self.resolve(caller, draft, &before.around.keyspace, Some(&before)).await?;
        let now = self.clock.now();
        let after = Key { spec, ..before.next(caller, now) };
        // `enabled` has an action of its own, also where it is changed together with other fields.
        if after.spec.enabled != before.key.spec.enabled {
            caller.require_in(AdminAction::KeysDisable, after.keyspace)?;
        }
        check_gain(caller, Some(before.held()), Held { key: &after, around: &around }, now)?;
        let decision = self.decided((caller, options), "key.update", &before, (after, around)).await?;
        Ok(match new_owner {
            Some(owner) => {
                let made = Change::PrincipalChanged(owner.into());
                let changes = std::iter::once(made).chain(decision.changes).collect();
                Decision { changes, ..decision }.without_version_of_new()
            }
            None => decision,
        })
    }

    async fn edited_draft(
        &self,
        caller: &Caller,
        before: &LoadedKey,
        edit: &KeyEdit,
    ) -> Result<KeyDraft, Error> {
        match edit {
            KeyEdit::Document(edit) => {
                let kind = before.key.spec.rights.kind();
                let names = self.names_of_both(caller, before, &before.key).await?;
                let now = self.clock.now();
                // Most merges speak of nothing else, and then the rest need not be compared.
                let view = match edit {
                    Edit::Merge(patch) if names_only(patch, shape(kind).writable) => {
                        writable_key_view(&before.key, &names, now)
                    }
                    _ => key_view(&before.key, &names, &before.last_used, now),
                };
                Ok(edited_as(shape(kind), &view, edit, |writable| decode_key(kind, writable))?)
            }
            KeyEdit::Set(set) => {
                let mut draft = present_draft(&before.key);
                set(&mut draft, &before.key)?;
                Ok(draft)
            }
        }
    }
}

fn names_only(patch: &Map<String, Value>, fields: &[&str]) -> bool {
    patch.keys().all(|name| fields.contains(&name.as_str()))
}

/// A key's present writable state as a draft.
fn present_draft(key: &Key) -> KeyDraft {
    let owner = key.spec.owner.map(OwnerDraft::Id);
    let reach = match &key.spec.rights {
        Rights::Api { .. } => None,
        Rights::Management { admin, .. } => {
            Some(ReachDraft { orgs: listed(&admin.orgs), keyspaces: listed(&admin.keyspaces) })
        }
    };
    KeyDraft { spec: KeySpec { owner: None, ..key.spec.clone() }, owner, reach }
}

fn listed<Id: Ord + std::fmt::Display>(reach: &Reach<Id>) -> Vec<String> {
    match reach {
        Reach::All => vec!["*".to_owned()],
        Reach::Only(ids) => ids.iter().map(Id::to_string).collect(),
    }
}

//! Change a key: replace, merge, edit, or set fields (a dialect).

use std::sync::Arc;

use keywright_model::admin::AdminAction;
use keywright_model::change::Change;
use keywright_model::document::{Edit, KeyDraft, OwnerDraft, ReachDraft, Shape, decode_key, edited};
use keywright_model::fault::Faults;
use keywright_model::key::{Key, KeyKind, Rights};
use keywright_model::view::{Names, key_view};
use serde_json::Value;

use super::resolve::Resolved;
use super::{KeyRecord, KeyRef, LoadedKey};
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
        let decide = async |caller: Caller| self.decide_update(&caller, key, edit, options).await;
        self.write(caller, options, decide, async |outcome| self.written_key(&outcome).await).await
    }

    async fn decide_update(
        &self,
        caller: &Caller,
        key: &KeyRef,
        edit: &KeyEdit,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.load_for(caller, key, AdminAction::KeysUpdate).await?;
        before.check_version(options)?;
        before.require_live()?;
        let draft = self.edited_draft(&before, edit).await?;
        let Resolved { spec, around, new_owner } =
            self.resolve(caller, draft, &before.around.keyspace, Some(&before.key.spec)).await?;
        let now = self.clock.now();
        let after = Key { spec, ..before.next(caller, now) };
        // `enabled` has an action of its own, also where it is changed together with other fields.
        if after.spec.enabled != before.key.spec.enabled {
            caller.require_in(AdminAction::KeysDisable, after.keyspace)?;
        }
        check_gain(caller, Some(before.held()), Held { key: &after, around: &around }, now)?;
        let decision = self.decided("key.update", &before, (after, around)).await?;
        Ok(match new_owner {
            Some(owner) => {
                let made = Change::PrincipalChanged(owner.into());
                let changes = std::iter::once(made).chain(decision.changes).collect();
                Decision { changes, ..decision }.without_version_of_new()
            }
            None => decision,
        })
    }

    async fn edited_draft(&self, before: &LoadedKey, edit: &KeyEdit) -> Result<KeyDraft, Error> {
        let kind = before.key.spec.rights.kind();
        match edit {
            KeyEdit::Document(edit) => {
                let names = self.names_for(&[&before.key]).await?;
                let view = key_view(&before.key, &names, &before.last_used, self.clock.now());
                let shape = match kind {
                    KeyKind::Api => Shape::API_KEY,
                    KeyKind::Management => Shape::MANAGEMENT_KEY,
                };
                let mut writable = edited(shape, &view, edit)?;
                // Fields that cannot be null are cleared to their defaults.
                if writable.get("enabled").is_some_and(Value::is_null) {
                    return Err(Faults::one("/enabled", "invalid_type", "must be true or false").into());
                }
                writable.retain(|field, value| field == "grants" || !value.is_null());
                Ok(decode_key(kind, &writable)?)
            }
            KeyEdit::Set(set) => {
                let mut draft = present_draft(&before.key);
                set(&mut draft, &before.key)?;
                Ok(draft)
            }
        }
    }
}

/// A key's present writable state as a draft.
fn present_draft(key: &Key) -> KeyDraft {
    let owner = key.spec.owner.map(OwnerDraft::Id);
    let reach = match &key.spec.rights {
        Rights::Api { .. } => None,
        Rights::Management { .. } => {
            let view =
                key_view(key, &Names::default(), &std::collections::BTreeMap::new(), key.meta.updated_at);
            let listed = |name: &str| {
                let list = view.get("admin").and_then(|admin| admin.get(name)).and_then(Value::as_array);
                list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
            };
            Some(ReachDraft { orgs: listed("orgs"), keyspaces: listed("keyspaces") })
        }
    };
    KeyDraft { spec: key.spec.clone(), owner, reach }
}

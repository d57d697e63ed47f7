//! The audit as clients see it: each entry with its noun in the form that every other answer has.

use std::collections::BTreeMap;
use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, KeyspaceId, PlanId, PrincipalId, RoleId};
use keywright_model::key::Key;
use keywright_model::noun::{Keyspace, Org, Plan, Principal, Role};
use keywright_model::view::{Names, key_view};
use keywright_store::audit::AuditEntry;
use keywright_store::{Noun, Page};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::nouns::{place, view_of};
use crate::{Caller, Control, Error};

impl Control {
    /// Shows each entry's noun as it was after the write: its state at that moment, under the names of today.
    pub(crate) async fn shown_audit(
        &self,
        caller: &Caller,
        mut page: Page<AuditEntry>,
    ) -> Result<Page<AuditEntry>, Error> {
        let nouns: Vec<Option<Noun>> = page.items.iter_mut().map(kept_noun).collect();
        let names = self.audit_names(caller, &nouns).await?;
        for (entry, noun) in page.items.iter_mut().zip(&nouns) {
            let view = noun.as_ref().map(|noun| match noun {
                // When its secrets were used last was not part of the write.
                Noun::Key(key) => key_view(key, &names, &BTreeMap::new(), entry.at),
                noun => view_of(noun, &names),
            });
            entry.after = view.map(Value::Object);
        }
        Ok(page)
    }

    async fn audit_names(&self, caller: &Caller, nouns: &[Option<Noun>]) -> Result<Names, Error> {
        let keys: Vec<&Key> = nouns.iter().flatten().filter_map(key_of).collect();
        let mut names = self.names_for(caller, &keys).await?;
        // Every entry is of the caller's organization, that of an organization made by it aside.
        let mut orgs: Vec<NounRef> = nouns.iter().flatten().map(|noun| NounRef::Org(place(noun).0)).collect();
        orgs.sort_unstable();
        orgs.dedup();
        names.orgs.extend(self.names_of(&orgs).await?.orgs);
        Ok(names)
    }
}

fn key_of(noun: &Noun) -> Option<&Key> {
    match noun {
        Noun::Key(key) => Some(key),
        Noun::Org(_) | Noun::Keyspace(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) => None,
    }
}

/// Takes an entry's noun as the store keeps it. One that does not read back is not shown, and does not hide the rest.
fn kept_noun(entry: &mut AuditEntry) -> Option<Noun> {
    let kept = entry.after.take()?;
    let is_of = |prefix: &str| entry.subject.starts_with(prefix);
    let read = if is_of(KeyId::PREFIX) {
        read::<Arc<Key>>(kept).map(Noun::Key)
    } else if is_of(PrincipalId::PREFIX) {
        read::<Principal>(kept).map(Noun::Principal)
    } else if is_of(RoleId::PREFIX) {
        read::<Role>(kept).map(Noun::Role)
    } else if is_of(PlanId::PREFIX) {
        read::<Plan>(kept).map(Noun::Plan)
    } else if is_of(KeyspaceId::PREFIX) {
        read::<Keyspace>(kept).map(Noun::Keyspace)
    } else {
        read::<Org>(kept).map(Noun::Org)
    };
    let unread = |error: &serde_json::Error| {
        tracing::error!(org.id = %entry.org, entry.number, %error, "the noun of an audit entry does not read back");
    };
    read.inspect_err(unread).ok()
}

fn read<T: DeserializeOwned>(kept: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(kept)
}

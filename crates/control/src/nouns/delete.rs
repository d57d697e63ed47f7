//! Delete a noun that nothing refers to any more.

use keywright_model::access::AccessChange;
use keywright_model::change::{Change, NounRef};
use keywright_model::document::field_changes;
use keywright_model::noun::Principal;
use keywright_store::query::NounKind;
use keywright_store::{Expect, KeyQuery};
use serde_json::Map;

use super::edit::{Verb, verb};
use super::{kind, place, view_of, wants_if_match};
use crate::keys::LoadedKey;
use crate::write::{Answer, Decision, Plan, WriteOptions};
use crate::{Caller, Control, Error};

/// How many keys of a principal are read at a time.
const KEYS_PAGE: usize = 200;

impl Control {
    /// Deletes a noun; [`Error::InUse`] while something refers to it.
    pub async fn delete_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        id: &str,
        options: &WriteOptions,
    ) -> Result<Answer<()>, Error> {
        let decide = async |caller: Caller| self.decide_delete_noun(&caller, of, id, options).await;
        self.write(caller, options, decide, async |_| Ok(())).await
    }

    async fn decide_delete_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        id: &str,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.noun_for(caller, of, id, kind(of).write).await?;
        Self::check_version(options, wants_if_match(&before), before.version())?;
        let (org, subject) = place(&before);
        let change = match subject {
            NounRef::Org(id) => Change::OrgDeleted(id),
            NounRef::Keyspace(id) => Change::KeyspaceDeleted(org, id),
            NounRef::Principal(id) => Change::PrincipalDeleted(org, id),
            NounRef::Role(id) => Change::RoleDeleted(org, id),
            NounRef::Plan(id) => Change::PlanDeleted(org, id),
            NounRef::Key(_) => return Err(Error::internal("keys have a verb of their own")),
        };
        let names = self.names_of(&[NounRef::Org(org)]).await?;
        Ok(Decision {
            shown: None,
            verb: verb(of, Verb::Delete),
            subject,
            expect: vec![Expect::Version(subject, before.version()), Expect::Unused(subject)],
            changes: vec![change],
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away: true,
            plan: Plan {
                changes: field_changes(&view_of(&before, &names), &Map::new()),
                access: AccessChange::default(),
            },
        })
    }

    /// Looks at every key that a principal owns, and expects each to stay as it was and no other to come to it.
    pub(crate) async fn each_key_of(
        &self,
        owner: &Principal,
        check: impl Fn(&LoadedKey) -> Result<(), Error> + Sync,
    ) -> Result<Vec<Expect>, Error> {
        let now = self.clock.now();
        let mut expect = Vec::new();
        let mut query = KeyQuery { owner: Some(owner.id), ..KeyQuery::all(owner.org, now, KEYS_PAGE) };
        loop {
            let page = self.store.keys_page(&query).await?;
            query.after = page.items.last().map(|key| key.id);
            for key in page.items.into_iter().filter(|key| key.revocation.is_none()) {
                let loaded = self.surrounded(key.into()).await?;
                check(&loaded)?;
                expect.push(Expect::Version(NounRef::Key(loaded.key.id), loaded.key.meta.version));
            }
            if !page.more {
                expect.push(Expect::Owns(owner.id, u64::try_from(expect.len()).unwrap_or(u64::MAX)));
                return Ok(expect);
            }
        }
    }
}

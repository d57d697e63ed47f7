//! See keys: one, some, or the one that a secret belongs to.

use std::net::IpAddr;

use keywright_model::address::AddressSet;
use keywright_model::admin::{AdminAction, Reach};
use keywright_model::fault::Faults;
use keywright_model::grant::{Action, Resource};
use keywright_model::id::{KeyId, KeyspaceId};
use keywright_model::key::Key;
use keywright_model::secret::Secret;
use keywright_model::view::key_view;
use keywright_store::KeyQuery;
use std::sync::Arc;

use super::{KeyRecord, KeyRef};
use crate::caller::Who;
use crate::rights::Held;
use crate::{Caller, Control, Error};

/// Which keys to list.
#[derive(Clone, Debug)]
pub struct KeyList {
    /// In this keyspace, by name or id; `None` is every one that the caller sees.
    pub keyspace: Option<String>,
    /// The filters that the store knows. Its `org`, `keyspaces` and `now` are set here.
    pub query: KeyQuery,
    /// Who can do this now.
    pub can: Option<Can>,
}

/// Something that a key can do, or cannot.
#[derive(Clone, Debug)]
pub struct Can {
    /// The action; `None` asks only about the address.
    pub action: Option<Action>,
    /// On this resource; the root when an action comes without one.
    pub resource: Resource,
    /// From this address; `None` asks about anywhere at all.
    pub address: Option<IpAddr>,
}

/// Some of the keys, newest first.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// The keys.
    pub items: Vec<KeyRecord>,
    /// Where the list goes on; with `can`, a page may hold fewer keys than asked for and still go on.
    pub next: Option<KeyId>,
}

/// Some of the keys, newest first, and how many there are in all.
#[derive(Clone, Debug)]
pub struct NumberedPage {
    /// The keys.
    pub items: Vec<KeyRecord>,
    /// How many the query finds, whatever it skips and wherever it stops.
    pub total: u64,
}

/// How many keys one call looks at for `can`.
const CAN_SCAN_MAX: usize = 2_000;

/// How many of them it reads at a time, at least.
const CAN_PAGE: usize = 200;

impl Control {
    /// One key.
    pub async fn key(&self, caller: &Caller, key: &KeyRef) -> Result<KeyRecord, Error> {
        let loaded = self.load_for(caller, key, AdminAction::KeysRead).await?;
        self.record(caller, loaded.key, &loaded.last_used).await
    }

    /// The key that a secret belongs to, in the caller's organization: found a leaked one.
    pub async fn lookup_key(&self, caller: &Caller, secret: &Secret) -> Result<KeyRecord, Error> {
        self.key(caller, &KeyRef::Secret(secret.clone())).await
    }

    /// Some keys.
    pub async fn keys(&self, caller: &Caller, list: &KeyList) -> Result<KeyPage, Error> {
        let keyspaces = self.listed_keyspaces(caller, list.keyspace.as_deref()).await?;
        let now = self.clock.now();
        let wanted = list.query.limit.max(1);
        let limit = if list.can.is_some() { wanted.max(CAN_PAGE) } else { wanted };
        let mut query = KeyQuery { org: caller.org, keyspaces, now, limit, ..list.query.clone() };
        let (mut items, mut scanned) = (Vec::new(), 0);
        loop {
            let page = self.store.keys_page(&query).await?;
            for key in page.items {
                (query.after, scanned) = (Some(key.id), scanned + 1);
                if self.can(&key, list.can.as_ref()).await? {
                    items.push(key);
                }
                if items.len() == wanted {
                    break;
                }
            }
            let full = items.len() >= wanted || scanned >= CAN_SCAN_MAX;
            if full || !page.more {
                // With a filter of ours, a full page may end inside what the store gave.
                let next = (page.more || full).then_some(query.after).flatten();
                return Ok(KeyPage {
                    next: self.more_after(&query, next).await?,
                    items: self.records(caller, items).await?,
                });
            }
        }
    }

    /// Some keys by their place in the list: the query's `skip` and `limit`. Counting them all takes longer the more there
    /// are, so this is for wires whose pages have numbers.
    pub async fn numbered_keys(
        &self,
        caller: &Caller,
        keyspace: Option<&str>,
        query: &KeyQuery,
    ) -> Result<NumberedPage, Error> {
        let keyspaces = self.listed_keyspaces(caller, keyspace).await?;
        let query = KeyQuery { org: caller.org, keyspaces, now: self.clock.now(), ..query.clone() };
        let total = self.store.keys_count(&query).await?;
        let past_the_end = u64::try_from(query.skip).is_ok_and(|skip| skip >= total);
        let keys = if past_the_end { Vec::new() } else { self.store.keys_page(&query).await?.items };
        Ok(NumberedPage { items: self.records(caller, keys).await?, total })
    }

    async fn more_after(&self, query: &KeyQuery, next: Option<KeyId>) -> Result<Option<KeyId>, Error> {
        let Some(after) = next else { return Ok(None) };
        let rest = KeyQuery { after: Some(after), limit: 1, ..query.clone() };
        let any = !self.store.keys_page(&rest).await?.items.is_empty();
        Ok(any.then_some(after))
    }

    async fn can(&self, key: &Key, can: Option<&Can>) -> Result<bool, Error> {
        let Some(can) = can else { return Ok(true) };
        let listed =
            |ranges: &Vec<_>| can.address.is_none_or(|address| AddressSet::new(ranges).contains(address));
        if !key.spec.ip_allowlist.as_ref().is_none_or(listed) {
            return Ok(false);
        }
        let around = self.surroundings(key.keyspace, &key.spec).await?;
        let held = Held { key, around: &around };
        let allowed = |action| held.access().allows(action, &can.resource);
        Ok(held.is_usable_at(self.clock.now()) && can.action.as_ref().is_none_or(allowed))
    }

    async fn records(&self, caller: &Caller, keys: Vec<Key>) -> Result<Vec<KeyRecord>, Error> {
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        let last_used = self.store.last_used(&ids).await?;
        let names = self.names_for(caller, &keys.iter().collect::<Vec<_>>()).await?;
        let now = self.clock.now();
        let record = |(key, used): (Key, keywright_store::LastUsed)| {
            let view = key_view(&key, &names, &used.secrets, now);
            KeyRecord { key: Arc::new(key), view }
        };
        Ok(keys.into_iter().zip(last_used).map(record).collect())
    }

    async fn listed_keyspaces(
        &self,
        caller: &Caller,
        named: Option<&str>,
    ) -> Result<Option<Vec<KeyspaceId>>, Error> {
        if let Some(name) = named {
            let keyspace =
                self.keyspace_named(caller.org, name).await?.filter(|keyspace| caller.reaches(keyspace.id));
            let keyspace = keyspace.ok_or_else(|| {
                Faults::one("/keyspace", "unknown_keyspace", "no such keyspace in this organization")
            })?;
            caller.require_in(AdminAction::KeysRead, keyspace.id)?;
            return Ok(Some(vec![keyspace.id]));
        }
        caller.require(AdminAction::KeysRead)?;
        Ok(match &caller.who {
            Who::Root => None,
            Who::Key { admin, .. } => match &admin.keyspaces {
                Reach::All => None,
                Reach::Only(ids) => Some(ids.iter().copied().collect()),
            },
        })
    }
}

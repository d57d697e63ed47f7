//! What happens by itself: deleted keys' records go after their time, replayed secrets and old feed entries too.

use keywright_model::change::{Change, NounRef};
use keywright_model::id::OrgId;
use keywright_model::key::{Key, UNDELETE_SECONDS};
use keywright_model::noun::Actor;
use keywright_model::time::Timestamp;
use keywright_store::query::NounKind;
use keywright_store::{AuditContext, Commit, Expect, KeyQuery, Noun, NounQuery, Use};

use crate::{Control, Error};

/// How many records go in one write.
const PURGE_PAGE: usize = 100;

/// The wire that the audit names for what Keywright does by itself.
const WIRE: &str = "housekeeping";

impl Control {
    /// Drops what has run out. `feed_before` is the oldest feed entry that followers may still want.
    pub async fn sweep(&self, feed_before: Timestamp) -> Result<(), Error> {
        self.store.sweep(self.clock.now(), feed_before).await?;
        let mut orgs = NounQuery { kind: NounKind::Org, org: None, after: None, limit: PURGE_PAGE };
        loop {
            let page = self.store.nouns_page(&orgs).await?;
            for noun in page.items {
                let Noun::Org(org) = noun else { continue };
                orgs.after = Some(org.id.bits());
                self.purge_deleted(org.id).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Lets the records of an organization go whose 30 days have passed.
    async fn purge_deleted(&self, org: OrgId) -> Result<(), Error> {
        let now = self.clock.now();
        let long_ago = now.plus_ms(-i64::try_from(UNDELETE_SECONDS * 1_000).unwrap_or(i64::MAX));
        let mut query = KeyQuery { deleted_before: Some(long_ago), ..KeyQuery::all(org, now, PURGE_PAGE) };
        loop {
            let page = self.store.keys_page(&query).await?;
            query.after = page.items.last().map(|key| key.id);
            for key in &page.items {
                match self.store.commit(purge(key, now)).await {
                    // Whoever brought it back in the meantime was in time.
                    Ok(_) | Err(keywright_store::CommitError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Writes down when secrets were used.
    pub async fn record_uses(&self, uses: &[Use]) -> Result<(), Error> {
        Ok(self.store.record_uses(uses).await?)
    }
}

fn purge(key: &Key, now: Timestamp) -> Commit {
    let subject = NounRef::Key(key.id);
    Commit {
        expect: vec![Expect::Version(subject, key.meta.version)],
        changes: vec![Change::KeyPurged(key.org, key.keyspace, key.id)],
        audit: AuditContext {
            at: now,
            actor: Actor::System,
            org: key.org,
            wire: WIRE,
            verb: "key.purge",
            subject,
            address: None,
            request_id: None,
        },
        idempotency: None,
        wrapped_keys: Vec::new(),
    }
}

//! What callers can see besides nouns: themselves, the audit, how far a write has come, whether the store answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use keywright_model::admin::AdminAction;
use keywright_model::change::NounRef;
use keywright_model::noun::Actor;
use keywright_model::revision::{Revision, RevisionToken};
use keywright_model::time::Timestamp;
use keywright_store::audit::AuditEntry;
use keywright_store::{AuditQuery, Page, Touched};
use serde_json::{Map, Value, json};

use crate::caller::Who;
use crate::write::touched;
use crate::{Caller, Control, Error};

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevisionStatus {
    /// The write.
    pub revision: RevisionToken,
    /// Whether every verifier answers by it.
    pub enforced: bool,
    /// How many verifiers do not yet.
    pub missing: u64,
    /// Since when every verifier does, at the latest: when this node first saw it.
    pub since: Option<Timestamp>,
    /// When every verifier does at the latest; `None` while more are missing than one write may fence.
    pub at_latest: Option<Timestamp>,
}

/// How many moments are remembered.
const MOMENTS_MAX: usize = 4_096;

/// When writes were first seen to be enforced. Bounded: of older writes is known that they were enforced when the oldest
/// that is remembered was.
#[derive(Debug, Default)]
pub(crate) struct Moments(Mutex<BTreeMap<Revision, Timestamp>>);

impl Moments {
    /// Notes that a write is enforced, and says since when at the latest. A newer one that is enforced has all before it.
    pub(crate) fn seen(&self, revision: Revision, now: Timestamp) -> Timestamp {
        let mut moments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = moments.range(revision..).next() {
            return *at;
        }
        moments.insert(revision, now);
        if moments.len() > MOMENTS_MAX {
            moments.pop_first();
        }
        now
    }
}

/// Which audit entries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Older than this entry's number.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
    /// About this noun (its id as text).
    pub subject: Option<String>,
    /// By this actor.
    pub actor: Option<Actor>,
    /// With this verb.
    pub verb: Option<String>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

impl Control {
    /// Who the caller is and what it may do.
    pub async fn whoami(&self, caller: &Caller) -> Result<Map<String, Value>, Error> {
        let names = self.names_of(&[NounRef::Org(caller.org)]).await?;
        let mut view = Map::new();
        view.insert("kind".to_owned(), json!(if caller.is_root() { "root" } else { "management" }));
        view.insert("org".to_owned(), json!(names.org(caller.org)));
        let key = match &caller.who {
            Who::Root => Value::Null,
            Who::Key { key, .. } => {
                Value::Object(self.record(caller, std::sync::Arc::clone(key), &BTreeMap::new()).await?.view)
            }
        };
        view.insert("key".to_owned(), key);
        Ok(view)
    }

    /// Some entries of the audit of the caller's organization. Whoever is bound to keyspaces does not see it, since it
    /// tells of all of them.
    pub async fn audit(&self, caller: &Caller, filter: &AuditFilter) -> Result<Page<AuditEntry>, Error> {
        caller.require(AdminAction::AuditRead)?;
        if !caller.reaches_all() {
            return Err(Error::Forbidden { action: AdminAction::AuditRead });
        }
        let AuditFilter { before, limit, subject, actor, verb, since, until } = filter.clone();
        let query = AuditQuery { org: caller.org, before, limit, subject, actor, verb, since, until };
        self.shown_audit(caller, self.store.audit_page(&query).await?).await
    }

    /// How far a write has come.
    pub async fn revision_status(
        &self,
        _caller: &Caller,
        token: RevisionToken,
    ) -> Result<RevisionStatus, Error> {
        let head = self.store.head().await?;
        let known =
            self.store.installation().await?.incarnation == token.incarnation && token.revision <= head;
        if !known {
            return Err(Error::NotFound("revision"));
        }
        let touched = self.touched_by(token.revision).await?;
        let missing = self.barrier.missing(token.revision, &touched).await?;
        let now = self.clock.now();
        let since = missing.is_none().then(|| self.moments.seen(token.revision, now));
        if missing.is_some() {
            // The node that wrote it may be gone: whoever is asked about a write sees to it.
            self.barrier.owe(token.revision, touched, 0);
        }
        let at_most = missing.as_ref().and_then(|missing| missing.at_most);
        let at_latest = at_most.map(|most| now.plus_ms(i64::try_from(most.as_millis()).unwrap_or(i64::MAX)));
        let verifiers = missing.as_ref().map_or(0, |missing| missing.verifiers);
        Ok(RevisionStatus {
            revision: token,
            enforced: missing.is_none(),
            missing: verifiers,
            since,
            at_latest,
        })
    }

    /// Whose answers a write has changed; everybody's when the feed has let it go.
    async fn touched_by(&self, revision: Revision) -> Result<Touched, Error> {
        let Some(before) = revision.0.checked_sub(1) else { return Ok(Touched::Everything) };
        let batch = self.store.batches_after(Revision(before), 1).await?.unwrap_or_default();
        Ok(batch.first().map_or(Touched::Everything, |batch| touched(&batch.changes)))
    }

    /// Whether the store answers.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.head().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_enforced_since_it_or_a_later_one_was_first_seen_to_be() {
        let (moments, at) = (Moments::default(), Timestamp::from_unix_ms);
        assert_eq!(moments.seen(Revision(5), at(10)), at(10));
        assert_eq!(moments.seen(Revision(5), at(20)), at(10));
        assert_eq!(moments.seen(Revision(3), at(30)), at(10), "what came before was enforced with it");
        assert_eq!(moments.seen(Revision(6), at(40)), at(40));
        for revision in 7..20_000 {
            moments.seen(Revision(revision), at(50));
        }
        assert_eq!(moments.0.lock().unwrap().len(), MOMENTS_MAX);
        assert_eq!(moments.seen(Revision(5), at(60)), at(50), "the oldest that is remembered is a bound");
    }
}

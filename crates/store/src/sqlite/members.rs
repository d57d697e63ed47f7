//! Who verifies besides the one process that serves an embedded store: followers that hold a lease.
//!
//! This process gives every lease, so what it knows in memory is the truth while it runs; the rows say after a restart whose
//! leases may still run. A renewal writes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keywright_model::id::NodeId;
use keywright_model::revision::{Incarnation, Revision};
use rusqlite::{Connection, params};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::SqliteStore;
use super::bookkeeping::Chore;
use super::nouns::all;
use super::value::{column, count, from_json, id, id_column, to_json, uncount};
use crate::members::{Followed, Member, MemberStatus, Members, NewMember, Renewal, Report, report_channel};
use crate::{Store as _, StoreError};

const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// What becomes of a row.
#[derive(Clone, Debug)]
pub(super) enum MemberChore {
    /// A life begins. Whoever ran in the same slot is gone, and what is long gone is let go of.
    Register(NewMember),
    /// A life is so far, and answers by a revision.
    Becomes(NodeId, MemberStatus, Revision),
}

/// Writes what becomes of a row.
pub(super) fn write(connection: &Connection, chore: &MemberChore) -> Result<(), StoreError> {
    match chore {
        MemberChore::Register(member) => register(connection, member),
        MemberChore::Becomes(of, status, applied) => {
            let sql = format!(
                "UPDATE members SET status = ?2, applied = max(applied, ?3), changed_at = {NOW} \
                 WHERE id = ?1 AND status <> 'gone'"
            );
            connection.prepare_cached(&sql)?.execute(params![
                id(of.bits()),
                status.as_str(),
                count(applied.0)
            ])?;
            Ok(())
        }
    }
}

fn register(connection: &Connection, member: &NewMember) -> Result<(), StoreError> {
    let NewMember { id: own, name, scope, lease_ms, address, version } = member;
    let sql = format!(
        "UPDATE members SET status = 'gone', changed_at = {NOW} WHERE name = ?1 AND status <> 'gone'"
    );
    connection.prepare_cached(&sql)?.execute([name])?;
    let sql = format!("DELETE FROM members WHERE status = 'gone' AND changed_at < {NOW} - 86400000");
    connection.prepare_cached(&sql)?.execute([])?;
    let scope = scope.as_ref().map(to_json).transpose()?;
    let sql = format!(
        "INSERT INTO members (id, name, scope, status, lease_ms, address, version, changed_at) \
         VALUES (?1, ?2, ?3, 'joining', ?4, ?5, ?6, {NOW})"
    );
    let row = params![id(own.bits()), name, scope, count(*lease_ms), address, version];
    connection.prepare_cached(&sql)?.execute(row)?;
    Ok(())
}

/// Every life that is not gone.
fn read(connection: &Connection) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT id, name, scope, status, applied, lease_ms, address, version FROM members \
               WHERE status <> 'gone' ORDER BY id";
    all(connection, sql, [], |row| {
        let scope: Option<String> = column(row, 2)?;
        let status: String = column(row, 3)?;
        Ok(Member {
            id: NodeId::from_bits(id_column(row, 0)?),
            name: column(row, 1)?,
            scope: scope.map(|text| from_json::<Followed>(&text, "a member's scope")).transpose()?,
            status: MemberStatus::parse(&status)
                .ok_or_else(|| StoreError::Corrupt(format!("a member is `{status}`")))?,
            applied: Revision(uncount(column(row, 4)?)),
            lease_ms: uncount(column(row, 5)?),
            address: column(row, 6)?,
            version: column(row, 7)?,
            renewed_ago_ms: None,
        })
    })
}

/// The followers of an embedded store.
#[derive(Debug)]
pub struct SqliteMembers {
    store: Arc<SqliteStore>,
    incarnation: Incarnation,
    rows: Mutex<BTreeMap<NodeId, Row>>,
    reports: broadcast::Sender<Report>,
}

#[derive(Clone, Debug)]
struct Row {
    member: Member,
    renewed_at: Option<Instant>,
}

impl SqliteMembers {
    /// Whoever the rows of a store say may still hold a lease, and who comes from now on.
    pub async fn of(store: Arc<SqliteStore>) -> Result<Self, StoreError> {
        let incarnation = store.installation().await?.incarnation;
        let known = store.readers.read(read).await?;
        let rows = known.into_iter().map(|member| (member.id, Row { member, renewed_at: None })).collect();
        Ok(Self { store, incarnation, rows: Mutex::new(rows), reports: report_channel() })
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<NodeId, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn chore(&self, chore: MemberChore) -> Result<(), StoreError> {
        self.store.chore(Chore::Member(chore)).await
    }

    /// Moves a life on in memory, if it is at one of these.
    fn becomes(&self, id: NodeId, from: &[MemberStatus], to: MemberStatus) -> bool {
        match self.rows().get_mut(&id) {
            Some(row) if from.contains(&row.member.status) => {
                row.member.status = to;
                true
            }
            _ => false,
        }
    }

    fn changed(&self) {
        let _heard = self.reports.send(None);
    }
}

#[async_trait]
impl Members for SqliteMembers {
    fn is_alone(&self) -> bool {
        self.rows().is_empty()
    }

    async fn register(&self, member: &NewMember) -> Result<(), StoreError> {
        let NewMember { id, name, scope, lease_ms, address, version } = member.clone();
        let row = Member {
            id,
            name: name.clone(),
            scope,
            status: MemberStatus::Joining,
            applied: Revision(0),
            lease_ms,
            address,
            version,
            renewed_ago_ms: None,
        };
        self.chore(MemberChore::Register(member.clone())).await?;
        {
            let mut rows = self.rows();
            rows.retain(|_, row| name.is_none() || row.member.name != name);
            rows.insert(id, Row { member: row, renewed_at: None });
        }
        self.changed();
        Ok(())
    }

    async fn go_live(&self, id: NodeId, applied: Revision) -> Result<Option<Revision>, StoreError> {
        let is_joining = |row: &Row| row.member.status == MemberStatus::Joining;
        if !self.rows().get(&id).is_some_and(is_joining) {
            return Ok(None);
        }
        self.chore(MemberChore::Becomes(id, MemberStatus::Live, applied)).await?;
        if !self.becomes(id, &[MemberStatus::Joining], MemberStatus::Live) {
            return Ok(None);
        }
        self.report(id, applied).await?;
        // Invariant: the newest revision is read after every writer can see that this life is live.
        self.store.head().await.map(Some)
    }

    async fn renew(&self, id: NodeId) -> Result<Renewal, StoreError> {
        let head = self.store.head().await?;
        match self.rows().get_mut(&id) {
            // Invariant: a life that is not live is given no lease. A fence takes effect here before it is told.
            Some(row) if row.member.status == MemberStatus::Live => {
                row.renewed_at = Some(Instant::now());
                Ok(Renewal::Renewed { head, incarnation: self.incarnation })
            }
            _ => Ok(Renewal::Refused),
        }
    }

    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), StoreError> {
        if let Some(row) = self.rows().get_mut(&id) {
            row.member.applied = row.member.applied.max(applied);
        }
        let _heard = self.reports.send(Some((id, applied)));
        Ok(())
    }

    async fn fence(&self, id: NodeId) -> Result<(), StoreError> {
        if self.becomes(id, &[MemberStatus::Live, MemberStatus::Fenced], MemberStatus::Fenced) {
            self.chore(MemberChore::Becomes(id, MemberStatus::Fenced, Revision(0))).await?;
            self.changed();
        }
        Ok(())
    }

    async fn bury(&self, id: NodeId) -> Result<bool, StoreError> {
        if !self.rows().contains_key(&id) {
            return Ok(false);
        }
        self.chore(MemberChore::Becomes(id, MemberStatus::Gone, Revision(0))).await?;
        let was_there = self.rows().remove(&id).is_some();
        self.changed();
        Ok(was_there)
    }

    async fn bury_fenced(&self, id: NodeId) -> Result<bool, StoreError> {
        let fenced = |row: &Row| row.member.status == MemberStatus::Fenced;
        // No failover makes a life of an embedded store live again, so nothing can come between the two.
        if self.rows().get(&id).is_some_and(fenced) { self.bury(id).await } else { Ok(false) }
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let shown = |row: &Row| {
            let ago = row.renewed_at.map(|at| at.elapsed().as_millis());
            let renewed_ago_ms = ago.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
            Member { renewed_ago_ms, ..row.member.clone() }
        };
        Ok(self.rows().values().map(shown).collect())
    }

    fn reports(&self) -> broadcast::Receiver<Report> {
        self.reports.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use keywright_model::admin::Reach;
    use keywright_model::feed::Scope;
    use keywright_model::id::OrgId;
    use keywright_model::noun::Actor;

    use super::super::tests::SqliteBackend;
    use super::*;

    fn life(number: u128, name: Option<&str>) -> NewMember {
        let scope = Scope { org: OrgId::from_bits(1), keyspaces: Reach::All };
        NewMember {
            id: NodeId::from_bits(number),
            name: name.map(str::to_owned),
            scope: Some(Followed { by: Actor::Root, scope }),
            lease_ms: 5_000,
            address: "a".to_owned(),
            version: "v".to_owned(),
        }
    }

    async fn statuses(members: &SqliteMembers) -> Vec<(u128, MemberStatus, u64)> {
        let members = members.members().await.unwrap();
        members.iter().map(|one| (one.id.bits(), one.status, one.applied.0)).collect()
    }

    #[tokio::test]
    async fn a_life_goes_from_joining_to_live_to_fenced_to_gone_and_never_back() {
        let backend = SqliteBackend::new();
        let members = SqliteMembers::of(backend.start()).await.unwrap();
        let one = NodeId::from_bits(1);
        assert!(members.is_alone());
        assert_eq!(members.go_live(one, Revision(0)).await.unwrap(), None, "nobody has registered");
        members.register(&life(1, None)).await.unwrap();
        assert!(!members.is_alone());
        assert_eq!(members.renew(one).await.unwrap(), Renewal::Refused, "no lease before it is live");
        let head = members.store.head().await.unwrap();
        assert_eq!(members.go_live(one, Revision(0)).await.unwrap(), Some(head));
        assert!(matches!(members.renew(one).await.unwrap(), Renewal::Renewed { .. }));
        members.report(one, Revision(7)).await.unwrap();
        members.report(one, Revision(5)).await.unwrap();
        assert_eq!(statuses(&members).await, [(1, MemberStatus::Live, 7)], "it never goes back");
        members.fence(one).await.unwrap();
        assert_eq!(members.renew(one).await.unwrap(), Renewal::Refused);
        assert_eq!(members.go_live(one, Revision(9)).await.unwrap(), None);
        members.register(&life(2, None)).await.unwrap();
        assert!(!members.bury_fenced(NodeId::from_bits(2)).await.unwrap(), "it is not fenced");
        assert!(members.bury(NodeId::from_bits(2)).await.unwrap());
        assert!(members.bury(one).await.unwrap() && !members.bury(one).await.unwrap());
        assert!(members.is_alone());
    }

    #[tokio::test]
    async fn whose_lease_may_still_run_is_known_after_a_restart() {
        let backend = SqliteBackend::new();
        {
            let members = SqliteMembers::of(backend.start()).await.unwrap();
            for number in 1..=4 {
                members.register(&life(number, None)).await.unwrap();
            }
            for number in 1..=3 {
                members.go_live(NodeId::from_bits(number), Revision(0)).await.unwrap();
            }
            members.fence(NodeId::from_bits(2)).await.unwrap();
            members.bury(NodeId::from_bits(3)).await.unwrap();
        }
        let members = SqliteMembers::of(backend.start()).await.unwrap();
        let (live, fenced, joining) = (MemberStatus::Live, MemberStatus::Fenced, MemberStatus::Joining);
        assert_eq!(statuses(&members).await, [(1, live, 0), (2, fenced, 0), (4, joining, 0)]);
        assert!(matches!(members.renew(NodeId::from_bits(1)).await.unwrap(), Renewal::Renewed { .. }));
        let scope = members.members().await.unwrap()[0].scope.clone();
        assert_eq!(scope, life(1, None).scope);
    }

    #[tokio::test]
    async fn who_ran_in_the_same_slot_is_gone() {
        let backend = SqliteBackend::new();
        let members = SqliteMembers::of(backend.start()).await.unwrap();
        members.register(&life(1, Some("slot"))).await.unwrap();
        members.register(&life(2, None)).await.unwrap();
        members.register(&life(3, Some("slot"))).await.unwrap();
        let joining = MemberStatus::Joining;
        assert_eq!(statuses(&members).await, [(2, joining, 0), (3, joining, 0)]);
        drop(members);
        let members = SqliteMembers::of(backend.start()).await.unwrap();
        assert_eq!(statuses(&members).await, [(2, joining, 0), (3, joining, 0)]);
    }
}

//! The rows of who verifies. Registrations, renewals and fences are as durable as writes, or count as not made; reports
//! may be lost with the server, since they only say what is so.
//!
//! A report tells nobody by `NOTIFY`: PostgreSQL lets one notifying transaction commit at a time, its flush and its wait for
//! a standby included, so that reports would wait for every write and writes for every report. Whoever waits hears a signal,
//! or looks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keywright_model::id::NodeId;
use keywright_model::revision::{Incarnation, Revision};
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;
use tokio_postgres::Row;

use super::PostgresDatabase;
use super::connect::{Connector, Purpose};
use super::link::{Link, Param};
use super::signals::Signals;
use super::value::{Id, column, count, count_column, from_json, id_column, to_json};
use crate::StoreError;
use crate::members::{Followed, Member, MemberStatus, Members, NewMember, Renewal, Report, report_channel};

/// Where it is heard that something about members but reports has changed.
const CHANGED: &str = "keywright_members";
/// How long after a lost connection the next one is tried.
const RETRY: Duration = Duration::from_millis(200);

const REGISTER: &str = "WITH predecessor AS (UPDATE members SET status = 'gone', changed_at = clock_timestamp() \
     WHERE name = $2 AND status <> 'gone'), \
     long_gone AS (DELETE FROM members WHERE status IN ('gone', 'joining') \
     AND changed_at < clock_timestamp() - interval '1 day') \
     INSERT INTO members (id, name, scope, status, lease_ms, address, version, signals) \
     VALUES ($1, $2, $3, 'joining', $4, $5, $6, \
     coalesce($7, host(inet_client_addr()), '127.0.0.1') || ' ' || $8::int)";
const GO_LIVE: &str = "UPDATE members SET status = 'live', applied = greatest(applied, $2), \
     renewed_at = clock_timestamp(), changed_at = clock_timestamp() WHERE id = $1 AND status = 'joining'";
const HEAD: &str = "SELECT revision FROM head";
const RENEW: &str = "WITH mine AS (UPDATE members SET renewals = renewals + 1, renewed_at = clock_timestamp() \
     WHERE id = $1 AND status = 'live' RETURNING 1) \
     SELECT (SELECT revision FROM head), (SELECT incarnation FROM installation), EXISTS (SELECT FROM mine)";
const REPORT: &str = "UPDATE members SET applied = $2 WHERE id = $1 AND applied < $2 AND status <> 'gone'";
// A fence that may not be replicated is set again: only a write that waits for the standby proves that it is.
const FENCE: &str = "WITH fenced AS (UPDATE members SET status = 'fenced', changed_at = clock_timestamp() \
     WHERE id = $1 AND status IN ('live', 'fenced') RETURNING 1) SELECT pg_notify('keywright_members', '') FROM fenced";
const BURY: &str = "WITH buried AS (UPDATE members SET status = 'gone', changed_at = clock_timestamp() \
     WHERE id = $1 AND status <> 'gone' RETURNING 1) SELECT pg_notify('keywright_members', '') FROM buried";
const BURY_FENCED: &str = "WITH buried AS (UPDATE members SET status = 'gone', changed_at = clock_timestamp() \
     WHERE id = $1 AND status = 'fenced' RETURNING 1) SELECT pg_notify('keywright_members', '') FROM buried";
const MEMBERS: &str = "SELECT id, name, scope, status, applied, lease_ms, address, version, \
     (extract(epoch FROM clock_timestamp() - renewed_at) * 1000)::bigint, signals \
     FROM members WHERE status <> 'gone' ORDER BY id";

/// One connection, opened when it is first needed and again when it is lost.
#[derive(Debug)]
pub(super) struct Lane {
    connector: Connector,
    setup: &'static str,
    link: Mutex<Option<Arc<Link>>>,
}

impl Lane {
    pub(super) fn new(connector: &Connector, setup: &'static str) -> Self {
        Self { connector: connector.clone(), setup, link: Mutex::new(None) }
    }

    pub(super) async fn link(&self) -> Result<Arc<Link>, StoreError> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(self.connector.connect(Purpose::Members).await?);
        if !self.setup.is_empty() {
            link.run(self.setup).await?;
        }
        *kept = Some(Arc::clone(&link));
        Ok(link)
    }

    /// A connection on which something failed is not used again: what it still has to answer nobody waits for.
    pub(super) async fn done<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            *self.link.lock().await = None;
        }
        result
    }

    /// From before a call until it is [`Self::done`]: a call that nobody waits for any more takes its connection with it, so
    /// that nothing piles up behind it.
    pub(super) const fn calling(&self) -> Calling<'_> {
        Calling { lane: self, answered: false }
    }

    async fn query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let link = self.link().await?;
        let calling = self.calling();
        let answer = link.query(sql, params).await.map_err(StoreError::from);
        calling.answered();
        self.done(answer).await
    }

    /// A statement that changes something. One that the server may not have replicated counts as failed.
    async fn durable(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let link = self.link().await?;
        let before = link.warnings();
        let calling = self.calling();
        let done = link.query(sql, params).await.map_err(StoreError::from);
        calling.answered();
        let warned =
            || Err(StoreError::Unavailable("the server warned that it may not be replicated".into()));
        self.done(if link.warnings() == before { done } else { warned() }).await
    }
}

/// A call that is under way on a lane.
pub(super) struct Calling<'l> {
    lane: &'l Lane,
    answered: bool,
}

impl Calling<'_> {
    /// An answer came, or an error.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if !self.answered
            && let Ok(mut kept) = self.lane.link.try_lock()
        {
            *kept = None;
        }
    }
}

/// The members of a cluster. A node's lease is renewed over one of its own.
#[derive(Debug)]
pub struct PostgresMembers {
    rows: Lane,
    reporting: Lane,
    /// That a life is over is true in every history of the data: said also to a server that took over.
    graves: Lane,
    reports: broadcast::Sender<Report>,
    signals: Option<Signals>,
    listener: Option<JoinHandle<()>>,
}

impl PostgresMembers {
    fn new(connector: &Connector, signals: Option<Signals>) -> Self {
        let reports = signals.as_ref().map_or_else(report_channel, Signals::reports);
        Self {
            rows: Lane::new(connector, ""),
            reporting: Lane::new(connector, "SET synchronous_commit = off"),
            graves: Lane::new(&connector.of_any_timeline(), ""),
            reports,
            signals,
            listener: None,
        }
    }
}

impl PostgresDatabase {
    /// Who verifies, over connections that nobody else uses. For keeping a node's lease, and for looking once.
    pub fn members(&self, signals: Option<Signals>) -> PostgresMembers {
        PostgresMembers::new(&self.connector, signals)
    }

    /// The same, hearing reports in a task of the calling runtime.
    pub fn listening_members(&self, signals: Option<Signals>) -> PostgresMembers {
        let mut members = self.members(signals);
        let listening = listen(self.connector.clone(), members.reports.clone());
        members.listener = Some(tokio::spawn(listening));
        members
    }

    /// The newest revision.
    pub async fn head(&self) -> Result<Revision, StoreError> {
        let row = self.link.first(HEAD, &[]).await?;
        row.map_or(Ok(Revision::default()), |row| count_column(&row, 0).map(Revision))
    }
}

impl Drop for PostgresMembers {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

async fn listen(connector: Connector, reports: broadcast::Sender<Report>) {
    loop {
        if let Err(error) = hear(&connector, &reports).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "reports of other verifiers are not heard"
            );
        }
        tokio::time::sleep(RETRY).await;
        // Something may have been missed.
        let _heard = reports.send(None);
    }
}

async fn hear(connector: &Connector, reports: &broadcast::Sender<Report>) -> Result<(), StoreError> {
    let (link, mut notifications) = connector.listen(Purpose::Listen).await?;
    link.run(&format!("LISTEN {CHANGED}")).await?;
    let _heard = reports.send(None);
    while notifications.recv().await.is_some() {
        let _heard = reports.send(None);
    }
    Err(StoreError::Unavailable("the connection ended".into()))
}

/// Where a member takes signals, if it does.
fn ear(row: &Row) -> Result<Option<SocketAddr>, StoreError> {
    let Some(text) = column::<Option<&str>>(row, 9)? else { return Ok(None) };
    let (ip, port) = text.split_once(' ').unwrap_or_default();
    Ok(ip.parse::<IpAddr>().ok().zip(port.parse().ok()).map(SocketAddr::from))
}

fn member(row: &Row) -> Result<Member, StoreError> {
    let scope: Option<&str> = column(row, 2)?;
    let status: &str = column(row, 3)?;
    let renewed_ago_ms: Option<i64> = column(row, 8)?;
    Ok(Member {
        id: NodeId::from_bits(id_column(row, 0)?),
        name: column(row, 1)?,
        scope: scope.map(|text| from_json::<Followed>(text, "a member's scope")).transpose()?,
        status: MemberStatus::parse(status)
            .ok_or_else(|| StoreError::Corrupt(format!("a member is `{status}`")))?,
        applied: Revision(count_column(row, 4)?),
        lease_ms: count_column(row, 5)?,
        address: column(row, 6)?,
        version: column(row, 7)?,
        renewed_ago_ms: renewed_ago_ms.map(|ms| u64::try_from(ms).unwrap_or(0)),
    })
}

#[async_trait]
impl Members for PostgresMembers {
    fn is_alone(&self) -> bool {
        false
    }

    async fn register(&self, member: &NewMember) -> Result<(), StoreError> {
        let NewMember { id, name, scope, lease_ms, address, version } = member;
        let scope = scope.as_ref().map(to_json).transpose()?;
        let (id, lease_ms) = (Id(id.bits()), count(*lease_ms));
        // A follower that registers through this node is not one.
        let signals = self.signals.as_ref().filter(|_| scope.is_none());
        let ear = signals.and_then(|signals| signals.address().ok());
        // Of a node that takes them everywhere, the server knows an address.
        let ip = ear.map(|at| at.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
        let port = ear.map(|at| i32::from(at.port()));
        let row: [Param<'_>; 8] = [&id, name, &scope, &lease_ms, address, version, &ip, &port];
        self.rows.durable(REGISTER, &row).await.map(|_| ())
    }

    async fn go_live(&self, id: NodeId, applied: Revision) -> Result<Option<Revision>, StoreError> {
        let link = self.rows.link().await?;
        let before = link.warnings();
        let went = link.execute(GO_LIVE, &[&Id(id.bits()), &count(applied.0)]).await;
        let went = self.rows.done(went.map_err(StoreError::from)).await?;
        if went == 0 || link.warnings() != before {
            return Ok(None);
        }
        // Invariant: a new snapshot, begun after `live` was committed.
        let rows = self.rows.query(HEAD, &[]).await?;
        rows.first().map(|row| count_column(row, 0).map(Revision)).transpose()
    }

    async fn renew(&self, id: NodeId) -> Result<Renewal, StoreError> {
        let rows = self.rows.durable(RENEW, &[&Id(id.bits())]).await?;
        let row =
            rows.first().ok_or_else(|| StoreError::Corrupt("a renewal without an answer".to_owned()))?;
        if !column::<bool>(row, 2)? {
            return Ok(Renewal::Refused);
        }
        let incarnation: i64 = column(row, 1)?;
        Ok(Renewal::Renewed {
            head: Revision(count_column(row, 0)?),
            incarnation: Incarnation(u64::from_ne_bytes(incarnation.to_ne_bytes())),
        })
    }

    fn signal(&self, id: NodeId, applied: Revision) -> bool {
        let Some(signals) = &self.signals else { return false };
        signals.applied(id, applied);
        true
    }

    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), StoreError> {
        self.reporting.query(REPORT, &[&Id(id.bits()), &count(applied.0)]).await.map(|_| ())
    }

    async fn fence(&self, id: NodeId) -> Result<(), StoreError> {
        self.rows.durable(FENCE, &[&Id(id.bits())]).await.map(|_| ())
    }

    async fn bury(&self, id: NodeId) -> Result<bool, StoreError> {
        self.graves.durable(BURY, &[&Id(id.bits())]).await.map(|rows| !rows.is_empty())
    }

    async fn bury_fenced(&self, id: NodeId) -> Result<bool, StoreError> {
        self.rows.durable(BURY_FENCED, &[&Id(id.bits())]).await.map(|rows| !rows.is_empty())
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let rows = self.rows.query(MEMBERS, &[]).await?;
        let members = rows.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        if let Some(signals) = &self.signals {
            let ears = rows.iter().map(ear).collect::<Result<Vec<_>, _>>()?;
            let peers = members.iter().zip(ears).filter_map(|(member, ear)| Some((member.id, ear?)));
            signals.meet(peers.collect());
        }
        Ok(members)
    }

    fn reports(&self) -> broadcast::Receiver<Report> {
        self.reports.subscribe()
    }
}

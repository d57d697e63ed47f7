//! The barrier against rows in memory, on tokio's paused clock.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use keywright_model::admin::Reach;
use keywright_model::feed::Scope;
use keywright_model::id::{KeyspaceId, OrgId};
use keywright_model::noun::Actor;
use keywright_model::time::Timestamp;
use keywright_store::{Followed, NewMember, Renewal, Report};
use tokio::time::Instant;

use super::*;

struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(0)
    }

    fn boot_ns(&self) -> u64 {
        nanos(self.0.elapsed()) + 1
    }
}

struct Rows {
    lives: Mutex<BTreeMap<NodeId, Member>>,
    reports: broadcast::Sender<Report>,
    /// Whether reports are heard.
    heard: bool,
    /// Whether it is certain that nobody else verifies when there is no row.
    embedded: bool,
    /// A life whose fence a failover takes back just before the next burial.
    unfenced_at_burial: Mutex<Option<NodeId>>,
}

impl Rows {
    fn set(&self, id: NodeId, change: impl FnOnce(&mut Member)) {
        change(self.lives.lock().unwrap().get_mut(&id).unwrap());
    }

    fn status(&self, id: NodeId) -> Option<MemberStatus> {
        self.lives.lock().unwrap().get(&id).map(|row| row.status)
    }

    fn fenced(&self) -> usize {
        self.lives.lock().unwrap().values().filter(|row| row.status == MemberStatus::Fenced).count()
    }
}

#[async_trait]
impl Members for Rows {
    fn is_alone(&self) -> bool {
        self.embedded && self.lives.lock().unwrap().is_empty()
    }

    async fn register(&self, _: &NewMember) -> Result<(), StoreError> {
        unreachable!("nobody joins in these tests")
    }

    async fn go_live(&self, _: NodeId, _: Revision) -> Result<Option<Revision>, StoreError> {
        unreachable!("nobody joins in these tests")
    }

    async fn renew(&self, _: NodeId) -> Result<Renewal, StoreError> {
        unreachable!("nobody renews in these tests")
    }

    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), StoreError> {
        self.set(id, |row| row.applied = applied);
        if self.heard {
            let _ = self.reports.send(Some((id, applied)));
        }
        Ok(())
    }

    async fn fence(&self, id: NodeId) -> Result<(), StoreError> {
        self.set(id, |row| row.status = MemberStatus::Fenced);
        Ok(())
    }

    async fn bury(&self, id: NodeId) -> Result<bool, StoreError> {
        Ok(self.lives.lock().unwrap().remove(&id).is_some())
    }

    async fn bury_fenced(&self, id: NodeId) -> Result<bool, StoreError> {
        if self.unfenced_at_burial.lock().unwrap().take_if(|chosen| *chosen == id).is_some() {
            self.set(id, |row| row.status = MemberStatus::Live);
        }
        let mut lives = self.lives.lock().unwrap();
        let fenced = lives.get(&id).is_some_and(|row| row.status == MemberStatus::Fenced);
        Ok(fenced && lives.remove(&id).is_some())
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        Ok(self.lives.lock().unwrap().values().cloned().collect())
    }

    fn reports(&self) -> broadcast::Receiver<Report> {
        self.reports.subscribe()
    }
}

const LEASE_MS: u64 = 9_000;

fn node(number: u64) -> NodeId {
    NodeId::from_bits(number.into())
}

fn member(number: u64, status: MemberStatus) -> Member {
    Member {
        id: node(number),
        name: None,
        scope: None,
        status,
        applied: Revision(1),
        lease_ms: LEASE_MS,
        address: String::new(),
        version: String::new(),
        renewed_ago_ms: None,
    }
}

struct World {
    rows: Arc<Rows>,
    barrier: Barrier,
}

/// A barrier on a process whose own index has applied everything.
fn world(members: impl IntoIterator<Item = Member>, heard: bool) -> World {
    world_of(members, heard, false)
}

fn world_of(members: impl IntoIterator<Item = Member>, heard: bool, embedded: bool) -> World {
    let rows = members.into_iter().map(|member| (member.id, member)).collect();
    let rows = Arc::new(Rows {
        lives: Mutex::new(rows),
        reports: broadcast::channel(64).0,
        heard,
        embedded,
        unfenced_at_burial: Mutex::default(),
    });
    let members: Arc<dyn Members> = Arc::<Rows>::clone(&rows);
    let (progress, _) = watch::channel(Revision(1_000));
    let barrier = Barrier::new(members, Applied::following(&progress), Arc::new(Paused(Instant::now())));
    tokio::spawn(barrier.clone().run());
    World { rows, barrier }
}

fn live(count: u64) -> impl Iterator<Item = Member> {
    (1..=count).map(|number| member(number, MemberStatus::Live))
}

const EVERYTHING: Touched = Touched::Everything;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_each_that_may_answer_and_for_nobody_who_joins() {
    let joining = member(3, MemberStatus::Joining);
    let World { rows, barrier } = world(live(2).chain([joining]), true);
    assert!(!barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await);
    rows.report(node(1), Revision(2)).await.unwrap();
    assert!(!barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await, "the second has not reported");
    rows.report(node(2), Revision(1)).await.unwrap();
    assert!(!barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await, "an older revision is not enough");
    let waiting = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await }
    });
    tokio::task::yield_now().await;
    rows.report(node(2), Revision(3)).await.unwrap();
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_not_heard_costs_a_look_and_no_more() {
    let World { rows, barrier } = world(live(1), false);
    let begun = Instant::now();
    let reporting = Arc::clone(&rows);
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        reporting.report(node(1), Revision(2)).await.unwrap();
    });
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 5 * SECOND).await);
    assert!(begun.elapsed() <= SECOND + LOOK_WAITING + LOOK_WAITING, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn however_many_reports_are_heard_one_that_is_not_is_found() {
    let World { rows, barrier } = world(live(2), true);
    let begun = Instant::now();
    let talking = Arc::clone(&rows);
    let talker = tokio::spawn(async move {
        for revision in 2.. {
            talking.report(node(1), Revision(revision)).await.unwrap();
            tokio::time::sleep(LOOK_SOON / 2).await;
        }
    });
    let quiet = Arc::clone(&rows);
    tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        quiet.set(node(2), |row| row.applied = Revision(2));
    });
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 5 * SECOND).await);
    assert!(begun.elapsed() <= SECOND + LOOK_WAITING + LOOK_WAITING, "{:?}", begun.elapsed());
    talker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_report_that_nobody_hears_is_seen_soon_also_when_the_own_index_is_late() {
    let rows = [(node(1), member(1, MemberStatus::Live))].into();
    let rows = Arc::new(Rows {
        lives: Mutex::new(rows),
        reports: broadcast::channel(64).0,
        heard: false,
        embedded: false,
        unfenced_at_burial: Mutex::default(),
    });
    let members: Arc<dyn Members> = Arc::<Rows>::clone(&rows);
    let (progress, _) = watch::channel(Revision(1));
    let barrier = Barrier::new(members, Applied::following(&progress), Arc::new(Paused(Instant::now())));
    tokio::spawn(barrier.clone().run());
    let own = Duration::from_millis(5);
    tokio::spawn(async move {
        tokio::time::sleep(own).await;
        progress.send_replace(Revision(2));
        rows.report(node(1), Revision(2)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let begun = Instant::now();
    // It takes nothing away: nobody follows it but this wait.
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await);
    assert!(begun.elapsed() <= 3 * own, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_lost_is_fenced_after_patience_and_gone_after_its_lease_and_not_before() {
    let World { rows, barrier } = world(live(2), true);
    rows.report(node(2), Revision(2)).await.unwrap();
    barrier.owe(Revision(2), EVERYTHING, 1);
    tokio::time::sleep(PATIENCE.saturating_sub(LOOK_WAITING)).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Live));
    tokio::time::sleep(3 * LOOK_WAITING).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Fenced));
    assert_eq!(rows.status(node(2)), Some(MemberStatus::Live), "who has reported keeps its lease");
    let missing = barrier.missing(Revision(2), &EVERYTHING).await.unwrap().unwrap();
    assert_eq!(missing.verifiers, 1);
    let most = missing.at_most.unwrap();
    assert!(most > Duration::from_millis(LEASE_MS) && most <= lease_over_after(LEASE_MS), "{most:?}");
    // 9 s on a clock that runs 10 % slow, measured by one that runs 10 % fast, are 11 s.
    tokio::time::sleep(Duration::from_millis(LEASE_MS) + SECOND).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Fenced));
    assert!(!barrier.wait_for(Revision(2), &EVERYTHING, Duration::ZERO).await);
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 2 * SECOND).await);
    assert_eq!(rows.status(node(1)), None);
    assert_eq!((barrier.missing(Revision(2), &EVERYTHING).await.unwrap(), barrier.owed()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_somebody_else_set_is_waited_out_whole_from_when_it_was_seen() {
    let World { rows, barrier } = world(live(1), true);
    assert!(
        !barrier.wait_for(Revision(2), &EVERYTHING, 20 * SECOND).await,
        "nobody is fenced who is not owed"
    );
    rows.set(node(1), |row| row.status = MemberStatus::Fenced);
    let begun = Instant::now();
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 20 * SECOND).await);
    assert!(begun.elapsed() >= lease_over_after(LEASE_MS), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_a_failover_took_back_is_set_and_waited_out_anew() {
    let World { rows, barrier } = world(live(1), true);
    barrier.owe(Revision(2), EVERYTHING, 1);
    tokio::time::sleep(PATIENCE + 3 * LOOK_WAITING).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Fenced));
    tokio::time::sleep(Duration::from_millis(LEASE_MS)).await;
    // The server that took over knows no fence: from here on the node may have been given another lease.
    rows.set(node(1), |row| row.status = MemberStatus::Live);
    let again = Instant::now();
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 60 * SECOND).await);
    assert!(again.elapsed() >= lease_over_after(LEASE_MS), "{:?}", again.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_is_taken_back_just_before_the_burial_is_waited_out_anew() {
    let World { rows, barrier } = world(live(1), true);
    *rows.unfenced_at_burial.lock().unwrap() = Some(node(1));
    barrier.owe(Revision(2), EVERYTHING, 1);
    tokio::time::sleep(PATIENCE + lease_over_after(LEASE_MS) + 3 * LOOK_WAITING).await;
    assert!(rows.unfenced_at_burial.lock().unwrap().is_none(), "a burial was tried");
    assert!(rows.status(node(1)).is_some(), "it may hold a lease of the server that knew no fence");
    let again = Instant::now();
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, 60 * SECOND).await);
    assert!(again.elapsed() + 3 * LOOK_WAITING >= lease_over_after(LEASE_MS), "{:?}", again.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_write_fences_a_fifth_at_most_and_then_has_no_bound() {
    let World { rows, barrier } = world(live(10), true);
    barrier.owe(Revision(2), EVERYTHING, 1);
    tokio::time::sleep(2 * PATIENCE).await;
    assert_eq!(rows.fenced(), 2);
    assert_eq!(barrier.missing(Revision(2), &EVERYTHING).await.unwrap().unwrap().at_most, None);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rows.fenced(), 0, "the two are gone");
    assert_eq!(barrier.owed(), 1, "the eight others still hold it up");
    for number in 1..=10 {
        rows.bury(node(number)).await.unwrap();
    }
    assert!(barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await, "an operator knew better");
}

#[tokio::test(start_paused = true)]
async fn many_changes_are_given_more_patience() {
    let World { rows, barrier } = world(live(1), true);
    barrier.owe(Revision(2), EVERYTHING, 1_000_000);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Live));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(rows.status(node(1)), Some(MemberStatus::Fenced));
}

/// A follower of one keyspace of organization 1.
fn follower(number: u64, keyspace: u128) -> Member {
    let only = BTreeSet::from([KeyspaceId::from_bits(keyspace)]);
    let scope = Scope { org: OrgId::from_bits(1), keyspaces: Reach::Only(only) };
    Member { scope: Some(Followed { by: Actor::Root, scope }), ..member(number, MemberStatus::Live) }
}

#[tokio::test(start_paused = true)]
async fn however_many_followers_are_lost_they_are_all_fenced_and_no_node_for_them() {
    let lost = (10..26).map(|number| follower(number, 1));
    let World { rows, barrier } = world(live(4).chain(lost), true);
    barrier.owe(Revision(2), EVERYTHING, 1);
    tokio::time::sleep(3 * SECOND).await;
    let of = |from: u64, to: u64, status| {
        (from..to).filter(|number| rows.status(node(*number)) == Some(status)).count()
    };
    assert_eq!(of(10, 26, MemberStatus::Fenced), 16);
    assert_eq!(of(1, 5, MemberStatus::Fenced), 1, "twenty verifiers live, but four nodes");
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_other_keyspaces_holds_up_nobody() {
    let org = OrgId::from_bits(1);
    let keyspace = |number| BTreeSet::from([(org, KeyspaceId::from_bits(number))]);
    let World { barrier, .. } = world([follower(1, 1)], true);
    assert!(barrier.wait_for(Revision(2), &Touched::Keyspaces(keyspace(2)), SECOND).await);
    let org_of = |number| Touched::Orgs(BTreeSet::from([OrgId::from_bits(number)]));
    assert!(barrier.wait_for(Revision(2), &org_of(2), SECOND).await, "another tenant's writers");
    assert!(!barrier.wait_for(Revision(2), &Touched::Keyspaces(keyspace(1)), SECOND).await);
    assert!(!barrier.wait_for(Revision(2), &org_of(1), SECOND).await);
    assert!(!barrier.wait_for(Revision(2), &EVERYTHING, SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_write_goes_on_when_the_last_follower_of_an_embedded_store_leaves() {
    let World { rows, barrier } = world_of([follower(1, 1)], true, true);
    barrier.owe(Revision(2), EVERYTHING, 1);
    let waiting = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.wait_for(Revision(2), &EVERYTHING, 60 * SECOND).await }
    });
    let asking = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.missing(Revision(2), &EVERYTHING).await }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!waiting.is_finished());
    assert_eq!(asking.await.unwrap().unwrap().unwrap().verifiers, 1);
    rows.bury(node(1)).await.unwrap();
    let begun = Instant::now();
    assert!(waiting.await.unwrap());
    assert!(begun.elapsed() <= LOOK, "{:?}", begun.elapsed());
    assert_eq!((barrier.owed(), barrier.followers()), (0, 0));
}

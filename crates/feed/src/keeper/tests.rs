//! A lease on rows in memory: the order of its steps, and what it does when they fail.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::follower::tests::verifier;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Joining,
    Live,
    Fenced,
}

/// A store with the rows of one node's lives, and what it was told in order.
#[derive(Default)]
struct Table {
    rows: Vec<(NodeId, Row)>,
    told: Vec<String>,
    head: Revision,
    incarnation: u64,
    away: bool,
    /// Whether lives are ended before they are live.
    ends_all: bool,
}

#[derive(Clone)]
struct Store(Arc<Mutex<Table>>, Arc<Verifier>);

impl Store {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap()
    }

    /// Does something to a row and notes it, with whether the node held a lease then.
    fn tell(&self, what: &str, id: NodeId) -> Result<std::sync::MutexGuard<'_, Table>, SourceError> {
        let mut table = self.table();
        if table.away {
            return Err(SourceError("away".into()));
        }
        let held = self.1.lease().until_ns() > 0;
        table.told.push(format!("{what} {}{}", id.bits(), if held { " with a lease" } else { "" }));
        Ok(table)
    }

    async fn until(&self, reached: impl Fn(&Table) -> bool) {
        for _ in 0..1_000 {
            if reached(&self.table()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not reached: {:?}", self.table().told);
    }

    fn has_lease(&self) -> bool {
        self.1.lease().until_ns() > 0
    }
}

#[async_trait]
impl Membership for Store {
    async fn join(&mut self, id: NodeId) -> Result<(), SourceError> {
        self.tell("join", id)?.rows.push((id, Row::Joining));
        Ok(())
    }

    async fn go_live(&mut self, id: NodeId, _: Revision) -> Result<Option<Revision>, SourceError> {
        let mut table = self.tell("live", id)?;
        let head = table.head;
        let none = table.ends_all;
        let row = table.rows.iter_mut().find(|row| !none && *row == &(id, Row::Joining));
        Ok(row.map(|row| row.1 = Row::Live).map(|()| head))
    }

    async fn renew(&mut self, id: NodeId) -> Result<Renewal, SourceError> {
        let table = self.tell("renew", id)?;
        let renewed = Renewal::Renewed { head: table.head, incarnation: Incarnation(table.incarnation) };
        Ok(if table.rows.contains(&(id, Row::Live)) { renewed } else { Renewal::Refused })
    }

    async fn leave(&mut self, id: NodeId) -> Result<(), SourceError> {
        self.tell("leave", id)?.rows.retain(|row| row.0 != id);
        Ok(())
    }
}

#[async_trait]
impl Reports for Store {
    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), SourceError> {
        self.table().told.push(format!("report {} {}", id.bits(), applied.0));
        Ok(())
    }
}

/// The clocks of a machine on which nothing steers them: tokio's.
struct Running(tokio::time::Instant);

impl Clocks for Running {
    fn boot_ns(&self) -> u64 {
        nanos(self.0.elapsed()) + 1
    }

    fn raw_ns(&self) -> u64 {
        nanos(self.0.elapsed()) + 1
    }
}

fn start(lease: Duration) -> (Store, Keeper, watch::Sender<Revision>) {
    let verifier = Arc::new(verifier(keywright_verifier::Lease::none()));
    let store = Store(Arc::default(), Arc::clone(&verifier));
    let mut last = 0;
    let keeper = Keeper::start(Options {
        membership: Box::new(store.clone()),
        reports: Arc::new(store.clone()),
        verifier,
        clocks: Arc::new(Running(tokio::time::Instant::now())),
        fresh_id: Box::new(move || {
            last += 1;
            NodeId::from_bits(last)
        }),
        lease,
    })
    .unwrap();
    let (applied, _) = watch::channel(Revision(7));
    (store, keeper, applied)
}

const LEASE: Duration = Duration::from_millis(500);

fn renewed(table: &Table, id: u128) -> bool {
    table.told.iter().any(|told| *told == format!("renew {id} with a lease"))
}

#[tokio::test]
async fn the_first_lease_comes_after_what_was_committed_before_it_went_live() {
    let (store, keeper, applied) = start(LEASE);
    store.table().head = Revision(9);
    store.until(|table| table.told == ["join 1"]).await;
    keeper.loaded(Applied::following(&applied));
    store.until(|table| table.told.contains(&"live 1".to_owned())).await;
    tokio::time::sleep(LEASE).await;
    assert!(!store.has_lease(), "revision 9 is not applied yet");
    assert!(!store.table().told.iter().any(|told| told.starts_with("renew")));
    applied.send_replace(Revision(9));
    store.until(|table| renewed(table, 1)).await;
    store.until(|table| table.told.contains(&"report 1 9".to_owned())).await;
}

#[tokio::test]
async fn a_fenced_life_ends_its_lease_then_says_so_and_another_begins() {
    let (store, keeper, applied) = start(LEASE);
    keeper.loaded(Applied::following(&applied));
    store.until(|table| renewed(table, 1)).await;
    store.table().rows[0].1 = Row::Fenced;
    store.until(|table| renewed(table, 2)).await;
    let table = store.table();
    let after = table.told.iter().position(|told| told.starts_with("leave")).unwrap();
    let wanted = ["leave 1", "join 2"];
    assert_eq!(table.told[after..after + 2], wanted, "and neither with a lease");
    assert_eq!(keeper.figures().joins.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_store_that_is_away_lets_the_lease_run_out_and_back_again_it_runs_on() {
    let (store, keeper, applied) = start(LEASE);
    keeper.loaded(Applied::following(&applied));
    store.until(|table| renewed(table, 1)).await;
    store.table().away = true;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let until = store.1.lease().until_ns();
    tokio::time::sleep(2 * LEASE).await;
    assert_eq!(store.1.lease().until_ns(), until, "nothing extends it");
    assert!(keeper.figures().failures.load(Ordering::Relaxed) > 0);
    store.table().away = false;
    let verifier = Arc::clone(&store.1);
    store.until(|_| verifier.lease().until_ns() > until).await;
    assert_eq!(store.table().rows, [(NodeId::from_bits(1), Row::Live)], "the same life");
}

#[tokio::test]
async fn one_that_renews_and_does_not_apply_gives_up_its_lease() {
    let (store, keeper, applied) = start(LEASE);
    keeper.loaded(Applied::following(&applied));
    store.until(|table| renewed(table, 1)).await;
    store.table().head = Revision(8);
    store.until(|table| table.told.contains(&"join 2".to_owned())).await;
    tokio::time::sleep(LEASE).await;
    assert!(!store.has_lease(), "not before it has applied what it missed");
    let went_live = |told: &String| told.starts_with("live 2");
    assert!(!store.table().told.iter().any(went_live), "until then no writer waits for it");
    applied.send_replace(Revision(8));
    store.until(|table| renewed(table, 2)).await;
}

#[tokio::test]
async fn an_orderly_end_renews_no_more_then_ends_the_lease_then_says_so() {
    let (store, keeper, applied) = start(LEASE);
    keeper.loaded(Applied::following(&applied));
    store.until(|table| renewed(table, 1)).await;
    keeper.drain();
    tokio::time::sleep(LEASE / 5).await;
    let renewals = store.table().told.len();
    tokio::time::sleep(LEASE).await;
    assert_eq!(store.table().told.len(), renewals, "no renewal while it drains");
    assert!(store.has_lease(), "what was given runs on meanwhile");
    keeper.leave().await;
    assert_eq!(store.table().told.last().unwrap(), "leave 1");
    assert!(store.table().rows.is_empty() && !store.has_lease());
}

#[tokio::test]
async fn another_life_of_the_data_ends_this_process() {
    let (store, keeper, applied) = start(LEASE);
    keeper.loaded(Applied::following(&applied));
    store.until(|table| renewed(table, 1)).await;
    store.table().incarnation = 1;
    let mut ended = keeper.ended();
    let ended = ended.wait_for(Option::is_some).await.unwrap().unwrap();
    assert_eq!(ended, Ended::OtherIncarnation);
    assert!(!store.has_lease());
}

#[tokio::test]
async fn a_store_that_ends_each_life_at_once_is_not_asked_without_a_pause() {
    let (store, keeper, applied) = start(LEASE);
    store.table().ends_all = true;
    keeper.loaded(Applied::following(&applied));
    let began = tokio::time::Instant::now();
    store.until(|table| table.told.iter().filter(|told| told.starts_with("live")).count() == 4).await;
    assert!(began.elapsed() >= 3 * RETRY, "{:?}", began.elapsed());
    keeper.leave().await;
}

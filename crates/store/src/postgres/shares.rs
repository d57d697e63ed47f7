//! How nodes without a limiter's server divide limits among them. Nothing here is durable, and nothing of it is a write.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keywright_model::id::NodeId;
use tokio_postgres::Row;

use super::PostgresDatabase;
use super::link::{Answer, Ask, Link};
use super::members::Lane;
use super::value::{Id, column, count_column, number, number_column, owned};
use crate::StoreError;

/// How long a node counts as live after its last exchange, in seconds.
const NODE_LIVE_SECONDS: f64 = 5.0;
/// How many exchanges of a node pass between two of its sweeps.
const SWEEP_EVERY: u32 = 16;

/// Held by every exchange, together with the others: a sweep takes it alone.
const LOCK: &str = "SELECT pg_advisory_xact_lock_shared(1262836055, 4)";
const SEEN: &str = "INSERT INTO limit_nodes VALUES ($1, clock_timestamp()) \
     ON CONFLICT (node) DO UPDATE SET seen_at = excluded.seen_at";
// Both in the order of names, so that of two exchanges one waits for the other and never both.
const NAMES: &str = "INSERT INTO limit_names SELECT name FROM unnest($1::text[]) AS asked (name) ORDER BY name \
     ON CONFLICT DO NOTHING";
const LOCK_NAMES: &str = "SELECT FROM limit_names WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE";
// A statement of its own: its snapshot begins after the locks are held.
const DIVIDE: &str = "WITH others AS (SELECT name, sum(granted) AS granted, sum(demand::bigint) AS demand \
     FROM limit_shares WHERE name = ANY ($2::text[]) AND node <> $1 AND held_until > clock_timestamp() GROUP BY name), \
     mine AS (SELECT asked.name, asked.demand, \
     greatest(0, least(asked.wish, $5 - coalesce(others.granted, 0)))::integer AS granted, \
     least(coalesce(others.demand, 0), 2147483647)::integer AS others_demand \
     FROM unnest($2::text[], $3::integer[], $4::integer[]) AS asked (name, demand, wish) LEFT JOIN others USING (name)), \
     kept AS (INSERT INTO limit_shares \
     SELECT name, $1, demand, granted, clock_timestamp() + $6 * interval '1 second' FROM mine \
     ON CONFLICT (name, node) DO UPDATE SET demand = excluded.demand, granted = excluded.granted, \
     held_until = excluded.held_until) \
     SELECT name, granted, others_demand FROM mine";
const LIVE: &str =
    "SELECT count(*) FROM limit_nodes WHERE seen_at > clock_timestamp() - $1 * interval '1 second'";
const SWEEP: &str = "WITH alone AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(1262836055, 4) AS held), \
     shares AS (DELETE FROM limit_shares USING alone WHERE held AND held_until < clock_timestamp()), \
     nodes AS (DELETE FROM limit_nodes USING alone \
     WHERE held AND seen_at < clock_timestamp() - interval '1 minute') \
     DELETE FROM limit_names USING alone WHERE held AND NOT EXISTS \
     (SELECT FROM limit_shares WHERE limit_shares.name = limit_names.name AND held_until >= clock_timestamp())";

/// How much of a limit a node could use. All parts are millionths of the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Which limit: the same on every node. At most one of an exchange's.
    pub name: String,
    /// What the node would use if it could.
    pub demand: u32,
    /// What it asks for; 0 lets go.
    pub wish: u32,
}

/// A node's part of a limit, in millionths of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitShare {
    /// Its own for as long as was asked for.
    pub granted: u32,
    /// What all others said that they would use.
    pub others_demand: u32,
}

/// How limits are divided now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitShares {
    /// How many nodes have asked in the last five seconds.
    pub nodes: u32,
    /// One for each use, in their order.
    pub shares: Vec<LimitShare>,
}

/// Divides limits among the nodes of a cluster, over a connection of its own.
#[derive(Debug)]
pub struct PostgresShares {
    lane: Lane,
    node: NodeId,
    exchanges: AtomicU32,
}

impl PostgresDatabase {
    /// The shares of the node that is called so among those that divide limits. An id is never used again.
    pub fn shares(&self, node: NodeId) -> PostgresShares {
        PostgresShares {
            lane: Lane::new(&self.connector, "SET synchronous_commit = off"),
            node,
            exchanges: AtomicU32::new(0),
        }
    }
}

impl PostgresShares {
    /// Says what was used and takes shares, which are this node's for `hold` by the server's clock. Of no limit more than
    /// `most` millionths are anybody's at once.
    pub async fn exchange(
        &self,
        uses: &[LimitUse],
        hold: Duration,
        most: u32,
    ) -> Result<LimitShares, StoreError> {
        let link = self.lane.link().await?;
        let calling = self.lane.calling();
        let exchanged = link.all(&self.asks(uses, hold, most)).await.map_err(StoreError::from);
        calling.answered();
        let rows: Vec<Row> = self.lane.done(exchanged).await?.into_iter().flat_map(Answer::rows).collect();
        let (live, divided) = rows
            .split_first()
            .ok_or_else(|| StoreError::Corrupt("an exchange without an answer".to_owned()))?;
        let mut given = HashMap::new();
        for row in divided {
            let share = LimitShare { granted: number_column(row, 1)?, others_demand: number_column(row, 2)? };
            given.insert(column::<&str>(row, 0)?, share);
        }
        let shares =
            uses.iter().map(|one| given.get(one.name.as_str()).copied().unwrap_or_default()).collect();
        let nodes = u32::try_from(count_column(live, 0)?).unwrap_or(u32::MAX);
        self.sweep_now_and_then(&link).await;
        Ok(LimitShares { nodes, shares })
    }

    /// One transaction, sent whole: whoever stops waiting for its answer leaves nothing open. Of its statements only the
    /// count of nodes and the shares answer with rows.
    fn asks(&self, uses: &[LimitUse], hold: Duration, most: u32) -> Vec<Ask> {
        let node = Id(self.node.bits());
        let mut asks = vec![
            Ask::run("BEGIN"),
            Ask::run(LOCK),
            Ask::count(SEEN, owned![node]),
            Ask::rows(LIVE, owned![NODE_LIVE_SECONDS]),
        ];
        if !uses.is_empty() {
            let names: Vec<String> = uses.iter().map(|one| one.name.clone()).collect();
            let demands: Vec<i32> = uses.iter().map(|one| number(one.demand)).collect();
            let wishes: Vec<i32> = uses.iter().map(|one| number(one.wish)).collect();
            asks.push(Ask::count(NAMES, owned![names.clone()]));
            asks.push(Ask::count(LOCK_NAMES, owned![names.clone()]));
            let (most, hold) = (i64::from(most), hold.as_secs_f64());
            asks.push(Ask::rows(DIVIDE, owned![node, names, demands, wishes, most, hold]));
        }
        asks.push(Ask::run("COMMIT"));
        asks
    }

    /// Forgets what is over. It is left to the next time when an exchange is under way.
    async fn sweep_now_and_then(&self, link: &Link) {
        if !self.exchanges.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            return;
        }
        if let Err(error) = link.execute(SWEEP, &[]).await {
            let error = StoreError::from(error);
            tracing::warn!(error = &error as &dyn std::error::Error, "shares of limits that are over stay");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keywright_testkit::postgres::shared;

    use super::*;

    const MOST: u32 = 500_000;
    const LONG: Duration = Duration::from_mins(1);

    fn node(number: u128) -> NodeId {
        NodeId::from_bits(number)
    }

    fn used(name: &str, demand: u32, wish: u32) -> LimitUse {
        LimitUse { name: name.to_owned(), demand, wish }
    }

    const fn share(granted: u32, others_demand: u32) -> LimitShare {
        LimitShare { granted, others_demand }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nodes_that_exchange_at_once_never_hold_more_than_there_is() {
        let Some(postgres) = shared() else { return };
        let made = postgres.database();
        let database = PostgresDatabase::open(&made.url).await.unwrap();
        let nodes: Vec<_> = (1..=6).map(|number| Arc::new(database.shares(node(number)))).collect();
        let names = ["a", "b", "c", "d"];
        let mut contended = 0;
        for round in 0..25_usize {
            let exchanges = nodes.iter().enumerate().zip(13..).map(|((place, shares), wish)| {
                let shares = Arc::clone(shares);
                // Each in another order, so that locks that are not taken in one would meet.
                let uses: Vec<_> = (0..names.len())
                    .map(|at| used(names[(at + place + round) % names.len()], 7, 7_000 * wish))
                    .collect();
                tokio::spawn(async move {
                    let given = shares.exchange(&uses, LONG, MOST).await.unwrap();
                    uses.into_iter().map(|one| one.name).zip(given.shares).collect::<HashMap<_, _>>()
                })
            });
            let mut held: HashMap<String, u32> = HashMap::new();
            for exchange in exchanges.collect::<Vec<_>>() {
                for (name, share) in exchange.await.unwrap() {
                    *held.entry(name).or_default() += share.granted;
                }
            }
            assert_eq!(held.len(), names.len());
            assert!(held.values().all(|granted| *granted <= MOST), "{held:?}");
            contended += held.values().filter(|granted| **granted == MOST).count();
        }
        assert!(contended > 0, "they wished for more than there is");
    }

    #[tokio::test]
    async fn a_share_ends_and_the_others_are_told_of_demands_and_of_how_many_they_are() {
        let Some(postgres) = shared() else { return };
        let made = postgres.database();
        let database = PostgresDatabase::open(&made.url).await.unwrap();
        let (one, two) = (database.shares(node(1)), database.shares(node(2)));
        let brief = Duration::from_millis(300);
        let given = one.exchange(&[used("l", 900_000, MOST)], brief, MOST).await.unwrap();
        assert_eq!(given, LimitShares { nodes: 1, shares: vec![share(MOST, 0)] });
        let uses = [used("other", 5, 5), used("l", 100, 300_000)];
        let given = two.exchange(&uses, LONG, MOST).await.unwrap();
        assert_eq!(given, LimitShares { nodes: 2, shares: vec![share(5, 0), share(0, 900_000)] });
        tokio::time::sleep(2 * brief).await;
        let given = two.exchange(&uses, LONG, MOST).await.unwrap();
        assert_eq!(given.shares, [share(5, 0), share(300_000, 0)], "what was the first's is over");
        let given = one.exchange(&[used("l", 1, MOST)], LONG, MOST).await.unwrap();
        assert_eq!(given.shares, [share(200_000, 100)]);
        let given = two.exchange(&[used("l", 0, 0)], LONG, MOST).await.unwrap();
        assert_eq!(given.shares, [share(0, 1)], "whoever wishes for nothing lets go");
        assert_eq!(
            one.exchange(&[], LONG, MOST).await.unwrap(),
            LimitShares { nodes: 2, shares: Vec::new() }
        );
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten_after_a_while() {
        let Some(postgres) = shared() else { return };
        let made = postgres.database();
        let database = PostgresDatabase::open(&made.url).await.unwrap();
        let shares = database.shares(node(1));
        shares.exchange(&[used("gone", 1, 1)], Duration::from_millis(1), MOST).await.unwrap();
        for _ in 0..SWEEP_EVERY {
            shares.exchange(&[used("kept", 1, 1)], LONG, MOST).await.unwrap();
        }
        let names = database.link.query("SELECT name FROM limit_names", &[]).await.unwrap();
        assert_eq!(names.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["kept"]);
    }
}

//! The script, and several nodes that share a server.

use std::sync::Arc;
use std::time::Duration;

use keywright_limiter::{Allowances as _, Grant, Policy, Rate, RedisAllowances, Wish};
use tokio::task::JoinSet;

use crate::fixture::limit;
use crate::server::{Node, Server, TIMEOUT};

const RATE: Rate = Rate { max: 100, per_seconds: 3_600 };

fn wish(name: &str, need: u64, want: u64, back: u64) -> Wish {
    Wish {
        name: name.to_owned(),
        capacity_us: RATE.capacity_us(),
        unit_us: RATE.unit_us(),
        need_us: RATE.charge_us(need),
        want_us: RATE.charge_us(want),
        back_us: RATE.charge_us(back),
    }
}

/// How many units were given. A few seconds pass while a test runs, in which no unit comes back.
fn units(grant: Grant) -> u64 {
    RATE.units(grant.granted_us)
}

#[tokio::test]
async fn the_script_gives_what_is_wanted_or_what_there_is_or_nothing() {
    let server = Server::start();
    let allowances = RedisAllowances::new(&server.url(), "a", "test", TIMEOUT).unwrap();
    for (wished, given) in [
        (wish("l", 1, 60, 0), 60),
        (wish("l", 41, 60, 0), 0),
        (wish("l", 1, 60, 0), 40),
        (wish("l", 1, 1, 0), 0),
        // What goes back is there at once, and never more than a whole bucket.
        (wish("l", 5, 9, 7), 7),
        (wish("l", 0, 0, 1_000_000), 0),
        (wish("l", 1, 100, 0), 100),
        (wish("other", 100, 100, 0), 100),
    ] {
        let granted = allowances.lease(std::slice::from_ref(&wished)).await.unwrap();
        assert_eq!((granted.nodes, units(granted.grants[0])), (1, given), "{wished:?}");
    }
    // A limit that was made smaller holds no more than its own bucket, so that it is not refused for an hour.
    let smaller = Rate { max: 100, per_seconds: 1 };
    let asked = Wish {
        capacity_us: smaller.capacity_us(),
        unit_us: smaller.unit_us(),
        need_us: smaller.charge_us(100),
        want_us: smaller.charge_us(100),
        ..wish("l", 0, 0, 0)
    };
    let granted = allowances.lease(std::slice::from_ref(&asked)).await.unwrap();
    assert_eq!(granted.grants, [Grant { granted_us: 0, used_us: smaller.capacity_us() }]);
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(allowances.lease(&[asked]).await.unwrap().grants[0].granted_us, smaller.capacity_us());
}

#[tokio::test]
async fn nodes_are_counted_and_installations_are_apart() {
    let server = Server::start();
    let node = |name, installation| RedisAllowances::new(&server.url(), name, installation, TIMEOUT).unwrap();
    let nodes = [node("a", "1"), node("b", "1"), node("b", "1"), node("a", "2")];
    let mut counted = Vec::new();
    for node in &nodes {
        let granted = node.lease(&[wish("l", 60, 60, 0)]).await.unwrap();
        counted.push((granted.nodes, units(granted.grants[0])));
    }
    assert_eq!(counted, [(1, 60), (2, 0), (2, 0), (1, 60)]);
}

/// What nodes admit in a while, each with callers that ask one after the other; and how long the while was.
async fn admitted(nodes: &[Arc<Node>], callers: usize, cost: u64, time: Duration) -> (u64, Duration) {
    let start = tokio::time::Instant::now();
    let mut all = JoinSet::new();
    for node in nodes.iter().cycle().take(callers) {
        let node = Arc::clone(node);
        all.spawn(async move {
            let mut admitted = 0;
            while start.elapsed() < time {
                let verdict = node.verify(1, cost).await;
                admitted += if verdict.allowed { cost } else { 0 };
                let pause = u64::from(!verdict.allowed);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            admitted
        });
    }
    (all.join_all().await.iter().sum(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_stay_within_the_bound_and_use_what_there_is() {
    let server = Server::start();
    for (max, cost) in [(4_000, 1), (40, 1), (10, 4)] {
        let limits = [limit(&format!("l{max}"), max, 1)];
        let start = |name| Arc::new(Node::start(&server, name, &limits, Policy::Deny));
        let nodes = ["a", "b", "c"].map(start);
        for node in &nodes {
            node.until_away_is(0).await;
        }
        let (admitted, time) = admitted(&nodes, 12, cost, Duration::from_millis(2_500)).await;
        let rate = Rate { max, per_seconds: 1 };
        let fair = max + max * u64::try_from(time.as_millis()).unwrap() / 1_000;
        let most = fair + 3 * rate.block(3).max(cost);
        assert!(admitted <= most, "{admitted} of {most}");
        assert!(admitted * 10 >= (fair - max) * 7, "{admitted} of {fair} were used");
        let calls: u64 = nodes.iter().map(|node| node.figure("limiter_calls_total")).sum();
        if max == 4_000 {
            assert!(calls * 10 < admitted, "{calls} calls to the server for {admitted}");
        }
    }
}

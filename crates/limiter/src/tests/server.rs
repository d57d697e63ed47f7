//! Nodes that share limits through a server.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::port::{Grant, Wish};
use crate::rate::Rate;

/// What `lease.lua` does, on a clock of its own: `tests/it/redis.rs` compares the two.
struct Server {
    full_at: HashMap<String, u64>,
    nodes: u32,
}

impl Server {
    fn new(nodes: u32) -> Self {
        Self { full_at: HashMap::new(), nodes }
    }

    fn lease(&mut self, wishes: &[Wish], now_us: u64) -> Granted {
        let grants = wishes.iter().map(|wish| {
            let full_at = self.full_at.entry(wish.name.clone()).or_insert(0);
            let used = full_at.saturating_sub(now_us).min(wish.capacity_us).saturating_sub(wish.back_us);
            let room = wish.capacity_us - used;
            let granted_us = if wish.want_us <= room {
                wish.want_us
            } else if wish.need_us <= room {
                wish.need_us + (room - wish.need_us) / wish.unit_us * wish.unit_us
            } else {
                0
            };
            *full_at = now_us + used + granted_us;
            Grant { granted_us, used_us: used + granted_us }
        });
        Granted { nodes: self.nodes, grants: grants.collect() }
    }
}

fn nodes(count: u32, limits: &[Limit], policy: Policy) -> Vec<Node> {
    let joined = |_| {
        let mut node = Node::new(limits, By::Server, policy);
        node.core.granted(&Batch::default(), &Granted { nodes: count, grants: Vec::new() }, START_US);
        node
    };
    (0..count).map(joined).collect()
}

/// Sends what is queued and receives the answer at once.
fn settle(node: &mut Node, server: &mut Server, now_us: u64) {
    while node.core.has_queued() {
        let batch = node.core.next_batch();
        if batch.wishes.is_empty() {
            continue;
        }
        node.calls += 1;
        let granted = server.lease(&batch.wishes, now_us);
        let now = node.clock(now_us);
        node.core.granted(&batch, &granted, now);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call(u64),
    Tick,
    Send,
    Receive,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..=1_000_u64).prop_map(Step::Call),
        1 => Just(Step::Tick),
        4 => Just(Step::Send),
        4 => Just(Step::Receive),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #[test]
    fn all_nodes_together_stay_within_the_stated_bound_whatever_comes_late_or_never(
        max in prop_oneof![1..40_u64, 40..2_000_u64], per in 1..20_u32, count in 1..5_u32,
        largest in 1..6_u64, clocks in prop::collection::vec((0..5_000_000_u64, 0..200_u64), 5),
        steps in prop::collection::vec((0..1_000_u64, 0..5_usize, step()), 1..400),
    ) {
        let limits = [limit("l", max, per)];
        let mut nodes = nodes(count, &limits, Policy::Deny);
        for (node, (ahead, faster)) in nodes.iter_mut().zip(clocks) {
            (node.ahead_us, node.faster) = (ahead, faster);
        }
        let (mut server, mut now_us, mut admitted) = (Server::new(count), START_US, Admitted::new());
        for (wait, which, step) in steps {
            now_us += u64::from(per) * wait * wait * wait / 5_000;
            let place = which % nodes.len();
            let node = &mut nodes[place];
            let clock = node.clock(now_us);
            match step {
                Step::Call(cost) => drop(node.call((cost * largest).div_ceil(1_000).min(max), now_us, &mut admitted)),
                Step::Tick => node.core.tick(clock),
                Step::Send if node.on_the_way.is_none() => {
                    let batch = node.core.next_batch();
                    let granted = server.lease(&batch.wishes, now_us);
                    node.on_the_way = Some((batch, granted));
                }
                Step::Send => {}
                Step::Receive => if let Some((batch, granted)) = node.on_the_way.take() {
                    node.core.granted(&batch, &granted, clock);
                    node.ask_again(now_us, &mut admitted);
                },
                Step::Lose => if let Some((batch, _)) = node.on_the_way.take() {
                    node.core.failed(&batch);
                    node.ask_again(now_us, &mut admitted);
                },
            }
        }
        let rate = Rate { max, per_seconds: per };
        assert_within(&admitted, (max, per), u64::from(count) * rate.block(count).max(largest));
    }

    #[test]
    fn a_hostile_server_gives_no_node_more_than_twice_the_burst_and_panics_nobody(
        max in 1..500_u64, answers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 1..60),
    ) {
        let limits = [limit("l", max, 10)];
        let mut node = nodes(1, &limits, Policy::Deny).remove(0);
        let (mut now_us, mut admitted) = (START_US, Admitted::new());
        for (granted_us, used_us, nodes) in answers {
            now_us += 10_000;
            for _ in 0..=max {
                if node.call(1, now_us, &mut admitted).is_none() { break; }
            }
            node.core.tick(now_us);
            let batch = node.core.next_batch();
            let grants = vec![Grant { granted_us, used_us }; 3];
            node.core.granted(&batch, &Granted { nodes, grants }, now_us);
            node.ask_again(now_us, &mut admitted);
        }
        assert_within(&admitted, (max, 10), max + max / 8 + 1);
    }
}

#[test]
fn whoever_keeps_to_the_pace_is_refused_by_no_node_and_few_calls_reach_the_server() {
    let (max, per) = (2_400, 1);
    let mut nodes = nodes(3, &[limit("l", max, per)], Policy::Deny);
    let (mut server, mut admitted, mut waited) = (Server::new(3), Admitted::new(), 0);
    let calls = 24_000_u64;
    for nth in 0..calls {
        let now_us = START_US + nth * 1_000_000 / max;
        let node = &mut nodes[usize::try_from(nth % 3).unwrap()];
        if node.call(1, now_us, &mut admitted).is_none() {
            waited += 1;
            settle(node, &mut server, now_us);
            node.ask_again(now_us, &mut admitted);
        }
        if nth % (max / 20) == 0 {
            for node in &mut nodes {
                node.core.tick(node.clock(now_us));
                settle(node, &mut server, now_us);
            }
        }
    }
    assert_eq!(admitted.len() as u64, calls, "none is refused");
    assert_within(&admitted, (max, per), 3 * 100);
    let asked: u64 = nodes.iter().map(|node| node.calls).sum();
    assert!(asked * 20 < calls && waited * 50 < calls, "{asked} calls to the server, {waited} waits");
}

#[test]
fn a_full_bucket_is_had_through_one_node_and_a_refusal_needs_no_server() {
    for count in [1, 4] {
        let mut nodes = nodes(count, &[limit("l", 100, 3_600)], Policy::Deny);
        let (mut server, mut admitted) = (Server::new(count), Admitted::new());
        let node = &mut nodes[0];
        for _ in 0..300 {
            if node.call(1, START_US, &mut admitted).is_none() {
                settle(node, &mut server, START_US);
                node.ask_again(START_US, &mut admitted);
            }
        }
        assert_eq!(admitted.len(), 100, "{count} nodes");
        let calls = node.calls;
        assert!((0..1_000).all(|_| node.call(1, START_US, &mut admitted) == Some(false)));
        assert_eq!(node.calls, calls);
        // Another node learns it from the server, once.
        if let Some(other) = nodes.get_mut(1) {
            assert_eq!(other.call(1, START_US, &mut admitted), None);
            settle(other, &mut server, START_US);
            assert!((0..9).all(|_| other.ask(1, START_US) == Some(false)));
            assert_eq!(other.calls, 1);
        }
        // 36 seconds a unit; a refusal lasts ten milliseconds at least.
        let node = &mut nodes[0];
        for (later, fits) in [(35_989_000, false), (36_000_000, true)] {
            node.core.tick(START_US + later);
            let now_us = START_US + later;
            if node.ask(1, now_us).is_none() {
                settle(node, &mut server, now_us);
            }
            assert_eq!(node.ask(1, now_us), Some(fits), "{later}");
            if !fits {
                node.core.tick(now_us + 1_000_000);
            }
        }
    }
}

#[test]
fn what_a_node_holds_and_does_not_use_goes_back() {
    let mut nodes = nodes(2, &[limit("l", 160, 3_600)], Policy::Deny);
    let (mut server, mut admitted, mut now_us) = (Server::new(2), Admitted::new(), START_US);
    for _ in 0..40 {
        now_us += 10_000;
        nodes[0].call(1, now_us, &mut admitted);
        nodes[0].core.tick(now_us);
        settle(&mut nodes[0], &mut server, now_us);
        nodes[0].ask_again(now_us, &mut admitted);
    }
    let used = |server: &Server, now_us: u64| {
        let full_at = server.full_at.values().next().copied().unwrap();
        Rate { max: 160, per_seconds: 3_600 }.units(full_at - now_us)
    };
    assert!(used(&server, now_us) >= 41, "it holds some ahead of use");
    for _ in 0..100 {
        now_us += 10;
        nodes[0].core.tick(now_us);
        settle(&mut nodes[0], &mut server, now_us);
    }
    assert_eq!((admitted.len(), used(&server, now_us)), (40, 39), "but for the second that has passed");
}

/// What a node admits of 300 calls after its server has gone away.
fn admitted_without_server(policy: Policy) -> (usize, Counting, Counting) {
    let mut node = nodes(3, &[limit("l", 90, 3_600)], policy).remove(0);
    let (mut server, mut admitted) = (Server::new(3), Admitted::new());
    node.call(1, START_US, &mut admitted);
    settle(&mut node, &mut server, START_US);
    node.ask_again(START_US, &mut admitted);
    assert_eq!(node.call(1, START_US, &mut admitted), None);
    let batch = node.core.next_batch();
    node.core.failed(&batch);
    let lost = node.verifier.counting();
    node.ask_again(START_US, &mut admitted);
    for _ in 0..299 {
        assert!(node.call(1, START_US, &mut admitted).is_some(), "nobody waits");
    }
    node.core.granted(&Batch::default(), &Granted { nodes: 3, grants: Vec::new() }, START_US);
    (admitted.len() - 1, lost, node.verifier.counting())
}

#[test]
fn without_its_server_a_node_does_what_the_policy_says_and_afterwards_counts_again() {
    use Counting::{Installation, Nobody, Node, Refusing};
    // A third of 90, of which one call for all nodes is known to be used.
    assert_eq!(admitted_without_server(Policy::Local), (29, Node, Installation));
    assert_eq!(admitted_without_server(Policy::Allow), (300, Nobody, Installation));
    assert_eq!(admitted_without_server(Policy::Deny), (0, Refusing, Installation));
}

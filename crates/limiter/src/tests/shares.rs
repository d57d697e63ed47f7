//! Nodes that take shares of limits from a store.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::SHARED_MAX;
use crate::core::Exchanging;
use crate::port::{Share, Shares, Usage};
use crate::rate::Rate;

/// How long a share is the node's, in the store and on the node's own clock.
const HELD_US: u64 = 6_000_000;
const COUNTS_US: u64 = 3_000_000;

/// What a store does: never gives more than [`SHARED_MAX`] of a limit at once.
#[derive(Default)]
struct Store {
    /// For each node: its share, what it would use, and until when.
    held: HashMap<usize, (u32, u32, u64)>,
}

impl Store {
    fn exchange(&mut self, node: usize, nodes: u32, usage: &[Usage], now_us: u64) -> Shares {
        self.held.retain(|_, (.., until_us)| *until_us > now_us);
        let mut shares = Vec::new();
        for usage in usage {
            let others = self.held.iter().filter(|(other, _)| **other != node);
            let (taken, others_demand) = others.fold((0, 0_u32), |(taken, wanted), (_, held)| {
                (taken + held.0, wanted.saturating_add(held.1))
            });
            let granted = usage.wish.min(SHARED_MAX - taken);
            self.held.insert(node, (granted, usage.demand, now_us + HELD_US));
            shares.push(Share { granted, others_demand });
        }
        Shares { nodes, shares }
    }
}

fn nodes(count: u32, limits: &[Limit], policy: Policy) -> Vec<Node> {
    let joined = |_| {
        let mut node = Node::new(limits, By::Share, policy);
        let shares = Shares { nodes: count, shares: Vec::new() };
        node.core.shared(&Exchanging::default(), &shares, START_US, START_US);
        node
    };
    (0..count).map(joined).collect()
}

/// One exchange, whose answer comes so much later.
fn exchange(nodes: &mut [Node], place: usize, store: &mut Store, now_us: u64, late_us: u64) {
    let (count, node) = (u32::try_from(nodes.len()).unwrap(), &mut nodes[place]);
    let exchanging = node.core.usage(1_000_000);
    let shares = store.exchange(place, count, &exchanging.usage, now_us);
    let (asked, answered) = (node.clock(now_us), node.clock(now_us + late_us));
    node.core.shared(&exchanging, &shares, asked + COUNTS_US, answered);
}

proptest! {
    #[test]
    fn shares_keep_all_nodes_together_within_the_stated_bound(
        max in prop_oneof![1..40_u64, 40..2_000_u64], per in 1..20_u32, count in 1..5_u32, largest in 1..6_u64,
        clocks in prop::collection::vec((0..5_000_000_u64, 0..200_u64), 5),
        steps in prop::collection::vec((0..1_000_u64, 0..5_usize, 0..12_u8, 1..=1_000_u64), 1..400),
    ) {
        let limits = [limit("l", max, per)];
        let mut nodes = nodes(count, &limits, Policy::Local);
        for (node, (ahead, faster)) in nodes.iter_mut().zip(clocks) {
            (node.ahead_us, node.faster) = (ahead, faster);
        }
        let (mut store, mut now_us, mut admitted) = (Store::default(), START_US, Admitted::new());
        for (wait, which, what, cost) in steps {
            now_us += u64::from(per) * wait * wait * wait / 5_000;
            let place = which % nodes.len();
            match what {
                0 => { let clock = nodes[place].clock(now_us); nodes[place].core.tick(clock); }
                1 => exchange(&mut nodes, place, &mut store, now_us, 0),
                // The store has taken it, and its answer is lost, or comes after others have taken theirs.
                2 => {
                    let exchanging = nodes[place].core.usage(1_000_000);
                    let shares = store.exchange(place, count, &exchanging.usage, now_us);
                    let (asked, other) = (nodes[place].clock(now_us), (place + 1) % nodes.len());
                    if other != place {
                        exchange(&mut nodes, other, &mut store, now_us, 0);
                    }
                    if wait % 2 == 0 {
                        let clock = nodes[place].clock(now_us);
                        nodes[place].core.shared(&exchanging, &shares, asked + COUNTS_US, clock);
                    }
                }
                3 => nodes[place].core.failed(&Batch::default()),
                _ => {
                    let cost = (cost * largest).div_ceil(1_000).min(max);
                    prop_assert!(nodes[place].call(cost, now_us, &mut admitted).is_some(), "nobody waits");
                }
            }
        }
        let rate = Rate { max, per_seconds: per };
        let each = rate.block(count).max(largest) + largest;
        // The nodes' clocks run at most 200 millionths fast, which a bucket counts as time.
        let faster = max * (now_us - START_US) / 5_000_000_000 / u64::from(per) + 1;
        assert_within(&admitted, (max, per), u64::from(count) * each + faster);
    }
}

#[test]
fn a_limit_goes_to_where_it_is_used_and_is_shared_again_when_others_use_it() {
    let (max, per) = (1_000, 1);
    let mut nodes = nodes(4, &[limit("l", max, per)], Policy::Local);
    let (mut store, mut now_us) = (Store::default(), START_US);
    // What each node admits in the tenth second of asking 2,000 times a second, by which nodes ask.
    let mut busy = |asking: &[usize]| {
        let mut admitted = vec![Admitted::new(); 4];
        for _ in 0..10 {
            admitted.iter_mut().for_each(Vec::clear);
            for place in 0..4 {
                exchange(&mut nodes, place, &mut store, now_us, 0);
            }
            for nth in 0..2_000_u64 {
                now_us += 500;
                for place in asking {
                    nodes[*place].call(1, now_us, &mut admitted[*place]);
                }
                if nth % 100 == 0 {
                    for node in &mut nodes {
                        node.core.tick(node.clock(now_us));
                    }
                }
            }
        }
        admitted.iter().map(Vec::len).collect::<Vec<_>>()
    };
    // An eighth is everybody's, a half goes where it is used.
    let alone = busy(&[0]);
    assert!((600..=650).contains(&alone[0]), "{alone:?}");
    let two = busy(&[0, 3]);
    assert!((350..=400).contains(&two[0]) && (350..=400).contains(&two[3]), "{two:?}");
    let all = busy(&[0, 1, 2, 3]);
    assert!(all.iter().all(|admitted| (225..=275).contains(admitted)), "{all:?}");
}

#[test]
fn a_node_that_is_alone_has_all_of_a_limit_until_another_comes() {
    let mut node = nodes(1, &[limit("l", 800, 3_600)], Policy::Local).remove(0);
    let mut admitted = Admitted::new();
    for _ in 0..500 {
        node.call(1, START_US, &mut admitted);
    }
    assert_eq!(admitted.len(), 500);
    let shares = Shares { nodes: 2, shares: Vec::new() };
    node.core.shared(&Exchanging::default(), &shares, START_US, START_US);
    for _ in 0..500 {
        node.call(1, START_US, &mut admitted);
    }
    // What it holds ahead of use, and no more than a fourth: the other has as much.
    assert!((500..=700).contains(&admitted.len()), "{}", admitted.len());
}

#[test]
fn without_its_store_a_node_goes_on_with_the_share_that_is_always_its_own_and_says_so() {
    let mut node = nodes(4, &[limit("l", 800, 3_600)], Policy::Local).remove(0);
    let mut admitted = Admitted::new();
    assert_eq!(node.verifier.counting(), Counting::Installation);
    node.core.failed(&Batch::default());
    assert_eq!(node.verifier.counting(), Counting::Node);
    for _ in 0..400 {
        node.call(1, START_US, &mut admitted);
    }
    assert_eq!(admitted.len(), 100);
}

#[test]
fn a_store_that_gives_more_than_there_is_is_not_believed() {
    let mut node = nodes(2, &[limit("l", 800, 3_600)], Policy::Local).remove(0);
    let mut admitted = Admitted::new();
    node.call(1, START_US, &mut admitted);
    let exchanging = node.core.usage(1_000_000);
    let shares = Shares { nodes: 2, shares: vec![Share { granted: u32::MAX, others_demand: u32::MAX }; 9] };
    node.core.shared(&exchanging, &shares, u64::MAX, START_US);
    for _ in 0..2_000 {
        node.call(1, START_US, &mut admitted);
    }
    assert_eq!(admitted.len(), 200);
}

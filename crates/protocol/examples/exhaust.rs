//! The model at sizes that take minutes, to exhaustion: `cargo run -p keywright-protocol --example exhaust`.
//! Its figures are in `docs/reliability.md`.

#[expect(dead_code, reason = "what the tests make of the variants")]
#[path = "../src/model/mod.rs"]
mod model;

use std::hash::Hash;

use model::Protocol;
use model::eventually::Eventually;
use stateright::{Checker, Model};

fn exhaust<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states, {} steps at the deepest", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

fn main() {
    let (one, two) = (Protocol::ONE, Protocol::TWO_WRITERS);
    exhaust("1 node of 3 lives, 1 writer, 6 moments", Protocol { end: 6, lives: 3, ..one.clone() });
    exhaust("1 node of 2 lives, 2 writers, 4 moments", Protocol { end: 4, lives: 2, ..two.clone() });
    exhaust(
        "2 nodes, 1 writer, 3 moments",
        Protocol { nodes: 2, lease: 1, end: 3, lives: 2, crashes: 0, ..one },
    );
    let calm = Eventually::ONE;
    let protocol = Protocol { lives: 4, end: 10, writers: 2, crashes: 0, ..calm.protocol.clone() };
    exhaust("liveness: 1 node, 2 writers", Eventually { protocol, ..calm });
}

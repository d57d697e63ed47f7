//! `kill -9` under concurrent writers, a hundred times on one data directory: nothing that was acknowledged is lost,
//! nothing that was ended comes back, and no quota gives more than was bought.

mod asker;
mod ledger;
mod writer;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::installation::{Installation, Server, tell};
use asker::Asker;
use ledger::Ledger;
use writer::Writer;

/// How often the server is killed.
const ROUNDS: u64 = 100;
/// How many clients write at once.
const WRITERS: u64 = 4;
/// Each client is killed somewhere in its first so many milliseconds.
const KILL_WITHIN_MS: u64 = 180;
/// How often everything is compared, and not only what was touched.
const AUDIT_EVERY: u64 = 20;

/// Random enough to be killed anywhere, and told when a test fails, so that the choices can be had again.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*, which never leaves 0.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[tokio::test]
async fn a_hundred_kills_lose_no_acknowledged_write_and_revive_no_key() {
    let seed = RandomState::new().hash_one(0) | 1;
    tell(&format!("seed {seed}"));
    let mut random = Random(seed);
    let installation = Installation::new();
    let began = Instant::now();
    let mut server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
    let mut askers = vec![Asker::large(&server.api(&root)).await, Asker::small(&server.api(&root)).await];
    let mut ledger = Ledger::default();
    let mut small = 1;
    for round in 1..=ROUNDS {
        let life = Duration::from_millis(5 + random.below(KILL_WITHIN_MS));
        (writers, askers) = one_life(server, &root, life, writers, askers).await;
        server = installation.start().await;
        let api = server.api(&root);
        for writer in &mut writers {
            writer.settle(&api).await;
            ledger.take(writer);
        }
        for asker in &mut askers {
            asker.killed(&api).await;
        }
        if askers.last().is_some_and(Asker::is_exhausted) {
            // It stays in the list, so that it is asked again after every later kill.
            askers.push(Asker::small(&api).await);
            small += 1;
        }
        if round % AUDIT_EVERY == 0 {
            compare_all(&installation, &server, &root, &writers, &ledger).await;
            tell(&format!("round {round} after {:?}: {ledger}, {small} small quotas", began.elapsed()));
        }
    }
    assert!(small > 3, "the small quotas were used up: {small}");
    ledger.saw_enough();
    server.stop().await;
    installation.audit_is_clean().await;
    let server = installation.start().await;
    compare_all(&installation, &server, &root, &writers, &ledger).await;
    server.stop().await;
}

/// Lets everybody work until the server is killed in their midst.
async fn one_life(
    server: Server,
    root: &str,
    life: Duration,
    writers: Vec<Writer>,
    askers: Vec<Asker>,
) -> (Vec<Writer>, Vec<Asker>) {
    let api = server.api(root);
    let (mut writing, mut asking) = (JoinSet::new(), JoinSet::new());
    for mut writer in writers {
        let api = api.clone();
        writing.spawn(async move {
            writer.work(&api).await;
            writer
        });
    }
    for (at, mut asker) in askers.into_iter().enumerate() {
        let api = api.clone();
        asking.spawn(async move {
            asker.work(&api).await;
            (at, asker)
        });
    }
    sleep(life).await;
    server.kill().await;
    let writers = writing.join_all().await;
    let mut askers = asking.join_all().await;
    askers.sort_by_key(|(at, _)| *at);
    (writers, askers.into_iter().map(|(_, asker)| asker).collect())
}

async fn compare_all(
    installation: &Installation,
    server: &Server,
    root: &str,
    writers: &[Writer],
    ledger: &Ledger,
) {
    let api = server.api(root);
    for writer in writers {
        writer.compare_all(&api).await;
    }
    ledger.compare(installation);
    installation.audit_is_clean().await;
}

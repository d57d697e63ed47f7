//! What is committed is what is answered by.

use std::net::IpAddr;

use keywright_control::Clock as _;
use keywright_model::denial::Denial;
use keywright_model::id::OrgId;
use keywright_verifier::{Asked, Check, Credential, Decided, Request, Verifier};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::judge::{Stored, universe};
use crate::world::{Call, World, call};

const CASES: u32 = 48;
const CALLS_MAX: usize = 25;

fn answer(
    world: &World,
    verifier: &Verifier,
    org: OrgId,
    secret: &str,
    wants: (&str, &str),
    ip: IpAddr,
) -> Option<Denial> {
    let checks = [Check { action: wants.0, resource: wants.1 }];
    let request = Request { keyspaces: Asked::whole(org), checks: &checks, ip: Some(ip), cost: 0 };
    match verifier.verify(&Credential::Bearer(secret), &request, world.node.now()) {
        Decided::Verdict(verdict) => verdict.denial,
        other => panic!("not decided: {other:?}"),
    }
}

/// Every secret that was ever given, on every question, from two addresses.
async fn compare(world: &World, verifier: &Verifier) -> Result<(), String> {
    let stored = Stored::read(&world.node).await;
    let now = world.node.clock.now();
    let addresses: [IpAddr; 2] = [[10, 0, 0, 1].into(), [192, 0, 2, 1].into()];
    for (id, secret_id, secret) in &world.held {
        let key = &stored.keys[id];
        for (ip, wants) in addresses.iter().flat_map(|ip| universe().map(move |wants| (*ip, wants))) {
            let standing = stored.standing(key, Some(*secret_id), now, ip);
            let allowed = stored.allows(key, wants.0, wants.1);
            let expected = standing.or((!allowed).then_some(Denial::InsufficientPermission));
            let answered = answer(world, verifier, key.org, secret, wants, ip);
            if answered != expected {
                return Err(format!("{id} on {wants:?} from {ip}: {answered:?}, not {expected:?}"));
            }
        }
    }
    Ok(())
}

async fn follow(calls: Vec<Call>) -> Result<(), String> {
    let mut world = World::start().await;
    for call in calls {
        // The node's own index, the moment that the call has answered.
        let _refused = world.call(&call).await;
        compare(&world, &world.node.verifier).await.map_err(|what| format!("{what}, after {call:?}"))?;
    }
    let loaded = world.node.loaded_verifier().await;
    compare(&world, &loaded).await.map_err(|what| format!("{what}, from a snapshot"))
}

#[test]
fn a_verifier_answers_as_the_stored_nouns_say_when_the_write_answers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let result = TestRunner::new(config).run(&prop::collection::vec(call(), 1..CALLS_MAX), |calls| {
        runtime.block_on(follow(calls)).map_err(TestCaseError::fail)
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

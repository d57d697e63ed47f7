//! By no sequence of calls does a caller's reach, or that of the keys it makes or changes, exceed its `admin` and
//! `grantable`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use keywright_model::admin::AdminAction;
use keywright_model::id::KeyId;
use keywright_model::key::{Key, Rights};
use keywright_model::time::Timestamp;
use keywright_testkit::TestNode;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::judge::{Points, Stored, grant_points};
use crate::setup::{create, secret_of};
use crate::world::{Call, World, admin, call, grants};

const CASES: u32 = 64;
const CALLS_MAX: usize = 80;

/// What somebody may do: to Keywright, and what they may hand out.
struct Ceiling {
    admin: Vec<bool>,
    grantable: Points,
    reach: keywright_model::admin::AdminRights,
}

/// Now and in a hundred years, from two addresses: whoever makes a key good at another moment or elsewhere gives it again.
fn moments(node: &TestNode) -> Vec<(Timestamp, IpAddr)> {
    let now = node.now().wall;
    let times = [now, now.plus_seconds(60), now.plus_seconds(100 * 365 * 86_400)];
    let addresses: [IpAddr; 2] = [[10, 0, 0, 1].into(), [192, 0, 2, 1].into()];
    times.iter().flat_map(|time| addresses.iter().map(move |address| (*time, *address))).collect()
}

/// Judges one key: what it has gained since the beginning, or all that it has when `old` is `None`.
fn judge(
    ceiling: &Ceiling,
    old: Option<(&Stored, &Key)>,
    new: (&Stored, &Key),
    at: (Timestamp, IpAddr),
) -> Result<(), String> {
    let (stored, key) = new;
    if !stored.is_usable(key, at) {
        return Ok(());
    }
    let old = old.filter(|(stored, key)| stored.is_usable(key, at));
    let gained = stored.access(key) & !old.map_or(0, |(stored, key)| stored.access(key));
    let reached = ceiling.reach.orgs.includes(key.org) && ceiling.reach.keyspaces.includes(key.keyspace);
    if gained & !ceiling.grantable != 0 || (gained != 0 && !reached) {
        return Err(format!(
            "{} has gained {gained:b} beyond {:b} (reached: {reached})",
            key.id, ceiling.grantable
        ));
    }
    // Administration counts together with what it may hand out; one more bit is administration by itself.
    let powers = |stored: &Stored, key: &Key| match &key.spec.rights {
        Rights::Api { .. } => (Vec::new(), 0),
        Rights::Management { admin, grantable } => (stored.admin(admin), grant_points(grantable) << 1 | 1),
    };
    let (is_admin, hands_out) = powers(stored, key);
    let (was_admin, handed_out) = old.map_or((Vec::new(), 0), |(_, key)| powers(stored, key));
    for (at, _) in is_admin.iter().enumerate().filter(|(_, may)| **may) {
        let before = if was_admin.get(at) == Some(&true) { handed_out } else { 0 };
        let gained = hands_out & !before;
        let may = if ceiling.admin.get(at) == Some(&true) { ceiling.grantable << 1 | 1 } else { 0 };
        if gained & !may != 0 {
            return Err(format!("{} may now administer beyond its maker", key.id));
        }
    }
    Ok(())
}

async fn attack(body: Value, calls: Vec<Call>, made: &AtomicUsize) -> Result<(), String> {
    let mut world = World::start().await;
    let attacker = create(&world.node, &world.node.root().await, body).await.unwrap();
    let itself: KeyId = attacker.value.record.key.id;
    world.keys.push(itself);
    world.callers.push(secret_of(&attacker).to_owned());
    world.held.clear();
    let before = Stored::read(&world.node).await;
    let Rights::Management { admin, grantable } = &before.keys[&itself].spec.rights else {
        panic!("no manager")
    };
    // Only root hands the lease out.
    let mut handed = admin.clone();
    handed.actions.listed.remove(&AdminAction::FeedLease);
    let (reach, grantable) = (admin.clone(), grant_points(grantable));
    let ceiling = Ceiling { admin: before.admin(&handed), grantable, reach };
    for call in calls {
        if world.call(&call).await.is_err() {
            continue;
        }
        made.fetch_add(1, Ordering::Relaxed);
        let after = Stored::read(&world.node).await;
        for at in moments(&world.node) {
            for key in after.keys.values() {
                let old = before.keys.get(&key.id).map(|old| (&before, &**old));
                judge(&ceiling, old, (&after, key), at).map_err(|what| format!("{what}, by {call:?}"))?;
            }
            for key in world.held.iter().map(|(id, _, _)| id).filter(|id| **id != itself) {
                let Some(key) = after.keys.get(key) else { continue };
                judge(&ceiling, None, (&after, key), at)
                    .map_err(|what| format!("{what}, held, by {call:?}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn by_no_sequence_of_calls_is_more_reached_than_was_given() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let made = AtomicUsize::new(0);
    let strategy = (admin(), grants(), prop::collection::vec(call(), 1..CALLS_MAX));
    let result = TestRunner::new(config).run(&strategy, |(admin, grantable, calls)| {
        let body = json!({"kind": "management", "name": "attacker", "admin": admin, "grantable": grantable});
        runtime.block_on(attack(body, calls, &made)).map_err(TestCaseError::fail)
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // Refusing everything would be easy.
    assert!(made.load(Ordering::Relaxed) > 200, "only {} calls were allowed", made.load(Ordering::Relaxed));
}

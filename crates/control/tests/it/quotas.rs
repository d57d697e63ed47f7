//! Quotas and limits on a whole node: reserved in the store, spent in memory, never more than was bought.

use keywright_control::{NounKind, QuotaSubject};
use keywright_model::denial::Denial;
use keywright_model::id::OrgId;
use keywright_testkit::TestNode;
use keywright_verifier::{
    self as verifier, Asked, Check, Credential, Decided, Deferred, Request, Verdict, Verifier, block_units,
};
use serde_json::json;

use crate::setup::{allow, create, id_of, noun, secret_of};

const fn subject(of: verifier::QuotaSubject) -> QuotaSubject {
    match of {
        verifier::QuotaSubject::Key(key) => QuotaSubject::Key(key),
        verifier::QuotaSubject::PlanOfKey(plan, key) => QuotaSubject::PlanOfKey(plan, key),
        verifier::QuotaSubject::Principal(owner) => QuotaSubject::Principal(owner),
    }
}

/// One verification as the server makes it: what memory cannot decide is fetched, then it is asked again.
async fn ask(node: &TestNode, org: OrgId, secret: &str, wants: Option<(&str, &str)>, cost: u64) -> Verdict {
    ask_of(node, &node.verifier, org, secret, wants, cost).await
}

/// The same of another index over the node's store.
async fn ask_of(
    node: &TestNode,
    verifier: &Verifier,
    org: OrgId,
    secret: &str,
    wants: Option<(&str, &str)>,
    cost: u64,
) -> Verdict {
    let checks: Vec<Check<'_>> = wants.iter().map(|(action, resource)| Check { action, resource }).collect();
    let request = Request { keyspaces: Asked::whole(org), checks: &checks, ip: None, cost };
    for _ in 0..10 {
        match verifier.verify(&Credential::Bearer(secret), &request, node.now()) {
            Decided::Verdict(verdict) => return verdict,
            Decided::Deferred(Deferred::QuotaBlock(block)) => {
                let of = subject(block.subject);
                let (start, units) = (block.period.start, (block.needed, block.units));
                let reserved = node.control.reserve_quota(of, start, units, block.max).await.unwrap();
                verifier.credit_quota(&block, reserved.granted, reserved.reserved);
            }
            other => panic!("not decided: {other:?}"),
        }
    }
    panic!("never decided")
}

#[tokio::test]
async fn a_quota_gives_all_of_itself_and_not_one_more_and_begins_anew_with_its_period() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let made =
        create(&node, &root, json!({"name": "k", "quota": {"max": 250, "period": "day"}})).await.unwrap();
    for nth in 0..250_u64 {
        let verdict = ask(&node, root.org(), secret_of(&made), None, 1).await;
        assert_eq!(verdict.denial, None);
        assert_eq!(verdict.quota.unwrap().remaining, 249 - nth);
    }
    assert_eq!(ask(&node, root.org(), secret_of(&made), None, 1).await.denial, Some(Denial::QuotaExceeded));
    // Tests begin at noon.
    node.clock.advance_seconds(12 * 3_600 - 1);
    assert_eq!(ask(&node, root.org(), secret_of(&made), None, 1).await.denial, Some(Denial::QuotaExceeded));
    node.clock.advance_seconds(1);
    assert_eq!(ask(&node, root.org(), secret_of(&made), None, 1).await.denial, None);
}

/// Dropping a node without giving anything back is what `kill -9` does to a quota.
#[tokio::test]
async fn killed_again_and_again_a_quota_gives_never_more_and_loses_at_most_a_block_each_time() {
    const MAX: u64 = 2_000;
    const KILLS: u64 = 6;
    let mut node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "quota": {"max": MAX, "period": "month"}});
    let made = create(&node, &root, body).await.unwrap();
    let mut admitted = 0;
    for kill in 0..KILLS {
        for _ in 0..=(kill * 7) {
            admitted += u64::from(ask(&node, root.org(), secret_of(&made), None, 1).await.allowed);
        }
        node = node.restarted(kill + 10).await;
    }
    while ask(&node, root.org(), secret_of(&made), None, 1).await.allowed {
        admitted += 1;
    }
    let lost = MAX - admitted;
    assert!(lost > 0 && lost <= KILLS * block_units(MAX, 1), "{lost} lost");
}

#[tokio::test]
async fn several_nodes_over_one_store_admit_never_more_and_leave_each_other_enough() {
    const MAX: u64 = 20_000;
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "quota": {"max": MAX, "period": "month"}});
    let made = create(&node, &root, body).await.unwrap();
    let secret = secret_of(&made);
    let nodes = [node.loaded_verifier().await, node.loaded_verifier().await, node.loaded_verifier().await];
    let (mut admitted, mut calls) = ([0_u64; 3], 0);
    let call =
        async |place: usize, cost| ask_of(&node, &nodes[place], root.org(), secret, None, cost).await.denial;
    // The third takes a block at the beginning, and hears nothing of what the others do to the rest.
    assert_eq!(call(2, 1).await, None);
    while admitted[0] + admitted[1] < MAX - 400 {
        let (place, cost) = ([0, 1, 1][calls % 3], 1 + u64::try_from(calls % 9).unwrap());
        assert_eq!(call(place, cost).await, None, "{admitted:?}");
        admitted[place] += cost;
        calls += 1;
    }
    node.clock.advance_seconds(60);
    // Its first block had 200. The next, by its own figures as large again, must not be half of what is left.
    admitted[2] = 1;
    while admitted[2] < 201 {
        assert_eq!(call(2, 1).await, None);
        admitted[2] += 1;
    }
    for place in [0, 1] {
        while call(place, 1).await.is_none() {
            admitted[place] += 1;
        }
    }
    let sum: u64 = admitted.iter().sum();
    assert!(sum <= MAX && sum + 3 >= MAX, "{sum} of {MAX}: {admitted:?}");
    while call(2, 1).await.is_none() {
        admitted[2] += 1;
    }
    assert_eq!(admitted.iter().sum::<u64>(), MAX);
    for place in [0, 1, 2] {
        assert_eq!(call(place, 1).await, Some(Denial::QuotaExceeded));
    }
}

#[tokio::test]
async fn a_killed_node_costs_the_others_at_most_its_block_and_an_orderly_one_nothing() {
    use keywright_store::Store as _;
    const MAX: u64 = 3_000;
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "quota": {"max": MAX, "period": "month"}});
    let made = create(&node, &root, body).await.unwrap();
    let nodes = [node.loaded_verifier().await, node.loaded_verifier().await, node.loaded_verifier().await];
    let mut admitted = 0;
    let call = async |verifier: &Verifier| {
        ask_of(&node, verifier, root.org(), secret_of(&made), None, 1).await.allowed
    };
    for verifier in &nodes {
        admitted += u64::from(call(verifier).await);
    }
    let [killed, stopped, third] = nodes;
    drop(killed);
    while call(&third).await {
        admitted += 1;
    }
    let lost = MAX - admitted;
    assert!(lost > 0 && lost <= 2 * block_units(MAX, 1), "{lost} are held by two nodes");
    assert!(!call(&third).await, "it is used up");
    for unspent in stopped.unspent_quota() {
        node.store.return_quota(subject(unspent.subject), unspent.period_start, unspent.units).await.unwrap();
    }
    // Whoever was told that it is used up asks again, a second later.
    assert!(!call(&third).await);
    node.clock.advance_seconds(1);
    while call(&third).await {
        admitted += 1;
    }
    let lost = MAX - admitted;
    assert!(lost > 0 && lost <= block_units(MAX, 1), "{lost} were lost with the killed node");
}

#[tokio::test]
async fn an_orderly_stop_gives_back_what_was_not_spent() {
    use keywright_store::Store as _;
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "quota": {"max": 1_000, "period": "none"}});
    let made = create(&node, &root, body).await.unwrap();
    ask(&node, root.org(), secret_of(&made), None, 3).await;
    for unspent in node.verifier.unspent_quota() {
        node.store.return_quota(subject(unspent.subject), unspent.period_start, unspent.units).await.unwrap();
    }
    let node = node.restarted(9).await;
    let mut admitted = 3;
    while ask(&node, root.org(), secret_of(&made), None, 1).await.allowed {
        admitted += 1;
    }
    assert_eq!(admitted, 1_000);
}

#[tokio::test]
async fn nothing_is_consumed_unless_all_holds() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let plan = json!({"name": "p", "limits": [{"name": "plan", "max": 5, "per_seconds": 3_600}], "quota": {"max": 100, "period": "day"}});
    let plan = id_of(&noun(&node, &root, NounKind::Plan, plan).await.unwrap());
    let owner = json!({"limits": [{"name": "owner", "max": 50, "per_seconds": 3_600}], "quota": {"max": 4, "period": "day"}});
    let owner = id_of(&noun(&node, &root, NounKind::Principal, owner).await.unwrap());
    let body = json!({"name": "k", "owner": owner, "plans": [plan], "grants": allow("get", "a/**"),
        "limits": [{"name": "own", "max": 50, "per_seconds": 3_600}], "quota": {"max": 1_000, "period": "day"}});
    let made = create(&node, &root, body).await.unwrap();
    let left = async || {
        let verdict = ask(&node, root.org(), secret_of(&made), Some(("get", "a/1")), 0).await;
        let limits: Vec<(String, u64)> =
            verdict.limits.iter().map(|limit| (limit.name.to_string(), limit.remaining)).collect();
        (limits, verdict.quota.map(|quota| quota.remaining))
    };
    let call = async |resource, cost| {
        ask(&node, root.org(), secret_of(&made), Some(("get", resource)), cost).await.denial
    };
    assert_eq!(call("a/1", 1).await, None);
    let after_one = left().await;
    assert_eq!(call("b/1", 1).await, Some(Denial::InsufficientPermission));
    assert_eq!(call("a/1", 5).await, Some(Denial::RateLimited));
    assert_eq!(call("a/1", 4).await, Some(Denial::QuotaExceeded));
    assert_eq!(left().await, after_one);
    assert_eq!(call("a/1", 3).await, None);
    // The owner's four are used up, its other key included.
    let other = create(&node, &root, json!({"name": "l", "owner": owner})).await.unwrap();
    assert_eq!(ask(&node, root.org(), secret_of(&other), None, 1).await.denial, Some(Denial::QuotaExceeded));
}

#[tokio::test]
async fn a_limit_admits_its_burst_and_then_its_rate() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "k", "limits": [{"name": "burst", "max": 10, "per_seconds": 10}]});
    let made = create(&node, &root, body).await.unwrap();
    let mut admitted = 0;
    for _ in 0..40 {
        for _ in 0..20 {
            admitted += u64::from(ask(&node, root.org(), secret_of(&made), None, 1).await.allowed);
        }
        node.clock.advance_ms(500);
    }
    // 39 half seconds have passed at the last question: 10 × (1 + 19.5 / 10), and not one more.
    assert_eq!(admitted, 29);
    let other = create(
        &node,
        &root,
        json!({"name": "l", "limits": [{"name": "burst", "max": 10, "per_seconds": 10}]}),
    )
    .await
    .unwrap();
    for _ in 0..10 {
        assert!(ask(&node, root.org(), secret_of(&other), None, 1).await.allowed);
        node.clock.advance_seconds(1);
    }
}

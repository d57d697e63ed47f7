//! Several real nodes over one PostgreSQL of the tests' own.

use std::sync::atomic::{AtomicBool, Ordering};

use keywright_testkit::postgres::{Database, shared};
use serde_json::{Value, json};

use super::api::{Api, text};
use super::installation::{Installation, Server};

/// Worth nothing: the database goes with the test.
const MASTER_KEY: &str = "6b6579777269676874206120636c757374657227732074657374206b65793132";

/// Nodes of one installation.
struct Cluster {
    installation: Installation,
    database: Database,
}

impl Cluster {
    /// Nothing, where there is no PostgreSQL.
    fn new() -> Option<Self> {
        Some(Self { installation: Installation::new(), database: shared()?.database() })
    }

    async fn node(&self, name: &str) -> Server {
        self.node_with(name, &[]).await
    }

    async fn node_with(&self, name: &str, more: &[&str]) -> Server {
        let environment =
            [("KEYWRIGHT_DATABASE", self.database.url.as_str()), ("KEYWRIGHT_MASTER_KEY", MASTER_KEY)];
        let arguments = [&["--node-name", name], more].concat();
        let command = self.installation.serve_command(&arguments, &environment);
        self.installation.start_with(command).await
    }
}

async fn verify(api: &Api, secret: &str) -> Value {
    api.post("/v1/verify", json!({"secret": secret})).await.expect(200)
}

async fn made(api: &Api, body: Value) -> (String, String) {
    let made = api.post("/v1/keys", body).await.expect(201);
    (text(&made["key"]["id"]), text(&made["secret"]))
}

#[tokio::test]
async fn first_starts_at_once_make_one_installation_and_one_of_them_prints_its_root_key() {
    let Some(cluster) = Cluster::new() else { return };
    let (one, two, three) = tokio::join!(cluster.node("a"), cluster.node("b"), cluster.node("c"));
    let nodes = [one, two, three];
    let printed: Vec<&String> = nodes.iter().filter_map(|node| node.root_key.as_ref()).collect();
    assert_eq!(printed.len(), 1);
    for node in &nodes {
        node.api(printed[0]).get("/v1/keys").await.expect(200);
    }
}

#[tokio::test]
async fn a_change_through_one_node_is_in_force_on_the_others_when_it_answers() {
    let Some(cluster) = Cluster::new() else { return };
    let (one, two) = (cluster.node("a").await, cluster.node("b").await);
    let root = one.root_key.clone().unwrap();
    let (first, second) = (one.api(&root), two.api(&root));
    for _ in 0..20 {
        let (id, secret) = made(&first, json!({"name": "changed"})).await;
        assert_eq!(verify(&second, &secret).await["code"], "allowed");
        let revoked = second.post(&format!("/v1/keys/{id}/revoke"), json!({})).await;
        assert_eq!((revoked.status, revoked.header("keywright-enforced")), (200, "all"));
        assert_eq!(verify(&first, &secret).await["code"], "revoked");
    }
}

/// How many signals of other nodes a node has taken.
async fn signals(node: &Server) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", node.url)).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("keywright_signals_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn nodes_signal_each_other_and_enforce_as_well_where_one_is_deaf() {
    let Some(cluster) = Cluster::new() else { return };
    let one = cluster.node("a").await;
    let (two, deaf) = (cluster.node("b").await, cluster.node_with("c", &["--signals", "off"]).await);
    let root = one.root_key.clone().unwrap();
    let nodes = [&one, &two, &deaf].map(|node| node.api(&root));
    for writer in nodes.iter().cycle().take(30) {
        let (id, secret) = made(writer, json!({"name": "signalled"})).await;
        let revoked = writer.post(&format!("/v1/keys/{id}/revoke"), json!({})).await;
        assert_eq!((revoked.status, revoked.header("keywright-enforced")), (200, "all"));
        for node in &nodes {
            assert_eq!(verify(node, &secret).await["code"], "revoked");
        }
    }
    let taken = [signals(&one).await, signals(&two).await, signals(&deaf).await];
    assert!(taken[0] > 0 && taken[1] > 0 && taken[2] == 0, "{taken:?}");
}

#[tokio::test]
async fn a_rolling_restart_makes_no_write_pending() {
    let Some(cluster) = Cluster::new() else { return };
    let (stays, mut rolls) = (cluster.node("stays").await, cluster.node("rolls").await);
    let api = stays.api(&stays.root_key.clone().unwrap());
    let (over, mut writes) = (AtomicBool::new(false), 0);
    let writing = async {
        while !over.load(Ordering::Relaxed) {
            let (id, secret) = made(&api, json!({"name": "short-lived"})).await;
            assert_eq!(verify(&api, &secret).await["code"], "allowed");
            let revoked = api.post(&format!("/v1/keys/{id}/revoke"), json!({})).await;
            assert_eq!(
                (revoked.status, revoked.header("keywright-enforced")),
                (200, "all"),
                "after {writes}"
            );
            writes += 1;
        }
    };
    let rolling = async {
        for _ in 0..3 {
            rolls.stop().await;
            rolls = cluster.node("rolls").await;
        }
        over.store(true, Ordering::Relaxed);
        rolls
    };
    let ((), _rolls) = tokio::join!(writing, rolling);
    assert!(writes >= 3, "{writes}");
}

#[tokio::test]
async fn a_change_through_one_node_is_in_force_on_a_leased_follower_of_another_when_it_answers() {
    let Some(cluster) = Cluster::new() else { return };
    let (one, two) = (cluster.node("a").await, cluster.node("b").await);
    let root = one.api(&one.root_key.clone().unwrap());
    let admin = json!({
        "actions": ["feed.read", "feed.lease", "keys.verify"], "orgs": ["default"], "keyspaces": ["default"],
    });
    let asks = json!({"kind": "management", "name": "f", "admin": admin, "grantable": []});
    let (_, key) = made(&root, asks).await;
    let mut command = super::follow::follow_command(&cluster.installation, &two.url, &key);
    command.arg("--follow-lease");
    let follower = cluster.installation.start_with(command).await;
    let near = follower.api(&key);
    for _ in 0..20 {
        let (id, secret) = made(&root, json!({"name": "changed"})).await;
        while verify(&near, &secret).await["code"] != "allowed" {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let revoked = root.post(&format!("/v1/keys/{id}/revoke"), json!({})).await;
        assert_eq!((revoked.status, revoked.header("keywright-enforced")), (200, "all"));
        assert_eq!(verify(&near, &secret).await["code"], "revoked");
    }
    follower.stop().await;
}

#[tokio::test]
async fn without_a_limiter_nodes_divide_limits_through_the_database_within_the_stated_bound() {
    let Some(cluster) = Cluster::new() else { return };
    let (one, two) = (cluster.node("a").await, cluster.node("b").await);
    let root = one.root_key.clone().unwrap();
    let apis = [one.api(&root), two.api(&root)];
    let limits = json!([{"name": "slow", "max": 80, "per_seconds": 3600}]);
    // Both nodes have heard of each other once a call is limited by the installation, not by the node's own count.
    for api in &apis {
        let (_, secret) = made(api, json!({"name": "first", "limits": limits})).await;
        for _ in 0..400 {
            if verify(api, &secret).await["limits"][0].get("scope").is_none() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        tokio::time::sleep(keywright_limiter::EXCHANGE).await;
    }
    let (_, secret) = made(&apis[0], json!({"name": "limited", "limits": limits})).await;
    let (mut allowed, mut last) = ([0_u64; 2], Value::Null);
    // Three exchanges and more: what the second node does not use comes to the first, and no unit twice.
    for _ in 0..80 {
        for (place, calls) in [(0, 4), (1, 1)] {
            for _ in 0..calls {
                last = verify(&apis[place], &secret).await;
                allowed[place] += u64::from(last["allowed"] == true);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // docs/limits.md: max × (1 + t / per_seconds) + n × (max(b, c) + c), with n = 2, b = 80 / 16, c = 1.
    let bound = 80 + 1 + 2 * (5 + 1);
    assert!(allowed.iter().sum::<u64>() <= bound, "{allowed:?}");
    // A fourth is each node's own.
    assert!(allowed.iter().all(|allowed| *allowed >= 80 / 4), "{allowed:?}");
    assert_eq!(last["code"], "rate_limited", "{last}");
}

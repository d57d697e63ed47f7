//! `keywright follow` as a process beside a real server: current within its bound, then refusing; resumed, not reloaded.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api::{Api, text};
use super::installation::{Installation, Server};

/// What a follower promises unless said otherwise.
const BOUND: Duration = Duration::from_secs(5);

/// How long the machine may hold anything up before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, a follower of it, and a key that may ask both.
struct Pair {
    installation: Installation,
    server: Server,
    root: Api,
    follower: Server,
    /// Asks the follower.
    near: Api,
    /// The key that follows and asks.
    key: String,
}

/// A management key that may follow and ask in these keyspaces.
async fn asking_key(root: &Api, home: &str, keyspaces: &[&str]) -> String {
    let admin = json!({"actions": ["feed.read", "keys.verify"], "orgs": ["default"], "keyspaces": keyspaces});
    let body =
        json!({"kind": "management", "name": "follower", "keyspace": home, "admin": admin, "grantable": []});
    text(&root.post("/v1/keys", body).await.expect(201)["secret"])
}

pub(crate) fn follow_command(installation: &Installation, server: &str, key: &str) -> std::process::Command {
    let mut command = installation.command(&["follow"]);
    command.env("KEYWRIGHT_LISTEN", "127.0.0.1:0").env("KEYWRIGHT_LOG", "debug");
    command.env("KEYWRIGHT_SERVER", server).env("KEYWRIGHT_KEY", key);
    command
}

impl Pair {
    async fn start() -> Self {
        let installation = Installation::new();
        let server = installation.start().await;
        let root = server.api(server.root_key.as_ref().unwrap());
        let key = asking_key(&root, "default", &["*"]).await;
        let follower = installation.start_with(follow_command(&installation, &server.url, &key)).await;
        let near = follower.api(&key);
        Self { installation, server, root, follower, near, key }
    }

    async fn figure(&self, name: &str) -> u64 {
        let metrics =
            reqwest::get(format!("{}/metrics", self.follower.url)).await.unwrap().text().await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
    }

    /// Waits until the follower answers so, and says how long that took.
    async fn until(&self, secret: &str, code: &str) -> Duration {
        let began = Instant::now();
        loop {
            let reply = self.near.post("/v1/verify", json!({"secret": secret})).await;
            if reply.json["code"] == code {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{code} did not come: {reply:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn ready(&self) -> u16 {
        self.near.get("/readyz").await.status
    }

    async fn stop(self) {
        self.follower.stop().await;
        self.server.stop().await;
    }
}

#[tokio::test]
async fn a_follower_answers_as_its_node_does_and_hears_of_a_revocation_within_its_bound() {
    let pair = Pair::start().await;
    let (id, secret) = pair.root.make("devices").await;
    pair.until(&secret, "allowed").await;
    for (action, resource) in [("get", "devices/7"), ("drop", "devices/7"), ("get", "others/7")] {
        let near = pair.near.verdict(&secret, action, resource).await;
        assert_eq!(near, pair.root.verdict(&secret, action, resource).await, "{action} {resource}");
    }
    let question = json!({"secret": secret, "action": "get", "resource": "devices/7"});
    let near = pair.near.post("/v1/verify", question.clone()).await.expect(200);
    let mut far = pair.root.post("/v1/verify", question).await.expect(200);
    far["age_ms"] = near["age_ms"].clone();
    assert_eq!(near, far, "the same answer, member by member");
    let limited = json!({"name": "l", "limits": [{"name": "slow", "max": 2, "per_seconds": 3600}]});
    let limited = text(&pair.root.post("/v1/keys", limited).await.expect(201)["secret"]);
    pair.until(&limited, "allowed").await;
    let near = pair.near.post("/v1/verify", json!({"secret": limited})).await.expect(200);
    assert_eq!((&near["limits"][0]["scope"], &near["limits"][0]["remaining"]), (&json!("node"), &json!(0)));
    let far = pair.root.post("/v1/verify", json!({"secret": limited})).await.expect(200);
    assert_eq!(far["limits"][0]["remaining"], 1, "each counts alone: {far}");
    let unknown = pair.near.post("/v1/verify", json!({"secret": format!("{secret}x")})).await.expect(200);
    assert_eq!(unknown["code"], "not_found", "{unknown}");
    let revoked = pair.root.post(&format!("/v1/keys/{id}/revoke"), json!({})).await;
    assert_eq!(revoked.header("keywright-enforced"), "all", "no writer waits for it");
    let heard = pair.until(&secret, "revoked").await;
    assert!(heard < BOUND, "{heard:?}");
    assert_eq!(pair.figure("keywright_follow_snapshots_total").await, 1, "each write came by itself");
    pair.stop().await;
}

#[tokio::test]
async fn without_its_node_a_follower_answers_within_its_bound_and_no_longer() {
    let pair = Pair::start().await;
    let (id, secret) = pair.root.make("devices").await;
    pair.until(&secret, "allowed").await;
    assert_eq!(pair.ready().await, 200);
    pair.server.freeze().await;
    let stopped = Instant::now();
    let (mut answered, mut dated) = (0, 0);
    loop {
        let reply = pair.near.post("/v1/verify", json!({"secret": secret})).await;
        if reply.status == 503 {
            assert!(reply.header("retry-after") == "1");
            reply.refused(503, "verifier_not_current");
            break;
        }
        // What was asked before the node stopped counts from then, so this is the latest moment of an answer.
        assert!(stopped.elapsed() < BOUND + Duration::from_secs(1), "{reply:?}");
        let body = reply.expect(200);
        assert_eq!(body["code"], "allowed");
        answered += 1;
        dated += u32::from(body["current"] == false && body["age_ms"].as_u64().unwrap() >= 3_000);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(answered > 10 && dated > 10, "{answered} answers, {dated} of them said to be old");
    assert_eq!(pair.ready().await, 503);
    assert_eq!(pair.near.get("/healthz").await.status, 200);
    pair.server.thaw();
    pair.until(&secret, "allowed").await;
    assert_eq!(pair.ready().await, 200);
    pair.root.post(&format!("/v1/keys/{id}/disable"), json!({})).await.expect(200);
    pair.until(&secret, "disabled").await;
    assert_eq!(pair.figure("keywright_follow_snapshots_total").await, 1, "it went on from where it was");
    pair.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_anew_is_followed_from_where_the_follower_was() {
    let mut pair = Pair::start().await;
    let (id, secret) = pair.root.make("devices").await;
    pair.until(&secret, "allowed").await;
    let address = pair.server.url.strip_prefix("http://").unwrap().to_owned();
    let again = pair.installation.serve_command(&[], &[("KEYWRIGHT_LISTEN", &address)]);
    let root_key = pair.server.root_key.clone().unwrap();
    pair.server.terminate();
    pair.server.ended().await;
    pair.server = pair.installation.start_with(again).await;
    pair.root = pair.server.api(&root_key);
    pair.root.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
    pair.until(&secret, "revoked").await;
    assert_eq!(pair.figure("keywright_follow_snapshots_total").await, 1);
    assert!(pair.figure("keywright_follow_failures_total").await > 0, "it has noticed");
    pair.stop().await;
}

#[tokio::test]
async fn what_memory_cannot_decide_the_node_is_asked() {
    let pair = Pair::start().await;
    pair.root.patch("/v1/keyspaces/default", json!({"allow_custom_secrets": true})).await.expect(200);
    let chosen = "chosen_by_somebody_42";
    let custom = json!({"name": "c", "access_id": "access_id_42", "secret": chosen});
    pair.root.post("/v1/keys", custom).await.expect(201);
    let quota = json!({"name": "q", "quota": {"max": 2, "period": "none", "time_zone": "UTC"}});
    let quota = text(&pair.root.post("/v1/keys", quota).await.expect(201)["secret"]);
    pair.until(&quota, "allowed").await;
    let ask = |body: Value| pair.near.post("/v1/verify", body);
    let pair_of = |secret: &str| json!({"access_id": "access_id_42", "secret": secret});
    assert_eq!(ask(pair_of(chosen)).await.expect(200)["code"], "allowed");
    assert_eq!(ask(pair_of("chosen_by_somebody_43")).await.expect(200)["code"], "not_found");
    let codes = [ask(json!({"secret": quota})).await, ask(json!({"secret": quota})).await];
    let codes = codes.map(|reply| reply.expect(200)["code"].clone());
    assert_eq!(codes, ["allowed", "quota_exceeded"], "the node counts, and two in all is what there is");
    let batch = json!([{"secret": quota}, pair_of(chosen)]);
    let batch = pair.near.post("/v1/verify/batch", batch).await.expect(200);
    assert_eq!((&batch[0]["code"], &batch[1]["code"]), (&json!("quota_exceeded"), &json!("allowed")));
    let stranger = pair.follower.api("kw_no_key_at_all_and_none_of_ours");
    assert_eq!(stranger.post("/v1/verify", pair_of(chosen)).await.status, 401);
    pair.server.freeze().await;
    ask(pair_of(chosen)).await.refused(503, "store_unavailable");
    pair.server.thaw();
    pair.stop().await;
}

#[tokio::test]
async fn a_follower_of_one_keyspace_knows_no_other() {
    let pair = Pair::start().await;
    pair.root.post("/v1/keyspaces", json!({"name": "orders"})).await.expect(201);
    let (_, elsewhere) = pair.root.make("devices").await;
    let here = text(
        &pair.root.post("/v1/keys", json!({"name": "k", "keyspace": "orders"})).await.expect(201)["secret"],
    );
    let key = asking_key(&pair.root, "orders", &["orders"]).await;
    let command = follow_command(&pair.installation, &pair.server.url, &key);
    let follower = pair.installation.start_with(command).await;
    let near = follower.api(&key);
    let code = async |secret: &str| {
        text(&near.post("/v1/verify", json!({"secret": secret})).await.expect(200)["code"])
    };
    assert_eq!((code(&here).await, code(&elsewhere).await), ("allowed".to_owned(), "not_found".to_owned()));
    near.get("/v1/keys").await.refused(404, "not_found");
    near.get("/v1/verify").await.refused(405, "method_not_allowed");
    let original = [("X-Original-Method", "GET"), ("X-Original-URI", "/x/7")];
    let gateway = follower.api(&elsewhere).call("GET", "/gateway/auth", None, &original).await.unwrap();
    assert_eq!(gateway.status, 401, "the gateway's keyspace is `default`: {gateway:?}");
    let through = pair.follower.api(&pair.root.make("x").await.1);
    for _ in 0..2_000 {
        if through.call("GET", "/gateway/auth", None, &original).await.unwrap().status == 200 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    through.call("GET", "/gateway/auth", None, &original).await.unwrap().expect(200);
    // Whoever loses a right to follow is told so at the next start, and in words.
    let mut wrong = follow_command(&pair.installation, &pair.server.url, &key);
    wrong.args(["--follow-keyspaces", "default"]);
    pair.installation.run_with(wrong, "").await.expect(4, &["cannot be followed"]);
    follower.stop().await;
    pair.stop().await;
}

#[tokio::test]
async fn a_follower_that_is_ended_or_narrowed_answers_no_longer_than_its_bound() {
    let pair = Pair::start().await;
    pair.root.post("/v1/keyspaces", json!({"name": "orders"})).await.expect(201);
    let (_, secret) = pair.root.make("devices").await;
    pair.until(&secret, "allowed").await;
    let whoami = pair.server.api(&pair.key).get("/v1/whoami").await.expect(200);
    let path = format!("/v1/keys/{}", text(&whoami["key"]["id"]));
    let admin =
        json!({"actions": ["feed.read", "keys.verify"], "orgs": ["default"], "keyspaces": ["orders"]});
    pair.root.patch(&path, json!({"admin": admin})).await.expect(200);
    // Its own key is in a keyspace that it follows no more, so nobody may ask it anything.
    let narrowed = Instant::now();
    while pair.near.post("/v1/verify", json!({"secret": secret})).await.status != 401 {
        assert!(narrowed.elapsed() < BOUND, "it still knows what it lost");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        pair.figure("keywright_follow_snapshots_total").await,
        2,
        "what it may hear is another thing now"
    );
    pair.root.post(&format!("{path}/revoke"), json!({})).await.expect(200);
    let revoked = Instant::now();
    while pair.ready().await != 503 {
        assert!(revoked.elapsed() < BOUND + Duration::from_secs(1), "it hears nothing and is ready");
        sleep(Duration::from_millis(20)).await;
    }
    pair.stop().await;
}

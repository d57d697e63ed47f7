//! A follower with a lease, as a process: what is acknowledged as enforced it answers by, at once; and it holds up no write
//! for longer than its lease.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::api::{Api, text};
use super::follow::follow_command;
use super::installation::{Installation, Server};

/// How long one renewal is trusted in these tests.
const LEASE: Duration = Duration::from_secs(2);
/// How long a write waits for a verifier before it fences it.
const PATIENCE: Duration = Duration::from_secs(2);

struct Leased {
    installation: Installation,
    server: Server,
    root: Api,
    key: String,
}

impl Leased {
    /// A server with a keyspace `orders`, and a key that may hold a lease of it.
    async fn start() -> Self {
        let installation = Installation::new();
        let server = installation.start().await;
        let root = server.api(server.root_key.as_ref().unwrap());
        root.post("/v1/keyspaces", json!({"name": "orders"})).await.expect(201);
        let admin = json!({
            "actions": ["feed.read", "feed.lease", "keys.verify"], "orgs": ["default"], "keyspaces": ["orders"],
        });
        let body =
            json!({"kind": "management", "name": "f", "keyspace": "orders", "admin": admin, "grantable": []});
        let key = text(&root.post("/v1/keys", body).await.expect(201)["secret"]);
        Self { installation, server, root, key }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = follow_command(&self.installation, &self.server.url, &self.key);
        command.args(["--follow-lease", "--follow-staleness", "2s"]).args(arguments);
        command
    }

    async fn follower(&self) -> Server {
        self.installation.start_with(self.command(&[])).await
    }

    /// A key of a keyspace: its path and its secret.
    async fn made(&self, keyspace: &str) -> (String, String) {
        let made = self.root.post("/v1/keys", json!({"name": "k", "keyspace": keyspace})).await.expect(201);
        (format!("/v1/keys/{}", text(&made["key"]["id"])), text(&made["secret"]))
    }

    /// Waits until a revision is enforced, and says how long that took.
    async fn enforced(&self, revision: &str) -> Duration {
        let began = Instant::now();
        loop {
            let reply = self.root.get(&format!("/v1/revisions/{revision}")).await;
            // While the fence is being made durable nobody can say for a moment who verifies.
            assert!(matches!(reply.status, 200 | 503), "{reply:?}");
            if reply.json["enforced"] == "all" {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{reply:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Waits until a new key works: a write that takes nothing away is answered before that on a busy machine.
async fn until_allowed(near: &Api, secret: &str) {
    let began = Instant::now();
    while ask(near, secret).await != (200, json!("allowed")) {
        assert!(began.elapsed() < Duration::from_secs(30), "a new key does not work");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn ask(near: &Api, secret: &str) -> (u16, Value) {
    let reply = near.post("/v1/verify", json!({"secret": secret})).await;
    (reply.status, reply.json["code"].clone())
}

#[tokio::test]
async fn what_is_acknowledged_as_enforced_a_leased_follower_answers_by_at_once() {
    let world = Leased::start().await;
    let follower = world.follower().await;
    let near = follower.api(&world.key);
    for _ in 0..40 {
        let (path, secret) = world.made("orders").await;
        until_allowed(&near, &secret).await;
        let done = world.root.post(&format!("{path}/revoke"), json!({})).await;
        assert_eq!((done.status, done.header("keywright-enforced")), (200, "all"));
        assert_eq!(ask(&near, &secret).await, (200, json!("revoked")));
    }
    follower.stop().await;
    // It has said that it leaves, so nothing waits for it.
    let (path, _) = world.made("orders").await;
    let began = Instant::now();
    world.root.post(&format!("{path}/revoke"), json!({})).await.expect(200);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    world.server.stop().await;
}

#[tokio::test]
async fn a_leased_follower_that_stands_still_is_fenced_and_answers_by_nothing_old_when_it_goes_on() {
    let world = Leased::start().await;
    let follower = world.follower().await;
    let near = follower.api(&world.key);
    let ((path, secret), (elsewhere, _)) = (world.made("orders").await, world.made("default").await);
    until_allowed(&near, &secret).await;
    follower.freeze().await;
    let began = Instant::now();
    world.root.post(&format!("{elsewhere}/revoke"), json!({})).await.expect(200);
    assert!(began.elapsed() < PATIENCE, "another keyspace's writers do not wait: {:?}", began.elapsed());
    let wait = [("prefer", "wait=0")];
    let done = world.root.call("POST", &format!("{path}/revoke"), Some(&json!({})), &wait).await.unwrap();
    assert_eq!((done.status, done.header("keywright-enforced")), (202, "pending"));
    let revision = done.header("keywright-revision").to_owned();
    let pending = world.root.get(&format!("/v1/revisions/{revision}")).await.expect(200);
    assert_eq!(pending["missing"], 1, "{pending}");
    let took = world.enforced(&revision).await;
    // Both clocks may be off by a tenth: two seconds are waited for as 2.45 s.
    assert!(took > PATIENCE && took < PATIENCE + LEASE * 2 + Duration::from_secs(2), "{took:?}");
    let began = Instant::now();
    let (next, _) = world.made("orders").await;
    world.root.post(&format!("{next}/revoke"), json!({})).await.expect(200);
    assert!(began.elapsed() < PATIENCE, "it is gone, and waited for once: {:?}", began.elapsed());
    follower.thaw();
    let resumed = Instant::now();
    loop {
        let (status, code) = ask(&near, &secret).await;
        assert!(status == 503 || code == "revoked", "{status} {code}: it answers by what is over");
        if status == 200 {
            break;
        }
        assert!(resumed.elapsed() < Duration::from_secs(20), "it does not come back");
        sleep(Duration::from_millis(2)).await;
    }
    let (path, secret) = world.made("orders").await;
    until_allowed(&near, &secret).await;
    world.root.post(&format!("{path}/revoke"), json!({})).await.expect(200);
    assert_eq!(ask(&near, &secret).await, (200, json!("revoked")), "it holds a lease again");
    follower.stop().await;
    world.server.stop().await;
}

#[tokio::test]
async fn a_server_that_starts_anew_waits_for_the_leases_that_it_gave_before() {
    let mut world = Leased::start().await;
    let follower = world.follower().await;
    let near = follower.api(&world.key);
    let (path, secret) = world.made("orders").await;
    let address = world.server.url.strip_prefix("http://").unwrap().to_owned();
    let root_key = world.server.root_key.clone().unwrap();
    let again = world.installation.serve_command(&[], &[("KEYWRIGHT_LISTEN", &address)]);
    world.server.terminate();
    world.server.ended().await;
    follower.freeze().await;
    world.server = world.installation.start_with(again).await;
    world.root = world.server.api(&root_key);
    let wait = [("prefer", "wait=0")];
    let done = world.root.call("POST", &format!("{path}/revoke"), Some(&json!({})), &wait).await.unwrap();
    assert_eq!((done.status, done.header("keywright-enforced")), (202, "pending"), "its lease may still run");
    follower.thaw();
    world.enforced(done.header("keywright-revision")).await;
    loop {
        match ask(&near, &secret).await {
            (503, _) => sleep(Duration::from_millis(5)).await,
            answered => {
                assert_eq!(answered, (200, json!("revoked")));
                break;
            }
        }
    }
    follower.stop().await;
    world.server.stop().await;
}

#[tokio::test]
async fn a_slot_tells_that_who_ran_in_it_is_dead_and_a_lease_is_not_for_everybody() {
    let world = Leased::start().await;
    let first = world.installation.start_with(world.command(&["--follow-name", "pod-1"])).await;
    first.kill().await;
    let second = world.installation.start_with(world.command(&["--follow-name", "pod-1"])).await;
    let (path, _) = world.made("orders").await;
    let began = Instant::now();
    world.root.post(&format!("{path}/revoke"), json!({})).await.expect(200);
    assert!(began.elapsed() < PATIENCE, "nobody waits for the dead one: {:?}", began.elapsed());
    second.stop().await;
    let admin = json!({"actions": ["*"], "orgs": ["default"], "keyspaces": ["orders"]});
    let body =
        json!({"kind": "management", "name": "f", "keyspace": "orders", "admin": admin, "grantable": []});
    let star = text(&world.root.post("/v1/keys", body).await.expect(201)["secret"]);
    let mut refused = follow_command(&world.installation, &world.server.url, &star);
    refused.args(["--follow-lease"]);
    world.installation.run_with(refused, "").await.expect(2, &["cannot be followed", "feed.lease"]);
    world.server.stop().await;
}

#[tokio::test]
async fn a_leased_follower_whose_scope_is_another_ends_and_holds_up_a_write_for_its_lease_at_most() {
    let world = Leased::start().await;
    let mut follower = world.follower().await;
    let (near, root) = (follower.api(&world.key), &world.root);
    let (path, secret) = world.made("orders").await;
    until_allowed(&near, &secret).await;
    let me = world.server.api(&world.key).get("/v1/whoami").await.expect(200);
    let admin = json!({
        "actions": ["feed.read", "feed.lease", "keys.verify"], "orgs": ["default"], "keyspaces": ["orders", "default"],
    });
    let widened = format!("/v1/keys/{}", text(&me["key"]["id"]));
    let widened =
        root.call("PATCH", &widened, Some(&json!({"admin": admin})), &[("prefer", "wait=0")]).await.unwrap();
    let done = root
        .call("POST", &format!("{path}/revoke"), Some(&json!({})), &[("prefer", "wait=0")])
        .await
        .unwrap();
    let revision = done.header("keywright-revision").to_owned();
    let enforced = async { world.enforced(&revision).await };
    let asking = async {
        // As long as it answers by the old state, the write is not said to be enforced.
        loop {
            let status = root.get(&format!("/v1/revisions/{revision}")).await.expect(200)["enforced"].clone();
            let answered = near.call("POST", "/v1/verify", Some(&json!({"secret": secret})), &[]).await;
            let is_old = answered.is_ok_and(|reply| reply.json["code"] == "allowed");
            if status == "all" {
                assert!(!is_old, "it answers by what is over");
                return;
            }
        }
    };
    let (took, ()) = tokio::join!(enforced, asking);
    assert!(took < PATIENCE + LEASE * 2 + Duration::from_secs(2), "{took:?}");
    assert_eq!(follower.ended().await.code(), Some(2), "{}: {}", widened.status, follower.log());
    assert!(follower.log().contains("what may be followed has changed"), "{}", follower.log());
    // Its supervisor starts it anew, with what it may follow now.
    let again = world.follower().await;
    assert_eq!(ask(&again.api(&world.key), &secret).await, (200, json!("revoked")));
    again.stop().await;
    world.server.stop().await;
}

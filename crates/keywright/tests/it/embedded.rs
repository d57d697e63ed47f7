//! `keywright_client::embedded` against a real server: it answers what the server answers.

use std::sync::Arc;
use std::time::Duration;

use keywright_client::embedded::{Ambient, Clocks, Embedded, LeaseOptions, Local, Options};
use keywright_client::{Check, Client, Secret, Verdict, VerifyRequest};
use keywright_model::admin::Reach;
use keywright_model::feed::Scope;
use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use keywright_testkit::SeededEntropy;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::api::{Api, text};
use super::installation::{Installation, Server};

/// The machine's clocks, and randomness that repeats.
struct Machine(SeededEntropy);

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).unwrap();
    u64::try_from(time.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap()
}

impl Clocks for Machine {
    fn boot_ns(&self) -> u64 {
        nanoseconds(ClockId::CLOCK_BOOTTIME)
    }

    fn raw_ns(&self) -> u64 {
        nanoseconds(ClockId::CLOCK_MONOTONIC_RAW)
    }
}

impl Entropy for Machine {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

impl Ambient for Machine {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(i64::try_from(nanoseconds(ClockId::CLOCK_REALTIME) / 1_000_000).unwrap())
    }
}

pub(crate) struct World {
    pub(crate) server: Server,
    root: Api,
    client: Client,
    /// The management key that follows.
    pub(crate) key: String,
    _installation: Installation,
}

impl World {
    pub(crate) async fn start() -> Self {
        let installation = Installation::new();
        let server = installation.start().await;
        let root = server.api(server.root_key.as_ref().unwrap());
        let admin = json!({
            "actions": ["feed.read", "feed.lease", "keys.verify"], "orgs": ["default"], "keyspaces": ["*"],
        });
        let body = json!({"kind": "management", "name": "f", "admin": admin, "grantable": []});
        let key = text(&root.post("/v1/keys", body).await.expect(201)["secret"]);
        let client = Client::new(&server.url, Secret::new(key.clone())).unwrap();
        Self { server, root, client, key, _installation: installation }
    }

    pub(crate) fn options() -> Options {
        Options::new(Arc::new(Machine(SeededEntropy::new(3))))
    }

    pub(crate) async fn secret(&self, body: serde_json::Value) -> Secret {
        Secret::new(text(&self.root.post("/v1/keys", body).await.expect(201)["secret"]))
    }
}

#[track_caller]
fn answered(local: Local) -> Verdict {
    match local {
        Local::Verdict(verdict) => *verdict,
        other => panic!("no answer: {other:?}"),
    }
}

/// What of an answer is a matter of whom is asked when.
fn comparable(mut verdict: Verdict) -> Verdict {
    (verdict.detail, verdict.age_ms) = (None, None);
    for limit in &mut verdict.limits {
        (limit.scope, limit.reset_ms) = (None, None);
    }
    verdict
}

#[tokio::test]
async fn an_embedded_verifier_answers_what_its_node_answers() {
    let world = World::start().await;
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/**"]}]);
    let role = world.root.post("/v1/roles", json!({"name": "r", "grants": grants})).await.expect(201);
    let owner = json!({"name": "o", "external_id": "user_42", "roles": [role["id"]]});
    let owner = world.root.post("/v1/principals", owner).await.expect(201);
    let limits = json!([{"name": "burst", "max": 100, "per_seconds": 3600}]);
    let bodies = [
        json!({"name": "plain", "grants": grants}),
        json!({"name": "owned", "owner": owner["id"], "grants": null, "labels": {"team": "fleet"}}),
        json!({"name": "limited", "grants": grants, "limits": limits, "metadata": {"a": [1]}}),
        json!({"name": "from", "grants": grants, "ip_allowlist": ["10.0.0.0/8"]}),
        json!({"name": "later", "grants": grants, "not_before": "2999-01-01T00:00:00Z"}),
        json!({"name": "off", "grants": grants, "enabled": false}),
    ];
    let mut secrets = vec![Secret::new("kw_that_nobody_has"), Secret::new("x".repeat(300))];
    for body in bodies {
        secrets.push(world.secret(body).await);
    }
    let embedded = Embedded::start(&world.client, World::options()).await.unwrap();
    let mut asked = 0;
    for secret in secrets {
        let plain = VerifyRequest::of(secret);
        let of = |action: &str, resource: Option<&str>| VerifyRequest {
            action: Some(action.to_owned()),
            resource: resource.map(str::to_owned),
            ..plain.clone()
        };
        let check = |resource: &str| Check { action: "get".to_owned(), resource: Some(resource.to_owned()) };
        let (inside, outside) = (Some("10.1.2.3".to_owned()), Some("192.0.2.1".to_owned()));
        let named = |name: &str| Some(name.to_owned());
        for request in [
            plain.clone(),
            of("get", Some("devices/7")),
            of("put", Some("devices/7")),
            of("get", None),
            VerifyRequest { checks: vec![check("devices/1"), check("others/1")], ..plain.clone() },
            VerifyRequest { ip: inside, ..of("get", Some("devices/7")) },
            VerifyRequest { ip: outside, ..of("get", Some("devices/7")) },
            VerifyRequest { keyspace: named("default"), cost: Some(0), ..plain.clone() },
            VerifyRequest { keyspace: named("elsewhere"), ..plain.clone() },
        ] {
            // Each counts by itself, and both have counted as much.
            let near = answered(embedded.verify(&request));
            let far = world.client.verify(&request).await.unwrap();
            assert!(near.limits.iter().all(|limit| limit.scope.as_deref() == Some("node")));
            assert_eq!(comparable(near), comparable(far), "{request:?}");
            asked += 1;
        }
    }
    assert_eq!(asked, 72);
    world.server.stop().await;
}

#[tokio::test]
async fn what_it_cannot_decide_is_the_nodes_to_answer_and_so_is_what_is_not_valid() {
    let world = World::start().await;
    world.root.patch("/v1/keyspaces/default", json!({"allow_custom_secrets": true})).await.expect(200);
    let chosen = json!({"name": "c", "access_id": "access_id_7", "secret": "chosen_by_somebody_7"});
    world.root.post("/v1/keys", chosen).await.expect(201);
    let plain = world.secret(json!({"name": "k"})).await;
    let embedded = Embedded::start(&world.client, World::options()).await.unwrap();
    let pair = VerifyRequest {
        access_id: Some("access_id_7".to_owned()),
        ..VerifyRequest::of(Secret::new("chosen_by_somebody_7"))
    };
    assert_eq!(embedded.verify(&pair), Local::AskNode);
    assert_eq!(embedded.ask(&pair).await.unwrap().code, "allowed");
    let alone = Secret::new("chosen_by_somebody_7");
    assert_eq!(answered(embedded.verify(&VerifyRequest::of(alone))).code, "not_found");
    let wrong = VerifyRequest { resource: Some("devices/7".to_owned()), ..VerifyRequest::of(plain.clone()) };
    assert_eq!(embedded.ask(&wrong).await.unwrap_err().code(), Some("invalid_body"));
    let wrong = VerifyRequest { ip: Some("nowhere".to_owned()), ..VerifyRequest::of(plain) };
    assert_eq!(embedded.ask(&wrong).await.unwrap_err().code(), Some("invalid_body"));
    world.server.stop().await;
}

#[tokio::test]
async fn beyond_its_bound_it_answers_nothing_by_itself() {
    let world = World::start().await;
    let request = VerifyRequest::of(world.secret(json!({"name": "k"})).await);
    let options = Options { max_staleness: Duration::from_secs(1), ..World::options() };
    let embedded = Embedded::start(&world.client, options).await.unwrap();
    assert_eq!(answered(embedded.verify(&request)).code, "allowed");
    world.server.freeze().await;
    let stopped = Instant::now();
    while let Local::Verdict(_) = embedded.verify(&request) {
        assert!(stopped.elapsed() < Duration::from_secs(2), "it answers by what is too old");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(embedded.verify(&request), Local::NotCurrent { .. }));
    world.server.thaw();
    while !matches!(embedded.verify(&request), Local::Verdict(_)) {
        assert!(stopped.elapsed() < Duration::from_secs(30), "it does not come back");
        sleep(Duration::from_millis(5)).await;
    }
    world.server.stop().await;
}

#[tokio::test]
async fn with_a_lease_it_answers_by_what_was_acknowledged_and_without_it_no_write_waits() {
    let world = World::start().await;
    let leased = Options { lease: Some(LeaseOptions::default()), ..World::options() };
    let embedded = Embedded::start(&world.client, leased).await.unwrap();
    for _ in 0..20 {
        let made = world.root.post("/v1/keys", json!({"name": "k"})).await.expect(201);
        let request = VerifyRequest::of(Secret::new(text(&made["secret"])));
        while answered(embedded.verify(&request)).code != "allowed" {
            sleep(Duration::from_millis(2)).await;
        }
        let path = format!("/v1/keys/{}/revoke", text(&made["key"]["id"]));
        assert_eq!(world.root.post(&path, json!({})).await.header("keywright-enforced"), "all");
        assert_eq!(answered(embedded.verify(&request)).code, "revoked");
    }
    embedded.leave().await;
    let began = Instant::now();
    let path = world.root.post("/v1/keys", json!({"name": "k"})).await.expect(201);
    let path = format!("/v1/keys/{}/revoke", text(&path["key"]["id"]));
    world.root.post(&path, json!({})).await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    world.server.stop().await;
}

#[tokio::test]
async fn what_it_follows_may_be_renamed_and_some_of_it_deleted() {
    let world = World::start().await;
    for name in ["mine", "other"] {
        world.root.post("/v1/keyspaces", json!({"name": name})).await.expect(201);
    }
    let made = world.root.post("/v1/keys", json!({"name": "k", "keyspace": "mine"})).await.expect(201);
    let request = VerifyRequest::of(Secret::new(text(&made["secret"])));
    let keyspaces = vec!["mine".to_owned(), "other".to_owned()];
    let embedded = Embedded::start(&world.client, Options { keyspaces, ..World::options() }).await.unwrap();
    world.root.patch("/v1/keyspaces/mine", json!({"name": "renamed"})).await.expect(200);
    world.root.call("DELETE", "/v1/keyspaces/other", None, &[]).await.unwrap();
    world.root.post(&format!("/v1/keys/{}/revoke", text(&made["key"]["id"])), json!({})).await.expect(200);
    let began = Instant::now();
    while answered(embedded.verify(&request)).code != "revoked" {
        assert!(began.elapsed() < Duration::from_secs(4), "it does not go on");
        sleep(Duration::from_millis(5)).await;
    }
    let only = |scope: Scope| matches!(scope.keyspaces, Reach::Only(left) if left.len() == 1);
    while !only(embedded.scope()) {
        assert!(began.elapsed() < Duration::from_secs(30), "it follows what is gone");
        sleep(Duration::from_millis(5)).await;
    }
    world.server.stop().await;
}

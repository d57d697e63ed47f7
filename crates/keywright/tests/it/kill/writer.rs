//! A client that writes, remembers what it was told, and after a restart finds out what became of its last call.

use std::collections::BTreeMap;

use keywright_model::key::SECRETS_MAX;
use serde_json::{Value, json};

use super::Random;
use crate::api::{Api, Reply, body, text};

/// How many keys a writer changes at once.
const LIVE: usize = 5;
/// How many questions go into one batch.
const BATCH: usize = 500;

/// A write that was answered.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) revision: i64,
    pub(super) subject: String,
    /// Whether it was made before a kill, and answered when it was repeated.
    pub(super) after_restart: bool,
}

/// A key as its writer knows it. Nobody else changes it.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    name: String,
    secret: String,
    /// Secrets that were rotated out.
    old: Vec<String>,
    version: u64,
    n: u64,
    narrowed: bool,
    revoked: bool,
}

/// A call that is on its way.
#[derive(Clone, Debug)]
enum Sent {
    Create { name: String },
    Update { key: usize, n: u64 },
    Narrow { key: usize },
    Rotate { key: usize, call: String },
    Revoke { key: usize },
}

pub(super) struct Writer {
    number: u64,
    random: Random,
    keys: Vec<Held>,
    calls: u64,
    /// The call that the kill left without an answer.
    unanswered: Option<Sent>,
    /// Those whose state is looked at after the next restart.
    touched: Vec<usize>,
    pub(super) acknowledged: Vec<Acknowledged>,
}

impl Writer {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        let random = Random(seed.wrapping_add((number + 1) << 32) | 1);
        let (keys, touched, acknowledged) = (Vec::new(), Vec::new(), Vec::new());
        Self { number, random, keys, calls: 0, unanswered: None, touched, acknowledged }
    }

    /// Writes until the server is gone.
    pub(super) async fn work(&mut self, api: &Api) {
        loop {
            let sent = self.choose();
            let Some(reply) = self.send(api, &sent).await else {
                self.unanswered = Some(sent);
                return;
            };
            self.answered(&sent, &reply, false);
        }
    }

    fn choose(&mut self) -> Sent {
        self.calls += 1;
        let live: Vec<usize> = (0..self.keys.len()).filter(|at| !self.keys[*at].revoked).collect();
        let name = format!("w{}-{}", self.number, self.calls);
        let pick = self.random.below(100);
        if live.len() < LIVE || pick < 10 {
            return Sent::Create { name };
        }
        let key = live[usize::try_from(self.random.below(live.len() as u64)).unwrap()];
        match pick {
            10..45 => Sent::Update { key, n: self.keys[key].n + 1 },
            45..60 => Sent::Narrow { key },
            60..80 => Sent::Rotate { key, call: name },
            _ => Sent::Revoke { key },
        }
    }

    async fn send(&self, api: &Api, sent: &Sent) -> Option<Reply> {
        let path = |key: &usize, verb: &str| format!("/v1/keys/{}{verb}", self.keys[*key].id);
        let post = "POST";
        let (method, path, body, call) = match sent {
            Sent::Create { name } => (post, "/v1/keys".to_owned(), body(name), Some(name)),
            Sent::Update { key, n } => {
                ("PATCH", path(key, ""), json!({"labels": {"n": n.to_string()}}), None)
            }
            Sent::Narrow { key } => {
                ("PATCH", path(key, ""), json!({"grants": self.keys[*key].narrow()}), None)
            }
            Sent::Rotate { key, call } => {
                (post, path(key, "/rotate"), json!({"overlap_seconds": 0}), Some(call))
            }
            Sent::Revoke { key } => (post, path(key, "/revoke"), json!({"reason": "test"}), None),
        };
        let headers: Vec<_> = call.map(|call| ("Idempotency-Key", call.as_str())).into_iter().collect();
        api.call(method, &path, Some(&body), &headers).await.ok()
    }

    /// Notes what an answer says.
    fn answered(&mut self, sent: &Sent, reply: &Reply, after_restart: bool) {
        let status = if matches!(sent, Sent::Create { .. }) { 201 } else { 200 };
        assert_eq!(reply.status, status, "{sent:?}: {}", reply.json);
        let view = if reply.json["key"].is_object() { &reply.json["key"] } else { &reply.json };
        let version = view["version"].as_u64().unwrap();
        let at = match sent {
            Sent::Create { name } => {
                let (id, secret) = (text(&view["id"]), text(&reply.json["secret"]));
                let name = name.clone();
                let (old, n, narrowed, revoked) = (Vec::new(), 0, false, false);
                self.keys.push(Held { id, name, secret, old, version, n, narrowed, revoked });
                self.keys.len() - 1
            }
            Sent::Update { key, .. }
            | Sent::Narrow { key }
            | Sent::Rotate { key, .. }
            | Sent::Revoke { key } => *key,
        };
        let held = &mut self.keys[at];
        // Narrowing what is narrow, and nothing else here, changes nothing and takes no revision.
        let idle = matches!(sent, Sent::Narrow { .. }) && held.narrowed;
        match sent {
            Sent::Create { .. } => {}
            Sent::Update { n, .. } => held.n = *n,
            Sent::Narrow { .. } => held.narrowed = true,
            Sent::Rotate { .. } => {
                held.old.push(std::mem::replace(&mut held.secret, text(&reply.json["secret"])));
            }
            Sent::Revoke { .. } => held.revoked = true,
        }
        assert!(version >= held.version && version <= held.version + 1, "{sent:?}: {held:?} {version}");
        held.version = version;
        self.touched.push(at);
        if !idle {
            let subject = held.id.clone();
            self.acknowledged.push(Acknowledged { revision: reply.revision(), subject, after_restart });
        }
    }

    /// After a restart: repeats or looks up the call that had no answer, then compares what was touched.
    pub(super) async fn settle(&mut self, api: &Api) {
        if let Some(sent) = self.unanswered.take() {
            match &sent {
                Sent::Create { name } => self.repeat_create(api, &sent, name).await,
                Sent::Rotate { .. } => {
                    let reply = self.send(api, &sent).await.unwrap();
                    self.answered(&sent, &reply, true);
                    let again = self.send(api, &sent).await.unwrap();
                    assert_eq!(
                        again.json["secret"], reply.json["secret"],
                        "a repeated call gives one secret"
                    );
                }
                Sent::Update { key, .. } | Sent::Narrow { key } | Sent::Revoke { key } => {
                    self.look_up(api, *key, &sent).await;
                }
            }
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let touched = std::mem::take(&mut self.touched);
        let mut views = BTreeMap::new();
        for at in &touched {
            let view = api.get(&format!("/v1/keys/{}", self.keys[*at].id)).await.expect(200);
            views.insert(text(&view["id"]), view);
        }
        self.compare(api, &touched, &views).await;
    }

    /// A create that was not answered, made again under its name, gives exactly one key.
    async fn repeat_create(&mut self, api: &Api, sent: &Sent, name: &str) {
        let reply = self.send(api, sent).await.unwrap();
        self.answered(sent, &reply, true);
        let again = self.send(api, sent).await.unwrap();
        assert_eq!(again.header("idempotent-replayed"), "true", "{name}");
        assert_eq!(again.json, reply.json, "a repeated call gives one key and one secret");
        let found = api.get(&format!("/v1/keys?q={name}")).await.expect(200);
        let same = found["items"].as_array().unwrap().iter().filter(|item| item["name"] == name);
        assert_eq!(same.count(), 1, "{found}");
    }

    /// What was not answered is done whole or not at all.
    async fn look_up(&mut self, api: &Api, key: usize, sent: &Sent) {
        let view = api.get(&format!("/v1/keys/{}", self.keys[key].id)).await.expect(200);
        let version = view["version"].as_u64().unwrap();
        let held = &mut self.keys[key];
        let mut done = held.clone();
        match sent {
            Sent::Update { n, .. } => done.n = *n,
            Sent::Narrow { .. } => done.narrowed = true,
            _ => done.revoked = true,
        }
        done.version = version;
        if done.is_shown_by(&view) && version <= held.version + 1 {
            *held = done;
        }
        self.touched.push(key);
    }

    /// Compares every key that it ever made.
    pub(super) async fn compare_all(&self, api: &Api) {
        let mut views = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/keys?limit=200&q=w{}-{cursor}", self.number);
            let page = api.get(&path).await.expect(200);
            let items = page["items"].as_array().unwrap();
            views.extend(items.iter().map(|view| (text(&view["id"]), view.clone())));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(views.len(), self.keys.len(), "as many as were made");
        let all: Vec<usize> = (0..self.keys.len()).collect();
        self.compare(api, &all, &views).await;
    }

    async fn compare(&self, api: &Api, which: &[usize], views: &BTreeMap<String, Value>) {
        let (mut questions, mut expected) = (Vec::new(), Vec::new());
        for at in which {
            let held = &self.keys[*at];
            assert!(held.is_shown_by(&views[&held.id]), "{held:?} is {}", views[&held.id]);
            for (secret, action, code) in held.verdicts() {
                let resource = format!("{}/x", held.name);
                questions.push(json!({"secret": secret, "action": action, "resource": resource}));
                expected.push((code, held));
            }
        }
        for (questions, expected) in questions.chunks(BATCH).zip(expected.chunks(BATCH)) {
            let answers = api.post("/v1/verify/batch", json!(questions)).await.expect(200);
            let answers = answers.as_array().unwrap();
            assert_eq!(answers.len(), expected.len());
            for (answer, (code, held)) in answers.iter().zip(expected) {
                assert_eq!(answer["code"], **code, "{held:?}: {answer}");
            }
        }
    }
}

impl Held {
    fn narrow(&self) -> Value {
        json!([{"effect": "allow", "actions": ["get"], "resources": [format!("{}/**", self.name)]}])
    }

    /// Whether what is read is exactly what was told.
    fn is_shown_by(&self, view: &Value) -> bool {
        let n = view["labels"]["n"].as_str().map_or(0, |n| n.parse().unwrap());
        let current =
            view["secrets"].as_array().unwrap().iter().filter(|secret| secret["status"] == "current");
        view["version"] == self.version
            && n == self.n
            && (view["grants"] == self.narrow()) == self.narrowed
            && (view["state"] == "revoked") == self.revoked
            && (self.revoked || current.count() == 1)
    }

    /// Secrets, actions, and the code that must come.
    fn verdicts(&self) -> Vec<(&str, &'static str, &'static str)> {
        let current = |action: &'static str, code: &'static str| (self.secret.as_str(), action, code);
        let mut verdicts = match (self.revoked, self.narrowed) {
            (true, _) => vec![current("get", "revoked"), current("put", "revoked")],
            (false, true) => vec![current("get", "allowed"), current("put", "insufficient_permission")],
            (false, false) => vec![current("get", "allowed"), current("put", "allowed")],
        };
        let old = if self.revoked { "revoked" } else { "superseded" };
        // A key that was rotated so often has forgotten its first secrets.
        let forgotten = self.old.len().saturating_sub(SECRETS_MAX - 1);
        let codes = std::iter::repeat_n("not_found", forgotten).chain(std::iter::repeat(old));
        verdicts.extend(self.old.iter().zip(codes).map(|(secret, code)| (secret.as_str(), "get", code)));
        verdicts
    }
}

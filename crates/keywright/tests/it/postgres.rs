//! The program on PostgreSQL: an answer that is lost, texts that PostgreSQL cannot hold, and rows edited by SQL.

use std::process::Command;
use std::time::Duration;

use keywright_testkit::link::{Link, Passing};
use keywright_testkit::postgres::{Database, shared};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{Api, body};
use super::installation::{Installation, Ran, Server};

impl Installation {
    /// The program on a database, its master key in the data directory.
    pub(crate) fn on(&self, database: &Database, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("KEYWRIGHT_DATABASE", &database.url);
        command
    }

    pub(crate) async fn run_on(&self, database: &Database, arguments: &[&str]) -> Ran {
        self.run_with(self.on(database, arguments), "").await
    }

    pub(crate) async fn start_on(&self, database: &Database) -> Server {
        self.start_with(self.serve_command(&[], &[("KEYWRIGHT_DATABASE", &database.url)])).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_may_have_been_made_is_said_to_be_one_and_can_be_repeated() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let installation = Installation::new();
    let link = Link::to(server.port()).await;
    let node = installation.start_on(&link.through(&database)).await;
    let api = node.api(&node.root_key.clone().unwrap());
    api.make("before").await;
    let once = [("Idempotency-Key", "made-once")];
    let make = || async { api.call("POST", "/v1/keys", Some(&body("lost")), &once).await.unwrap() };

    // PostgreSQL makes it, and neither says so nor can be asked.
    link.set(Passing::NoAnswerToCommitThenNothing);
    let begun = Instant::now();
    let unknown = make().await;
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    assert_eq!((unknown.status, &unknown.json["code"]), (503, &json!("store_unavailable")), "{unknown:?}");
    assert_eq!(unknown.json["outcome"], "unknown", "{unknown:?}");
    assert!(unknown.json["detail"].as_str().unwrap().contains("may have been made"), "{unknown:?}");
    assert_eq!(unknown.header("retry-after"), "", "a program must not make it again blindly");

    // Here nothing was written, and it says nothing of the kind.
    let refused = api.call("POST", "/v1/keys", Some(&body("other")), &[]).await.unwrap();
    assert_eq!((refused.status, &refused.json["outcome"]), (503, &Value::Null), "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1");

    link.set(Passing::All);
    let repeated = make().await;
    assert_eq!(repeated.header("idempotent-replayed"), "true", "{repeated:?}");
    repeated.expect(201);
    let keys = api.get("/v1/keys?q=lost").await.expect(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 1, "made once: {keys}");
    node.stop().await;
}

/// Everything that takes a text of the caller's, with a NUL in it.
fn with_nul() -> Vec<(&'static str, Value)> {
    let text = "a\0b";
    let key = |field: &str, value: Value| {
        let mut new = body("nul");
        new[field] = value;
        ("/v1/keys", new)
    };
    vec![
        key("name", json!(text)),
        key("description", json!(text)),
        key("external_id", json!(text)),
        key("access_id", json!("abc\0def")),
        key("labels", json!({text: "x"})),
        key("labels", json!({"x": text})),
        key("metadata", json!({text: text})),
        key("owner", json!({"external_id": text})),
        key("grants", json!([{"effect": "allow", "actions": [text], "resources": ["a"]}])),
        key("grants", json!([{"effect": "allow", "actions": ["get"], "resources": [text]}])),
        key("limits", json!([{"name": text, "max": 1, "per_seconds": 1}])),
        ("/v1/orgs", json!({"name": text})),
        ("/v1/keyspaces", json!({"name": text})),
        ("/v1/roles", json!({"name": text, "grants": []})),
        ("/v1/plans", json!({"name": text})),
        ("/v1/principals", json!({"external_id": text})),
        ("/v1/principals", json!({"external_id": "u", "name": text})),
        ("/v1/principals", json!({"external_id": "v", "metadata": {"x": text}})),
    ]
}

async fn statuses(api: &Api) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for (path, new) in with_nul() {
        let reply = api.post(path, new.clone()).await;
        all.push((format!("{path} {new}"), reply.status));
    }
    let (id, _) = api.make("kept").await;
    for (verb, given) in [("revoke", json!({"reason": "a\0b"}))] {
        let reply = api.post(&format!("/v1/keys/{id}/{verb}"), given).await;
        all.push((verb.to_owned(), reply.status));
    }
    for query in
        ["q", "external_id", "access_id", "owner", "label.x", "label.%00", "can_action", "can_resource"]
    {
        let reply = api.get(&format!("/v1/keys?{query}=a%00b")).await;
        all.push((query.to_owned(), reply.status));
    }
    for path in ["/v1/keys/%00", "/v1/audit?subject=%00", "/v1/audit?verb=%00"] {
        all.push((path.to_owned(), api.get(path).await.status));
    }
    let lookup = api.post("/v1/keys/lookup", json!({"secret": "a\0b"})).await;
    all.push(("lookup".to_owned(), lookup.status));
    let verify =
        api.post("/v1/verify", json!({"secret": "a\0b", "access_id": "abc\0def", "action": "\0"})).await;
    all.push(("verify".to_owned(), verify.status));
    all
}

#[tokio::test]
async fn a_nul_in_a_text_is_answered_as_on_sqlite_and_never_with_an_internal_error() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (inside, outside) = (Installation::new(), Installation::new());
    let (one, other) = (inside.start().await, outside.start_on(&database).await);
    let sqlite = statuses(&one.api(&one.root_key.clone().unwrap())).await;
    let postgres = statuses(&other.api(&other.root_key.clone().unwrap())).await;
    assert_eq!(postgres, sqlite);
    for (what, status) in postgres {
        assert!(status < 500, "{what}: {status}");
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_edit_made_with_sql_is_found_on_postgresql_too() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let installation = Installation::new();
    let node = installation.start_on(&database).await;
    let api = node.api(&node.root_key.clone().unwrap());
    for n in 0..4 {
        api.make(&format!("key{n}")).await;
    }
    let verify =
        async |database: &Database| installation.run_on(database, &["audit", "verify", "--json"]).await;
    assert_eq!(verify(&database).await.expect(0, &[]).json()["ok"], true, "beside a running node");
    node.stop().await;
    for (what, sql) in [
        ("an entry edited", "UPDATE audit SET verb = 'key.read' WHERE seq = 4"),
        ("an entry dropped", "DELETE FROM audit WHERE seq = 4"),
        ("the last entry dropped", "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"),
        (
            "two entries swapped",
            "UPDATE audit SET seq = 1000 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5; \
             UPDATE audit SET seq = 5 WHERE seq = 1000",
        ),
        (
            "an entry inserted",
            "CREATE TEMP TABLE copy AS SELECT * FROM audit WHERE seq = 4; UPDATE copy SET \
             seq = (SELECT max(seq) + 1 FROM audit), number = (SELECT max(number) + 1 FROM audit); \
             INSERT INTO audit SELECT * FROM copy",
        ),
        (
            "a right of a key",
            "UPDATE keys SET body = replace(body, '\"get\"', '\"delete\"') WHERE name = 'key1'",
        ),
        ("the root key", "UPDATE installation SET root_digest = sha256('mine')"),
    ] {
        let copy = server.copy(&database);
        server.sql(&copy.name, sql);
        let ran = verify(&copy).await;
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        let report = ran.json();
        assert!(
            report["ok"] == false && !report["findings"].as_array().unwrap().is_empty(),
            "{what}: {report}"
        );
    }
    assert_eq!(verify(&database).await.expect(0, &[]).json()["ok"], true);
}

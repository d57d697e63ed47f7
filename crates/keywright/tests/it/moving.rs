//! An installation moves into PostgreSQL: killed again and again on the way, gone on with, and then compared in everything
//! that can be read.

use std::process::{Child, Stdio};

use keywright_testkit::postgres::{Database, Server, shared};
use serde_json::{Value, json};

use super::api::{Api, body, text};
use super::installation::{Installation, eventually};

/// At whose first row the copy is killed. `SHARE` lets it read and not write.
const KILLED_AT: [&str; 7] = ["keyring", "orgs", "principals", "keys", "secrets", "audit", "head"];

/// What a world of every noun needs to say afterwards.
struct World {
    /// A secret, what it may do, and the answer then.
    verdicts: Vec<(String, String)>,
    repeated: Value,
    deleted: String,
    token: String,
}

fn repeated() -> Value {
    body("repeated")
}

const REPEATED: [(&str, &str); 1] = [("Idempotency-Key", "moved-with-the-rest")];

async fn filled(api: &Api) -> World {
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
    let role = text(&api.post("/v1/roles", json!({"name": "r", "grants": grants})).await.expect(201)["id"]);
    let owner = json!({"external_id": "user_1", "kind": "bot", "roles": [role], "metadata": {"é": "ü"}});
    let owner = text(&api.post("/v1/principals", owner).await.expect(201)["id"]);
    let plan = json!({"name": "p", "limits": [{"name": "burst", "max": 77, "per_seconds": 1}]});
    let plan = text(&api.post("/v1/plans", plan).await.expect(201)["id"]);
    api.post("/v1/orgs", json!({"name": "another"})).await.expect(201);
    let sealed = json!({"name": "sealed", "recoverable_secrets": true});
    api.post("/v1/keyspaces", sealed).await.expect(201);
    let mut secrets = Vec::new();
    for n in 0..12 {
        let mut new = body(&format!("key{n}"));
        new["labels"] = json!({"team": format!("t{n}")});
        new["quota"] = json!({"max": 100, "period": "day", "time_zone": "UTC"});
        new["plans"] = json!([plan]);
        if n % 3 == 0 {
            new["owner"] = json!(owner);
            new["grants"] = Value::Null;
        }
        let made = api.post("/v1/keys", new).await.expect(201);
        secrets.push((text(&made["key"]["id"]), text(&made["secret"])));
    }
    let path = |n: usize, verb: &str| format!("/v1/keys/{}/{verb}", secrets[n].0);
    api.post(&path(1, "revoke"), json!({"reason": "found in a log"})).await.expect(200);
    api.post(&path(2, "disable"), json!({})).await.expect(200);
    api.post(&path(4, "rotate"), json!({"overlap_seconds": 0})).await.expect(200);
    let deleted = secrets[5].0.clone();
    assert_eq!(api.call("DELETE", &format!("/v1/keys/{deleted}"), None, &[]).await.unwrap().status, 204);
    let made = api.call("POST", "/v1/keys", Some(&repeated()), &REPEATED).await.unwrap();
    let token = made.header("keywright-revision").to_owned();
    let mut verdicts = Vec::new();
    for (_, secret) in &secrets {
        verdicts.push((secret.clone(), api.verdict(secret, "get", "a/1").await));
    }
    World { verdicts, repeated: made.expect(201), deleted, token }
}

/// Every noun and the whole audit.
async fn readable(api: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    for list in ["orgs", "keyspaces", "principals", "roles", "plans", "keys", "audit"] {
        let page = api.get(&format!("/v1/{list}?limit=200")).await.expect(200);
        assert!(page["next_cursor"].is_null() && !page["items"].as_array().unwrap().is_empty(), "{list}");
        all.push(page);
    }
    all
}

/// How many connections of ours wait for a lock in a database.
fn waiting(server: &Server, database: &Database) -> u32 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{}'",
        database.name
    );
    server.sql("postgres", &sql).parse().unwrap()
}

fn copying(installation: &Installation, database: &Database) -> Child {
    let mut command = installation.on(database, &["copy"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_copy_killed_at_each_of_several_tables_is_finished_by_the_next_run() {
    let Some(server) = shared() else { return };
    let installation = Installation::new();
    let source = installation.start().await;
    let root = source.root_key.clone().unwrap();
    let world = filled(&source.api(&root)).await;
    source.stop().await;
    // What is flushed at the end is in the second start's answers.
    let source = installation.start().await;
    let before = readable(&source.api(&root)).await;
    let database = server.database();
    installation.run_on(&database, &["copy"]).await.expect(2, &["another keywright server is using"]);
    source.stop().await;

    let migrated = installation.run_on(&database, &["migrate"]).await.expect(0, &[]);
    assert!(migrated.out.contains("was brought from schema 0"), "{migrated:?}");
    let migrated = installation.run_on(&database, &["migrate"]).await.expect(0, &[]);
    assert!(migrated.out.contains("has the tables of this version"), "{migrated:?}");
    for table in KILLED_AT {
        let lock = server.session(&database.name, &format!("BEGIN; LOCK TABLE {table} IN SHARE MODE"));
        let mut copy = copying(&installation, &database);
        eventually("the copy waits for the table", || {
            assert!(copy.try_wait().unwrap().is_none(), "it ended before it came to {table}");
            (waiting(server, &database) == 1).then_some(())
        })
        .await;
        if table == "head" {
            // The directory is taken, and the last table but this one is whole.
            installation.refused(&[], &[]).await.expect(2, &["another keywright server is using"]);
            assert_ne!(server.sql(&database.name, "SELECT count(*) FROM audit"), "0");
        }
        copy.kill().unwrap();
        copy.wait().unwrap();
        drop(lock);
        assert_eq!(server.sql(&database.name, "SELECT count(*) FROM installation"), "0", "{table}");
        for command in [&["audit", "verify"][..], &["nodes", "list"], &["migrate"]] {
            installation.run_on(&database, command).await.expect(2, &["half a copy", "keywright copy"]);
        }
        let half = [("KEYWRIGHT_DATABASE", database.url.as_str())];
        installation.refused(&[], &half).await.expect(2, &["half a copy", "keywright copy"]);
    }
    let done = installation.run_on(&database, &["copy"]).await;
    let done = done.expect(0, &["went on with", "Serve from the copy only", "master.key"]);
    assert!(done.out.contains("compared every row"), "{done:?}");
    let again = installation.run_on(&database, &["copy", "--json"]).await.expect(0, &[]).json();
    assert_eq!((&again["begun"], again["rows"].as_u64() > Some(100)), (&json!("whole"), true), "{again}");
    assert_eq!(
        server.sql(&database.name, "SELECT count(*) FROM pg_tables WHERE tablename = 'keywright_copy'"),
        "0"
    );
    is_the_same(&installation, &database, &root, &world, &before).await;
}

async fn is_the_same(
    installation: &Installation,
    database: &Database,
    root: &str,
    world: &World,
    before: &[Value],
) {
    let on = [("KEYWRIGHT_DATABASE", database.url.as_str())];
    let copy = installation.start_with(installation.serve_command(&[], &on)).await;
    assert_eq!(copy.root_key, None, "the root key came along");
    let api = copy.api(root);
    assert_eq!(readable(&api).await, before);
    for (secret, verdict) in &world.verdicts {
        assert_eq!(&api.verdict(secret, "get", "a/1").await, verdict);
    }
    let replayed = api.call("POST", "/v1/keys", Some(&repeated()), &REPEATED).await.unwrap();
    assert_eq!(replayed.header("idempotent-replayed"), "true");
    assert_eq!(replayed.expect(201), world.repeated);
    // Another life of the data: what clients hold of the source's revisions means nothing here.
    api.get(&format!("/v1/revisions/{}", world.token)).await.refused(404, "not_found");
    api.post(&format!("/v1/keys/{}/undelete", world.deleted), json!({})).await.expect(200);
    api.make("after").await;
    copy.stop().await;
    let report = installation.run_on(database, &["audit", "verify", "--json"]).await.expect(0, &[]).json();
    assert_eq!(report["ok"], true, "{report}");
}

#[tokio::test]
async fn a_copy_says_what_it_needs_and_never_a_password() {
    let installation = Installation::new();
    installation.run(&["copy"]).await.expect(2, &["KEYWRIGHT_DATABASE"]);
    let nowhere = "postgres://kw:not-to-be-shown@127.0.0.1:1/kw";
    let told = installation.run(&["copy", "--to", nowhere]).await;
    let told = told.expect(2, &["there is no keywright database", "KEYWRIGHT_DATABASE it cannot"]);
    assert!(!told.err.contains("not-to-be-shown"), "{told:?}");
    installation.run(&["migrate"]).await.expect(2, &["there is no keywright database"]);
    installation.start().await.stop().await;
    let told = installation.run(&["copy", "--to", nowhere]).await.expect(2, &["cannot be reached"]);
    assert!(!told.err.contains("not-to-be-shown"), "{told:?}");
    installation.run(&["copy", "--from", nowhere]).await.expect(2, &["its own tools"]);
    let told = installation.run(&["migrate"]).await.expect(0, &[]);
    assert!(told.out.contains("has the tables of this version"), "{told:?}");
}

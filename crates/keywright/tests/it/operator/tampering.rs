//! `audit verify` beside a database that somebody edited.

use rusqlite::Connection;
use serde_json::json;

use crate::installation::{Installation, Ran};

/// What somebody who can write to the file may try, and what it is.
const EDITS: &[(&str, &str)] = &[
    ("an entry's verb", "UPDATE audit SET verb = 'key.read' WHERE seq = 4"),
    ("an entry's actor", "UPDATE audit SET actor = 'root ' WHERE seq = 4"),
    ("an entry's time", "UPDATE audit SET at = at - 1 WHERE seq = 4"),
    ("the rights in an entry", "UPDATE audit SET rights = replace(rights, 'get', 'put') WHERE verb = 'key.create'"),
    ("the first entry dropped", "DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)"),
    ("an entry dropped", "DELETE FROM audit WHERE seq = 5"),
    ("the last entry dropped", "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"),
    ("every entry dropped", "DELETE FROM audit"),
    (
        "two entries swapped",
        "UPDATE audit SET seq = 1000 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;
         UPDATE audit SET seq = 5 WHERE seq = 1000",
    ),
    (
        "two entries swapped with their numbers",
        "UPDATE audit SET seq = 1000, number = 1000 WHERE seq = 4;
         UPDATE audit SET number = number - 1, seq = 4 WHERE seq = 5;
         UPDATE audit SET seq = 5, number = (SELECT number + 1 FROM audit WHERE seq = 4) WHERE seq = 1000",
    ),
    (
        "an entry inserted",
        "CREATE TEMP TABLE copy AS SELECT * FROM audit WHERE seq = 4;
         UPDATE copy SET seq = (SELECT max(seq) + 1 FROM audit), number = (SELECT max(number) + 1 FROM audit);
         INSERT INTO audit SELECT * FROM copy",
    ),
    ("a right of a key", "UPDATE keys SET body = replace(body, '\"get\"', '\"put\"') WHERE name = 'live'"),
    ("a resource of a key", "UPDATE keys SET body = replace(body, 'live/**', '**') WHERE name = 'live'"),
    ("a revocation", "UPDATE keys SET revoked_at = NULL WHERE name = 'revoked'"),
    ("a switch", "UPDATE keys SET enabled = 1 WHERE name = 'disabled'"),
    ("an expiry", "UPDATE keys SET expires_at = NULL WHERE name = 'expiring'"),
    ("an owner", "UPDATE keys SET owner_id = (SELECT id FROM principals LIMIT 1) WHERE name = 'live'"),
    ("a kind", "UPDATE keys SET kind = 'management' WHERE name = 'live'"),
    (
        "a digest of another key",
        "UPDATE secrets SET digest = randomblob(32) WHERE key_id = (SELECT id FROM keys WHERE name = 'live')",
    ),
    (
        "a secret that had ended",
        "UPDATE secrets SET expires_at = NULL WHERE key_id = (SELECT id FROM keys WHERE name = 'rotated')",
    ),
    (
        "a secret added",
        "CREATE TEMP TABLE copy AS SELECT * FROM secrets WHERE key_id = (SELECT id FROM keys WHERE name = 'live');
         UPDATE copy SET id = x'0123456789abcdef0123456789abcdef', digest = randomblob(32), position = 9;
         INSERT INTO secrets SELECT * FROM copy",
    ),
    ("a role of a key added", "INSERT INTO key_roles SELECT keys.id, roles.id FROM keys, roles WHERE keys.name = 'live'"),
    ("a role of a key taken", "DELETE FROM key_roles"),
    ("a right of a role", "UPDATE roles SET body = replace(body, 'get', 'put')"),
    ("a role of a principal", "DELETE FROM principal_roles"),
    ("a principal's switch", "UPDATE principals SET body = replace(body, 'false', 'true')"),
    ("a plan's limit", "UPDATE plans SET body = replace(body, '77', '7700')"),
    ("a keyspace's policy", "UPDATE keyspaces SET body = replace(body, 'false', 'true')"),
    ("a key dropped", "PRAGMA foreign_keys = 1; DELETE FROM keys WHERE name = 'live'"),
    ("a change in the feed", "UPDATE feed SET changes = replace(changes, 'get', 'put')"),
    ("a change dropped from the feed", "DELETE FROM feed WHERE revision = 5"),
    ("the newest revision", "UPDATE head SET revision = revision + 1"),
    ("the number of entries", "UPDATE head SET entries = entries - 1"),
    ("an organization's end", "UPDATE audit_heads SET entries = entries - 1"),
    ("the root key", "UPDATE installation SET root_digest = randomblob(32)"),
];

async fn filled() -> Installation {
    let installation = Installation::new();
    let server = installation.start().await;
    let api = server.api(&server.root_key.clone().unwrap());
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
    let role = api.post("/v1/roles", json!({"name": "r", "grants": grants})).await.expect(201)["id"].clone();
    let off = json!({"external_id": "off", "enabled": false, "roles": [role]});
    api.post("/v1/principals", off).await.expect(201);
    let limit = json!({"name": "p", "limits": [{"name": "burst", "max": 77, "per_seconds": 1}]});
    api.post("/v1/plans", limit).await.expect(201);
    api.make("live").await;
    let with_role = json!({"name": "roles", "roles": [role], "grants": grants});
    api.post("/v1/keys", with_role).await.expect(201);
    let expiring = json!({"name": "expiring", "grants": grants, "expires_at": "2099-01-01T00:00:00Z"});
    api.post("/v1/keys", expiring).await.expect(201);
    for (name, verb, body) in [
        ("revoked", "revoke", json!({})),
        ("disabled", "disable", json!({})),
        ("rotated", "rotate", json!({"overlap_seconds": 0})),
    ] {
        let (id, _) = api.make(name).await;
        api.post(&format!("/v1/keys/{id}/{verb}"), body).await.expect(200);
    }
    server.stop().await;
    installation
}

async fn verify(installation: &Installation, directory: &str) -> Ran {
    installation.run(&["audit", "verify", "--json", "--data-dir", directory]).await
}

#[tokio::test]
async fn an_edit_made_with_sql_is_found() {
    let installation = filled().await;
    let entries = installation.audit_is_clean().await["entries"].as_u64().unwrap();
    assert!(entries > 12, "{entries}");
    let mut missed = Vec::new();
    for (number, (what, sql)) in EDITS.iter().enumerate() {
        let copy = installation.path(&format!("copy{number}"));
        std::fs::create_dir(&copy).unwrap();
        for file in ["keywright.db", "master.key"] {
            std::fs::copy(installation.data().join(file), copy.join(file)).unwrap();
        }
        let database = Connection::open(copy.join("keywright.db")).unwrap();
        let before = database.total_changes();
        database.execute_batch(sql).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(database.total_changes() > before, "{what}: nothing was edited");
        database.close().unwrap();
        let ran = verify(&installation, copy.to_str().unwrap()).await;
        let told = ran.code == Some(1) && {
            let report = ran.json();
            report["ok"] == false && !report["findings"].as_array().unwrap().is_empty()
        };
        if !told {
            missed.push(format!("{what}: {ran:?}"));
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    installation.audit_is_clean().await;
}

#[tokio::test]
async fn the_audit_is_verified_beside_a_running_server_and_told_to_people() {
    let installation = filled().await;
    let server = installation.start().await;
    let ran = installation.run(&["audit", "verify"]).await.expect(0, &[]);
    assert!(ran.out.contains("are as they were written"), "{ran:?}");
    let database = Connection::open(installation.data().join("keywright.db")).unwrap();
    database.execute_batch(EDITS[0].1).unwrap();
    drop(database);
    let ran = installation.run(&["audit", "verify"]).await.expect(1, &["not as Keywright wrote it"]);
    assert!(ran.out.contains("default") || ran.out.contains("org_"), "it says where: {ran:?}");
    server.stop().await;
}

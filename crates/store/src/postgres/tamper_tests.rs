//! What somebody does to the database by SQL, and where the audit finds it: as on SQLite.

use keywright_model::id::{KeyId, OrgId};
use keywright_testkit::postgres::{Database, shared};

use super::tests::{PostgresBackend, audit_key};
use super::*;
use crate::contract::Backend as _;
use crate::contract::fixture::{Counting, history, principal, role};

/// What the audit finds in a database after this SQL, run as whoever may do everything, past foreign keys.
async fn edited(database: &Database, sql: &str) -> AuditReport {
    let server = shared().unwrap();
    server.sql(&database.name, &format!("SET session_replication_role = replica; {sql}"));
    let opened = PostgresDatabase::open(&database.url).await.unwrap();
    let store = opened.start(audit_key(), Arc::new(Counting::default()), None).await.unwrap();
    store.audit_verify().await.unwrap()
}

/// After each of these a finding names this place and says this. Each is done to a copy of the same history.
async fn check(cases: &[(&str, &str, &str)]) {
    let Some(backend) = PostgresBackend::new() else { return };
    history(&backend.open().await).await;
    let server = shared().unwrap();
    let whole = edited(&server.copy(&backend.database), "SELECT 1").await;
    assert_eq!((whole.findings, whole.entries), (vec![], 10));
    for (sql, place, what) in cases {
        let report = edited(&server.copy(&backend.database), sql).await;
        let found = report.findings.iter().any(|found| found.place == *place && found.what.contains(what));
        assert!(found, "{sql}\n{:#?}", report.findings);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_entry_is_found() {
    check(&[
        ("UPDATE audit SET actor = 'system' WHERE number = 6", "entry 6", "edited"),
        ("UPDATE audit SET at = at + 1 WHERE number = 2", "entry 2", "edited"),
        ("UPDATE audit SET rights = replace(rights, 'true', 'false') WHERE number = 6", "entry 6", "edited"),
        ("UPDATE audit SET request_id = NULL WHERE number = 8", "entry 8", "edited"),
        ("UPDATE audit SET position = 3 WHERE number = 1", "entry 1", "edited"),
        ("UPDATE audit SET personal = '{}' WHERE number = 6", "entry 6", "personal part was edited"),
        ("UPDATE audit SET personal = NULL WHERE number = 6", "entry 6", "personal part was edited"),
        ("UPDATE audit SET proof = sha256('') WHERE number = 7", "entry 7", "edited"),
        ("UPDATE audit SET hash = '\\x00' WHERE number = 6", "audit row 6", "does not read back"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_entry_is_found() {
    let last = "DELETE FROM audit WHERE number = 9";
    // A whole organization, with everything that speaks of it but the head.
    let org = "DELETE FROM audit WHERE seq = 10; DELETE FROM audit_heads WHERE entries = 1; \
               DELETE FROM orgs WHERE name = 'org-2'; DELETE FROM feed WHERE revision = 5";
    let covered = "DELETE FROM audit WHERE number = 9; UPDATE audit_heads SET entries = 8, hash = \
                   (SELECT hash FROM audit WHERE number = 8) WHERE entries = 9";
    check(&[
        ("DELETE FROM audit WHERE number = 1 AND seq = 1", "entry 1", "missing"),
        ("DELETE FROM audit WHERE number IN (6, 7)", "entries 6 to 7", "missing"),
        (last, "entries 9 to 9", "the log ends at entry 8"),
        (last, "head", "names 10 entries"),
        ("TRUNCATE audit", "head", "names 10 entries"),
        (org, "head", "names 10 entries"),
        (covered, "head", "was edited"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_and_inserted_entries_are_found() {
    let swap = "UPDATE audit SET number = 106 WHERE number = 6; UPDATE audit SET number = 6 WHERE number = 7; \
                UPDATE audit SET number = 7 WHERE number = 106";
    let contents = "CREATE TEMP TABLE t AS SELECT * FROM audit WHERE number = 6; \
                    UPDATE audit SET (actor, rights, subject, personal, salt, personal_hash, hash) = \
                    (SELECT actor, rights, subject, personal, salt, personal_hash, hash FROM audit WHERE number = 7) \
                    WHERE number = 6";
    let copy = |number: u32| {
        format!(
            "INSERT INTO audit SELECT 11, org_id, {number}, revision, position, at, actor, wire, verb, subject, \
             version, request_id, rights, proof, personal, salt, personal_hash, hash FROM audit WHERE number = 8"
        )
    };
    check(&[
        (swap, "entry 6", "put in or moved"),
        (contents, "entry 6", "edited"),
        (&copy(10), "entry 10", "edited, or is not the entry"),
        (&copy(3_000), "entries 10 to 2999", "missing"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_edited_in_a_row_is_found() {
    let (key, other) = (KeyId::from_bits(7).to_string(), KeyId::from_bits(8).to_string());
    let (role, owner) = (role(1, 1).id.to_string(), principal(1, 1).id.to_string());
    let second = OrgId::from_bits(2).to_string();
    let grants = r#"jsonb_set(body::jsonb, '{grants}', '[{"effect":"allow","actions":["*"],"resources":["**"]}]')::text"#;
    check(&[
        (&format!("UPDATE keys SET body = {grants} WHERE number = 1"), &key, "in grants"),
        ("UPDATE keys SET expires_at = 1 WHERE number = 1", &key, "in expires_at"),
        ("UPDATE keys SET enabled = false WHERE number = 1", &key, "in enabled"),
        ("UPDATE keys SET owner_id = NULL WHERE number = 1", &key, "in owner"),
        ("UPDATE keys SET name = 'innocent' WHERE number = 1", &key, "in name"),
        ("UPDATE keys SET version = 1 WHERE number = 1", &key, "in version"),
        ("UPDATE keys SET revoked_at = 1 WHERE number = 1", &key, "half revoked"),
        ("UPDATE keys SET body = 'no json' WHERE number = 1", &key, "does not read back"),
        ("UPDATE keys SET access_id = 'mine1' WHERE number = 1", &key, "in access_id"),
        ("UPDATE roles SET body = replace(body, 'devices', 'safes')", &role, "in grants"),
        ("UPDATE roles SET name = 'other'", &role, "columns"),
        ("UPDATE principals SET external_id = 'user_2'", &owner, "columns"),
        ("UPDATE principals SET kind = 'bot'", &owner, "column kind"),
        ("DELETE FROM principals", "keys", "principals"),
        (
            "UPDATE orgs SET body = replace(body, 'org-2', 'org-3'), name = 'org-3' WHERE name = 'org-2'",
            &second,
            "in name",
        ),
        ("DELETE FROM key_roles", &key, "key_roles"),
        ("UPDATE key_labels SET value = 'other'", &key, "key_labels"),
        (
            "INSERT INTO key_plans SELECT k.id, p.id FROM keys k, plans p WHERE k.number = 2",
            &other,
            "key_plans",
        ),
        (
            "INSERT INTO principal_roles SELECT p.id, r.id FROM principals p, roles r",
            &owner,
            "principal_roles",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_put_in_or_taken_out_are_found() {
    let key = KeyId::from_bits(8).to_string();
    let added = KeyId::from_bits(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10).to_string();
    let copy = "INSERT INTO keys SELECT '0102030405060708090A0B0C0D0E0F10', org_id, keyspace_id, 77, kind, NULL, NULL, \
                name, owner_id, enabled, not_before, expires_at, revoked_at, deleted_at, created_at, created_by, \
                updated_at, updated_by, version, body FROM keys WHERE number = 2";
    check(&[
        (copy, &added, "added by hand"),
        ("DELETE FROM keys WHERE number = 2", &key, "its row is missing"),
        ("DELETE FROM keys WHERE number = 2", "secrets", "refers to a row of keys"),
        ("DELETE FROM plans", "plan_00000000000000000000000001", "its row is missing"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_put_in_another_keys_place_is_found() {
    let (seven, eight) = (KeyId::from_bits(7).to_string(), KeyId::from_bits(8).to_string());
    let of = |number: u32| format!("WHERE key_id = (SELECT id FROM keys WHERE number = {number})");
    let added = |digest: &str| {
        format!(
            "INSERT INTO secrets SELECT key_id, gen_random_uuid(), 1, hint, recoverable, custom, created_at, \
             expires_at, {digest}, pepper_version, hash_sealed, secret_sealed, argon2, NULL FROM secrets {}",
            of(2)
        )
    };
    check(&[
        (&format!("UPDATE secrets SET digest = sha256('') {}", of(1)), &seven, "proves its secrets"),
        (&format!("UPDATE secrets SET argon2 = '$argon2id$mine' {}", of(2)), &eight, "proves its secrets"),
        (&added("'\\x00'"), &eight, "does not read back"),
        (&added("NULL"), &eight, "in secrets"),
        ("UPDATE secrets SET expires_at = 5", &eight, "in secrets"),
        ("DELETE FROM secrets", &eight, "in secrets"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_feed_and_a_root_key_put_back_are_found() {
    check(&[
        ("DELETE FROM feed WHERE revision = 3", "feed entry 3", "missing"),
        ("INSERT INTO feed VALUES (6, 0, '[]')", "feed entry 6", "the newest revision is 5"),
        (
            "UPDATE feed SET changes = replace(changes, 'Key 8', 'Key 9') WHERE revision = 3",
            "feed entry 3",
            "differs",
        ),
        ("UPDATE feed SET changes = '[]' WHERE revision = 3", "feed entry 3", "differs"),
        ("UPDATE feed SET changes = '[' WHERE revision = 3", "feed entry 3", "JSON"),
        ("UPDATE head SET revision = 4", "head", "was edited"),
        ("UPDATE installation SET root_digest = sha256('')", "installation", "edited"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_leaves_the_chain_whole() {
    let Some(backend) = PostgresBackend::new() else { return };
    history(&backend.open().await).await;
    let sql = "UPDATE audit SET personal = NULL, salt = NULL WHERE number IN (6, 7, 9)";
    assert_eq!(edited(&backend.database, sql).await.findings, vec![]);
}

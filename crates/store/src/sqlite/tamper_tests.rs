//! What somebody does to the database by SQL, and where the audit finds it.

use keywright_model::id::{KeyId, OrgId};
use rusqlite::Connection;

use super::tests::{SqliteBackend, audit_key};
use super::{DATABASE, SqliteReader};
use crate::audit::AuditReport;
use crate::contract::Backend as _;
use crate::contract::fixture::{history, principal, role};

/// A database with a few of everything.
async fn written() -> SqliteBackend {
    let backend = SqliteBackend::new();
    history(&backend.open().await).await;
    backend
}

fn edit(backend: &SqliteBackend, sql: &str) -> AuditReport {
    let connection = Connection::open(backend.0.path().join(DATABASE)).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let reader = SqliteReader::open(backend.0.path()).unwrap();
    reader.audit_verify(&audit_key(), &mut |_, _| {}).unwrap()
}

/// After this SQL a finding names this place and says this.
async fn check(sql: &str, place: &str, what: &str) {
    let backend = written().await;
    let whole = edit(&backend, "SELECT 1");
    assert_eq!(whole.findings, vec![], "before {sql}");
    let report = edit(&backend, sql);
    let found = report.findings.iter().any(|found| found.place == place && found.what.contains(what));
    assert!(found, "{sql}\n{:#?}", report.findings);
}

#[tokio::test]
async fn an_edited_entry_is_found() {
    check("UPDATE audit SET actor = 'system' WHERE number = 6", "entry 6", "edited").await;
    check("UPDATE audit SET at = at + 1 WHERE number = 2", "entry 2", "edited").await;
    check("UPDATE audit SET rights = replace(rights, 'true', 'false') WHERE number = 6", "entry 6", "edited")
        .await;
    check("UPDATE audit SET request_id = NULL WHERE number = 8", "entry 8", "edited").await;
    check("UPDATE audit SET position = 3 WHERE number = 1", "entry 1", "edited").await;
    check("UPDATE audit SET personal = '{}' WHERE number = 6", "entry 6", "personal part was edited").await;
    check("UPDATE audit SET personal = NULL WHERE number = 6", "entry 6", "personal part was edited").await;
    check("UPDATE audit SET proof = zeroblob(32) WHERE number = 7", "entry 7", "edited").await;
    check("UPDATE audit SET hash = x'00' WHERE number = 6", "audit row 6", "does not read back").await;
}

#[tokio::test]
async fn a_dropped_entry_is_found() {
    check("DELETE FROM audit WHERE number = 1 AND seq = 1", "entry 1", "missing").await;
    check("DELETE FROM audit WHERE number IN (6, 7)", "entries 6 to 7", "missing").await;
    let last = "DELETE FROM audit WHERE number = 9";
    check(last, "entries 9 to 9", "the log ends at entry 8").await;
    check(last, "head", "names 10 entries").await;
    // A whole organization, with everything that speaks of it but the head.
    let org = "DELETE FROM audit WHERE seq = 10; DELETE FROM audit_heads WHERE entries = 1; \
               DELETE FROM orgs WHERE name = 'org-2'; DELETE FROM feed WHERE revision = 5";
    check(org, "head", "names 10 entries").await;
    let covered = "DELETE FROM audit WHERE number = 9; UPDATE audit_heads SET entries = 8, hash = \
                   (SELECT hash FROM audit WHERE number = 8) WHERE entries = 9";
    check(covered, "head", "was edited").await;
}

#[tokio::test]
async fn swapped_and_inserted_entries_are_found() {
    let swap = "UPDATE audit SET number = 106 WHERE number = 6; UPDATE audit SET number = 6 WHERE number = 7; \
                UPDATE audit SET number = 7 WHERE number = 106";
    check(swap, "entry 6", "put in or moved").await;
    let contents = "CREATE TEMP TABLE t AS SELECT * FROM audit WHERE number = 6; \
                    UPDATE audit SET (actor, rights, subject, personal, salt, personal_hash, hash) = \
                    (SELECT actor, rights, subject, personal, salt, personal_hash, hash FROM audit WHERE number = 7) \
                    WHERE number = 6";
    check(contents, "entry 6", "edited").await;
    let copy = |number: u32, seq: u32| {
        format!(
            "INSERT INTO audit SELECT {seq}, org_id, {number}, revision, position, at, actor, wire, verb, subject, \
             version, request_id, rights, proof, personal, salt, personal_hash, hash FROM audit WHERE number = 8"
        )
    };
    check(&copy(10, 11), "entry 10", "edited, or is not the entry").await;
    check(&copy(3_000, 11), "entries 10 to 2999", "missing").await;
}

#[tokio::test]
async fn a_right_edited_in_a_row_is_found() {
    let key = KeyId::from_bits(7).to_string();
    let other = KeyId::from_bits(8).to_string();
    let role = role(1, 1).id.to_string();
    let grant = r#"'$.grants', json('[{"effect":"allow","actions":["*"],"resources":["**"]}]')"#;
    let own = "WHERE number = 1";
    check(&format!("UPDATE keys SET body = json_set(body, {grant}) {own}"), &key, "in grants").await;
    check(&format!("UPDATE keys SET expires_at = 1 {own}"), &key, "in expires_at").await;
    check(&format!("UPDATE keys SET enabled = 0 {own}"), &key, "in enabled").await;
    check(&format!("UPDATE keys SET owner_id = NULL {own}"), &key, "in owner").await;
    check(&format!("UPDATE keys SET name = 'innocent' {own}"), &key, "in name").await;
    check(&format!("UPDATE keys SET version = 1 {own}"), &key, "in version").await;
    check(&format!("UPDATE keys SET revoked_at = 1 {own}"), &key, "half revoked").await;
    check(&format!("UPDATE keys SET body = 'no json' {own}"), &key, "does not read back").await;
    check(&format!("UPDATE keys SET access_id = 'mine1' {own}"), &key, "in access_id").await;
    check("UPDATE roles SET body = replace(body, 'devices', 'safes')", &role, "in grants").await;
    check("UPDATE roles SET name = 'other'", &role, "columns").await;
    check("UPDATE principals SET external_id = 'user_2'", &principal(1, 1).id.to_string(), "columns").await;
    check("DELETE FROM principals", "keys", "principals").await;
    check(
        "UPDATE orgs SET body = replace(body, 'org-2', 'org-3'), name = 'org-3' WHERE name = 'org-2'",
        &OrgId::from_bits(2).to_string(),
        "in name",
    )
    .await;
    check("DELETE FROM key_roles", &key, "key_roles").await;
    check("UPDATE key_labels SET value = 'other'", &key, "key_labels").await;
    check(
        "INSERT INTO key_plans SELECT k.id, p.id FROM keys k, plans p WHERE k.number = 2",
        &other,
        "key_plans",
    )
    .await;
    check(
        "INSERT INTO principal_roles SELECT p.id, r.id FROM principals p, roles r",
        &principal(1, 1).id.to_string(),
        "principal_roles",
    )
    .await;
}

#[tokio::test]
async fn rows_put_in_or_taken_out_are_found() {
    let key = KeyId::from_bits(8).to_string();
    let added = KeyId::from_bits(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10);
    let copy = "INSERT INTO keys SELECT x'0102030405060708090A0B0C0D0E0F10', org_id, keyspace_id, 77, kind, NULL, NULL, \
                name, owner_id, enabled, not_before, expires_at, revoked_at, deleted_at, created_at, created_by, \
                updated_at, updated_by, version, body FROM keys WHERE number = 2";
    check(copy, &added.to_string(), "added by hand").await;
    check("DELETE FROM keys WHERE number = 2", &key, "its row is missing").await;
    check("DELETE FROM keys WHERE number = 2", "secrets", "refers to a row of keys").await;
    check("DELETE FROM plans", "plan_00000000000000000000000001", "its row is missing").await;
}

#[tokio::test]
async fn a_secret_put_in_another_keys_place_is_found() {
    let (seven, eight) = (KeyId::from_bits(7).to_string(), KeyId::from_bits(8).to_string());
    let swap =
        "UPDATE secrets SET digest = zeroblob(32) WHERE key_id = (SELECT id FROM keys WHERE number = 1)";
    check(swap, &seven, "proves its secrets").await;
    let argon =
        "UPDATE secrets SET argon2 = '$argon2id$mine' WHERE key_id = (SELECT id FROM keys WHERE number = 2)";
    check(argon, &eight, "proves its secrets").await;
    let added = "INSERT INTO secrets SELECT key_id, zeroblob(16), 1, hint, recoverable, custom, created_at, expires_at, \
                 x'00', pepper_version, hash_sealed, secret_sealed, argon2, NULL FROM secrets \
                 WHERE key_id = (SELECT id FROM keys WHERE number = 2)";
    check(added, &eight, "does not read back").await;
    check(&added.replace("x'00'", "NULL"), &eight, "in secrets").await;
    check("UPDATE secrets SET expires_at = 5", &eight, "in secrets").await;
    check("DELETE FROM secrets", &eight, "in secrets").await;
}

#[tokio::test]
async fn an_edited_feed_and_a_root_key_put_back_are_found() {
    check("DELETE FROM feed WHERE revision = 3", "feed entry 3", "missing").await;
    check("INSERT INTO feed VALUES (6, 0, '[]')", "feed entry 6", "the newest revision is 5").await;
    check(
        "UPDATE feed SET changes = replace(changes, 'Key 8', 'Key 9') WHERE revision = 3",
        "feed entry 3",
        "differs",
    )
    .await;
    check("UPDATE feed SET changes = '[]' WHERE revision = 3", "feed entry 3", "differs").await;
    check("UPDATE feed SET changes = '[' WHERE revision = 3", "feed entry 3", "JSON").await;
    check("UPDATE head SET revision = 4", "head", "was edited").await;
    check("UPDATE installation SET root_digest = zeroblob(32)", "installation", "edited").await;
}

#[tokio::test]
async fn an_erasure_leaves_the_chain_whole_and_the_entry_without_its_image() {
    let backend = written().await;
    let report = edit(&backend, "UPDATE audit SET personal = NULL, salt = NULL WHERE number IN (6, 7, 9)");
    assert_eq!(report.findings, vec![]);
    let store = backend.open().await;
    let query = crate::AuditQuery {
        org: OrgId::from_bits(1),
        before: Some(8),
        limit: 1,
        subject: None,
        actor: None,
        verb: None,
        since: None,
        until: None,
    };
    let page = store.audit_page(&query).await.unwrap();
    assert_eq!((page.items[0].number, &page.items[0].after, &page.items[0].address), (7, &None, &None));
}

#[tokio::test]
async fn without_the_audit_key_nothing_can_be_forged_in_its_place() {
    let backend = written().await;
    let reader = SqliteReader::open(backend.0.path()).unwrap();
    let other = crate::audit::AuditKey::new(&[5; 32]);
    let report = reader.audit_verify(&other, &mut |_, _| {}).unwrap();
    assert!(report.findings.len() >= 10, "{:#?}", report.findings);
}

#[tokio::test]
async fn an_entry_that_would_not_be_shown_to_who_asks_for_its_noun_is_found() {
    let place = "audit by subject";
    check("UPDATE audit_indexed SET seq = 10", place, "leaves out audit row").await;
    check("UPDATE audit_indexed SET seq = 1000000", place, "not there yet").await;
    check("DELETE FROM audit_indexed", place, "is missing").await;

    check("INSERT INTO audit_subjects VALUES (zeroblob(16), 'key_1', 1)", place, "not there").await;
    let (index, all) = (
        "INSERT INTO audit_subjects SELECT org_id, subject, number FROM audit",
        "UPDATE audit_indexed SET seq = 10",
    );
    let hidden = format!("{index}; {all}; DELETE FROM audit_subjects WHERE number = 6");
    check(&hidden, place, "leaves out audit row").await;
}

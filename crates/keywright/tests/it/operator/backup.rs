//! Backups beside a running server, and restores that bring nothing back unnoticed.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::api::{Api, body, text};
use crate::installation::Installation;

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Creates keys until it is told to stop, and answers the revisions that it was told.
async fn write_on(api: Api, client: usize, mut stop: tokio::sync::watch::Receiver<bool>) -> Vec<i64> {
    let mut revisions = Vec::new();
    while !*stop.borrow_and_update() {
        let name = format!("load{client}-{}", revisions.len());
        let reply = api.call("POST", "/v1/keys", Some(&body(&name)), &[]).await.unwrap();
        revisions.push(reply.revision());
        reply.expect(201);
    }
    revisions
}

#[tokio::test]
async fn a_backup_under_load_is_one_moment_and_holds_all_that_was_acknowledged_before() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut load = JoinSet::new();
    for client in 0..3 {
        load.spawn(write_on(server.api(&root), client, stopped.clone()));
    }
    let mut last = 0;
    for number in 0..4 {
        let marked = server.api(&root).call("POST", "/v1/keys", Some(&body("mark")), &[]).await.unwrap();
        let to = installation.path(&format!("backup{number}"));
        let said = installation.run(&["backup", shown(&to), "--json"]).await.expect(0, &[]).json();
        let revision = said["manifest"]["revision"].as_i64().unwrap();
        assert!(revision >= marked.revision() && revision > last, "{said}");
        last = revision;
        let database =
            Connection::open_with_flags(to.join("keywright.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(
            (number("SELECT count(*) FROM feed"), number("SELECT max(revision) FROM feed")),
            (revision, revision)
        );
        let files: Vec<_> = to.read_dir().unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(files.len(), 2, "the database and the manifest, and no master key: {files:?}");
    }
    stop.send_replace(true);
    let written: usize = load.join_all().await.iter().map(Vec::len).sum();
    assert!(written > 20, "there was load: {written}");
    installation.run(&["backup", shown(&installation.path("backup0"))]).await.expect(2, &["is not empty"]);
    server.stop().await;

    // Each is whole: it is restored into a folder of its own.
    let fresh = installation.path("fresh");
    std::fs::create_dir(&fresh).unwrap();
    let restore = ["restore", "backup3", "--data-dir", "fresh"];
    installation.run(&restore).await.expect(0, &["there is no master key", "Put it back as"]);
    std::fs::copy(installation.data().join("master.key"), fresh.join("master.key")).unwrap();
    let report = installation.run(&["audit", "verify", "--json", "--data-dir", "fresh"]).await.expect(0, &[]);
    assert_eq!(report.json()["ok"], true);
    let server = installation.start_with(installation.serve_command(&["--data-dir", "fresh"], &[])).await;
    let found = server.api(&root).get("/v1/keys?q=mark").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 4);
    server.stop().await;
}

/// Keys that were made before a backup, and what was done to them since.
struct Ended {
    ids: Vec<String>,
    secrets: Vec<String>,
    /// A revision from after the backup.
    token: String,
    /// A secret that only exists since.
    later: String,
}

async fn end_some(installation: &Installation, api: &Api, to: &Path) -> Ended {
    let (mut ids, mut secrets) = (Vec::new(), Vec::new());
    for name in ["revoked", "rotated", "disabled", "deleted", "kept"] {
        let (id, secret) = api.make(name).await;
        ids.push(id);
        secrets.push(secret);
    }
    installation.run(&["backup", shown(to)]).await.expect(0, &["never exported"]);
    let post = async |at: usize, verb: &str, body: Value| {
        api.post(&format!("/v1/keys/{}/{verb}", ids[at]), body).await.expect(200);
    };
    post(0, "revoke", json!({})).await;
    post(1, "rotate", json!({"overlap_seconds": 0})).await;
    post(2, "disable", json!({})).await;
    let gone = api.call("DELETE", &format!("/v1/keys/{}", ids[3]), None, &[]).await.unwrap();
    assert_eq!(gone.status, 204, "{gone:?}");
    let later = api.call("POST", "/v1/keys", Some(&body("later")), &[]).await.unwrap();
    let token = later.header("keywright-revision").to_owned();
    Ended { ids, secrets, token, later: text(&later.json["secret"]) }
}

#[tokio::test]
async fn a_restore_says_what_it_would_revive_and_does_it_only_when_told() {
    let installation = Installation::new();
    let to = installation.path("backup");
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let ended = end_some(&installation, &server.api(&root), &to).await;
    server.api(&root).get(&format!("/v1/revisions/{}", ended.token)).await.expect(200);
    let running = ["restore", shown(&to), "--revive", "--yes"];
    installation.run(&running).await.expect(2, &["another keywright server is using"]);
    server.stop().await;

    let before = std::fs::read(installation.data().join("keywright.db")).unwrap();
    let refused = installation.run(&["restore", shown(&to)]).await.expect(1, &["--revive"]);
    for id in &ended.ids[..4] {
        assert!(refused.out.contains(id), "{id} is not named: {refused:?}");
    }
    assert!(!refused.out.contains(&ended.ids[4]), "what goes on is not named: {refused:?}");
    let listed = installation.run(&["restore", shown(&to), "--json"]).await.expect(1, &[]).json();
    assert_eq!(listed["would_revive"].as_array().unwrap().len(), 4, "{listed}");
    assert!(std::fs::read(installation.data().join("keywright.db")).unwrap() == before, "nothing was done");

    let done = installation.run(&["restore", shown(&to), "--revive", "--json"]).await.expect(0, &[]).json();
    let kept = installation.data().join(text(&done["kept_as"]));
    let kept = Connection::open_with_flags(kept, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let ended_keys = "SELECT count(*) FROM keys WHERE revoked_at IS NOT NULL";
    let count = kept.query_row(ended_keys, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count, 2, "what was there is kept");
    drop(kept);
    let server = installation.start().await;
    let api = server.api(&root);
    for (secret, name) in ended.secrets.iter().zip(["revoked", "rotated", "disabled", "deleted", "kept"]) {
        assert_eq!(api.verdict(secret, "get", &format!("{name}/1")).await, "allowed", "{name}");
    }
    assert_eq!(api.verdict(&ended.later, "get", "later/1").await, "not_found");
    // A revision from before means nothing now, even when as many writes have been made again.
    for _ in 0..8 {
        api.make("again").await;
    }
    api.get(&format!("/v1/revisions/{}", ended.token)).await.refused(404, "not_found");
    let ask = json!({"secret": ended.secrets[4]});
    let at_least = [("Keywright-At-Least", ended.token.as_str())];
    let answer = api.call("POST", "/v1/verify", Some(&ask), &at_least).await.unwrap();
    answer.refused(503, "revision_not_applied");
    server.stop().await;
    installation.audit_is_clean().await;
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_changes_nothing() {
    let installation = Installation::new();
    let good = installation.path("good");
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    server.api(&root).make("a").await;
    installation.run(&["backup", shown(&good)]).await.expect(0, &[]);
    server.stop().await;
    let before = std::fs::read(installation.data().join("keywright.db")).unwrap();
    let edit = |name: &str, file: &str, change: &dyn Fn(&mut Vec<u8>)| -> PathBuf {
        let bad = installation.path(name);
        copy(&good, &bad);
        let mut bytes = std::fs::read(bad.join(file)).unwrap();
        change(&mut bytes);
        std::fs::write(bad.join(file), bytes).unwrap();
        bad
    };
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let middle = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    };
    for bad in [
        edit("flipped", "keywright.db", &middle),
        edit("cut", "keywright.db", &half),
        edit("empty", "keywright.db", &Vec::clear),
        edit("unreadable", "manifest.json", &half),
        edit("longer", "manifest.json", &|bytes| bytes.extend_from_slice(b"x")),
    ] {
        let refused = installation.run(&["restore", shown(&bad), "--revive", "--yes"]).await;
        refused.expect(2, &["the backup is damaged"]);
    }
    for file in ["keywright.db", "manifest.json"] {
        let bad = edit(&format!("without-{file}"), file, &|_| {});
        std::fs::remove_file(bad.join(file)).unwrap();
        installation.run(&["restore", shown(&bad)]).await.expect(2, &[file]);
    }
    let newer = edit("newer", "manifest.json", &|bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"format\": 1", "\"format\": 2").into_bytes();
    });
    installation.run(&["restore", shown(&newer)]).await.expect(2, &["format 2"]);
    assert!(std::fs::read(installation.data().join("keywright.db")).unwrap() == before, "nothing was done");
    // The good one is.
    installation.run(&["restore", shown(&good)]).await.expect(0, &[]);
    installation.audit_is_clean().await;
}

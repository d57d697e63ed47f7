//! What an operator does to a data directory: root and master keys, backup and restore, the audit's proof.

mod backup;
mod tampering;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keywright_testkit::canary;
use serde_json::json;

use super::api::text;
use super::installation::{Installation, Ran};

const ROOT: &str = "kwroot-of-the-operators-own-choice-2";

/// The root key in what a command printed.
fn root_key(ran: &Ran) -> String {
    let key = ran.out.lines().find_map(|line| line.strip_prefix("root key: "));
    key.unwrap_or_else(|| panic!("{ran:?}")).to_owned()
}

async fn run_with_root(installation: &Installation, arguments: &[&str], root: &str) -> Ran {
    let mut command = installation.command(arguments);
    command.env("KEYWRIGHT_ROOT_KEY", root);
    installation.run_with(command, "").await
}

#[tokio::test]
async fn a_root_key_is_rotated_and_disabled() {
    let installation = Installation::new();
    installation.run(&["root", "rotate"]).await.expect(2, &["there is no keywright data", "--data-dir"]);
    let server = installation.start().await;
    let first = server.root_key.clone().unwrap();
    let admin = serde_json::json!({"name": "ops", "kind": "management", "grantable": [],
        "admin": {"actions": ["*"], "orgs": ["default"], "keyspaces": ["*"]}});
    let manager = text(&server.api(&first).post("/v1/keys", admin).await.expect(201)["secret"]);
    server.stop().await;

    let second = root_key(&installation.run(&["root", "rotate"]).await.expect(0, &[]));
    let server = installation.start().await;
    server.api(&first).get("/v1/whoami").await.refused(401, "unauthenticated");
    server.api(&second).get("/v1/whoami").await.expect(200);
    server.stop().await;

    let json = installation.run(&["root", "rotate", "--json"]).await.expect(0, &[]).json();
    let third = text(&json["root_key"]);
    assert_ne!(second, third);
    canary::note_secret(ROOT);
    let given =
        run_with_root(&installation, &["root", "rotate"], ROOT).await.expect(0, &["KEYWRIGHT_ROOT_KEY"]);
    assert!(!given.out.contains(ROOT) && !given.err.contains(ROOT), "{given:?}");
    let in_force = installation.serve_command(&[], &[("KEYWRIGHT_ROOT_KEY", ROOT)]);
    let server = installation.start_with(in_force).await;
    server.api(&third).get("/v1/whoami").await.refused(401, "unauthenticated");
    server.api(ROOT).get("/v1/whoami").await.expect(200);
    server.stop().await;

    installation.run(&["root", "disable"]).await.expect(0, &["root rotate"]);
    let refused = installation.refused(&[], &[("KEYWRIGHT_ROOT_KEY", ROOT)]).await;
    refused.expect(2, &["disabled", "keywright root rotate"]);
    let server = installation.start().await;
    assert_eq!(server.root_key, None, "a start makes no new one");
    server.api(ROOT).get("/v1/whoami").await.refused(401, "unauthenticated");
    server.api(&manager).get("/v1/whoami").await.expect(200);
    server.stop().await;
    let again = root_key(&installation.run(&["root", "rotate"]).await.expect(0, &[]));
    let server = installation.start().await;
    server.api(&again).get("/v1/whoami").await.expect(200);
    server.stop().await;
    installation.audit_is_clean().await;
}

fn open_age(identity: &age::x25519::Identity, path: &Path) -> String {
    let file = std::fs::read(path).unwrap();
    let decryptor = age::Decryptor::new(age::armor::ArmoredReader::new(file.as_slice())).unwrap();
    let mut opened = String::new();
    let identity: &dyn age::Identity = identity;
    decryptor.decrypt(std::iter::once(identity)).unwrap().read_to_string(&mut opened).unwrap();
    opened
}

#[tokio::test]
async fn an_exported_master_key_opens_the_data_again() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let (_, secret) = server.api(&root).make("a").await;
    server.stop().await;
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let out = installation.path("master-key.age");
    let export = ["master-key", "export", "--to", &recipient, "--out", out.to_str().unwrap()];
    let doctor = installation.run(&["doctor"]).await;
    assert!(doctor.out.contains("never exported"), "{doctor:?}");
    installation.run(&export).await.expect(0, &["exported"]);
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    installation.run(&export).await.expect(2, &["master-key.age"]);
    installation.run(&["master-key", "export", "--to", "age1nobody"]).await.expect(2, &["age-keygen"]);
    let doctor = installation.run(&["doctor"]).await;
    assert!(!doctor.out.contains("never exported"), "{doctor:?}");

    let file = installation.data().join("master.key");
    assert_eq!(open_age(&identity, &out), std::fs::read_to_string(&file).unwrap());
    let printed = installation.run(&["master-key", "export", "--to", &recipient]).await.expect(0, &[]);
    assert!(!printed.out.contains(std::fs::read_to_string(&file).unwrap().trim()), "only encrypted");
    std::fs::write(installation.path("printed.age"), &printed.out).unwrap();
    std::fs::write(&file, open_age(&identity, &installation.path("printed.age"))).unwrap();
    let server = installation.start().await;
    assert_eq!(server.api(&root).verdict(&secret, "get", "a/1").await, "allowed");
    server.stop().await;
}

#[tokio::test]
async fn a_follower_that_never_said_that_it_left_keeps_no_master_key_in_its_place() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.api(server.root_key.as_ref().unwrap());
    root.post("/v1/feed/leases", json!({"lease_seconds": 5})).await.expect(201);
    server.stop().await;
    installation.run(&["master-key", "rotate"]).await.expect(0, &["older backups"]);
}

#[tokio::test]
async fn a_new_master_key_takes_the_old_ones_place() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let (_, secret) = server.api(&root).make("a").await;
    server.stop().await;
    let file = installation.data().join("master.key");
    let old = std::fs::read_to_string(&file).unwrap();
    let out = installation.path("new.key");
    let with_out = ["master-key", "rotate", "--out", out.to_str().unwrap()];
    installation.run(&with_out).await.expect(2, &["--out", "master.key"]);
    let rotated =
        installation.run(&["master-key", "rotate", "--json"]).await.expect(0, &["older backups"]).json();
    let new = std::fs::read_to_string(&file).unwrap();
    assert!(old != new && rotated["master_fingerprint"] != rotated["old_fingerprint"], "{rotated}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let server = installation.start().await;
    assert_eq!(server.api(&root).verdict(&secret, "get", "a/1").await, "allowed");
    server.stop().await;
    installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY", old.trim())]).await.expect(2, &["the wrong one"]);
    installation.audit_is_clean().await;

    // One that is kept elsewhere is written to where the operator says.
    std::fs::remove_file(&file).unwrap();
    let elsewhere = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        command.env("KEYWRIGHT_MASTER_KEY", new.trim());
        installation.run_with(command, "")
    };
    elsewhere(&["master-key", "rotate"]).await.expect(2, &["--out"]);
    elsewhere(&with_out).await.expect(0, &["new.key"]);
    let newest = std::fs::read_to_string(&out).unwrap();
    installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY", new.trim())]).await.expect(2, &["the wrong one"]);
    let given = [("KEYWRIGHT_MASTER_KEY", newest.trim())];
    let server = installation.start_with(installation.serve_command(&[], &given)).await;
    assert_eq!(server.api(&root).verdict(&secret, "get", "a/1").await, "allowed");
    server.stop().await;
}

//! Starting, refusing to start, and ending.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;

use keywright_testkit::canary;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::api::body;
use super::installation::{Installation, eventually, is_root};

/// 64 hex digits that are nobody's master key.
const OTHER: &str = "ababababababababababababababababababababababababababababababababab";
const ROOT: &str = "kwroot-of-the-operators-own-choice-1";

#[tokio::test]
async fn the_root_key_is_printed_at_the_first_start_only() {
    let installation = Installation::new();
    let first = installation.start().await;
    let root = first.root_key.clone().expect("the first start prints it");
    first.api(&root).get("/v1/whoami").await.expect(200);
    assert!(!first.log().contains(&root), "a secret is no part of the log");
    first.stop().await;
    let second = installation.start().await;
    assert_eq!(second.root_key, None);
    let whoami = second.api(&root).get("/v1/whoami").await.expect(200);
    second.api(&root).get("/v1/orgs/default").await.expect(200);
    second.api(&root).get("/v1/keyspaces/default").await.expect(200);
    assert!(!whoami.to_string().contains(&root));
    assert!(!second.log().contains(&root), "a secret is no part of the log");
    second.stop().await;
}

#[tokio::test]
async fn data_and_keys_are_their_owners() {
    let installation = Installation::new();
    let server = installation.start().await;
    server.api(&server.root_key.clone().unwrap()).make("a").await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(installation.data()), 0o700);
    let files: Vec<_> = installation.data().read_dir().unwrap().flatten().collect();
    assert!(files.len() >= 4, "database, log, lock, master key: {files:?}");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let installation = Installation::new();
    let first = installation.start().await;
    let root = first.root_key.clone().unwrap();
    let refused = installation.refused(&[], &[]).await;
    refused.expect(2, &["another keywright server is using", "--data-dir", "stop it first"]);
    for command in [&["root", "rotate"][..], &["root", "disable"], &["master-key", "rotate"]] {
        installation.run(command).await.expect(2, &["stop it first"]);
    }
    first.api(&root).make("a").await;
    first.kill().await;
    // A killed server leaves no lock behind.
    installation.start().await.api(&root).make("b").await;
}

#[tokio::test]
async fn a_wrong_master_key_is_refused_with_both_fingerprints_and_what_to_do() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    server.stop().await;
    let file = installation.data().join("master.key");
    let right = std::fs::read_to_string(&file).unwrap();
    let words = ["is the wrong one", "opens only with", "KEYWRIGHT_MASTER_KEY_FILE", "master.key"];
    let named = installation.path("other.key");
    std::fs::write(&named, &OTHER[..64]).unwrap();
    let named = named.to_str().unwrap();
    installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY", &OTHER[..64])]).await.expect(2, &words);
    installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY_FILE", named)]).await.expect(2, &words);
    installation.refused(&["--master-key-file", named], &[]).await.expect(2, &words);
    std::fs::write(&file, &OTHER[..64]).unwrap();
    installation.refused(&[], &[]).await.expect(2, &words);
    // What is refused tells both fingerprints, and neither key.
    let refused = installation.refused(&[], &[]).await;
    assert!(!refused.err.contains(right.trim()) && !refused.err.contains(&OTHER[..64]), "{refused:?}");

    std::fs::write(&file, &right).unwrap();
    let server = installation.start().await;
    server.api(&root).get("/v1/whoami").await.expect(200);
    server.stop().await;
    std::fs::remove_file(&file).unwrap();
    let given = [("KEYWRIGHT_MASTER_KEY", right.trim())];
    installation.start_with(installation.serve_command(&[], &given)).await.stop().await;
    assert!(!file.exists(), "what is given is not written down");
}

#[tokio::test]
async fn what_is_no_master_key_is_refused_without_repeating_it() {
    let installation = Installation::new();
    for (bad, note) in [(&OTHER[..63], "63 digits"), (OTHER, "66 digits"), (&"zy".repeat(32), "not hex")] {
        let refused = installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY", bad)]).await;
        assert!(!refused.err.contains(bad), "{note}: {refused:?}");
        refused.expect(2, &["KEYWRIGHT_MASTER_KEY", "64 hex digits"]);
        let path = installation.path("bad.key");
        std::fs::write(&path, bad).unwrap();
        let refused =
            installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY_FILE", path.to_str().unwrap())]).await;
        assert!(!refused.err.contains(bad), "{note}: {refused:?}");
        refused.expect(2, &["bad.key", "64 hex digits"]);
    }
    let nowhere = installation.path("nowhere.key");
    let refused =
        installation.refused(&[], &[("KEYWRIGHT_MASTER_KEY_FILE", nowhere.to_str().unwrap())]).await;
    refused.expect(2, &["nowhere.key", "is not there"]);
    let both = [("KEYWRIGHT_MASTER_KEY", &OTHER[..64]), ("KEYWRIGHT_MASTER_KEY_FILE", "x")];
    installation.refused(&[], &both).await.expect(2, &["master-key", "master-key-file"]);
    // Upper and lower case are the same digits, with or without a line's end.
    std::fs::create_dir_all(installation.data()).unwrap();
    std::fs::write(installation.data().join("master.key"), format!("{}\n", OTHER[..64].to_uppercase()))
        .unwrap();
    installation.start().await.stop().await;
    installation
        .start_with(installation.serve_command(&[], &[("KEYWRIGHT_MASTER_KEY", &OTHER[..64])]))
        .await
        .stop()
        .await;
}

#[tokio::test]
async fn data_without_its_master_key_is_refused_and_no_new_one_is_made() {
    let installation = Installation::new();
    installation.start().await.stop().await;
    let file = installation.data().join("master.key");
    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let refused = installation.refused(&[], &[]).await;
        refused.expect(2, &["there is no master key", "fingerprint", "Put it back as", "age -d -i"]);
        assert!(!file.exists(), "another key would open nothing");
    }
    installation.run(&["audit", "verify"]).await.expect(2, &["there is no master key"]);
    installation.run(&["doctor"]).await.expect(1, &[]);
}

#[tokio::test]
async fn a_root_key_of_the_operators_own_is_long_enough_and_stays() {
    let installation = Installation::new();
    canary::note_secret(ROOT);
    let short = &ROOT[..31];
    let refused = installation.refused(&[], &[("KEYWRIGHT_ROOT_KEY", short)]).await;
    assert!(!refused.err.contains(short), "{refused:?}");
    refused.expect(2, &["KEYWRIGHT_ROOT_KEY", "32"]);
    assert!(!installation.data().join("master.key").exists(), "nothing is made by a start that is refused");

    let given = [("KEYWRIGHT_ROOT_KEY", ROOT)];
    let server = installation.start_with(installation.serve_command(&[], &given)).await;
    assert_eq!(server.root_key, None, "whoever gave it knows it");
    server.api(ROOT).get("/v1/whoami").await.expect(200);
    server.stop().await;
    let other = format!("{ROOT}-but-not-it");
    canary::note_secret(&other);
    let refused = installation.refused(&[], &[("KEYWRIGHT_ROOT_KEY", &other)]).await;
    refused.expect(2, &["another root key than the one in force", "keywright root rotate"]);
    // The one in force may be said again, or left out.
    installation.start_with(installation.serve_command(&[], &given)).await.stop().await;
    let server = installation.start().await;
    server.api(ROOT).get("/v1/whoami").await.expect(200);
    server.api(&other).get("/v1/whoami").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn clear_text_is_for_this_machine_only_unless_allowed() {
    let installation = Installation::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = installation.refused(&["--listen", address], &[]).await;
        refused.expect(2, &["--tls-cert", "--plaintext-ok"]);
        let own = format!("onenet={address}");
        let refused = installation.refused(&["--dialect", &own], &[]).await;
        refused.expect(2, &["--plaintext-ok"]);
    }
    let allowed = installation.serve_command(&["--listen", "0.0.0.0:0", "--plaintext-ok"], &[]);
    let server = installation.start_with(allowed).await;
    assert!(server.url.starts_with("http://0.0.0.0:"), "{}", server.url);
}

#[tokio::test]
async fn a_port_in_use_is_named_and_nothing_is_made() {
    let installation = Installation::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = installation.refused(&["--listen", &address], &[]).await;
    refused.expect(2, &["cannot listen on", &address, "in use"]);
    assert!(!installation.data().join("master.key").exists(), "nothing is made by a start that is refused");
    assert!(installation.start().await.root_key.is_some());
}

#[tokio::test]
async fn a_database_of_a_newer_program_or_of_another_one_is_refused() {
    let installation = Installation::new();
    installation.start().await.stop().await;
    let path = installation.data().join("keywright.db");
    let edit = |name: &str, value: i64| {
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, name, value).unwrap();
    };
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    edit("user_version", version + 1);
    let words = ["newer keywright", "install that version again", "restore a backup"];
    installation.refused(&[], &[]).await.expect(2, &words);
    edit("user_version", version);
    installation.start().await.stop().await;
    edit("application_id", 1);
    installation.refused(&[], &[]).await.expect(2, &["another program"]);
    std::fs::write(&path, "this is no database at all, but a text that is long enough to be one").unwrap();
    let refused = installation.refused(&[], &[]).await;
    refused.expect(2, &["not a database"]);
}

#[tokio::test]
async fn a_start_that_was_killed_before_it_was_whole_is_made_again() {
    let installation = Installation::new();
    // What a start leaves that is killed after its master key and before its first commit.
    std::fs::create_dir_all(installation.data()).unwrap();
    std::fs::write(installation.data().join("keywright.db"), "").unwrap();
    std::fs::write(installation.data().join("master.key"), &OTHER[..64]).unwrap();
    let server = installation.start().await;
    let root = server.root_key.clone().expect("it is a first start");
    server.api(&root).make("a").await;
    assert!(server.log().contains("can be read by others"), "the key's file is open: {}", server.log());
}

#[tokio::test]
async fn sigterm_lets_an_open_request_finish_and_exits_0() {
    let installation = Installation::new();
    let mut server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let body = body("drained").to_string();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {root}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut open = TcpStream::connect(&address).await.unwrap();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    open.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 12];
    open.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100", "the server reads the body");
    open.write_all(&body.as_bytes()[..10]).await.unwrap();
    server.terminate();
    eventually("draining", || server.log().contains("draining").then_some(())).await;
    // Nobody new is let in, whoever only sits there is let go, and the open request goes on.
    loop {
        if TcpStream::connect(&address).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut nothing = Vec::new();
    idle.read_to_end(&mut nothing).await.unwrap();
    open.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("HTTP/1.1 201 Created"), "{answer}");
    super::installation::note(&answer);
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    let server = installation.start().await;
    let found = server.api(&root).get("/v1/keys?q=drained").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "what was answered is there");
    server.stop().await;
}

#[tokio::test]
async fn quotas_come_back_whole_from_an_orderly_end() {
    let installation = Installation::new();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let quota = json!({"name": "q", "quota": {"max": 2000, "period": "none"}});
    let made = server.api(&root).post("/v1/keys", quota).await.expect(201);
    let ask = json!({"secret": made["secret"]});
    let first = server.api(&root).post("/v1/verify", ask.clone()).await.expect(200);
    assert_eq!(first["quota"]["remaining"], 1999);
    server.stop().await;
    let server = installation.start().await;
    let second = server.api(&root).post("/v1/verify", ask).await.expect(200);
    assert_eq!(second["quota"]["remaining"], 1998, "a block of 20 was reserved, and 19 came back");
    server.stop().await;
}

#[tokio::test]
async fn nothing_in_memory_gets_into_a_core_dump_or_to_another_process() {
    let installation = Installation::new();
    let mut command = installation.serve_command(&[], &[]);
    let root = is_root();
    if root {
        // Where this was built may be nobody else's to enter.
        command = installation.serve_by_copy();
        // What a process that may be dumped shows in /proc is its user's; root cannot see the difference on its own.
        let nobody = 65_534;
        std::fs::create_dir_all(installation.data()).unwrap();
        for path in [installation.path(""), installation.data().to_owned()] {
            chown(path, Some(nobody), Some(nobody)).unwrap();
        }
        command.uid(nobody).gid(nobody);
    }
    let server = installation.start_with(command).await;
    let proc = |name: &str| std::path::PathBuf::from(format!("/proc/{}/{name}", server.pid()));
    let limits = std::fs::read_to_string(proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let figures: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(figures, ["0", "0"], "soft and hard: {core}");
    let status = std::fs::read_to_string(proc("status")).unwrap();
    if root {
        assert!(status.contains("Uid:\t65534"), "it runs as somebody else: {status}");
    }
    let owner = proc("environ").metadata().unwrap().uid();
    assert_eq!(owner, 0, "the memory and the environment of a process that may be dumped are its user's");
}

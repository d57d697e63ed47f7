//! A full disk: writes are refused, the rest goes on, and nothing is lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use keywright_testkit::canary;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api::{Api, text};
use super::installation::{Installation, Server, is_root, tell};

/// How many clients fill the disk at once.
const WRITERS: usize = 4;
/// How many writes one of them makes at most until it is full.
const WRITES_MAX: usize = 2_000;
/// So many refusals in a row are a disk that is full.
const REFUSALS: usize = 5;

/// A small file system of its own. Only root may mount one.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "keywright-test"]).arg(path);
        let mounted = is_root() && mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        canary::keep(
            &self.0,
            &format!("{}-full-disk", self.0.parent().unwrap().file_name().unwrap().display()),
        );
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[tokio::test]
async fn a_full_file_system_refuses_writes_and_loses_nothing() {
    let installation = Installation::new();
    let Some(_mounted) = Tmpfs::mount(installation.data()) else {
        tell(
            "not tried: only root may mount a small file system; the limit on a file's size is tried instead",
        );
        return;
    };
    let ballast = installation.data().join("ballast");
    std::fs::write(&ballast, vec![7; 3 << 20]).unwrap();
    let server = installation.start().await;
    let root = server.root_key.clone().unwrap();
    let refused = fill(&server, &root).await;
    // Not one page is left for anything.
    let _ = std::fs::write(installation.data().join("rest"), vec![7; 8 << 20]);
    let went_on = goes_on_while_full(&server, &root, &refused).await;
    // A start on a full disk serves or says why not; it destroys nothing.
    server.kill().await;
    let full = installation.start_or_refuse().await;
    tell(if full.is_ok() {
        "a start on the full disk served"
    } else {
        "a start on the full disk was refused"
    });
    if let Err(ran) = &full {
        assert!(ran.code == Some(2) && ran.err.contains("full"), "{ran:?}");
    }
    std::fs::remove_file(&ballast).unwrap();
    std::fs::remove_file(installation.data().join("rest")).unwrap();
    let server = match full {
        Ok(server) => server,
        Err(_) => installation.start().await,
    };
    nothing_was_lost(&installation, server, &root, refused, went_on).await;
}

#[tokio::test]
async fn a_file_that_cannot_grow_refuses_writes_and_loses_nothing() {
    let installation = Installation::new();
    // What a quota of the file system does, without needing one: EFBIG in place of ENOSPC.
    let server = installation.start_with(installation.serve_within("ulimit -S -f 3000")).await;
    let root = server.root_key.clone().unwrap();
    let refused = fill(&server, &root).await;
    let went_on = goes_on_while_full(&server, &root, &refused).await;
    let pid = server.pid().to_string();
    let freed = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
    assert!(freed.success());
    nothing_was_lost(&installation, server, &root, refused, went_on).await;
}

/// What a disk that ran full left behind.
struct Filled {
    /// Names, ids and secrets of the keys whose creation was acknowledged.
    made: Vec<(String, String, String)>,
    /// Names of the calls that were refused, and their bodies.
    refused: Vec<(String, Value)>,
}

/// Creates keys until the disk is full.
async fn fill(server: &Server, root: &str) -> Filled {
    let mut clients = JoinSet::new();
    for client in 0..WRITERS {
        let api = server.api(root);
        clients.spawn(async move { fill_with_one(&api, client).await });
    }
    let mut all = Filled { made: Vec::new(), refused: Vec::new() };
    for one in clients.join_all().await {
        all.made.extend(one.made);
        all.refused.extend(one.refused);
    }
    assert!(all.made.len() > 10, "{} fitted", all.made.len());
    fill_with_small_writes(&server.api(root), &all.made.last().unwrap().1).await;
    all
}

/// Where a key does not fit any more, something smaller may: until nothing does.
async fn fill_with_small_writes(api: &Api, key: &str) {
    let mut in_a_row = 0;
    for number in 0..WRITES_MAX {
        let role = api.post("/v1/roles", json!({"name": format!("small{number}"), "grants": []})).await;
        let text = json!({"description": format!("{number}")});
        let described = api.patch(&format!("/v1/keys/{key}"), text).await;
        let all_refused = role.status == 503 && described.status == 503;
        in_a_row = if all_refused { in_a_row + 1 } else { 0 };
        if in_a_row == REFUSALS {
            return;
        }
    }
    panic!("{WRITES_MAX} small writes did not fill it");
}

async fn fill_with_one(api: &Api, client: usize) -> Filled {
    let mut filled = Filled { made: Vec::new(), refused: Vec::new() };
    let mut in_a_row = 0;
    for number in 0..WRITES_MAX {
        let name = format!("full{client}-{number}");
        let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["a/**"]}]);
        let body = json!({"name": name, "grants": grants, "metadata": {"text": "x".repeat(1_500)}});
        let reply = api.call("POST", "/v1/keys", Some(&body), &[("Idempotency-Key", &name)]).await.unwrap();
        if reply.status == 201 {
            filled.made.push((name, text(&reply.json["key"]["id"]), text(&reply.json["secret"])));
            in_a_row = 0;
            continue;
        }
        assert_eq!(reply.header("retry-after"), "1", "{reply:?}");
        reply.refused(503, "store_unavailable");
        filled.refused.push((name, body));
        in_a_row += 1;
        if in_a_row == REFUSALS {
            return filled;
        }
    }
    panic!("{WRITES_MAX} writes did not fill it");
}

/// Tries everything on a full disk. Answers the key that the refused writes were about.
async fn goes_on_while_full(server: &Server, root: &str, filled: &Filled) -> (String, String) {
    let api = server.api(root);
    let (_, id, secret) = filled.made.first().unwrap().clone();
    let path = format!("/v1/keys/{id}");
    let before = api.get(&path).await.expect(200);
    for _ in 0..2 {
        for (verb, body) in [
            ("/rotate", json!({"overlap_seconds": 0})),
            ("/disable", json!({})),
            ("/revoke", json!({"reason": "leaked"})),
        ] {
            api.post(&format!("{path}{verb}"), body).await.refused(503, "store_unavailable");
        }
        api.patch(&path, json!({"grants": []})).await.refused(503, "store_unavailable");
        let role = json!({"name": "r", "grants": []});
        api.post("/v1/roles", role).await.refused(503, "store_unavailable");
    }
    // What was refused is not done: not in the store, and not in memory.
    assert_eq!(api.get(&path).await.expect(200), before);
    for (_, _, secret) in &filled.made {
        assert_eq!(api.verdict(secret, "get", "a/1").await, "allowed");
    }
    assert_eq!(api.verdict(&secret, "put", "a/1").await, "insufficient_permission");
    for path in ["/v1/keys?limit=200", "/v1/audit", "/v1/whoami", "/healthz", "/v1/roles"] {
        api.get(path).await.expect(200);
    }
    api.call("POST", "/v1/keys?dry_run=true", Some(&json!({"name": "dry"})), &[]).await.unwrap().expect(200);
    assert!(server.log().contains("the store is unavailable"), "an operator is told");
    (id, secret)
}

/// Space is free again: everything works, at once and after a kill.
async fn nothing_was_lost(
    installation: &Installation,
    server: Server,
    root: &str,
    filled: Filled,
    (id, secret): (String, String),
) {
    let api = server.api(root);
    let Filled { mut made, refused } = filled;
    for (name, body) in refused {
        let call = [("Idempotency-Key", name.as_str())];
        let first = api.call("POST", "/v1/keys", Some(&body), &call).await.unwrap().expect(201);
        let again = api.call("POST", "/v1/keys", Some(&body), &call).await.unwrap().expect(201);
        assert_eq!(first, again);
        made.push((name, text(&first["key"]["id"]), text(&first["secret"])));
    }
    api.post(&format!("/v1/keys/{id}/revoke"), json!({})).await.expect(200);
    server.kill().await;
    let server = installation.start().await;
    let api = server.api(root);
    let mut listed = 0;
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/v1/keys?limit=200{cursor}")).await.expect(200);
        listed += page["items"].as_array().unwrap().len();
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, made.len(), "each that was acknowledged, and no other");
    for (_, made_id, made_secret) in &made {
        let code = if *made_id == id { "revoked" } else { "allowed" };
        assert_eq!(api.verdict(made_secret, "get", "a/1").await, code);
    }
    assert_eq!(api.verdict(&secret, "get", "a/1").await, "revoked");
    server.stop().await;
    installation.audit_is_clean().await;
}

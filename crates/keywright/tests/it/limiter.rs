//! A real Redis behind the real program: limits counted there, and what is said while it is away.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::api::{Api, text};
use super::installation::{Installation, Server, eventually};

/// A `redis-server` on a socket, which asks for a password.
struct Redis {
    socket: PathBuf,
    child: Option<Child>,
}

const PASSWORD: &str = "the-limiters-own-password";

impl Redis {
    async fn start(socket: PathBuf) -> Self {
        let mut redis = Self { socket, child: None };
        redis.run().await;
        redis
    }

    async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--requirepass", PASSWORD, "--unixsocket"]);
        command.arg(&self.socket).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server of Debian: `cargo xtask tools` installs it"));
        let listens = || std::os::unix::net::UnixStream::connect(&self.socket).ok();
        eventually("redis-server listens", listens).await;
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn figure(server: &Server, name: &str) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
}

async fn until_away_is(server: &Server, away: u64) {
    for _ in 0..2_000 {
        if figure(server, "keywright_limiter_away").await == away
            && (away == 1 || figure(server, "keywright_limiter_nodes").await > 0)
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("keywright_limiter_away never was {away}: {}", server.log());
}

async fn verify(api: &Api, secret: &str) -> Value {
    api.post("/v1/verify", json!({"secret": secret})).await.expect(200)
}

/// How many of so many verifications are allowed, and what the last one says.
async fn allowed(api: &Api, secret: &str, calls: usize) -> (usize, Value) {
    let (mut allowed, mut last) = (0, Value::Null);
    for _ in 0..calls {
        last = verify(api, secret).await;
        allowed += usize::from(last["allowed"] == true);
    }
    (allowed, last)
}

#[tokio::test]
async fn limits_are_counted_by_redis_and_by_the_policy_while_it_is_away() {
    let installation = Installation::new();
    let mut redis = Redis::start(installation.path("redis.sock")).await;
    let url = format!("unix://{}?pass={PASSWORD}", redis.socket.display());
    let start = || async {
        let environment = [("KEYWRIGHT_LIMITER", url.as_str())];
        let server = installation.start_with(installation.serve_command(&[], &environment)).await;
        until_away_is(&server, 0).await;
        server
    };
    let server = start().await;
    let root = server.root_key.clone().unwrap();
    let api = server.api(&root);
    let limits = json!([{"name": "slow", "max": 20, "per_seconds": 3600}]);
    let made = api.post("/v1/keys", json!({"name": "limited", "limits": limits})).await.expect(201);
    let secret = text(&made["secret"]);
    let first = verify(&api, &secret).await;
    assert_eq!(
        first["limits"][0],
        json!({"name": "slow", "max": 20, "remaining": 19, "reset_ms": first["limits"][0]["reset_ms"]})
    );
    assert_eq!(allowed(&api, &secret, 4).await.0, 4);
    server.stop().await;

    // What was used is still used after a restart, but for the block that was held.
    let server = start().await;
    let api = server.api(&root);
    let (some, last) = allowed(&api, &secret, 40).await;
    assert!((13..=15).contains(&some), "{some} of 20 after 5");
    assert_eq!((&last["code"], &last["limits"][0]["scope"]), (&json!("rate_limited"), &Value::Null));
    assert!(figure(&server, "keywright_limiter_calls_total").await > 0);

    redis.kill();
    until_away_is(&server, 1).await;
    let other = api.post("/v1/keys", json!({"name": "other", "limits": limits})).await.expect(201);
    let (some, last) = allowed(&api, &text(&other["secret"]), 40).await;
    // An older life of this node may count as another one still.
    assert!((10..=20).contains(&some), "{some} of this node's share of 20");
    assert_eq!((&last["code"], &last["limits"][0]["scope"]), (&json!("rate_limited"), &json!("node")));
    redis.run().await;
    until_away_is(&server, 0).await;
    let third = api.post("/v1/keys", json!({"name": "third", "limits": limits})).await.expect(201);
    let (some, last) = allowed(&api, &text(&third["secret"]), 40).await;
    assert_eq!((some, &last["limits"][0]["scope"]), (20, &Value::Null));
    assert!(!server.log().contains(PASSWORD), "the password is no part of the log");
    server.stop().await;
    let shown = {
        let mut command = installation.command(&["config", "show"]);
        command.env("KEYWRIGHT_LIMITER", &url);
        installation.run_with(command, "").await.expect(0, &[])
    };
    assert!(shown.out.contains("redis.sock") && !shown.out.contains(PASSWORD), "{shown:?}");
}

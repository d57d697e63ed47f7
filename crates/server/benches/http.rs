//! Two ratios of docs/performance.md, each from one run over loopback, client and server sharing the machine:
//!
//! - `POST /v1/verify` against an axum handler that parses the same body and answers a constant;
//! - durable updates (`PATCH /v1/keys/{id}`) against bare grouped SQLite commits of rows of that size: each replaces a row
//!   of as many bytes as the key's, and appends one of as many as its audit entry and its feed entry.
//!
//! Run with `cargo bench -p keywright-server --bench http`, `-- verify` or `-- update`. The two of a pair take turns, so that a noisy machine slows both.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, prints, and ends when its set-up fails"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use keywright_server::listen::{self, Bounds, Listen};
use keywright_testkit::TestApp;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The binary's, for both sides of a ratio.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENTS: usize = 16;
/// How long a turn lasts, and how many each of a pair has. Verifications need no more time than this to be counted, and
/// short turns share what else the machine does evenly; a commit is a matter of milliseconds.
const VERIFY: Turns = Turns { each: Duration::from_millis(250), count: 40 };
const UPDATE: Turns = Turns { each: Duration::from_secs(3), count: 3 };

#[derive(Clone, Copy)]
struct Turns {
    each: Duration,
    count: u32,
}

#[tokio::main]
async fn main() {
    let app = TestApp::start().await;
    let address = listen(keywright_server::router(app.state().clone())).await;
    let wanted = |name: &str| {
        std::env::args().all(|argument| !["verify", "update"].contains(&&*argument) || argument == name)
    };
    if wanted("verify") {
        verify(&app, &address).await;
    }
    if wanted("update") {
        update(&app, &address).await;
    }
}

async fn listen(router: Router) -> String {
    let listen = Listen {
        address: ([127, 0, 0, 1], 0).into(),
        tls: None,
        plaintext_ok: false,
        bounds: Bounds::default(),
    };
    let listener = listen::bind(listen).await.expect("a free port");
    let address = listener.address().to_string();
    tokio::spawn(listener.serve(router, std::future::pending()));
    address
}

async fn verify(app: &TestApp, address: &str) {
    let grants = json!([{"effect": "allow", "actions": ["get"], "resources": ["devices/7/**"]}]);
    let made = app.root("POST", "/v1/keys", json!({"name": "bench", "grants": grants})).await.json();
    let asker = json!({"name": "asker", "kind": "management", "grantable": [],
        "admin": {"actions": ["keys.verify"], "orgs": ["default"], "keyspaces": ["default"]}});
    let asker =
        app.root("POST", "/v1/keys", asker).await.json()["secret"].as_str().expect("a secret").to_owned();
    let body = json!({"secret": made["secret"], "action": "get", "resource": "devices/7/gps", "ip": "10.1.2.3", "cost": 1});
    let request = request("POST", "/v1/verify", address, &asker, &body);
    let answer = exchange(address, &request).await;
    assert!(answer.contains("\"allowed\":true"), "{answer}");

    let constant = answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
    let baseline = listen_constant(constant).await;
    let baseline_request = self::request("POST", "/v1/verify", &baseline, &asker, &body);
    let (mut ours, mut theirs) = (0.0, 0.0);
    for _ in 0..VERIFY.count {
        theirs += load(&baseline, std::slice::from_ref(&baseline_request), VERIFY.each).await;
        ours += load(address, std::slice::from_ref(&request), VERIFY.each).await;
    }
    report("POST /v1/verify, requests/s", ours, "axum handler that answers a constant", theirs, 0.8, VERIFY);
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "parsed as the real body is, and then not looked at")]
struct Body {
    secret: String,
    action: Option<String>,
    resource: Option<String>,
    ip: Option<std::net::IpAddr>,
    cost: Option<u64>,
}

async fn listen_constant(constant: String) -> String {
    let constant: Arc<str> = constant.into();
    // Headers and body of the same size: the clients' work is on both sides.
    let handler = move |axum::Json(_body): axum::Json<Body>| async move {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (X_REQUEST_ID, HeaderValue::from_static("0707070707070707-12345")),
        ];
        (headers, constant.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let router: Router = Router::new().route("/v1/verify", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn update(app: &TestApp, address: &str) {
    let mut requests = Vec::new();
    for client in 0..CLIENTS {
        let grants = json!([{"effect": "allow", "actions": ["get", "put"], "resources": ["devices/7/**"]}]);
        let body = json!({"name": format!("bench {client}"), "grants": grants, "labels": {"team": "fleet"}});
        let made = app.root("POST", "/v1/keys", body).await.json();
        let path = format!("/v1/keys/{}", made["key"]["id"].as_str().expect("an id"));
        // Each request changes the key: a counter in its description makes every one a write.
        requests.push((path, 0_u64));
    }
    // Not the root key: who calls is then a key that is looked up, and that each write rests on.
    let caller = json!({"name": "caller", "kind": "management",
        "grantable": [{"effect": "allow", "actions": ["*"], "resources": ["**"]}],
        "admin": {"actions": ["*"], "orgs": ["default"], "keyspaces": ["default"]}});
    let caller =
        app.root("POST", "/v1/keys", caller).await.json()["secret"].as_str().expect("a secret").to_owned();
    let texts: Vec<Vec<u8>> = requests
        .iter()
        .map(|(path, _)| {
            request("PATCH", path, address, &caller, &json!({"description": "COUNTER-0000000000"}))
        })
        .collect();
    let written = written_by_one(app.node.directory());
    println!("one update writes a row of {} bytes and {} bytes of audit and feed", written.row, written.log);
    let (mut ours, mut theirs) = (0.0, 0.0);
    let (mut our_cpu, mut their_cpu) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..UPDATE.count {
        let began = cpu();
        theirs += bare_commits(written);
        let between = cpu();
        ours += load(address, &texts, UPDATE.each).await;
        their_cpu += between.saturating_sub(began);
        our_cpu += cpu().saturating_sub(between);
    }
    // What a noisy machine does not change, as it does the rates: both sides with their clients.
    let each = |cpu: Duration, rate: f64| cpu.as_secs_f64() * 1e6 / (rate * UPDATE.each.as_secs_f64());
    println!(
        "CPU of an update: {:.1} µs, of a bare commit: {:.1} µs",
        each(our_cpu, ours),
        each(their_cpu, theirs)
    );
    report(
        "PATCH /v1/keys/{id}, 16 clients, updates/s",
        ours,
        "bare grouped SQLite commits",
        theirs,
        0.5,
        UPDATE,
    );
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the clock of the process").into()
}

fn request(method: &str, path: &str, host: &str, bearer: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {bearer}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends the requests over `CLIENTS` connections for a turn, each again and again; answers a second.
async fn load(address: &str, requests: &[Vec<u8>], turn: Duration) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let counter = Arc::new(AtomicU64::new(1));
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, done, counter) = (address.to_owned(), Arc::clone(&done), Arc::clone(&counter));
            let mut request = requests[client % requests.len()].clone();
            tokio::spawn(async move {
                let place = find(&request, b"COUNTER-");
                let mut stream = TcpStream::connect(address).await.expect("a connection");
                stream.set_nodelay(true).expect("no delay");
                let mut buffer = Vec::with_capacity(8 * 1024);
                while start.elapsed() < turn {
                    if let Some(place) = place {
                        let number = format!("{:010}", counter.fetch_add(1, Ordering::Relaxed));
                        request[place + 8..place + 18].copy_from_slice(number.as_bytes());
                    }
                    stream.write_all(&request).await.expect("the request is sent");
                    read_answer(&mut stream, &mut buffer).await;
                    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client ends");
    }
    per_second(done.load(Ordering::Relaxed), start.elapsed())
}

async fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("the request is sent");
    let mut buffer = Vec::new();
    read_answer(&mut stream, &mut buffer).await;
    String::from_utf8(buffer).expect("text")
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    // Most answers are as long as the one before, which saves looking for how long they say they are.
    let before = buffer.len();
    buffer.clear();
    loop {
        if buffer.len() == before && before > 0 {
            return;
        }
        if let Some(head) = find(buffer, b"\r\n\r\n") {
            let length = content_length(&buffer[..head]);
            if buffer.len() >= head + 4 + length {
                return;
            }
        }
        let read = stream.read_buf(buffer).await.expect("an answer");
        assert_ne!(read, 0, "the server closed the connection");
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).expect("headers are text").to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.map_or(0, |length| length.trim().parse().expect("a number"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// How many bytes one write of a key stores.
#[derive(Clone, Copy)]
struct Written {
    row: usize,
    log: usize,
}

/// The texts and blobs of the newest key's row and of the newest entries, without the numbers beside them and the indexes.
fn written_by_one(directory: &std::path::Path) -> Written {
    let connection = rusqlite::Connection::open(directory.join("keywright.db")).expect("the database");
    let bytes = |sql: &str| {
        let bytes: u16 = connection.query_row(sql, [], |row| row.get(0)).expect("a row");
        usize::from(bytes)
    };
    let key = "SELECT 3 * 16 + length(kind) + length(name) + length(created_by) + length(updated_by) + length(body) \
               FROM keys ORDER BY id DESC LIMIT 1";
    let audit = "SELECT 16 + length(actor) + length(wire) + length(verb) + length(subject) + length(request_id) \
                 + length(rights) + length(proof) + length(personal) + length(salt) + length(personal_hash) + length(hash) \
                 FROM audit ORDER BY seq DESC LIMIT 1";
    let feed = "SELECT length(changes) FROM feed ORDER BY revision DESC LIMIT 1";
    Written { row: bytes(key), log: bytes(audit) + bytes(feed) }
}

/// Updates rows from `CLIENTS` threads through one thread that groups what is waiting into one commit.
fn bare_commits(written: Written) -> f64 {
    let directory = tempfile::TempDir::new().expect("a scratch folder");
    let connection = rusqlite::Connection::open(directory.path().join("bare.db")).expect("a database");
    connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    connection.pragma_update(None, "synchronous", "FULL").expect("FULL");
    connection
        .execute_batch(
            "CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT NOT NULL); CREATE TABLE log (body TEXT NOT NULL)",
        )
        .expect("the tables");
    let (sender, receiver) = mpsc::sync_channel::<(u64, [String; 2], mpsc::SyncSender<()>)>(CLIENTS);
    let writer = std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            let group: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
            connection.execute_batch("BEGIN IMMEDIATE").expect("begin");
            for (id, [row, log], _) in &group {
                let mut replace = connection
                    .prepare_cached("INSERT OR REPLACE INTO row VALUES (?1, ?2)")
                    .expect("a statement");
                replace.execute(rusqlite::params![id.cast_signed(), row]).expect("a row");
                let mut append =
                    connection.prepare_cached("INSERT INTO log VALUES (?1)").expect("a statement");
                append.execute([log]).expect("a row");
            }
            connection.execute_batch("COMMIT").expect("commit");
            for (_, _, answer) in group {
                answer.send(()).expect("a client waits");
            }
        }
    });
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|client| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let (answer, answered) = mpsc::sync_channel(1);
                let mut count = 0_u64;
                while start.elapsed() < UPDATE.each {
                    let text = |bytes: usize| format!("{count:010}{}", "x".repeat(bytes.saturating_sub(10)));
                    let texts = [text(written.row), text(written.log)];
                    sender.send((client, texts, answer.clone())).expect("the writer runs");
                    answered.recv().expect("the writer answers");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let total: u64 = clients.into_iter().map(|client| client.join().expect("a client ends")).sum();
    let elapsed = start.elapsed();
    drop(sender);
    writer.join().expect("the writer ends");
    per_second(total, elapsed)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from) / elapsed.as_secs_f64()
}

fn report(ours: &str, rate: f64, theirs: &str, baseline: f64, floor: f64, turns: Turns) {
    let turns = f64::from(turns.count);
    println!("{ours}: {:.0}", rate / turns);
    println!("{theirs}: {:.0}", baseline / turns);
    println!("ratio: {:.2} (floor {floor})", rate / baseline);
}

//! The vendor's own Python client against a real socket: three signature methods, two HTTP methods, success and error.

use std::io::Write as _;
use std::process::Stdio;

use axum::middleware::Next;
use keywright_server::dialects::Dialect;
use keywright_testkit::canary;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{ADMIN_ID, Wired};

/// The interpreter that has the client; `cargo xtask test` sets it.
const PYTHON: &str = "KEYWRIGHT_TEST_PYTHON";
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/python/tencent_update.py");

/// Runs the driver and gives its lines.
async fn driven(wired: &Wired, python: &std::ffi::OsStr) -> Vec<Value> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    // The tests' clock stands still, and calls without time between them would meet the limit of 20 a second.
    let clock = std::sync::Arc::clone(&wired.app.node.clock);
    let router = wired.router.clone().layer(axum::middleware::from_fn(move |request, next: Next| {
        clock.advance_ms(100);
        next.run(request)
    }));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut command = Command::new(python);
    command.arg(DRIVER).env("TENCENT_ENDPOINT", endpoint).env("TENCENT_MANUAL", "1");
    command.env("TENCENT_SECRET_ID", ADMIN_ID).env("TENCENT_SECRET_KEY", &wired.admin);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    server.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    for secret in lines.iter().filter_map(|line| line.pointer("/result/AccessKeySecret")?.as_str()) {
        canary::note_secret(secret);
    }
    lines
}

#[expect(clippy::disallowed_methods, reason = "the client reads the machine's clock")]
fn wall_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[expect(clippy::disallowed_methods, reason = "the test command says so where the client is")]
pub(super) fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os(PYTHON);
    if python.is_none() {
        // Past the harness, which keeps what a passing test prints to itself.
        let said = writeln!(std::io::stderr(), "NOT RUN: {PYTHON} is not set, as `cargo xtask test` sets it");
        said.expect("standard error can be written to");
    }
    python
}

/// The client reads the machine's clock, and the server shall not find its signatures expired.
fn set_to_the_machines_clock(wired: &Wired) {
    let behind = i64::try_from(wall_seconds()).unwrap() - super::tencent::now(wired);
    let mut behind_ms =
        u64::try_from(behind).expect("the machine's clock is not before the tests' first moment") * 1_000;
    while behind_ms > 0 {
        let step = u32::try_from(behind_ms).unwrap_or(u32::MAX);
        wired.app.node.clock.advance_ms(step);
        behind_ms -= u64::from(step);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_python_client_creates_and_updates_and_reads_every_error() {
    // `cargo xtask test` installs the client and sets it; without it there is nothing to drive.
    let Some(python) = python() else { return };
    let wired = Wired::start(Dialect::Tencent).await;
    wired.set_keyspace(json!({"allow_custom_secrets": true})).await;
    set_to_the_machines_clock(&wired);
    let lines = driven(&wired, &python).await;
    let steps: &[(&str, Option<&str>)] = &[
        ("create", None),
        ("update", None),
        ("create manual", None),
        ("update manual", None),
        ("update manual without secret", Some("MissingParameter")),
        ("create manual again", Some("FailedOperation.AccessKeyExist")),
        ("unknown key", Some("ResourceNotFound.InvalidAccessKeyId")),
        ("missing parameter", Some("MissingParameter")),
        ("bad format", Some("InvalidParameter.FormatError")),
        ("unknown caller", Some("AuthFailure.SecretIdNotFound")),
        ("wrong signature", Some("AuthFailure.SignatureFailure")),
    ];
    assert_eq!(lines.len(), 6 * steps.len());
    for (line, (step, code)) in lines.iter().zip(steps.iter().cycle()) {
        assert_eq!((line["step"].as_str(), line["error"]["code"].as_str()), (Some(*step), *code), "{line}");
        let chinese = line["language"] == "zh-CN";
        let message = line["error"]["message"].as_str().unwrap_or_default();
        assert!(code.is_none() || chinese != message.is_ascii(), "{line}");
    }
    for pair in lines.windows(2).filter(|pair| pair[1]["step"] == "update") {
        let [made, updated] = pair else { unreachable!() };
        assert_ne!(made["result"]["AccessKeySecret"], updated["result"]["AccessKeySecret"]);
        assert_eq!(wired.verified(json!({"secret": made["result"]["AccessKeySecret"]})).await, "superseded");
        assert_eq!(wired.verified(json!({"secret": updated["result"]["AccessKeySecret"]})).await, "allowed");
    }
}

//! Tencent Cloud's own clients against a real socket: the two Python SDKs, the Node SDK and `tccli`. Each does the calls of
//! `clients/scenario.rs` with the three signature methods and the two HTTP methods where it has them.

mod process;
mod scenario;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use axum::middleware::Next;
use keywright_control::Clock as _;
use keywright_server::dialects::Dialect;
use keywright_testkit::{ManualClock, canary};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::process::Process;
use self::scenario::{By, ComesTo, LABELS, STEPS, Step};
use super::{ADMIN_ID, Wired, secrets_in};

/// The interpreter that has the mainland's SDK; `cargo xtask test` sets these.
const PYTHON: &str = "KEYWRIGHT_TEST_PYTHON";
/// The interpreter that has the international one.
const PYTHON_INTL: &str = "KEYWRIGHT_TEST_PYTHON_INTL";
/// The interpreter that has `tccli`.
const PYTHON_TCCLI: &str = "KEYWRIGHT_TEST_PYTHON_TCCLI";
/// The folder of modules that has the Node SDK.
const NODE_MODULES: &str = "KEYWRIGHT_TEST_NODE_MODULES";

/// The drivers, in the testkit.
const SDK: &str = "python/tencent.py";
const CLI: &str = "python/tencent_cli.py";
const NODE: &str = "node/tencent.js";

/// What the clients have: each is one way to call.
const WAYS: &[Way] = &[
    Way { sign_method: "TC3-HMAC-SHA256", http_method: "POST", language: "en-US" },
    Way { sign_method: "TC3-HMAC-SHA256", http_method: "GET", language: "zh-CN" },
    Way { sign_method: "HmacSHA1", http_method: "POST", language: "en-US" },
    Way { sign_method: "HmacSHA1", http_method: "GET", language: "zh-CN" },
    Way { sign_method: "HmacSHA256", http_method: "POST", language: "zh-CN" },
    Way { sign_method: "HmacSHA256", http_method: "GET", language: "en-US" },
];
/// `tccli` has its own way built in, and this is its own language.
const WAY_OF_TCCLI: &[Way] =
    &[Way { sign_method: "TC3-HMAC-SHA256", http_method: "POST", language: "zh-CN" }];

#[derive(Clone, Copy, Debug)]
struct Way {
    sign_method: &'static str,
    http_method: &'static str,
    language: &'static str,
}

/// What one way of one client has seen so far.
struct Run {
    way: Way,
    /// What the answers had that later steps name, and the name of this run.
    kept: BTreeMap<&'static str, String>,
    /// The parameters of each write, with the moment after which none had been sent.
    sent: BTreeMap<String, Duration>,
}

#[expect(clippy::disallowed_methods, reason = "the clients read the machine's clock")]
fn machine_time() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test command says so where the clients are")]
fn installed(variable: &str) -> Option<OsString> {
    let place = std::env::var_os(variable);
    if place.is_none() {
        // Past the harness, which keeps what a passing test prints to itself.
        let said =
            writeln!(std::io::stderr(), "NOT RUN: {variable} is not set, as `cargo xtask test` sets it");
        said.expect("standard error can be written to");
    }
    place
}

pub(super) fn python() -> Option<OsString> {
    installed(PYTHON)
}

/// Lets a tenth of a second pass on the tests' clock, which stands still otherwise, so that no limit of 20 calls a second is met;
/// or as much as the machine's clock is ahead, by which the clients sign.
fn keep_up(clock: &ManualClock) {
    let machine = i64::try_from(machine_time().as_millis()).unwrap();
    let mut ms = u64::try_from(machine - clock.now().unix_ms()).unwrap_or_default().max(100);
    while ms > 0 {
        let step = u32::try_from(ms).unwrap_or(u32::MAX);
        clock.advance_ms(step);
        ms -= u64::from(step);
    }
}

/// Serves the dialect at a port of this machine.
async fn served(wired: &Wired) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let clock = std::sync::Arc::clone(&wired.app.node.clock);
    let router = wired.router.clone().layer(axum::middleware::from_fn(move |request, next: Next| {
        keep_up(&clock);
        next.run(request)
    }));
    (endpoint, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// Does every step in every way, step by step, so that one wait serves all ways.
async fn works(client: &'static str, mut process: Process, ways: &[Way]) {
    let wired = Wired::start(Dialect::Tencent).await;
    wired.set_keyspace(json!({"allow_custom_secrets": true, "recoverable_secrets": true})).await;
    let (endpoint, server) = served(&wired).await;
    let mut runs: Vec<Run> = ways.iter().enumerate().map(|(number, way)| Run::new(*way, number)).collect();
    for (number, step) in STEPS.iter().enumerate() {
        for run in &mut runs {
            let at = format!("{client}, {:?}, step {number}: {step:?}", run.way);
            run.step(&wired, &mut process, &endpoint, step, &at).await;
        }
    }
    process.end().await;
    server.abort();
    for run in &runs {
        let path = format!("/v1/keys?access_id=id_{}", run.kept["name"]);
        let found = wired.app.root("GET", &path, Value::Null).await.json();
        assert_eq!(found["items"][0]["labels"], run.filled(LABELS), "{client}, {:?}: {found}", run.way);
    }
}

impl Run {
    fn new(way: Way, number: usize) -> Self {
        Self { way, kept: BTreeMap::from([("name", format!("sdk_{number}"))]), sent: BTreeMap::new() }
    }

    async fn step(&mut self, wired: &Wired, process: &mut Process, endpoint: &str, step: &Step, at: &str) {
        let parameters = self.filled(step.parameters);
        let writes = !step.action.starts_with("Describe");
        if writes && self.way.sign_method.starts_with("TC3") {
            self.wait_for_another_signature(&parameters).await;
        }
        let (secret_id, secret_key) = match step.by {
            By::Admin => (ADMIN_ID, wired.admin.clone()),
            By::Stranger => ("AKIDnobodyhasthisone", wired.admin.clone()),
            By::Impostor => (ADMIN_ID, format!("not{}", wired.admin)),
        };
        let answer = process
            .call(&json!({
                "endpoint": endpoint, "sign_method": self.way.sign_method, "http_method": self.way.http_method,
                "language": self.way.language, "secret_id": secret_id, "secret_key": secret_key,
                "action": step.action, "parameters": parameters,
            }))
            .await;
        self.sent.insert(parameters.to_string(), machine_time());
        note_secrets(&answer);
        self.judge(step, &answer, at);
        for (secret, code) in step.then {
            assert_eq!(wired.verified(json!({"secret": self.kept[secret]})).await, *code, "{secret}, {at}");
        }
    }

    /// The clients sign neither the action nor anything that differs within a second, and a write is done once by one
    /// signature (decision 16 of `docs/dialects/tencent.md`).
    async fn wait_for_another_signature(&self, parameters: &Value) {
        let Some(sent) = self.sent.get(&parameters.to_string()) else { return };
        let next = *sent + Duration::from_secs(1);
        tokio::time::sleep(next.saturating_sub(machine_time())).await;
    }

    fn filled(&self, text: &str) -> Value {
        let filled = self
            .kept
            .iter()
            .fold(text.to_owned(), |text, (name, kept)| text.replace(&format!("<{name}>"), kept));
        serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{filled}: {error}"))
    }

    fn judge(&mut self, step: &Step, answer: &Value, at: &str) {
        match step.comes_to {
            ComesTo::Result(expected) => {
                let expected = self.filled(expected);
                assert!(holds(&expected, &answer["result"]), "{at}: {answer} has not {expected}");
                assert_eq!(answer["request_id"].as_str().map(str::len), Some(36), "{at}: {answer}");
            }
            ComesTo::Code(code) => {
                assert_eq!(answer["error"]["code"], code, "{at}: {answer}");
                assert_eq!(answer["error"]["request_id"].as_str().map(str::len), Some(36), "{at}: {answer}");
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(
                    !message.is_empty() && message.is_ascii() == (self.way.language == "en-US"),
                    "{at}: {answer}"
                );
            }
        }
        for (name, field) in step.keeps {
            let value =
                answer["result"][field].as_str().unwrap_or_else(|| panic!("{at}: no {field} in {answer}"));
            self.kept.insert(name, value.to_owned());
        }
    }
}

/// Whether all that is expected is there; an object may have more members, a list no more items.
fn holds(expected: &Value, given: &Value) -> bool {
    match (expected, given) {
        (Value::Object(expected), Value::Object(given)) => {
            expected.iter().all(|(name, value)| given.get(name).is_some_and(|given| holds(value, given)))
        }
        (Value::Array(expected), Value::Array(given)) => {
            expected.len() == given.len()
                && expected.iter().zip(given).all(|(value, given)| holds(value, given))
        }
        _ => expected == given,
    }
}

fn note_secrets(answer: &Value) {
    let mut secrets = Vec::new();
    secrets_in(answer, &mut secrets);
    secrets.retain(|text| !text.starts_with('*'));
    secrets.into_iter().for_each(canary::note_secret);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_python_client_does_every_action_and_reads_every_refusal() {
    let Some(python) = python() else { return };
    works("Python", Process::start(&python, SDK, &[]), WAYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_international_python_client_does_every_action_and_reads_every_refusal() {
    let Some(python) = installed(PYTHON_INTL) else { return };
    works("international Python", Process::start(&python, SDK, &[]), WAYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_node_client_does_every_action_and_reads_every_refusal() {
    let Some(modules) = installed(NODE_MODULES) else { return };
    works("Node", Process::start("node".as_ref(), NODE, &[("NODE_PATH", &modules)]), WAYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_command_line_does_every_action_and_reads_every_refusal() {
    let Some(python) = installed(PYTHON_TCCLI) else { return };
    // It keeps a log there of all that it was called with.
    let home = tempfile::tempdir().unwrap();
    works("tccli", Process::start(&python, CLI, &[("HOME", home.path().as_os_str())]), WAY_OF_TCCLI).await;
}

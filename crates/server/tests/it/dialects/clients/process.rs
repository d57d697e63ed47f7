//! A driver of a vendor's client: a program that reads calls from its standard input and writes what they came to, a JSON
//! object a line each. The drivers are in the testkit.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit");
/// For one call, and for the start of a client on a machine with much to do.
const PATIENCE: Duration = Duration::from_mins(1);
/// The clients send even calls to this machine through a proxy, and what Python has compiled shall be kept.
const UNSET: &[&str] = &["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "PYTHONDONTWRITEBYTECODE"];

pub(super) struct Process {
    child: Child,
    calls: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    complaints: JoinHandle<String>,
}

impl Process {
    pub(super) fn start(program: &OsStr, driver: &str, environment: &[(&str, &OsStr)]) -> Self {
        let mut command = Command::new(program);
        command.arg(Path::new(DRIVERS).join(driver)).envs(environment.iter().copied());
        for name in UNSET {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let (calls, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let complaints = tokio::spawn(async move {
            let mut said = Vec::new();
            errors.read_to_end(&mut said).await.unwrap();
            String::from_utf8_lossy(&said).into_owned()
        });
        Self { child, calls, answers: BufReader::new(answers).lines(), complaints }
    }

    /// Has the client make a call.
    pub(super) async fn call(&mut self, call: &Value) -> Value {
        let line = format!("{call}\n");
        // A driver that has ended says below why.
        drop(self.calls.write_all(line.as_bytes()).await);
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        let Some(answer) = answer.expect("the client answers in time").unwrap() else {
            panic!("the driver ended: {}", (&mut self.complaints).await.unwrap());
        };
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"))
    }

    /// Lets the driver end, which it does when there are no more calls.
    pub(super) async fn end(self) {
        let Self { mut child, calls, complaints, .. } = self;
        drop(calls);
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("the driver ends").unwrap();
        assert!(status.success(), "{}", complaints.await.unwrap());
    }
}

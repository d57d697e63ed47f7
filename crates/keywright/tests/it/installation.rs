//! The program in a scratch folder: what it prints is read from files, and what it leaves is kept for the leak sweep.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keywright_testkit::canary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::api::Api;

/// How long a start, an end or a command may take before the test fails. The machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether something has happened.
const STEP: Duration = Duration::from_millis(4);

/// A scratch folder with a data directory in it.
pub(crate) struct Installation {
    folder: TempDir,
    data: PathBuf,
    runs: AtomicU32,
}

/// A server that runs. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, as it said.
    pub(crate) url: String,
    /// The root key, when it printed one.
    pub(crate) root_key: Option<String>,
    log: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it said in JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless it ended with this code and said all of these words on standard error.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word} is not in {self:?}");
        }
        self
    }
}

/// The program that is tried.
#[expect(clippy::disallowed_methods, reason = "the test command says which program to try")]
fn program() -> PathBuf {
    std::env::var_os("KEYWRIGHT_TEST_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_keywright")), PathBuf::from)
}

/// Says something to whoever looks at the output of a test.
#[expect(clippy::print_stdout, reason = "cargo shows it when the test fails")]
pub(crate) fn tell(text: &str) {
    println!("{text}");
}

/// Whether the tests may do what only root may.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Waits until there is something, and fails when that takes too long.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen in {PATIENCE:?}");
        sleep(STEP).await;
    }
}

impl Installation {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self { folder, data, runs: AtomicU32::new(0) }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A path in the scratch folder, beside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with arguments and nothing of the test's own environment, at work in the scratch folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&program(), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.env("KEYWRIGHT_DATA_DIR", &self.data);
        command
    }

    /// `keywright serve` on a free port, with everything logged.
    pub(crate) fn serve_command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        self.serve_by(&program(), arguments, environment)
    }

    /// The same by a copy of the program that every user can reach.
    pub(crate) fn serve_by_copy(&self) -> Command {
        let copy = self.path("keywright");
        std::fs::copy(program(), &copy).unwrap();
        self.serve_by(&copy, &[], &[])
    }

    fn serve_by(&self, program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = self.command_of(program, &["serve"]);
        command.args(arguments).env("KEYWRIGHT_LISTEN", "127.0.0.1:0").env("KEYWRIGHT_LOG", "trace");
        command.envs(environment.iter().copied());
        command
    }

    /// The same within limits of the operating system, which `ulimit` sets.
    pub(crate) fn serve_within(&self, limits: &str) -> Command {
        let script = format!("trap '' XFSZ; {limits}; exec \"$0\" serve");
        let mut command = self.command_of(Path::new("/bin/bash"), &["-c", &script]);
        command.arg(program()).env("KEYWRIGHT_LISTEN", "127.0.0.1:0").env("KEYWRIGHT_LOG", "debug");
        command
    }

    /// Starts a server, which must come up.
    pub(crate) async fn start(&self) -> Server {
        self.start_with(self.serve_command(&[], &[])).await
    }

    /// Starts a server, which must come up.
    pub(crate) async fn start_with(&self, command: Command) -> Server {
        match self.try_start(command).await {
            Ok(server) => server,
            Err(refused) => panic!("the server did not start: {refused:?}"),
        }
    }

    /// Starts a server, which must refuse; what it says is kept for the sweep.
    pub(crate) async fn refused(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        match self.try_start(self.serve_command(arguments, environment)).await {
            Ok(server) => panic!("a server started on {}", server.url),
            Err(refused) => refused,
        }
    }

    /// Starts a server, which may refuse.
    pub(crate) async fn start_or_refuse(&self) -> Result<Server, Ran> {
        self.try_start(self.serve_command(&[], &[])).await
    }

    async fn try_start(&self, mut command: Command) -> Result<Server, Ran> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let (out, log) = (self.path(&format!("out.{run}")), self.path(&format!("log.{run}")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        // From here on it is killed with whatever goes wrong.
        let child = command.spawn().unwrap();
        let mut server = Server { child, url: String::new(), root_key: None, log };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let came = eventually("a start", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                return Some(Err(Ran { code: status.code(), out: read(&out), err: read(&server.log) }));
            }
            let said = read(&out);
            let url = said.lines().find_map(|line| line.strip_prefix("listening on "));
            // The line's end shows that the line is whole.
            url.filter(|_| said.ends_with('\n')).map(|url| Ok((url.to_owned(), said.clone())))
        });
        let (url, said) = came.await.inspect_err(|ran| note(&ran.out))?;
        note(&said);
        server.root_key = said.lines().find_map(|line| line.strip_prefix("root key: ")).map(str::to_owned);
        server.url = url;
        Ok(server)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(self.command(arguments), "").await
    }

    /// Runs a command to its end, with something on its standard input.
    pub(crate) async fn run_with(&self, command: Command, input: &str) -> Ran {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who does not read its input has ended already, and its code tells why.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("a command ends").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        note(&ran.out);
        canary::keep_text(&ran.err, "errors.txt");
        ran
    }

    /// `audit verify`, which must find nothing.
    pub(crate) async fn audit_is_clean(&self) -> Value {
        let report = self.run(&["audit", "verify", "--json"]).await.expect(0, &[]).json();
        assert_eq!(report["ok"], true, "{report}");
        report
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let name = self.folder.path().file_name().unwrap().to_string_lossy().into_owned();
        canary::keep(&self.data, &format!("{name}-data"));
        for run in 0..self.runs.load(Ordering::Relaxed) {
            canary::keep(&self.path(&format!("log.{run}")), &format!("{name}-log-{run}"));
        }
    }
}

/// Notes whatever looks like a secret in what was printed or answered.
pub(crate) fn note(text: &str) {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("kw") && word.len() > 30).for_each(canary::note_secret);
}

impl Server {
    /// Calls it with a key.
    pub(crate) fn api(&self, key: &str) -> Api {
        Api::new(&self.url, key)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Has it stand still, and waits until it does: the signal reaches one thread after another.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let stands_still = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in parentheses and may hold anything.
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        eventually("a stop", || std::fs::read_dir(&tasks).unwrap().all(stands_still).then_some(())).await;
    }

    /// Has it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`, and no more than that.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.ended().await;
        assert_eq!(status.code(), None, "it was killed: {status:?}");
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// How it ended, in a bounded time.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("an end", || self.child.try_wait().unwrap()).await
    }

    /// Ends it as a supervisor does, after its metrics were kept.
    pub(crate) async fn stop(mut self) {
        Api::new(&self.url, "").keep_metrics().await;
        self.terminate();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

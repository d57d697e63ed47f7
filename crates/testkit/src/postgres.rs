//! A PostgreSQL server of the tests' own: made in a scratch folder, on a port of its own, with fsync on. It can be stopped,
//! killed and started again, and gives each test a database that belongs to a role without any other right.
//!
//! It ends with the process that started it, however that ends: a small shell watches a pipe that only this process
//! holds open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Where PostgreSQL's programs are. Set by `cargo xtask test`, after which a test that finds none fails.
pub const BIN_VARIABLE: &str = "KEYWRIGHT_TEST_POSTGRES";

/// Where Debian keeps them.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The oldest that is good enough.
const VERSION_MIN: u32 = 15;
/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Owns the databases; may do nothing else.
const OWNER: &str = "keywright";
/// May do everything.
const ADMIN: &str = "postgres";

/// Ends the server and removes its folder when the pipe closes.
const WATCH: &str = r#"
read -r _
if [ -f "$1/data/postmaster.pid" ]; then
    pid=$(head -n 1 "$1/data/postmaster.pid")
    kill -QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
fi
rm -rf "$1"
"#;

/// A server of its own.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    running: Mutex<Option<Child>>,
    databases: AtomicU32,
    watch: Child,
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// How its owner reaches it.
    pub url: String,
    /// How the superuser does.
    pub admin_url: String,
}

/// A session of the superuser that stays open, with its transaction and its locks, until it is dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The server that all tests of a process share; `None` after saying loudly that they do not run.
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[])).as_ref()
}

/// Where the programs are; `None` after saying loudly that tests do not run.
fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(BIN_VARIABLE).map(PathBuf::from) {
        let there = named.join("initdb").exists();
        assert!(there, "{BIN_VARIABLE} is {}, where PostgreSQL is not", named.display());
        return Some(named);
    }
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= VERSION_MIN)
        .max();
    let found = newest.map(|version| Path::new(DEBIAN).join(version.to_string()).join("bin"));
    if found.is_none() {
        eprintln!(
            "NOT RUN: no PostgreSQL {VERSION_MIN} or newer below {DEBIAN}; set {BIN_VARIABLE} to its programs"
        );
    }
    found
}

impl Server {
    /// Makes a cluster and starts it with these settings beside the tests' own, such as `max_connections=500`.
    pub fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(settings, &[])
    }

    /// The same, speaking TLS with a certificate and its key, in PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let settings = ["ssl=on", "ssl_cert_file=../tls.crt", "ssl_key_file=../tls.key"];
        Self::start_with(&settings, &[("tls.crt", certificate), ("tls.key", key)])
    }

    /// `files` lie in the folder above its data, for its own user only.
    fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let bin = programs()?;
        let folder = TempDir::with_prefix("keywright-postgres-").expect("a scratch folder").keep();
        let watch = Command::new("sh")
            .args(["-c", WATCH, "watch"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the watching shell starts");
        let port = free_port();
        let settings = settings.iter().map(|one| (*one).to_owned()).collect();
        let server = Self {
            bin,
            folder,
            port,
            settings,
            running: Mutex::default(),
            databases: AtomicU32::new(0),
            watch,
        };
        server.make_cluster();
        for (name, text) in files {
            server.private_file(name, text);
        }
        server.run();
        server.sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN"));
        Some(server)
    }

    fn make_cluster(&self) {
        if nix::unistd::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(&self.folder));
        }
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(self.data());
        initdb.args(["-U", ADMIN, "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        run(&mut initdb);
    }

    fn private_file(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.as_mut().expect("a file is made").write_all(text.as_bytes()).expect("it is written");
        if nix::unistd::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(&path));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of PostgreSQL's programs, as a user that it agrees to run as.
    fn program(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        if !nix::unistd::geteuid().is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
        command.current_dir("/");
        command
    }

    /// Starts it, after [`Self::stop`] or [`Self::kill`] too, and waits until it lets people in.
    pub fn run(&self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("the log opens");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        let own =
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "fsync=on"];
        let port = format!("port={}", self.port);
        for setting in own.into_iter().chain([port.as_str()]).chain(self.settings.iter().map(String::as_str))
        {
            command.arg("-c").arg(setting);
        }
        let copy = log.try_clone().expect("the log opens twice");
        let child = command.stdin(Stdio::null()).stdout(copy).stderr(log).process_group(0).spawn();
        let before = self.lock().replace(child.expect("postgres starts"));
        assert!(before.is_none(), "it was running already");
        self.wait(Self::answers);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> bool {
        let mut ready = Command::new(self.bin.join("pg_isready"));
        let port = self.port.to_string();
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", ADMIN, "-d", "postgres"]);
        ready.status().is_ok_and(|status| status.success())
    }

    fn wait(&self, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL takes too long:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shuts it down as an operator would, breaking off what is under way.
    pub fn stop(&self) {
        let mut child = self.lock().take().expect("it runs");
        signal(child.id(), Signal::SIGINT);
        child.wait().expect("it ends");
    }

    /// Kills it and all of its processes at once, as a crash would.
    pub fn kill(&self) {
        let mut child = self.lock().take().expect("it runs");
        let children = children_of(child.id());
        signal(child.id(), Signal::SIGKILL);
        for one in &children {
            signal(*one, Signal::SIGKILL);
        }
        child.wait().expect("it ends");
        // What is left of it holds its shared memory.
        self.wait(|_| children.iter().all(|one| !Path::new(&format!("/proc/{one}")).exists()));
    }

    /// A new database that belongs to a role without other rights.
    pub fn database(&self) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNER}"));
        self.named(&name)
    }

    /// A database with what another one holds, once nobody is connected to that.
    pub fn copy(&self, of: &Database) -> Database {
        let connected = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", of.name);
        self.wait(|server| server.sql("postgres", &connected) == "0");
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {} OWNER {OWNER}", of.name));
        self.named(&name)
    }

    /// A database that somebody else makes.
    pub fn named(&self, name: &str) -> Database {
        let url = |role: &str| format!("postgres://{role}@127.0.0.1:{}/{name}", self.port);
        Database { name: name.to_owned(), url: url(OWNER), admin_url: url(ADMIN) }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in a database as the superuser, each statement by itself, and gives what it printed, unaligned.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        run(self.psql(database).args(["-c", sql]))
    }

    /// Runs SQL in a session that stays open: `BEGIN; LOCK TABLE …` holds the lock until the session is dropped.
    pub fn session(&self, database: &str, sql: &str) -> Session {
        let mut child =
            self.psql(database).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql starts");
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("its pipes are there");
        };
        writeln!(stdin, "{sql};\n\\echo ready").expect("psql reads");
        let mut said = BufReader::new(stdout).lines().map_while(Result::ok);
        assert!(said.any(|line| line == "ready"), "{sql}: psql ended");
        // psql ends with its input.
        child.stdin = Some(stdin);
        Session { child }
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p"]);
        psql.arg(self.port.to_string()).args(["-U", ADMIN, "-d", database]);
        psql
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().take() {
            signal(child.id(), Signal::SIGQUIT);
            let _ended = child.wait();
        }
        drop(self.watch.stdin.take());
        let _ended = self.watch.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process number");
    // It may have gone by itself.
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// The processes that a process has started.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        behind_name.split(' ').nth(1) == Some(parent.to_string().as_str())
    };
    numbers.filter(is_child).collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_comes_back_after_a_kill_with_what_was_committed() {
        let Some(server) = Server::start(&[]) else { return };
        let database = server.database();
        server.sql(&database.name, "CREATE TABLE kept (n int)");
        server.sql(&database.name, "INSERT INTO kept VALUES (7)");
        server.kill();
        assert!(!server.answers());
        server.run();
        assert_eq!(server.sql(&database.name, "SELECT n FROM kept"), "7");
        server.stop();
        assert!(!server.answers());
        let folder = server.folder.clone();
        drop(server);
        assert!(!folder.exists(), "the watch removes the folder");
    }
}

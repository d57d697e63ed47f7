//! A PostgreSQL server in a scratch folder: made, started, killed with all its processes, copied, promoted.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::process::{self, Account};

/// Where Debian keeps each major version's programs.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
const USER: &str = "keywright";
/// How long a start may take, with the recovery after a kill.
const START_MAX: Duration = Duration::from_mins(1);

/// As many bytes as a key's row, and as its audit and feed entries.
const BENCH_TABLES: &str = "CREATE TABLE IF NOT EXISTS bench_row (id bigint PRIMARY KEY, body text NOT NULL); \
     CREATE TABLE IF NOT EXISTS bench_log (body text NOT NULL)";
/// One commit: one statement, as short a way as there is.
const BENCH_SCRIPT: &str = "WITH row AS (INSERT INTO bench_row VALUES (:client_id, repeat('x', 500)) \
     ON CONFLICT (id) DO UPDATE SET body = excluded.body) INSERT INTO bench_log VALUES (repeat('y', 1500));\n";

/// One server. It listens on loopback only and trusts whoever comes.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    account: Account,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Postgres {
    /// Makes an empty one below `scratch`.
    pub(crate) async fn make(scratch: &Path, name: &str) -> anyhow::Result<Self> {
        let this = Self::new(scratch, name)?;
        let mut initdb = this.program("initdb");
        initdb.args([
            "--username",
            USER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        process::output_of(initdb.arg("--pgdata").arg(&this.data)).await?;
        Ok(this)
    }

    fn new(scratch: &Path, name: &str) -> anyhow::Result<Self> {
        let account = account()?;
        let data = scratch.join(name);
        fs::DirBuilder::new().mode(0o700).create(&data).context("the database's folder could not be made")?;
        if let Account::Named(user) = account {
            let (uid, gid) = (id_of(user, "-u")?, id_of(user, "-g")?);
            chown(&data, Some(uid), Some(gid)).context("the database's folder could not be given away")?;
        }
        let port = free_port()?;
        let log = scratch.join(format!("{name}.log"));
        Ok(Self { programs: programs()?, account, data, log, port, child: Mutex::default() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where a node connects to, through the proxy at `address`.
    pub(super) fn url(address: SocketAddr) -> String {
        format!("postgres://{USER}@{address}/postgres?sslmode=disable")
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"] {
            command.args(["-c", setting]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        let mut running = self.child.lock().await;
        let mut child = command.spawn().context("PostgreSQL could not be started")?;
        let answered = tokio::time::timeout(START_MAX, self.wait_for_answer(&mut child)).await;
        *running = Some(child);
        answered.context("PostgreSQL did not answer in time").flatten().with_context(|| self.last_words())
    }

    async fn wait_for_answer(&self, child: &mut Child) -> anyhow::Result<()> {
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended: {status}");
            }
            let mut asked = self.program("pg_isready");
            asked.args(["--quiet", "--host=127.0.0.1", "--port", &self.port.to_string()]);
            if asked.status().await.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9` of every process of it at once: what was not made durable is lost.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        if let Some(postmaster) = child.id() {
            // Held first, so that it can neither start more nor tidy up.
            process::signal(postmaster, Signal::SIGSTOP);
            let children = process::children(postmaster);
            process::signal(postmaster, Signal::SIGKILL);
            for child in &children {
                process::signal(*child, Signal::SIGKILL);
            }
            child.wait().await?;
            // The next start refuses while a process of this one still has its memory.
            while children.iter().any(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Whether it was started and not killed.
    pub(crate) async fn is_running(&self) -> bool {
        self.child.lock().await.is_some()
    }

    /// Stops all its processes where they are, or lets them go on: a machine that hangs.
    pub(crate) async fn freeze(&self, signal: Signal) {
        let running = self.child.lock().await;
        if let Some(postmaster) = running.as_ref().and_then(Child::id) {
            process::signal(postmaster, signal);
            for child in process::children(postmaster) {
                process::signal(child, signal);
            }
        }
    }

    /// Runs a statement and returns what it gives, unaligned.
    pub(crate) async fn query(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = self.program("psql");
        psql.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--host=127.0.0.1",
        ]);
        psql.args(["--port", &self.port.to_string(), "--username", USER, "--command", statement, "postgres"]);
        process::output_of(&mut psql).await.map(|text| text.trim().to_owned())
    }

    /// Runs a statement whose answer nobody reads.
    pub(crate) async fn run_to_nowhere(&self, statement: &str) -> anyhow::Result<()> {
        let mut psql = self.program("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--output=/dev/null",
            "--host=127.0.0.1",
        ]);
        psql.args(["--port", &self.port.to_string(), "--username", USER, "--command", statement, "postgres"]);
        process::output_of(&mut psql).await.map(drop)
    }

    /// Bare commits of a row and a log entry, by `pgbench`: how many a second, and the milliseconds of each.
    pub(super) async fn bench(
        &self,
        scratch: &Path,
        clients: usize,
        time: Duration,
    ) -> anyhow::Result<(f64, Vec<f64>)> {
        self.query(BENCH_TABLES).await?;
        let (script, log) = (scratch.join("bench.sql"), scratch.join("bench"));
        fs::write(&script, BENCH_SCRIPT)?;
        let mut pgbench = process::command(&Account::Own, self.programs.join("pgbench"));
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--log", "--host=127.0.0.1", "--username", USER]);
        pgbench.args(["--port", &self.port.to_string(), "--client", &clients.to_string()]);
        pgbench.args(["--time", &time.as_secs().max(1).to_string()]);
        pgbench.arg(format!("--log-prefix={}", log.display())).arg("--file").arg(&script).arg("postgres");
        let told = process::output_of(pgbench.current_dir(scratch).env("LC_ALL", "C.UTF-8")).await?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let mut took_ms = Vec::new();
        for entry in fs::read_dir(scratch)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("bench.") && entry.path() != script {
                let log = fs::read_to_string(entry.path())?;
                // A line's third word is microseconds.
                let took = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok());
                took_ms.extend(took.map(|us| us / 1_000.0));
                fs::remove_file(entry.path())?;
            }
        }
        Ok((tps.context("pgbench named no rate")?, took_ms))
    }

    /// Everything in it as text.
    pub(super) async fn dump(&self) -> anyhow::Result<String> {
        let mut dump = self.program("pg_dump");
        dump.args(["--host=127.0.0.1", "--port", &self.port.to_string(), "--username", USER, "postgres"]);
        process::output_of(&mut dump).await
    }

    /// A standby of this one in a folder of that name, which tells it what it is called. It follows once it is started.
    pub(crate) async fn standby(&self, scratch: &Path, folder: &str, called: &str) -> anyhow::Result<Self> {
        let standby = Self::new(scratch, folder)?;
        let from = format!("host=127.0.0.1 port={} user={USER} application_name={called}", self.port);
        let mut copy = self.program("pg_basebackup");
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]);
        process::output_of(copy.arg("--dbname").arg(from).arg("--pgdata").arg(&standby.data)).await?;
        Ok(standby)
    }

    /// Makes a standby the primary.
    pub(crate) async fn promote(&self) -> anyhow::Result<()> {
        let mut promote = self.program("pg_ctl");
        process::output_of(promote.args(["promote", "--wait", "--pgdata"]).arg(&self.data)).await.map(drop)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = process::command(&self.account, self.programs.join(name));
        // Where everybody may be: PostgreSQL's user may not enter the folder that xtask runs in.
        command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C.UTF-8");
        command
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().rev().take(10).rev().copied().collect::<Vec<_>>().join("\n")
    }
}

/// `PostgreSQL` refuses to run as root; Debian's package brings a user for it.
fn account() -> anyhow::Result<Account> {
    let root = fs::metadata("/proc/self").context("no /proc")?.uid() == 0;
    Ok(if root { Account::Named("postgres") } else { Account::Own })
}

fn id_of(user: &str, which: &str) -> anyhow::Result<u32> {
    let text = crate::process::output_of(crate::process::command(Path::new("/"), "id").args([which, user]))?;
    String::from_utf8_lossy(&text).trim().parse().context("`id` did not answer with a number")
}

/// The newest version that Debian has installed.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN_ROOT).context("PostgreSQL is not installed: `cargo xtask tools`")?;
    let newest = versions
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .max();
    newest.map(|(_, bin)| bin).context("PostgreSQL's server is not installed: `cargo xtask tools`")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Scratch;

    #[tokio::test]
    async fn a_killed_database_keeps_what_was_committed_and_its_standby_takes_over() {
        let scratch = Scratch::new(None).unwrap();
        let primary = Postgres::make(scratch.path(), "one").await.unwrap();
        primary.start().await.unwrap();
        primary.query("CREATE TABLE written AS SELECT 1 AS at").await.unwrap();
        primary.kill().await.unwrap();
        assert!(primary.query("SELECT 1").await.is_err() && !primary.is_running().await);
        primary.start().await.unwrap();
        let standby = primary.standby(scratch.path(), "two", "follower").await.unwrap();
        standby.start().await.unwrap();
        primary.query("ALTER SYSTEM SET synchronous_standby_names = 'follower'").await.unwrap();
        primary.query("SELECT pg_reload_conf()").await.unwrap();
        primary.query("SET synchronous_commit = remote_apply; INSERT INTO written VALUES (2)").await.unwrap();
        primary.freeze(Signal::SIGSTOP).await;
        standby.promote().await.unwrap();
        assert_eq!(standby.query("SELECT sum(at) FROM written").await.unwrap(), "3");
        standby.query("INSERT INTO written VALUES (3)").await.unwrap();
        assert!(standby.dump().await.unwrap().contains("written"));
        primary.kill().await.unwrap();
        standby.kill().await.unwrap();
    }
}

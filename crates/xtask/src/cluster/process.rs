//! Processes that die with this one, and signals to them.
//!
//! `setpriv` (util-linux) asks the kernel for it before it becomes the program, so that nothing unsafe runs here.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// Who runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Whoever runs xtask.
    Own,
    /// The system's user of that name: `PostgreSQL` refuses root.
    Named(&'static str),
}

/// The program as `account`, killed when this process ends in whatever way.
pub(super) fn command(account: &Account, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Account::Named(user) = account {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.arg("--").arg(program).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end and returns what it printed.
pub(super) async fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await.context("setpriv could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words =
        || format!("{:?} failed: {}", command.as_std(), String::from_utf8_lossy(&output.stderr).trim());
    output.status.success().then_some(text).with_context(words)
}

/// Sends a signal; a process that is gone already is as good as told.
pub(super) fn signal(pid: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(pid) else { return };
    let _ = kill(Pid::from_raw(pid), signal);
}

/// The processes that `parent` has started and that still run.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in brackets, may hold anything; the state and the parent come after it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_is_found_and_killed() {
        let mut child = command(&Account::Own, "sleep").arg("60").spawn().unwrap();
        let pid = child.id().unwrap();
        assert!(children(std::process::id()).contains(&pid));
        signal(pid, Signal::SIGKILL);
        assert!(!child.wait().await.unwrap().success());
        assert!(!children(std::process::id()).contains(&pid));
    }

    #[tokio::test]
    async fn a_failure_says_what_was_run_and_why_it_failed() {
        let error =
            output_of(command(&Account::Own, "ls").arg("no-such-file")).await.unwrap_err().to_string();
        assert!(error.contains("no-such-file") && error.contains("failed"), "{error}");
    }
}

//! `cargo xtask test`: installs what the tests need, then runs them all.
//!
//! A bare Debian 12 with Rust is enough. Plain `cargo test`, so that nothing else must be installed first.

mod clients;
mod debian;
mod node;
mod postgres;
mod python;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::Outcome;
use crate::canary;
use crate::fuzz;
use crate::out::say;
use crate::process::{command, minutes, succeeds, timed};
use crate::workspace::Workspace;

/// The built server, for tests that start real processes.
const BIN_VARIABLE: &str = "KEYWRIGHT_TEST_BIN";
/// PostgreSQL's programs. With it set, a test that finds no PostgreSQL fails.
const POSTGRES_VARIABLE: &str = "KEYWRIGHT_TEST_POSTGRES";
/// A variable of the tests' environment and its value.
type Variable = (&'static str, PathBuf);

struct Step {
    name: &'static str,
    command: &'static [&'static str],
    on_failure: OnFailure,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum OnFailure {
    /// What comes after would only fail for the same reason.
    Stop,
    /// Each step after it still tells something of its own.
    GoOn,
}

/// Real processes while everything goes wrong. Each shows something of its own.
const fn chaos(name: &'static str, command: &'static [&'static str]) -> Step {
    Step { name, command, on_failure: OnFailure::GoOn }
}

/// What the test command runs, in this order, once the tools are there. A new step is one line.
///
/// The build takes `--tests` along so that cargo picks the same features for both and builds nothing twice.
const STEPS: &[Step] = &[
    Step {
        name: "build",
        command: &["cargo", "build", "--workspace", "--locked", "--bins", "--tests"],
        on_failure: OnFailure::Stop,
    },
    Step {
        name: "tests",
        command: &["cargo", "test", "--workspace", "--locked", "--no-fail-fast"],
        on_failure: OnFailure::GoOn,
    },
    Step { name: "fuzz", command: &["cargo", "xtask", "fuzz"], on_failure: OnFailure::GoOn },
    chaos("chaos", &["cargo", "xtask", "chaos", "--seconds", "60", "--nodes", "4"]),
    chaos(
        "chaos, control",
        &["cargo", "xtask", "chaos", "--control", "--seconds", "25", "--nodes", "3", "--followers", "2"],
    ),
    chaos(
        "database kills",
        &["cargo", "xtask", "chaos", "--scenario", "database-kill", "--rounds", "25", "--nodes", "3"],
    ),
    chaos(
        "database away",
        &[
            "cargo",
            "xtask",
            "chaos",
            "--scenario",
            "database-away",
            "--seconds",
            "120",
            "--max-staleness-ms",
            "60000",
            "--nodes",
            "3",
        ],
    ),
    chaos(
        "switchover",
        &["cargo", "xtask", "chaos", "--scenario", "switchover", "--rounds", "2", "--nodes", "3"],
    ),
    Step { name: "canary sweep", command: &["cargo", "xtask", "canary"], on_failure: OnFailure::GoOn },
];

/// How a step ended.
struct Report {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Where a run keeps the secrets that it issued and what the servers left behind.
pub(crate) fn canary_dir(workspace: &Workspace) -> PathBuf {
    workspace.target.join("canary")
}

/// Installs and runs everything.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<Outcome> {
    empty_canary_dir(workspace)?;
    let (tools, took) = timed(|| install(workspace));
    let environment = environment(workspace, tools?)?;
    let mut reports = vec![Report { name: "tools", outcome: Outcome::Passed, took }];
    for step in STEPS {
        say(format_args!("\n== {}: {}", step.name, step.command.join(" ")));
        let (passed, took) = timed(|| run_step(workspace, step, &environment));
        let outcome = if passed? { Outcome::Passed } else { Outcome::Failed };
        reports.push(Report { name: step.name, outcome, took });
        if outcome == Outcome::Failed && step.on_failure == OnFailure::Stop {
            break;
        }
    }
    say("\n== minutes of each step");
    for report in &reports {
        say(line(report));
    }
    Ok(overall(&reports))
}

/// Installs what the tests need and prints the environment in which `cargo test` finds it.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let clients = install(workspace)?;
    say("For `cargo test` without xtask, after `cargo build --workspace`:");
    for (name, value) in environment(workspace, clients)? {
        say(format_args!("export {name}='{}'", value.display()));
    }
    Ok(Outcome::Passed)
}

/// Installs all, and says where the vendors' own clients are.
fn install(workspace: &Workspace) -> anyhow::Result<Vec<Variable>> {
    say("== tools");
    debian::install(&workspace.root)?;
    fuzz::install(workspace)?;
    clients::install(workspace)
}

fn environment(workspace: &Workspace, clients: Vec<Variable>) -> anyhow::Result<Vec<Variable>> {
    let mut environment = vec![
        (BIN_VARIABLE, workspace.target.join("debug").join("keywright")),
        (POSTGRES_VARIABLE, postgres::programs(&workspace.root)?),
        (canary::DIR_VARIABLE, canary_dir(workspace)),
    ];
    environment.extend(clients);
    Ok(environment)
}

fn run_step(workspace: &Workspace, step: &Step, environment: &[Variable]) -> anyhow::Result<bool> {
    let (program, arguments) = step.command.split_first().context("a step without a command")?;
    let mut command: Command = command(&workspace.root, program);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (*name, value)));
    succeeds(&mut command)
}

/// A run must not find the secrets of the one before, nor miss its own among them.
fn empty_canary_dir(workspace: &Workspace) -> anyhow::Result<()> {
    let dir = canary_dir(workspace);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("{} could not be emptied", dir.display()))?;
    }
    std::fs::create_dir_all(dir.join(canary::ARTIFACTS)).context("the canary folder could not be made")
}

fn line(report: &Report) -> String {
    let outcome = match report.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
    };
    format!("{:<14} {:>9}  {outcome}", report.name, minutes(report.took))
}

fn overall(reports: &[Report]) -> Outcome {
    let failed = reports.iter().any(|report| report.outcome == Outcome::Failed);
    if failed { Outcome::Failed } else { Outcome::Passed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run() {
        let report = |outcome| Report { name: "tests", outcome, took: Duration::from_mins(1) };
        assert_eq!(overall(&[report(Outcome::Passed), report(Outcome::Passed)]), Outcome::Passed);
        assert_eq!(overall(&[report(Outcome::Failed), report(Outcome::Passed)]), Outcome::Failed);
        assert_eq!(line(&report(Outcome::Failed)), "tests            1.0 min  FAILED");
    }

    #[test]
    fn every_step_has_a_name_and_a_command() {
        for step in STEPS {
            assert!(!step.name.is_empty() && !step.command.is_empty());
        }
    }
}

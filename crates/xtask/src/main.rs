//! Everything a developer runs: `cargo xtask test`, `tidy`, `tools`, `fuzz`, `chaos`, `canary`.
//!
//! It must not know the inside of the service: it starts cargo, Debian's, Python's and Node's tools and the built binary, and
//! reads files. One module a subcommand; a new one is a line in `Command`, a line in `main` and a file.

mod canary;
mod chaos;
mod cluster;
mod fuzz;
mod measure;
mod out;
mod process;
mod test;
mod tidy;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Everything a developer of Keywright runs.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need, then run every test; prints the minutes each step took
    Test,
    /// Check the crate arrows, file sizes, migrations, the map and the house rules
    Tidy {
        /// Rewrite crates/store/migrations/HASHES from the files that are there
        #[arg(long)]
        bless: bool,
    },
    /// Install what the tests need and print the environment that `cargo test` alone wants
    Tools,
    /// Drive every reader of what strangers send with a fuzzer
    Fuzz {
        /// For how long each
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Try a cluster of real processes while everything goes wrong; prints one line of JSON
    Chaos {
        #[command(flatten)]
        arguments: chaos::Arguments,
        /// Where the leak sweep looks for what the processes left behind
        #[arg(long, env = canary::DIR_VARIABLE)]
        canary_dir: Option<PathBuf>,
    },
    /// Measure what a cluster costs against something bare; prints one line of JSON
    Measure {
        #[command(flatten)]
        arguments: measure::Arguments,
    },
    /// Search what a test run left behind for every secret it issued
    Canary {
        /// The folder with `secrets` and `artifacts/`
        #[arg(long, env = canary::DIR_VARIABLE)]
        dir: Option<PathBuf>,
    },
}

/// Whether a subcommand found everything in order. What it could not even try is an error instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Passed,
    Failed,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            out::complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    match command {
        Command::Test => test::run(&workspace),
        Command::Tidy { bless: true } => tidy::bless(&workspace),
        Command::Tidy { bless: false } => tidy::run(&workspace),
        Command::Tools => test::prepare(&workspace),
        Command::Fuzz { seconds } => fuzz::run(&workspace, seconds),
        Command::Chaos { arguments, canary_dir } => chaos::run(&workspace, &arguments, canary_dir),
        Command::Measure { arguments } => measure::run(&workspace, &arguments),
        Command::Canary { dir } => canary::run(&dir.unwrap_or_else(|| test::canary_dir(&workspace))),
    }
}

//! `cargo xtask fuzz`: drives every reader of what strangers send with libFuzzer, from the seeds in `fuzz/seeds`.
//!
//! cargo-fuzz builds one binary with coverage and without a sanitizer, so that stable Rust is enough: what is looked for are
//! panics, and no code of ours below these readers is `unsafe`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::Outcome;
use crate::out::say;
use crate::process::{command, must_succeed, says_yes};
use crate::workspace::Workspace;

/// The version that is known to build here.
const VERSION: &str = "0.13.2";
/// The binary in `fuzz/`.
const BINARY: &str = "readers";
/// How long one input may take, and how much memory, before that counts as a failure.
const BOUNDS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=1024"];

/// Installs cargo-fuzz below `target/`, unless this version is there.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let tools = tools(workspace);
    let program = tools.join("bin").join("cargo-fuzz");
    let stamp = tools.join(format!("cargo-fuzz-{VERSION}"));
    if stamp.exists() && says_yes(command(&workspace.root, &program).arg("--version")) {
        return Ok(());
    }
    say(format_args!("installing cargo-fuzz {VERSION}"));
    let mut install = command(&workspace.root, "cargo");
    install
        .args(["install", "--quiet", "--locked", "--version", VERSION, "cargo-fuzz", "--root"])
        .arg(&tools);
    must_succeed(&mut install)?;
    std::fs::write(&stamp, "").context("the note of what is installed could not be written")
}

/// Builds, and gives each reader so many seconds. One that panics does not keep the others from running.
pub(crate) fn run(workspace: &Workspace, seconds: u32) -> anyhow::Result<Outcome> {
    install(workspace)?;
    let target = workspace.target.join("fuzz");
    let mut build = command(&workspace.root, tools(workspace).join("bin").join("cargo-fuzz"));
    build.args(["fuzz", "build", "--sanitizer", "none", "--target-dir"]).arg(&target).arg(BINARY);
    must_succeed(&mut build)?;
    let mut outcome = Outcome::Passed;
    for reader in readers(workspace)? {
        let corpus = target.join("corpus").join(&reader);
        std::fs::create_dir_all(&corpus).context("no folder for what the fuzzer finds")?;
        let mut fuzz = command(&workspace.root, binary(workspace)?);
        // What it finds goes into the first folder; the seeds stay as they are.
        fuzz.env("KEYWRIGHT_FUZZ", &reader).arg(&corpus).arg(seeds(workspace).join(&reader));
        fuzz.arg(format!("-max_total_time={seconds}"));
        fuzz.arg(format!("-artifact_prefix={}", target.join(format!("{reader}-")).display()));
        let output = fuzz.args(BOUNDS).output().context("the fuzzer could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            say(format_args!(
                "{reader:<14} {}",
                said.lines().find(|line| line.contains("DONE")).unwrap_or("done")
            ));
        } else {
            say(format_args!("{reader:<14} FAILED\n{said}"));
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn seeds(workspace: &Workspace) -> PathBuf {
    workspace.root.join("fuzz").join("seeds")
}

/// The readers: one folder of seeds each.
fn readers(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(seeds(workspace)).context("fuzz/seeds cannot be read")?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        bail!("fuzz/seeds is empty");
    }
    Ok(names)
}

/// Where cargo-fuzz has put the binary: below the name of the machine's own target.
fn binary(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folders = std::fs::read_dir(workspace.target.join("fuzz")).context("nothing was built")?;
    let built = folders.flatten().map(|folder| folder.path().join("release").join(BINARY));
    built.into_iter().find(|path| path.is_file()).context("cargo-fuzz has built no binary")
}

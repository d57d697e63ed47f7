//! Pythons of the tests' own, each with the packages of a list in which every version is pinned.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::clients::stamp;
use crate::out::say;
use crate::process::{command, must_succeed, output_of, says_yes};
use crate::workspace::Workspace;

/// In the venv: what it was made from.
const STAMP: &str = "keywright-stamp";

pub(super) struct Venv {
    /// In which the tests find its python.
    pub(super) variable: &'static str,
    pub(super) folder: &'static str,
    /// From the repository's root.
    pub(super) requirements: &'static str,
}

/// Makes the venv unless one made from the same requirements by the same Python is there; returns its python.
pub(super) fn install(workspace: &Workspace, wanted: &Venv) -> anyhow::Result<PathBuf> {
    let root = &workspace.root;
    let requirements = std::fs::read(root.join(wanted.requirements))
        .with_context(|| format!("{} is missing", wanted.requirements))?;
    let version = output_of(command(root, "python3").arg("--version"))?;
    let stamp = stamp(&[&version, &requirements]);
    let venv = workspace.target.join("test-tools").join(wanted.folder);
    let python = venv.join("bin").join("python");
    if is_current(root, &venv, &python, &stamp) {
        say(format_args!("Python packages in {}: all there", wanted.folder));
        return Ok(python);
    }
    say(format_args!(
        "installing Python packages into {}: {}",
        wanted.folder,
        packages(&requirements).join(", ")
    ));
    must_succeed(command(root, "python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = command(root, &python);
    // Most of what the vendors' packages have is never loaded: what is gets compiled then.
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
    ]);
    must_succeed(pip.args(["--no-deps", "--requirement", wanted.requirements]))?;
    must_succeed(command(root, &python).args(["-m", "pip", "check"]))?;
    std::fs::write(venv.join(STAMP), stamp).context("the venv's stamp could not be written")?;
    Ok(python)
}

/// A venv whose base Python has gone still has its stamp, so the python is tried too.
fn is_current(root: &Path, venv: &Path, python: &Path, stamp: &str) -> bool {
    let same = std::fs::read_to_string(venv.join(STAMP)).is_ok_and(|found| found == stamp);
    same && says_yes(command(root, python).args(["-c", "import sys"]))
}

pub(super) fn packages(requirements: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(requirements);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

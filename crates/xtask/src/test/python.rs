//! A Python of the tests' own, with the vendors' clients in the versions of `python-requirements.txt`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::out::say;
use crate::process::{command, must_succeed, output_of, says_yes};
use crate::workspace::Workspace;

const REQUIREMENTS: &str = "crates/xtask/python-requirements.txt";
/// In the venv: what it was made from. Written last, so that half an installation is made anew.
const STAMP: &str = "keywright-stamp";

/// Makes the venv unless one made from the same requirements by the same Python is there; returns its python.
pub(super) fn install(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let root = &workspace.root;
    let requirements =
        std::fs::read(root.join(REQUIREMENTS)).with_context(|| format!("{REQUIREMENTS} is missing"))?;
    let version = output_of(command(root, "python3").arg("--version"))?;
    let stamp = stamp(&requirements, &version);
    let venv = workspace.target.join("test-tools").join("venv");
    let python = venv.join("bin").join("python");
    if is_current(root, &venv, &python, &stamp) {
        say("Python packages: all there");
        return Ok(python);
    }
    say(format_args!("installing Python packages into a venv: {}", packages(&requirements).join(", ")));
    must_succeed(command(root, "python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = command(root, &python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]);
    must_succeed(pip.arg("--requirement").arg(REQUIREMENTS))?;
    must_succeed(command(root, &python).args(["-m", "pip", "check"]))?;
    std::fs::write(venv.join(STAMP), stamp).context("the venv's stamp could not be written")?;
    Ok(python)
}

/// A venv whose base Python has gone still has its stamp, so the python is tried too.
fn is_current(root: &Path, venv: &Path, python: &Path, stamp: &str) -> bool {
    let same = std::fs::read_to_string(venv.join(STAMP)).is_ok_and(|found| found == stamp);
    same && says_yes(command(root, python).args(["-c", "import sys"]))
}

fn stamp(requirements: &[u8], version: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(version);
    hash.update(requirements);
    hex::encode(hash.finalize())
}

fn packages(requirements: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(requirements);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_or_another_python_is_another_venv() {
        let stamps =
            [stamp(b"a==1", b"Python 3.11"), stamp(b"a==2", b"Python 3.11"), stamp(b"a==1", b"Python 3.12")];
        assert_ne!(stamps[0], stamps[1]);
        assert_ne!(stamps[0], stamps[2]);
    }

    #[test]
    fn every_requirement_is_pinned() {
        let requirements = include_bytes!("../../python-requirements.txt");
        let packages = packages(requirements);
        assert!(
            packages.iter().any(|line| line.starts_with("tencentcloud-sdk-python-apigateway==")),
            "{packages:?}"
        );
        assert!(packages.iter().all(|line| line.contains("==")), "{packages:?}");
    }
}

//! Starting other programs: never with a standard input, always from the workspace's root, and timed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What `cargo run` sets for the program it starts. Build scripts watch some of these (ring's does), so a cargo started
/// with them would build the same crates again.
const SET_BY_CARGO_RUN: &[&str] = &[
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// A command in `dir` as a person would have typed it there.
pub(crate) fn command(dir: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    for name in SET_BY_CARGO_RUN {
        command.env_remove(name);
    }
    command
}

/// Runs `command` with its output shown; says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{name} could not be started"))?;
    Ok(status.success())
}

/// Runs `command` with its output shown; a failure is an error.
pub(crate) fn must_succeed(command: &mut Command) -> anyhow::Result<()> {
    if succeeds(command)? {
        return Ok(());
    }
    bail!("`{}` failed", spelled(command))
}

/// Runs `command` and returns what it printed; a failure is an error that carries its standard error.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("`{}` could not be started", spelled(command)))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    bail!("`{}` failed: {}", spelled(command), String::from_utf8_lossy(&output.stderr).trim())
}

/// Whether a quiet question (`sudo -n true`) is answered with yes. A program that is missing answers no.
pub(crate) fn says_yes(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// How long `work` took, with what it returned.
#[expect(
    clippy::disallowed_methods,
    reason = "xtask measures real minutes; nothing of the service depends on them"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// `2.4 min`, the unit in which a test run is planned.
pub(crate) fn minutes(duration: Duration) -> String {
    format!("{:.1} min", duration.as_secs_f64() / 60.0)
}

fn spelled(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_as_it_was_typed() {
        let here = Path::new(".");
        let error = must_succeed(command(here, "false").arg("--really")).unwrap_err();
        assert_eq!(error.to_string(), "`false --really` failed");
    }

    #[test]
    fn a_program_that_is_missing_says_no() {
        assert!(!says_yes(&mut command(Path::new("."), "keywright-no-such-program")));
        assert!(says_yes(&mut command(Path::new("."), "true")));
    }

    #[test]
    fn minutes_are_shown_with_one_decimal() {
        assert_eq!(minutes(Duration::from_secs(147)), "2.5 min");
    }
}

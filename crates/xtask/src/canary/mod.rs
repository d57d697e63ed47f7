//! `cargo xtask canary`: no secret that a test run issued may stand in what the servers left behind.
//!
//! The tests append every secret they were issued to `$KEYWRIGHT_CANARY_DIR/secrets`, one a line, and leave databases,
//! logs, answers and metrics under `$KEYWRIGHT_CANARY_DIR/artifacts/`. Each secret is searched for as it stands and in
//! the forms of `forms.rs`. A hit names the file, the form and the secret's line, never the secret.
//!
//! A sweep that cannot fail is no test: no secrets or no artifacts fail, and before the sweep every form of one secret
//! is planted in a scratch file and must be found.

mod forms;
mod sweep;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::Outcome;
use crate::out::say;
use forms::{Form, SECRET_BYTES_MIN};
use sweep::Needles;

pub(crate) const DIR_VARIABLE: &str = "KEYWRIGHT_CANARY_DIR";
pub(crate) const ARTIFACTS: &str = "artifacts";
pub(crate) const SECRETS: &str = "secrets";
/// Printed at most; one leak in a log usually comes a thousand times.
const HITS_SHOWN_MAX: usize = 50;

/// A secret that was found: which one, in which form, and where.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Hit {
    file: PathBuf,
    line: usize,
    form: Form,
}

/// Sweeps `dir` and prints every hit.
pub(crate) fn run(dir: &Path) -> anyhow::Result<Outcome> {
    let secrets = read_secrets(&dir.join(SECRETS))?;
    let artifacts = files_below(&dir.join(ARTIFACTS))?;
    ensure!(
        !artifacts.is_empty(),
        "no artifacts below {}: the tests must leave what they wrote",
        dir.display()
    );
    let needles = Needles::new(&secrets);
    check_control(dir, &needles, &secrets)?;
    let mut hits = Vec::new();
    let mut bytes = 0_u64;
    for file in &artifacts {
        let open = fs::File::open(file).with_context(|| format!("{} could not be read", file.display()))?;
        bytes += open.metadata().map_or(0, |metadata| metadata.len());
        hits.extend(search(open, file, &needles)?);
    }
    for hit in hits.iter().take(HITS_SHOWN_MAX) {
        let file = hit.file.strip_prefix(dir).unwrap_or(&hit.file).display();
        say(format_args!("LEAK {file}: the secret of line {} of `{SECRETS}`, {}", hit.line, hit.form));
    }
    say(format_args!(
        "canary: {} secrets, {} artifacts of {} KiB, {} hits (the control was found)",
        secrets.len(),
        artifacts.len(),
        bytes / 1024,
        hits.len()
    ));
    Ok(if hits.is_empty() { Outcome::Passed } else { Outcome::Failed })
}

/// The secrets with the line on which each stands first.
fn read_secrets(path: &Path) -> anyhow::Result<Vec<(usize, Vec<u8>)>> {
    let text = fs::read(path).with_context(|| {
        format!("{} could not be read: the tests must append every secret to it", path.display())
    })?;
    let mut seen = BTreeSet::new();
    let mut secrets = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let secret = line.trim_ascii_end();
        if secret.is_empty() || !seen.insert(secret) {
            continue;
        }
        ensure!(
            secret.len() >= SECRET_BYTES_MIN,
            "line {} of {} is shorter than {SECRET_BYTES_MIN} bytes: it would be found by chance",
            index + 1,
            path.display()
        );
        secrets.push((index + 1, secret.to_vec()));
    }
    ensure!(!secrets.is_empty(), "no secrets in {}: the tests must append every one to it", path.display());
    Ok(secrets)
}

/// Plants every form of the first secret, one at a time, and demands that the sweep finds it.
fn check_control(dir: &Path, needles: &Needles, secrets: &[(usize, Vec<u8>)]) -> anyhow::Result<()> {
    let (line, secret) = secrets.first().context("no secret to plant")?;
    let scratch = dir.join("control");
    for (form, bytes) in forms::of(secret) {
        let planted = [b"{\"before\":\"", bytes.as_slice(), b"\",\"after\":0}"].concat();
        fs::write(&scratch, planted).context("the control could not be planted")?;
        let file = fs::File::open(&scratch).context("the control could not be read")?;
        let hits = search(file, &scratch, needles)?;
        fs::remove_file(&scratch).context("the control could not be removed")?;
        ensure!(
            hits.iter().any(|hit| hit.line == *line),
            "the control failed: a planted secret, {form}, was not found, so nothing was tested"
        );
    }
    Ok(())
}

fn search(input: impl Read, file: &Path, needles: &Needles) -> anyhow::Result<BTreeSet<Hit>> {
    let found = needles.search(input).with_context(|| format!("{} could not be read", file.display()))?;
    Ok(found.into_iter().map(|(line, form)| Hit { file: file.to_owned(), line, form }).collect())
}

/// Every regular file below `dir`; links are not followed, so that a sweep ends.
fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| {
            format!("{} could not be listed: the tests must leave their artifacts there", folder.display())
        })?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "kw_live_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s";

    /// A sweep of these secrets over these (name, bytes) artifacts.
    fn sweep(secrets: &str, artifacts: &[(&str, &[u8])]) -> anyhow::Result<Outcome> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SECRETS), secrets).unwrap();
        for (name, bytes) in artifacts {
            let path = dir.path().join(ARTIFACTS).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let outcome = run(dir.path());
        assert!(!dir.path().join("control").exists());
        outcome
    }

    #[test]
    fn a_run_that_leaks_nothing_passes() {
        let outcome =
            sweep(&format!("{SECRET}\n\n{SECRET}\n"), &[("db/data", b"no secret here"), ("log", b"")]);
        assert_eq!(outcome.unwrap(), Outcome::Passed);
    }

    #[test]
    fn a_secret_in_any_form_and_any_folder_fails() {
        for (form, bytes) in forms::of(SECRET.as_bytes()) {
            let artifact = [b"\0\xff".as_slice(), &bytes, b"\0"].concat();
            let outcome = sweep(SECRET, &[("clean", b"x"), ("a/b/data.db", &artifact)]).unwrap();
            assert_eq!(outcome, Outcome::Failed, "{form}");
        }
    }

    #[test]
    fn a_sweep_without_secrets_or_without_artifacts_is_no_test() {
        let no_secrets = sweep("\n", &[("log", b"x")]).unwrap_err().to_string();
        assert!(no_secrets.starts_with("no secrets in"), "{no_secrets}");
        let no_folder = sweep(SECRET, &[]).unwrap_err().to_string();
        assert!(no_folder.contains("could not be listed"), "{no_folder}");
    }

    #[test]
    fn an_empty_artifact_folder_is_no_test() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SECRETS), SECRET).unwrap();
        fs::create_dir(dir.path().join(ARTIFACTS)).unwrap();
        let error = run(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("no artifacts below"), "{error}");
    }

    #[test]
    fn a_secret_too_short_to_be_searched_for_is_refused() {
        let error = sweep(&format!("{SECRET}\nshort\n"), &[("log", b"x")]).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of") && !error.contains("short\n"), "{error}");
    }

    #[test]
    fn a_sweep_that_is_blind_is_caught_by_its_control() {
        let dir = tempfile::tempdir().unwrap();
        let blind = Needles::new(&[]);
        let error = check_control(dir.path(), &blind, &[(1, SECRET.into())]).unwrap_err().to_string();
        assert!(error.starts_with("the control failed"), "{error}");
    }
}

//! How every write is made and told: options, dry runs, questions, secrets.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use keywright_client::{Answer, DryRun, KeyWithSecret, Secret, WriteOptions, Written};
use serde::Serialize;
use serde_json::json;

use super::{Outcome, Session};
use crate::cli::keys::WriteArgs;
use crate::parse::pair::entity_tag;
use crate::render;

impl WriteArgs {
    /// As the client takes them.
    pub(crate) fn options(&self) -> WriteOptions {
        WriteOptions {
            if_match: self.if_match.as_deref().map(entity_tag),
            idempotency_key: self.idempotency_key.clone(),
            dry_run: self.dry_run,
            wait: self.wait,
        }
    }
}

impl Session {
    /// Shows what a dry run said.
    pub(crate) fn tell_plan(&self, plan: &DryRun) -> Outcome {
        if self.output.json {
            self.output.say_json(plan);
        } else {
            self.output.say(&render::diff::difference(plan, self.output.paint));
            self.output.note("nothing was written: this was a dry run");
        }
        Outcome::Done
    }

    /// Shows the answer to a write: the noun, and a note where it is not in force everywhere yet.
    pub(crate) fn tell<T: Serialize>(&self, answer: Answer<T>, show: impl FnOnce(&T) -> String) -> Outcome {
        match answer {
            Answer::DryRun(plan) => self.tell_plan(&plan),
            Answer::Written(written) => {
                if self.output.json {
                    self.output.say_json(&written.value);
                } else {
                    self.output.say(&show(&written.value));
                }
                self.tell_pending(&written);
                Outcome::Done
            }
        }
    }

    /// Shows that something is gone.
    pub(crate) fn tell_gone(&self, answer: Answer<()>, what: &str) -> Outcome {
        match answer {
            Answer::DryRun(plan) => self.tell_plan(&plan),
            Answer::Written(written) => {
                self.output.note(what);
                self.tell_pending(&written);
                Outcome::Done
            }
        }
    }

    fn tell_pending<T>(&self, written: &Written<T>) {
        if !written.enforced.is_all() {
            let revision = written.revision.as_deref().unwrap_or("-");
            self.output
                .warn(&format!("some verifiers may not answer by this yet (revision {revision} is pending)"));
        }
    }

    /// Shows a key and its new secret: the secret alone on standard output, so that it can be captured.
    pub(crate) fn tell_secret(
        &self,
        answer: Answer<KeyWithSecret>,
        file: Option<&Path>,
        done: &str,
    ) -> anyhow::Result<Outcome> {
        let written = match answer {
            Answer::DryRun(plan) => return Ok(self.tell_plan(&plan)),
            Answer::Written(written) => *written,
        };
        self.tell_pending(&written);
        let KeyWithSecret { key, secret } = &written.value;
        if let (Some(path), Some(secret)) = (file, secret) {
            write_secret(path, secret).map_err(|error| {
                let lost = format!(
                    "{done} {}, but its secret could not be written: rotate it to get another one",
                    key.id
                );
                error.context(lost)
            })?;
        }
        let shown = secret.as_ref().filter(|_| file.is_none());
        if self.output.json {
            self.output.say_json(&json!({"key": key, "secret": shown.map(Secret::expose)}));
            return Ok(Outcome::Done);
        }
        self.output.note(&format!("{done} {} ({}, number {})", key.id, key.name, key.number));
        match (shown, file) {
            (Some(secret), _) => {
                self.output.note("This is the only time that its secret is shown:");
                self.output.say(secret.expose());
            }
            (None, Some(path)) if secret.is_some() => {
                self.output.note(&format!("its secret is in {}", path.display()));
            }
            (None, _) => self
                .output
                .warn("the call was answered before, too long ago for its secret to be shown again"),
        }
        Ok(Outcome::Done)
    }
}

/// Writes a secret to a new file that only its owner can read.
fn write_secret(path: &Path, secret: &Secret) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(())
}

/// Fails before a secret is made that could then not be written down.
pub(super) fn test_secret_file(path: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    if path.exists() {
        anyhow::bail!("{} is there already: name a new file", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        anyhow::bail!("{} is no folder", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_file_is_new_and_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        test_secret_file(Some(&path)).unwrap();
        write_secret(&path, &Secret::new("kw_x")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kw_x\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(test_secret_file(Some(&path)).is_err() && write_secret(&path, &Secret::new("kw_y")).is_err());
        assert!(test_secret_file(Some(&folder.path().join("no/such"))).is_err());
    }
}

//! The folder that everything of one run is in, and what is kept of it for the leak sweep.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use super::Dice;
use crate::canary;

/// Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    /// Where the sweep looks, when there is to be one.
    kept: Option<PathBuf>,
}

impl Scratch {
    /// Makes a folder that `PostgreSQL`'s own user may enter. `kept` is the sweep's folder.
    pub(crate) fn new(kept: Option<PathBuf>) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("keywright-cluster-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir, kept })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A secret of this run, that the sweep looks for.
    pub(super) fn fresh_secret(&self, name: &str) -> String {
        let mut dice = Dice::new(Dice::fresh_seed());
        let secret = format!("{name}-{:016x}{:016x}", dice.throw(), dice.throw());
        self.note_secret(&secret);
        secret
    }

    /// Has the sweep look for a secret.
    pub(crate) fn note_secret(&self, secret: &str) {
        use std::io::Write as _;
        let Some(kept) = &self.kept else { return };
        let file = fs::OpenOptions::new().create(true).append(true).open(kept.join(canary::SECRETS));
        // A run whose notes cannot be taken is still worth its figures; the sweep then says that it has no secrets.
        let _ = file.and_then(|mut file| file.write_all(format!("{secret}\n").as_bytes()));
    }

    pub(super) fn keep_text(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let Some(folder) = self.artifacts()? else { return Ok(()) };
        fs::write(folder.join(name), text).context("an artifact could not be kept")
    }

    /// Keeps the logs of nodes and databases.
    pub(super) fn keep_logs(&self) -> anyhow::Result<()> {
        let Some(folder) = self.artifacts()? else { return Ok(()) };
        for entry in fs::read_dir(self.path())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                fs::copy(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    fn artifacts(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let name = self.path().file_name().context("a scratch folder without a name")?;
        let folder = kept.join(canary::ARTIFACTS).join(name);
        fs::create_dir_all(&folder).context("the artifacts' folder could not be made")?;
        Ok(Some(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_logs_are_kept_for_the_sweep_and_the_folder_goes() {
        let kept = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(Some(kept.path().to_owned())).unwrap();
        let path = scratch.path().to_owned();
        let secret = scratch.fresh_secret("root");
        fs::write(path.join("node-0.log"), "a line").unwrap();
        scratch.keep_logs().unwrap();
        drop(scratch);
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(kept.path().join(canary::SECRETS)).unwrap(), format!("{secret}\n"));
        let artifacts = kept.path().join(canary::ARTIFACTS).join(path.file_name().unwrap());
        assert_eq!(fs::read_to_string(artifacts.join("node-0.log")).unwrap(), "a line");
    }
}

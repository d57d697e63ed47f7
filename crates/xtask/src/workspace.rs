//! What cargo knows about the workspace: where it is, its crates and what they depend on.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::process;

/// The workspace as `cargo metadata --no-deps` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal dependency.
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Dev,
    Build,
}

impl Workspace {
    /// Asks cargo. Works from any folder of the workspace, without the network.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let mut command = process::command(Path::new("."), "cargo");
        command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
        let json = process::output_of(&mut command)?;
        serde_json::from_slice(&json).context("cargo metadata answered in a form that xtask does not know")
    }
}

impl Package {
    /// The crate's folder under `crates/`: `keywright-store` is `store`.
    pub(crate) fn folder(&self) -> &str {
        folder_of(&self.name)
    }
}

/// The folder of the crate of that name; the name itself when it is none of ours.
pub(crate) fn folder_of(package: &str) -> &str {
    package.strip_prefix("keywright-").unwrap_or(package)
}

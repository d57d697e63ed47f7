//! A vendor's own Node client, in the versions of `node/package-lock.json`. The lock names no registry: npm's setting does.

use std::path::PathBuf;

use anyhow::Context;

use super::clients::stamp;
use crate::out::say;
use crate::process::{command, must_succeed, output_of};
use crate::workspace::Workspace;

const FOLDER: &str = "crates/xtask/node";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// In the installed folder: what it was made from.
const STAMP: &str = "keywright-stamp";

/// Installs unless the same packages for the same Node are there; returns the folder of modules.
pub(super) fn install(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let [package, lock] = FILES.map(|file| workspace.root.join(FOLDER).join(file));
    let version = output_of(command(&workspace.root, "node").arg("--version"))?;
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("{} is missing", path.display()));
    let stamp = stamp(&[&version, &read(&package)?, &read(&lock)?]);
    let folder = workspace.target.join("test-tools").join("node");
    let modules = folder.join("node_modules");
    if std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp) && modules.is_dir() {
        say("Node packages: all there");
        return Ok(modules);
    }
    say(format_args!("installing the Node packages of {FOLDER}/package-lock.json"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("{} could not be emptied", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    for file in [&package, &lock] {
        let name = file.file_name().context("a file without a name")?;
        std::fs::copy(file, folder.join(name))
            .with_context(|| format!("{} could not be copied", file.display()))?;
    }
    let mut npm = command(&folder, "npm");
    must_succeed(npm.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    std::fs::write(folder.join(STAMP), stamp)
        .context("the stamp of the Node packages could not be written")?;
    Ok(modules)
}

//! `cargo xtask tidy`: the rules of this repository that neither rustc nor clippy can check.
//!
//! Each rule is a file here: a pure function from what is in the tree to findings, so that its tests need no disk.

mod arrows;
mod dependencies;
mod finding;
mod map;
mod migrations;
mod sizes;
mod threats;
mod tree;
mod words;

use anyhow::Context;

use crate::Outcome;
use crate::out::say;
use crate::workspace::Workspace;
use finding::{Finding, Level};
use tree::Tree;

/// Checks every rule and prints what breaks one. Warnings do not fail.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let tree = Tree::load(&workspace.root)?;
    let findings = [
        arrows::check(&workspace.packages),
        sizes::check(&tree),
        migrations::check(&tree),
        map::check(&tree),
        dependencies::check(&tree),
        words::check(&tree),
        threats::check(&tree),
    ]
    .concat();
    for finding in &findings {
        say(finding);
    }
    let errors = count(&findings, Level::Error);
    let warnings = count(&findings, Level::Warning);
    say(format_args!("tidy: {} files, {errors} errors, {warnings} warnings", tree.files.len()));
    Ok(if errors == 0 { Outcome::Passed } else { Outcome::Failed })
}

/// Rewrites `HASHES` and says which migrations it now vouches for anew.
pub(crate) fn bless(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let tree = Tree::load(&workspace.root)?;
    let (text, notes) = migrations::blessed(&tree);
    let path = workspace.root.join(migrations::HASHES);
    std::fs::write(&path, text).with_context(|| format!("{} could not be written", migrations::HASHES))?;
    for note in notes {
        say(note);
    }
    say(format_args!("tidy: {} is up to date", migrations::HASHES));
    Ok(Outcome::Passed)
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

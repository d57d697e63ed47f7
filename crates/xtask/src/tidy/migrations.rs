//! Migrations: numbered without a gap, the same on every backend, and never edited once written.
//!
//! `HASHES` is what `sha256sum` prints, so `sha256sum --check HASHES` in its folder tells the same.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::finding::Finding;
use super::tree::Tree;

const RULE: &str = "migrations";
const FOLDER: &str = "crates/store/migrations";
const BACKENDS: &[&str] = &["sqlite", "postgres"];
pub(crate) const HASHES: &str = "crates/store/migrations/HASHES";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_hashes(&actual(tree), &recorded(tree));
    let names: Vec<_> = BACKENDS.iter().map(|backend| (*backend, names_of(tree, backend))).collect();
    for (backend, names) in &names {
        findings.extend(check_numbers(backend, names));
    }
    // A backend that does not exist yet has no twin to be.
    let present: Vec<_> = names.iter().filter(|(_, names)| !names.is_empty()).collect();
    for (backend, names) in &present {
        for (other, others) in &present {
            findings.extend(names.difference(others).map(|name| {
                Finding::error(
                    RULE,
                    format!("{FOLDER}/{backend}/{name}"),
                    format!("has no twin in {other}/"),
                    format!("write {FOLDER}/{other}/{name}; where nothing is to do, a file with a comment that says so"),
                )
            }));
        }
    }
    findings
}

/// The text of a `HASHES` that vouches for the files as they are, and what changes by it.
pub(super) fn blessed(tree: &Tree) -> (String, Vec<String>) {
    let (actual, recorded) = (actual(tree), recorded(tree));
    let mut text = String::new();
    let mut notes = Vec::new();
    for (name, hash) in &actual {
        text.push_str(hash);
        text.push_str("  ");
        text.push_str(name);
        text.push('\n');
        match recorded.get(name) {
            None => notes.push(format!("new: {name}")),
            Some(old) if old != hash => {
                notes.push(format!("EDITED: {name}; a database that has applied it will not notice"));
            }
            Some(_) => {}
        }
    }
    notes.extend(
        recorded.keys().filter(|name| !actual.contains_key(*name)).map(|name| format!("GONE: {name}")),
    );
    (text, notes)
}

fn check_hashes(actual: &BTreeMap<String, String>, recorded: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, hash) in actual {
        let place = format!("{FOLDER}/{name}");
        match recorded.get(name) {
            None => findings.push(Finding::error(
                RULE,
                place,
                "is not in HASHES",
                "run `cargo xtask tidy --bless` and commit HASHES with it",
            )),
            Some(old) if old != hash => findings.push(Finding::error(
                RULE,
                place,
                "was edited after it was written",
                "put it back and write a new migration; only if no release had it, `cargo xtask tidy --bless`",
            )),
            Some(_) => {}
        }
    }
    for name in recorded.keys().filter(|name| !actual.contains_key(*name)) {
        findings.push(Finding::error(
            RULE,
            HASHES,
            format!("names {name}, which is gone"),
            "put the migration back; only if no release had it, `cargo xtask tidy --bless`",
        ));
    }
    findings
}

/// Numbers start at 0001 and have no gap, so that a merge of two branches cannot hide one behind another.
fn check_numbers(backend: &str, names: &BTreeSet<String>) -> Vec<Finding> {
    names
        .iter()
        .enumerate()
        .filter(|(index, name)| !is_numbered(name, index + 1))
        .map(|(index, name)| {
            Finding::error(
                RULE,
                format!("{FOLDER}/{backend}/{name}"),
                "is not the next number and a name",
                format!("call it {:04}_what_it_does.sql", index + 1),
            )
        })
        .collect()
}

fn is_numbered(name: &str, number: usize) -> bool {
    let Some(words) = name.strip_prefix(&format!("{number:04}_")).and_then(|rest| rest.strip_suffix(".sql"))
    else {
        return false;
    };
    !words.is_empty() && words.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn names_of(tree: &Tree, backend: &str) -> BTreeSet<String> {
    tree.below(&format!("{FOLDER}/{backend}")).map(|(rest, _)| rest.to_owned()).collect()
}

fn actual(tree: &Tree) -> BTreeMap<String, String> {
    let files = tree.below(FOLDER).filter(|(rest, _)| rest.contains('/'));
    files.map(|(rest, file)| (rest.to_owned(), hex::encode(Sha256::digest(file.text.as_bytes())))).collect()
}

fn recorded(tree: &Tree) -> BTreeMap<String, String> {
    let lines = tree.text(HASHES).unwrap_or_default().lines();
    lines
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks these migrations with a HASHES that fits them.
    fn check_blessed(migrations: &[(&str, &str)], expected: &[&str]) {
        let hashes = blessed(&tree(migrations, "")).0;
        let findings = check(&tree(migrations, &hashes));
        let problems: Vec<_> = findings.iter().map(|finding| finding.problem.as_str()).collect();
        assert_eq!(problems, expected, "{migrations:?}");
    }

    fn tree(migrations: &[(&str, &str)], hashes: &str) -> Tree {
        let paths: Vec<_> =
            migrations.iter().map(|(name, text)| (format!("{FOLDER}/{name}"), *text)).collect();
        let mut files: Vec<_> = paths.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        files.push((HASHES, hashes));
        Tree::of(&files)
    }

    #[test]
    fn one_backend_alone_needs_no_twin() {
        check_blessed(&[("sqlite/0001_init.sql", "a"), ("sqlite/0002_more.sql", "b")], &[]);
    }

    #[test]
    fn twins_carry_the_same_names() {
        check_blessed(&[("sqlite/0001_init.sql", "a"), ("postgres/0001_init.sql", "b")], &[]);
        check_blessed(
            &[("sqlite/0001_init.sql", "a"), ("sqlite/0002_more.sql", "b"), ("postgres/0001_init.sql", "c")],
            &["has no twin in postgres/"],
        );
        check_blessed(
            &[("sqlite/0001_init.sql", "a"), ("postgres/0001_start.sql", "b")],
            &["has no twin in postgres/", "has no twin in sqlite/"],
        );
    }

    #[test]
    fn numbers_have_no_gap_and_names_are_plain() {
        let problem = "is not the next number and a name";
        check_blessed(&[("sqlite/0001_init.sql", "a"), ("sqlite/0003_late.sql", "b")], &[problem]);
        check_blessed(&[("sqlite/0001_Init.sql", "a")], &[problem]);
        check_blessed(&[("sqlite/0001_.sql", "a")], &[problem]);
        check_blessed(&[("sqlite/notes.txt", "a")], &[problem]);
    }

    #[test]
    fn a_migration_is_never_edited_and_never_lost() {
        let hashes = blessed(&tree(&[("sqlite/0001_init.sql", "a")], "")).0;
        let edited = check(&tree(&[("sqlite/0001_init.sql", "b")], &hashes));
        assert_eq!(edited[0].problem, "was edited after it was written");
        let lost = check(&tree(&[], &hashes));
        assert_eq!(lost[0].problem, "names sqlite/0001_init.sql, which is gone");
        let unknown = check(&tree(&[("sqlite/0001_init.sql", "a")], ""));
        assert_eq!(unknown[0].problem, "is not in HASHES");
    }

    #[test]
    fn blessing_says_what_it_now_vouches_for() {
        let (hashes, notes) = blessed(&tree(&[("sqlite/0001_init.sql", "a")], ""));
        assert_eq!(hashes, format!("{}  sqlite/0001_init.sql\n", hex::encode(Sha256::digest(b"a"))));
        assert_eq!(notes, ["new: sqlite/0001_init.sql"]);
        let (_, notes) = blessed(&tree(&[("sqlite/0001_init.sql", "b")], &hashes));
        assert!(notes[0].starts_with("EDITED: sqlite/0001_init.sql"), "{notes:?}");
        let (_, notes) = blessed(&tree(&[], &hashes));
        assert_eq!(notes, ["GONE: sqlite/0001_init.sql"]);
    }
}

//! `SECURITY.md` promises nothing that is not tested: the last cell of each row of a table that ends in a column
//! `Tests` names tests (or files) that exist, or says `not yet`, which warns.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::tree::Tree;

const RULE: &str = "threats";
const PAGE: &str = "SECURITY.md";
const NOT_YET: &str = "not yet";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(PAGE) else {
        return vec![Finding::error(
            RULE,
            PAGE,
            "is missing",
            "write it: how to report, what is promised, the threats",
        )];
    };
    let functions = functions(tree);
    let mut findings = Vec::new();
    let mut in_table = false;
    for (index, line) in text.lines().enumerate() {
        let Some(cell) = last_cell(line) else {
            in_table = false;
            continue;
        };
        if cell == "Tests" {
            in_table = true;
        } else if in_table && !cell.starts_with("---") {
            let place = format!("{PAGE}:{}", index + 1);
            findings
                .extend(judge(&place, cell, |name| functions.contains(name) || tree.text(name).is_some()));
        }
    }
    findings
}

fn judge(place: &str, cell: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    if cell.starts_with(NOT_YET) {
        return vec![
            Finding::error(RULE, place, "this threat has no test yet", "write it and name it here").warning(),
        ];
    }
    let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        let remedy = "name the test in backticks, or say `not yet`";
        return vec![Finding::error(RULE, place, "this threat names no test", remedy)];
    }
    let missing = names.into_iter().filter(|name| !exists(name));
    let remedy = "correct the name, or write the test";
    missing.map(|name| Finding::error(RULE, place, format!("no test is called `{name}`"), remedy)).collect()
}

/// The last cell of a row of a table, if the line is one.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    row.rsplit('|').next().map(str::trim)
}

/// The names of all functions of the workspace.
fn functions(tree: &Tree) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for line in tree.rust().flat_map(|file| file.text.lines()) {
        if let Some((_, rest)) = line.split_once("fn ") {
            names.extend(
                rest.split(|character: char| !character.is_alphanumeric() && character != '_').next(),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn check_row(cell: &str, expected: Option<(Level, &str)>) {
        let page = format!(
            "# Security\n| Threat | Tests |\n| --- | --- |\n| a leak | {cell} |\n\n| Version | Fixed |\n| 1 | x |\n"
        );
        let files =
            [(PAGE, page.as_str()), ("a.rs", "#[test]\nfn a_leak_is_found() {}\n"), ("tests/a.py", "")];
        let findings = check(&Tree::of(&files));
        let found: Vec<_> = findings.iter().map(|f| (f.level, f.problem.as_str())).collect();
        assert_eq!(found, Vec::from_iter(expected), "{cell}");
    }

    #[test]
    fn a_threat_names_tests_or_files_that_exist() {
        check_row("`a_leak_is_found`, `tests/a.py`", None);
        check_row("`a_leak_is_found`, `another`", Some((Level::Error, "no test is called `another`")));
    }

    #[test]
    fn a_threat_without_a_test_says_so() {
        check_row("not yet: `kill -9` rounds", Some((Level::Warning, "this threat has no test yet")));
        check_row("we are careful", Some((Level::Error, "this threat names no test")));
    }

    #[test]
    fn a_missing_page_fails() {
        assert_eq!(check(&Tree::of(&[]))[0].problem, "is missing");
    }
}

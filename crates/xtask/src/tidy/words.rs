//! What no file may say: where somebody's machine keeps things, a registry's host, unfinished work, silenced tests
//! and lints.

use super::finding::Finding;
use super::tree::{File, Tree};

/// This file must spell what it forbids.
const EXEMPT: &str = "crates/xtask/src/tidy/words.rs";

struct Word {
    rule: &'static str,
    /// Any of these, as they stand.
    spellings: &'static [&'static str],
    only_in_rust: bool,
    /// A path is meant only when nothing that could belong to it stands before.
    starts_a_path: bool,
    remedy: &'static str,
}

const WORDS: &[Word] = &[
    Word {
        rule: "machine-path",
        spellings: &["/work/", "/root/", "/home/", "/Users/", "/tmp/"],
        only_in_rust: false,
        starts_a_path: true,
        remedy: "write the path from the repository's root; in tests use a `tempfile` folder",
    },
    Word {
        rule: "registry-host",
        spellings: &[
            "://crates.io",
            "index.crates.io",
            "static.crates.io",
            "pypi.org",
            "pythonhosted.org",
            "npmjs.org",
            "npmjs.com",
            "deb.debian.org",
            "security.debian.org",
        ],
        only_in_rust: false,
        starts_a_path: false,
        remedy: "name the package alone; which registry serves it is the machine's setting",
    },
    Word {
        rule: "unfinished",
        spellings: &["todo!(", "unimplemented!("],
        only_in_rust: true,
        starts_a_path: false,
        remedy: "finish it, or answer with an error that says what is missing",
    },
    Word {
        rule: "ignored-test",
        spellings: &["#[ignore"],
        only_in_rust: true,
        starts_a_path: false,
        remedy: "run it or delete it; what is too slow belongs into `cargo xtask soak`",
    },
    Word {
        rule: "allow",
        spellings: &["#[allow(", "#![allow("],
        only_in_rust: true,
        starts_a_path: false,
        remedy: "write `#[expect(lint, reason = \"…\")]` on the smallest item",
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| file.path != EXEMPT).flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let words: Vec<_> = WORDS.iter().filter(|word| file.is_rust() || !word.only_in_rust).collect();
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in &words {
            if let Some(spelling) =
                word.spellings.iter().find(|spelling| says(line, spelling, word.starts_a_path))
            {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::error(word.rule, place, format!("says `{spelling}`"), word.remedy));
            }
        }
    }
    findings
}

fn says(line: &str, spelling: &str, starts_a_path: bool) -> bool {
    line.match_indices(spelling).any(|(at, _)| {
        let before = line.split_at(at).0.chars().next_back();
        !starts_a_path || !before.is_some_and(belongs_to_a_path)
    })
}

/// What may stand before the `/` of a longer path or of a URL: `v1/root/`, `{id}/home/`, `$DIR/work/`.
fn belongs_to_a_path(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '}' | '>' | ')' | '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, line: &str, expected: Option<&str>) {
        let findings = check(&Tree::of(&[(path, line)]));
        let rules: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, Vec::from_iter(expected), "{line}");
    }

    #[test]
    fn a_machine_path_fails_anywhere() {
        check_line("README.md", "cd /work/main", Some("machine-path"));
        check_line("a.rs", "let dir = \"/tmp/x\";", Some("machine-path"));
        check_line("a.toml", "path=/root/.cargo", Some("machine-path"));
        check_line("a.md", "`POST /v1/root/keys`, docs/work/plan.md, {org}/home/", None);
    }

    #[test]
    fn a_registry_host_fails_but_its_name_does_not() {
        check_line("pip.conf", "index-url = https://pypi.org/simple", Some("registry-host"));
        check_line("deny.toml", "allow-registry = [\"https://github.com/rust-lang/crates.io-index\"]", None);
        check_line("README.md", "from crates.io and PyPI", None);
    }

    #[test]
    fn unfinished_work_fails_in_rust() {
        check_line("a.rs", "    todo!()", Some("unfinished"));
        check_line("a.rs", "    unimplemented!(\"later\")", Some("unfinished"));
        check_line("CONTRIBUTING.md", "no `todo!()`", None);
    }

    #[test]
    fn an_ignored_test_fails() {
        check_line("a.rs", "#[ignore = \"slow\"]", Some("ignored-test"));
        check_line("a.rs", "#[ignore]", Some("ignored-test"));
        check_line("a.rs", "#[test]", None);
    }

    #[test]
    fn a_lint_is_expected_and_never_allowed() {
        check_line("a.rs", "#[allow(dead_code)]", Some("allow"));
        check_line("a.rs", "#![allow(dead_code)]", Some("allow"));
        check_line("a.rs", "#[expect(dead_code, reason = \"…\")]", None);
    }

    #[test]
    fn the_line_is_named() {
        let findings = check(&Tree::of(&[("a.rs", "fn a() {\n    todo!()\n}\n")]));
        assert_eq!(findings[0].place, "a.rs:2");
    }
}

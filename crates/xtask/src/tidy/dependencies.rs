//! No dependency without one line of why beside it, and all of them in the root manifest.

use super::finding::Finding;
use super::tree::Tree;

const RULE: &str = "dependencies";
const ROOT: &str = "Cargo.toml";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = tree.text(ROOT).map(check_root).unwrap_or_default();
    for (rest, file) in tree.below("crates") {
        if rest.ends_with("/Cargo.toml") && rest.matches('/').count() == 1 {
            findings.extend(check_member(&file.path, &file.text));
        }
    }
    findings
}

/// Every entry of `[workspace.dependencies]` says why, but for our own crates.
fn check_root(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in entries(text, |section| section.starts_with("workspace.dependencies")) {
        if entry.name.starts_with("keywright-") || entry.has_why {
            continue;
        }
        findings.push(Finding::error(
            RULE,
            format!("{ROOT}:{}", entry.line),
            format!("`{}` does not say why it is here", entry.name),
            "write one `# reason` behind it, or do without it",
        ));
    }
    findings
}

/// A crate takes its dependencies from the workspace, so that there is one version and one reason.
fn check_member(path: &str, text: &str) -> Vec<Finding> {
    entries(text, |section| section.ends_with("dependencies") || section.contains("dependencies."))
        .into_iter()
        .filter(|entry| !entry.from_workspace)
        .map(|entry| {
            Finding::error(
                RULE,
                format!("{path}:{}", entry.line),
                format!("`{}` is not taken from the workspace", entry.name),
                format!(
                    "write `{}.workspace = true` here, and the version with its reason in {ROOT}",
                    entry.name
                ),
            )
        })
        .collect()
}

struct Entry<'a> {
    name: &'a str,
    line: usize,
    has_why: bool,
    from_workspace: bool,
}

/// The `name = …` entries of the sections that `wanted` picks. An entry may span lines until its brackets close.
fn entries(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut inside = false;
    let mut depth = 0_i64;
    for (index, line) in text.lines().enumerate() {
        let (code, comment) = split_comment(line);
        let code = code.trim();
        let has_why = comment.is_some_and(|comment| !comment.trim().is_empty());
        if depth == 0 && code.starts_with('[') {
            inside = wanted(code.trim_matches(['[', ']']));
            continue;
        }
        if !inside || code.is_empty() {
            continue;
        }
        let from_workspace = code.replace(' ', "").contains("workspace=true");
        if depth > 0 {
            if let Some(entry) = entries.last_mut() {
                entry.has_why |= has_why;
                entry.from_workspace |= from_workspace;
            }
        } else {
            let name = code.split(['=', '.']).next().unwrap_or(code).trim();
            entries.push(Entry { name, line: index + 1, has_why, from_workspace });
        }
        depth += bracket_balance(code);
    }
    entries
}

/// The line before and after a `#` that is not inside a string.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => {
                let (code, comment) = line.split_at(at);
                return (code, comment.strip_prefix('#'));
            }
            _ => {}
        }
    }
    (line, None)
}

fn bracket_balance(code: &str) -> i64 {
    let mut quoted = false;
    let mut balance = 0;
    for character in code.chars() {
        match character {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => balance += 1,
            ']' | '}' if !quoted => balance -= 1,
            _ => {}
        }
    }
    balance
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_named(path: &str, text: &str, expected: &[&str]) {
        let places: Vec<_> =
            check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, expected, "{text}");
    }

    #[test]
    fn a_dependency_says_why() {
        check_named(ROOT, "[workspace.dependencies]\nhex = \"0.4\" # digests as text\n", &[]);
        check_named(ROOT, "[workspace.dependencies]\nhex = \"0.4\"\n", &["Cargo.toml:2"]);
        check_named(ROOT, "[workspace.dependencies]\nhex = \"0.4\" #\n", &["Cargo.toml:2"]);
        check_named(ROOT, "[workspace.dependencies]\nhex = { version = \"0#4\" }\n", &["Cargo.toml:2"]);
    }

    #[test]
    fn our_own_crates_and_other_sections_need_no_reason() {
        let text = "[workspace.dependencies]\nkeywright-model = { path = \"crates/model\" }\n[profile.dev]\ndebug = 1\n";
        check_named(ROOT, text, &[]);
    }

    #[test]
    fn an_entry_over_several_lines_says_why_anywhere() {
        let with =
            "[workspace.dependencies]\naxum = { version = \"0.8\", features = [\n  \"json\",\n] } # router\n";
        check_named(ROOT, with, &[]);
        check_named(ROOT, &with.replace("# router", ""), &["Cargo.toml:2"]);
    }

    #[test]
    fn a_crate_takes_its_dependencies_from_the_workspace() {
        let manifest = "crates/a/Cargo.toml";
        check_named(manifest, "[package]\nname = \"a\"\n[dependencies]\nhex.workspace = true\n", &[]);
        check_named(
            manifest,
            "[dev-dependencies]\nhex = { workspace = true, features = [\"serde\"] }\n",
            &[],
        );
        check_named(manifest, "[dependencies]\nhex = \"0.4\" # why\n", &["crates/a/Cargo.toml:2"]);
    }
}

//! `ARCHITECTURE.md` is a map: it names every crate and every folder of source, and none that is not there.
//!
//! What counts is what stands in backticks or in a fenced block: `store`, `keywright-store`, `crates/store` or
//! `store/` name a crate; `server/src/rest` (with or without `crates/` before it) names a folder or a file.

use std::collections::BTreeSet;

use super::arrows;
use super::finding::Finding;
use super::tree::Tree;

const RULE: &str = "map";
const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(MAP) else {
        return vec![Finding::error(
            RULE,
            MAP,
            "is missing",
            "write it: every crate and every folder below src",
        )];
    };
    let folders = tree.folders();
    let crates: BTreeSet<&str> = folders
        .iter()
        .filter_map(|folder| folder.strip_prefix("crates/"))
        .filter(|rest| !rest.contains('/'))
        .collect();
    let named = named_paths(text);
    let mut findings = missing(&crates, &folders, &named);
    findings.extend(named.iter().filter(|(path, _)| !exists(tree, &folders, &crates, path)).map(
        |(path, line)| {
            Finding::error(
                RULE,
                format!("{MAP}:{line}"),
                format!("names `{path}`, which is not there"),
                "correct the name, or take it off the map",
            )
        },
    ));
    findings
}

fn missing(crates: &BTreeSet<&str>, folders: &BTreeSet<&str>, named: &[(String, usize)]) -> Vec<Finding> {
    let is_named = |path: &str| named.iter().any(|(name, _)| name == path);
    let unnamed_crates =
        crates.iter().filter(|name| !is_named(name)).map(|name| (format!("crates/{name}"), *name));
    let sources =
        folders.iter().filter_map(|folder| folder.strip_prefix("crates/")).filter(|rest| below_src(rest));
    let unnamed_folders = sources.filter(|path| !is_named(path)).map(|path| (format!("crates/{path}"), path));
    unnamed_crates
        .chain(unnamed_folders)
        .map(|(place, name)| {
            let remedy = format!("name it in backticks: `{name}`, with what it is for");
            Finding::error(RULE, place, format!("is not on the map, {MAP}"), remedy)
        })
        .collect()
}

/// Whether `server/src/rest` and not only `server/src` or `server/tests`.
fn below_src(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, rest)| rest.starts_with("src/"))
}

fn exists(tree: &Tree, folders: &BTreeSet<&str>, crates: &BTreeSet<&str>, path: &str) -> bool {
    let full = format!("crates/{path}");
    crates.contains(path) || folders.contains(full.as_str()) || tree.text(&full).is_some()
}

/// What the map names below `crates/`, each with its line: crates (`store`) and paths (`server/src/rest`).
fn named_paths(text: &str) -> Vec<(String, usize)> {
    let mut named = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        for (at, span) in line.split('`').enumerate() {
            if fenced || at % 2 == 1 {
                named.extend(span.split(is_no_path).filter_map(below_crates).map(|path| (path, index + 1)));
            }
        }
    }
    named
}

fn is_no_path(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '/' | '.'))
}

/// The path below `crates/` that a word means, if it means one.
///
/// A bare word is a crate when the arrows know it, else only a word; `crates/…` and `…/src/…` always mean a path, so
/// that what they name must be there.
fn below_crates(word: &str) -> Option<String> {
    let word = word.trim_end_matches(['/', '.']).trim_start_matches("./");
    let path = if let Some(rest) = word.strip_prefix("crates/") {
        rest
    } else if word.contains("/src/") || word.ends_with("/src") {
        word
    } else {
        let name = word.strip_prefix("keywright-").unwrap_or(word);
        return arrows::knows(name).then(|| name.to_owned());
    };
    (!path.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &str)] = &[
        ("crates/store/src/lib.rs", ""),
        ("crates/server/src/rest/keys/get.rs", ""),
        ("crates/server/tests/it.rs", ""),
    ];

    fn check_map(map: &str, expected: &[&str]) {
        let mut files = FILES.to_vec();
        files.push((MAP, map));
        let findings = check(&Tree::of(&files));
        let found: Vec<_> = findings.iter().map(|f| format!("{} {}", f.place, f.problem)).collect();
        assert_eq!(found, expected, "{map}");
    }

    #[test]
    fn a_map_that_names_everything_passes() {
        check_map("`store`, `crates/server`: `server/src/rest/`, `crates/server/src/rest/keys`.", &[]);
        check_map(
            "```\nstore/\nserver/\n  server/src/rest\n  server/src/rest/keys  one file a verb\n```\n",
            &[],
        );
    }

    #[test]
    fn a_crate_or_a_folder_that_is_not_named_fails() {
        check_map(
            "`server`, `server/src/rest`, `server/src/rest/keys`; the store is a word",
            &["crates/store is not on the map, ARCHITECTURE.md"],
        );
        check_map(
            "`store` `server` `server/src/rest/keys/get.rs`",
            &[
                "crates/server/src/rest is not on the map, ARCHITECTURE.md",
                "crates/server/src/rest/keys is not on the map, ARCHITECTURE.md",
            ],
        );
    }

    #[test]
    fn a_name_without_a_thing_fails() {
        let all = "`store` `server` `server/src/rest` `server/src/rest/keys`\n";
        check_map(
            &format!("{all}`server/src/console`"),
            &["ARCHITECTURE.md:2 names `server/src/console`, which is not there"],
        );
        check_map(&format!("{all}`crates/cache`"), &["ARCHITECTURE.md:2 names `cache`, which is not there"]);
        check_map(&format!("{all}`feed`"), &["ARCHITECTURE.md:2 names `feed`, which is not there"]);
        check_map(&format!("{all}`server/src/rest/keys/get.rs` `server/src/rest/<noun>/`"), &[]);
    }

    #[test]
    fn a_missing_map_fails() {
        assert_eq!(check(&Tree::of(FILES))[0].problem, "is missing");
    }
}

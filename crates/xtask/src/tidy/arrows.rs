//! Who may depend on whom. A crate exists only where an edge must be forbidden, so this table *is* the architecture.
//!
//! Dev-dependencies are free, but for a cycle that cargo itself refuses: a test may look anywhere.

use super::finding::Finding;
use crate::workspace::{Kind, Package, folder_of};

const RULE: &str = "arrows";

/// What each crate may use of the others. To draw an arrow, add the name here and say why in the commit.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("verifier", &["model"]),
    ("feed", &["model", "verifier"]),
    ("limiter", &["model", "verifier"]),
    ("store", &["model"]),
    ("control", &["model", "store", "feed"]),
    ("server", &["model", "control", "verifier"]),
    // With the feature `embedded` alone, which a caller of REST leaves out.
    ("client", &["model", "verifier", "feed"]),
    ("keywright", &["model", "verifier", "feed", "limiter", "store", "control", "server", "client"]),
    ("testkit", &["model", "verifier", "feed", "limiter", "store", "control", "server", "client"]),
    ("xtask", &["client"]),
    ("protocol", &[]),
];

/// Why an arrow is missing; the first line that fits is the reason. `*` is any crate.
const REASONS: &[(&str, &str, &str)] = &[
    ("*", "testkit", "testkit is for tests: move it to [dev-dependencies]"),
    ("*", "protocol", "protocol is a model for its own tests: it has nothing that a crate could use"),
    ("protocol", "*", "the model stands alone, so that the code cannot lend it a mistake"),
    ("*", "xtask", "xtask runs the project, it is no part of it"),
    (
        "*",
        "keywright",
        "the binary wires the crates together; what two crates share belongs into a crate below both",
    ),
    (
        "model",
        "*",
        "the rules must stand without I/O, clock, randomness or async; give model the value as an argument",
    ),
    (
        "verifier",
        "*",
        "the one question must not be able to await, to reach SQL or to wait for a writer; let feed bring it in",
    ),
    ("feed", "store", "feed knows a `Source`, not SQL; `keywright` adapts a store to it"),
    ("feed", "*", "feed keeps an index current and decides nothing; hand it what it needs through `Source`"),
    (
        "limiter",
        "*",
        "the limiter gives units and decides nothing else; hand it what counts through `Allowances` or `Exchange`",
    ),
    ("*", "limiter", "what gives units of limits is behind a trait; `keywright` puts a limiter there"),
    ("store", "*", "the store keeps what it is told; deciding is control's, and an index is feed's"),
    (
        "control",
        "verifier",
        "a use case decides on the store's state, never on an index that may be behind it",
    ),
    ("control", "*", "a use case must not know how it was reached; translate in server"),
    ("server", "store", "a handler that can reach SQL can skip `may they?`; call control"),
    ("server", "feed", "waiting until a write is enforced is control's; call control"),
    ("server", "*", "server translates; the typed client is for callers"),
    (
        "client",
        "*",
        "a caller must not have to build the service: an embedded verifier needs the index and the feed alone",
    ),
    ("xtask", "*", "xtask drives the built binary as an operator would"),
];

/// Crates of others that only some of ours may use; dev-dependencies and testkit are free.
const OWNED: &[(&[&str], &[&str], &str)] = &[
    (
        &["rusqlite", "libsqlite3-sys", "tokio-postgres", "deadpool-postgres", "postgres", "sqlx"],
        &["store"],
        "SQL lives in store alone; add what is needed to its trait",
    ),
    (&["redis", "fred"], &["limiter"], "only the limiter speaks to what counts limits for all nodes"),
    (
        &["axum", "hyper", "hyper-util", "tonic"],
        &["server"],
        "only server knows how a request came in; put the handler there",
    ),
    (
        &["tokio", "async-trait", "futures"],
        &["feed", "limiter", "store", "control", "server", "client", "keywright", "xtask"],
        "model and verifier never await; bring the value in as an argument",
    ),
    (
        &["getrandom", "rand"],
        &["keywright", "xtask"],
        "randomness is an argument; only the binary reads the operating system's",
    ),
];

/// Whether the table has a crate of that folder.
pub(super) fn knows(folder: &str) -> bool {
    ARROWS.iter().any(|(name, _)| *name == folder)
}

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, packages: &[Package]) -> Vec<Finding> {
    let from = package.folder();
    let place = format!("crates/{from}/Cargo.toml");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
        let remedy =
            "add it to ARROWS in crates/xtask/src/tidy/arrows.rs: which edge does it exist to forbid?";
        return vec![Finding::error(
            RULE,
            place,
            format!("no arrows are known for the crate `{from}`"),
            remedy,
        )];
    };
    let mut findings = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| dependency.kind != Some(Kind::Dev)) {
        let name = dependency.name.as_str();
        let problem = || format!("`{from}` depends on `{name}`");
        let to = folder_of(name);
        if packages.iter().any(|other| other.name == name) {
            if !allowed.contains(&to) {
                findings.push(Finding::error(RULE, place.as_str(), problem(), reason(from, to)));
            }
        } else if let Some(why) = owned_by_others(from, name) {
            findings.push(Finding::error(RULE, place.as_str(), problem(), why));
        }
    }
    findings
}

fn reason(from: &str, to: &str) -> &'static str {
    let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name;
    let found = REASONS.iter().find(|(a, b, _)| fits(a, from) && fits(b, to));
    found.map_or("see ARROWS in crates/xtask/src/tidy/arrows.rs", |(_, _, why)| why)
}

fn owned_by_others(from: &str, dependency: &str) -> Option<&'static str> {
    let (_, owners, why) = OWNED.iter().find(|(names, ..)| names.contains(&dependency))?;
    let free = from == "testkit" || owners.contains(&from);
    (!free).then_some(*why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    /// Whether `from` with one dependency passes beside all crates of the table.
    fn check_edge(from: &str, to: &str, kind: Option<Kind>, passes: bool) {
        let mut packages: Vec<_> = ARROWS.iter().map(|(name, _)| package(name)).collect();
        let dependency = Dependency { name: package_name(to), kind };
        packages.iter_mut().find(|package| package.folder() == from).unwrap().dependencies.push(dependency);
        let findings = check(&packages);
        assert_eq!(findings.is_empty(), passes, "{from} -> {to} as {kind:?}: {findings:?}");
    }

    fn package(folder: &str) -> Package {
        Package { name: package_name(folder), dependencies: Vec::new() }
    }

    fn package_name(folder: &str) -> String {
        let ours =
            ARROWS.iter().any(|(name, _)| *name == folder) && !["keywright", "xtask"].contains(&folder);
        if ours { format!("keywright-{folder}") } else { folder.to_owned() }
    }

    #[test]
    fn the_arrows_of_the_design_pass() {
        for (from, allowed) in ARROWS {
            for to in *allowed {
                check_edge(from, to, None, true);
            }
        }
    }

    #[test]
    fn every_other_arrow_fails_and_has_its_reason() {
        for (from, allowed) in ARROWS {
            for (to, _) in ARROWS.iter().filter(|(to, _)| !allowed.contains(to) && to != from) {
                check_edge(from, to, None, false);
                assert!(!reason(from, to).starts_with("see ARROWS"), "{from} -> {to} has no reason");
            }
        }
    }

    #[test]
    fn testkit_is_a_dev_dependency_and_nothing_else() {
        check_edge("server", "testkit", Some(Kind::Dev), true);
        check_edge("server", "testkit", Some(Kind::Build), false);
        check_edge("keywright", "testkit", None, false);
    }

    #[test]
    fn sql_stays_in_store() {
        check_edge("store", "rusqlite", None, true);
        check_edge("control", "rusqlite", None, false);
        check_edge("keywright", "tokio-postgres", None, false);
        check_edge("keywright", "rusqlite", Some(Kind::Dev), true);
    }

    #[test]
    fn http_stays_in_server_and_await_out_of_the_index() {
        check_edge("server", "axum", None, true);
        check_edge("control", "axum", None, false);
        check_edge("keywright", "hyper", None, false);
        check_edge("verifier", "tokio", None, false);
        check_edge("testkit", "hyper", None, true);
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_fails() {
        let findings = check(&[package("helpers")]);
        assert!(findings[0].problem.contains("`helpers`"), "{findings:?}");
    }
}

//! The Debian packages that the tests need, installed when they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::out::say;
use crate::process::{command, must_succeed, output_of, says_yes};

/// Each with what needs it.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "compiles the bundled SQLite"),
    ("libc6-dev", "its headers"),
    ("g++", "compiles the fuzzer"),
    ("python3", "runs the vendors' own clients"),
    ("python3-venv", "keeps them out of the system's Python"),
    ("python3-pip", "installs them"),
    ("redis-server", "a real server that limits are shared through"),
    ("nginx-light", "a real gateway that asks the server"),
    ("postgresql", "the other database; the tests start servers of their own"),
    ("libfaketime", "nodes whose clocks run too fast or too slow"),
];

/// What may have come from elsewhere too: the program that counts, the package that has it, and what needs it.
const PROGRAMS: &[(&str, &str, &str)] =
    &[("node", "nodejs", "runs a vendor's own client"), ("npm", "npm", "installs it")];

/// How this machine lets packages be installed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Right {
    Root,
    Sudo,
    None,
}

/// Installs what is missing, and says what. On a system without dpkg it says what must be there and goes on.
pub(super) fn install(root: &Path) -> anyhow::Result<()> {
    if !says_yes(command(root, "dpkg-query").arg("--version")) {
        say(format_args!("no Debian: make sure that the likes of {} are there", names().join(", ")));
        return Ok(());
    }
    let mut missing = missing(&installed(root));
    missing.extend(missing_programs(|program| says_yes(command(root, program).arg("--version"))));
    if missing.is_empty() {
        say("Debian packages: all there");
        return Ok(());
    }
    for (name, why) in &missing {
        say(format_args!("installing the Debian package {name}: {why}"));
    }
    let right = right(root);
    must_succeed(apt(root, right)?.arg("update"))?;
    let mut apt = apt(root, right)?;
    apt.args(["install", "--yes", "--no-install-recommends"]);
    must_succeed(apt.args(missing.iter().map(|(name, _)| name)))
}

fn names() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().map(|(_, name, _)| *name);
    PACKAGES.iter().map(|(name, _)| *name).chain(programs).collect()
}

/// One `name status` a line. dpkg-query exits with 1 when it does not know a package; then it is not installed.
fn installed(root: &Path) -> String {
    let mut listed = String::new();
    for name in names() {
        let format = "--showformat=${Package} ${db:Status-Status}\n";
        let mut query = command(root, "dpkg-query");
        if let Ok(line) = output_of(query.args(["--show", format, name])) {
            listed.push_str(&String::from_utf8_lossy(&line));
        }
    }
    listed
}

fn missing(installed: &str) -> Vec<(&'static str, &'static str)> {
    let is_there = |name: &str| installed.lines().any(|line| line == format!("{name} installed"));
    PACKAGES.iter().filter(|(name, _)| !is_there(name)).copied().collect()
}

fn missing_programs(is_there: impl Fn(&str) -> bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    PROGRAMS.iter().filter(move |(program, ..)| !is_there(program)).map(|(_, name, why)| (*name, *why))
}

fn right(root: &Path) -> Right {
    let is_root = output_of(command(root, "id").arg("-u")).is_ok_and(|id| id.trim_ascii() == b"0");
    if is_root {
        return Right::Root;
    }
    let has_sudo = says_yes(command(root, "sudo").args(["-n", "true"]));
    if has_sudo { Right::Sudo } else { Right::None }
}

fn apt(root: &Path, right: Right) -> anyhow::Result<Command> {
    let frontend = "DEBIAN_FRONTEND=noninteractive";
    let mut apt = match right {
        Right::Root => command(root, "env"),
        Right::Sudo => {
            let mut sudo = command(root, "sudo");
            sudo.args(["-n", "env"]);
            sudo
        }
        Right::None => bail!(
            "these packages are missing and neither root nor passwordless sudo is here; as root: apt-get install {}",
            names().join(" ")
        ),
    };
    apt.args([frontend, "apt-get", "--quiet"]);
    Ok(apt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_not_installed_again() {
        let all: Vec<_> = names().iter().map(|name| format!("{name} installed")).collect();
        assert_eq!(missing(&all.join("\n")), []);
    }

    #[test]
    fn what_was_removed_or_never_there_is_missing() {
        let without: Vec<_> =
            missing("gcc installed\nlibc6-dev installed\ng++ installed\npython3 config-files\n");
        let names: Vec<_> = without.iter().map(|(name, _)| *name).collect();
        let expected =
            ["python3", "python3-venv", "python3-pip", "redis-server", "nginx-light", "postgresql"];
        assert_eq!(names, [&expected[..], &["libfaketime"]].concat());
    }

    #[test]
    fn a_program_is_installed_only_where_none_answers() {
        let names = |is_there: fn(&str) -> bool| -> Vec<_> {
            missing_programs(is_there).map(|(name, _)| name).collect()
        };
        assert_eq!(names(|_| false), ["nodejs", "npm"]);
        assert_eq!(names(|program| program == "node"), ["npm"]);
        assert!(names(|_| true).is_empty());
    }

    #[test]
    fn without_root_and_sudo_it_says_what_to_run() {
        let error = apt(Path::new("."), Right::None).unwrap_err().to_string();
        assert!(error.contains("as root: apt-get install gcc"), "{error}");
    }

    #[test]
    fn sudo_never_asks_for_a_password() {
        let apt = apt(Path::new("."), Right::Sudo).unwrap();
        let words: Vec<_> = apt.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words, ["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    }
}

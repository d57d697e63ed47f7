//! The only place of xtask that prints.

use std::fmt;

/// Prints one line for the person (or the log of CI) that ran the command.
#[expect(clippy::print_stdout, reason = "xtask talks to whoever ran it; this is its one output module")]
pub(crate) fn say(line: impl fmt::Display) {
    println!("{line}");
}

/// Prints why a command could not even be tried.
#[expect(clippy::print_stderr, reason = "xtask talks to whoever ran it; this is its one output module")]
pub(crate) fn complain(line: impl fmt::Display) {
    eprintln!("{line}");
}

//! The one place that prints: answers to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// A terminal that says it is narrower does not know, or cannot show a table anyway.
const WIDTH_MIN: u16 = 40;

/// Where and how answers are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON for programs, in place of tables for people.
    pub json: bool,
    /// How standard output is coloured.
    pub paint: Paint,
    /// How standard error is coloured.
    pub paint_error: Paint,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Output {
    /// Looks at the terminal and at what was asked for.
    pub(crate) fn new(json: bool, choice: ColorChoice, no_color: bool) -> Self {
        let paint = |terminal: bool| match choice {
            ColorChoice::Auto => Paint { on: terminal && !no_color },
            ColorChoice::Always => Paint { on: true },
            ColorChoice::Never => Paint { on: false },
        };
        Self {
            json,
            paint: paint(io::stdout().is_terminal()),
            paint_error: paint(io::stderr().is_terminal()),
        }
    }

    /// A line, or several, of the answer.
    #[expect(clippy::unused_self, reason = "whoever prints has been given the output")]
    pub(crate) fn say(self, text: &str) {
        put(&mut io::stdout().lock(), text);
    }

    /// The answer for programs.
    pub(crate) fn say_json(self, value: &impl Serialize) {
        // What the answers are made of has text keys only, so that writing it as JSON cannot fail.
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.say(&text);
    }

    /// Something that is not the answer but that people want to know.
    #[expect(clippy::unused_self, reason = "whoever prints has been given the output")]
    pub(crate) fn note(self, text: &str) {
        put(&mut io::stderr().lock(), text);
    }

    /// Something that people should look at.
    pub(crate) fn warn(self, text: &str) {
        let mark = self.paint_error.yellow("warning:");
        self.note(&format!("{mark} {text}"));
    }

    /// What went wrong.
    pub(crate) fn error(self, text: &str) {
        let mark = self.paint_error.red("error:");
        self.note(&format!("{mark} {text}"));
    }

    /// How wide the terminal is; `None` when the answer goes elsewhere.
    #[expect(clippy::unused_self, reason = "whoever prints has been given the output")]
    pub(crate) fn width(self) -> Option<u16> {
        io::stdout()
            .is_terminal()
            .then(|| comfy_table::Table::new().width())
            .flatten()
            .filter(|width| *width >= WIDTH_MIN)
    }

    /// Whether there is somebody to ask.
    pub(crate) fn is_interactive(self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a question that `y` answers with yes.
    #[expect(clippy::unused_self, reason = "whoever prints has been given the output")]
    pub(crate) fn confirm(self, question: &str) -> bool {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question} [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

/// A reader that has gone (`| head`) is no fault of ours, and there is nobody left to tell.
fn put(to: &mut dyn io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.write_all(b"\n")).and_then(|()| to.flush());
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether there are any.
    pub on: bool,
}

impl Paint {
    /// Bad, gone, less.
    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Good, new, more.
    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Worth a look.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// More important.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_asked_for_or_left_out() {
        assert!(Output::new(false, ColorChoice::Always, true).paint.on);
        assert!(!Output::new(false, ColorChoice::Never, false).paint.on);
        assert_eq!(
            (Paint { on: true }.red("x"), Paint { on: false }.red("x")),
            ("\u{1b}[31mx\u{1b}[0m".into(), "x".into())
        );
    }
}

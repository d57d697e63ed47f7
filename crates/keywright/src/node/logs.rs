//! Where logs go: to standard error, as text or as JSON, one event a line.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{LOG, LOG_FORMAT, Settings};

/// Begins to log as the settings say. What is logged never holds a secret: they are types that do not print.
pub(super) fn begin(settings: &Settings) -> anyhow::Result<()> {
    let filter = settings.text(&LOG).unwrap_or_default();
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("`{filter}` is no filter for the log"))?;
    let colours = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let begun = if settings.text(&LOG_FORMAT) == Some("json") {
        builder.json().flatten_event(true).with_writer(Lines { inner: io::stderr, colours: false }).try_init()
    } else {
        builder.with_ansi(colours).with_writer(Lines { inner: io::stderr, colours }).try_init()
    };
    begun.map_err(|error| anyhow::anyhow!("logging cannot begin: {error}"))
}

/// Keeps each event on its line: a field may hold what a stranger has chosen. The text format escapes only texts, and JSON
/// not all that some reader takes for the end of a line. What is put instead is JSON's own escape.
struct Lines<Inner> {
    inner: Inner,
    /// Whether escape sequences are colours. Those within fields are escaped before they come here.
    colours: bool,
}

impl<'a, Inner: MakeWriter<'a>> MakeWriter<'a> for Lines<Inner> {
    type Writer = Line<Inner::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { inner: self.inner.make_writer(), colours: self.colours }
    }
}

/// Writes one event, which comes whole, with a line break at its end.
struct Line<Inner> {
    inner: Inner,
    colours: bool,
}

impl<Inner: Write> Write for Line<Inner> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // Nothing fails that is written to a text.
        let mut line = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            let breaks = character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
            if breaks && !(self.colours && character == '\u{1b}') {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged, in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log_all(odd: &str) {
        let error = io::Error::other(odd.to_owned());
        tracing::warn!(text = odd, shown = %odd, debug = ?odd, error = &error as &dyn std::error::Error, "one");
        tracing::warn!("two {odd}");
    }

    #[test]
    fn two_formats_write_every_event_on_one_line() {
        let odd = "x\r\nforged\u{1b}[31m\u{7}\u{85}\u{2028}\"} y";
        let text = Memory::default();
        let memory = text.clone();
        let lines = Lines { inner: move || memory.clone(), colours: false };
        let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(lines).finish();
        tracing::subscriber::with_default(logger, || log_all(odd));
        let json = Memory::default();
        let memory = json.clone();
        let logger = tracing_subscriber::fmt().json().flatten_event(true);
        let lines = Lines { inner: move || memory.clone(), colours: false };
        let logger = logger.with_writer(lines).finish();
        tracing::subscriber::with_default(logger, || log_all(odd));
        for memory in [&text, &json] {
            let log = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
            assert_eq!(log.matches('\n').count(), 2, "{log:?}");
            assert!(log.ends_with('\n') && log.contains("one") && log.contains("two x"), "{log:?}");
            let breaks = |character: char| character != '\n' && character.is_control();
            assert!(!log.contains(breaks), "{log:?}");
            assert!(!log.contains('\u{2028}') && log.contains(r"\u2028"), "{log:?}");
        }
        for line in String::from_utf8(json.0.lock().unwrap().clone()).unwrap().lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(event["text"] == odd || event["message"] == format!("two {odd}"), "{line}");
        }
    }
}

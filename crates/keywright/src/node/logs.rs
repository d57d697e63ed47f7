//! Where logs go: to standard error, as text or as JSON.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::settings::{LOG, LOG_FORMAT, Settings};

/// Begins to log as the settings say. What is logged never holds a secret: they are types that do not print.
pub(super) fn begin(settings: &Settings) -> anyhow::Result<()> {
    let filter = settings.text(&LOG).unwrap_or_default();
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("`{filter}` is no filter for the log"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = if settings.text(&LOG_FORMAT) == Some("json") {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    begun.map_err(|error| anyhow::anyhow!("logging cannot begin: {error}"))
}

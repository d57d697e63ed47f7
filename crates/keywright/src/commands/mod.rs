//! What each command does with the typed client.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod failure;
pub(crate) mod keys;
pub(crate) mod nouns;
pub(crate) mod verify;
mod write;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use keywright_client::{Client, Options, Secret};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::ambient::{now, random_name};
use crate::output::Output;
use crate::render::key::Layout;
use crate::settings::{KEY, ORG, SERVER, Settings};

/// The variable that a secret is taken from instead of standard input.
const SECRET_VARIABLE: &str = "KEYWRIGHT_SECRET";
/// No secret is longer.
const SECRET_BYTES_MAX: u64 = 4_096;
/// No body is longer.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What came of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; `verify`: allowed.
    Done,
    /// A no.
    No,
}

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where answers go.
    pub output: Output,
    /// The settings.
    pub settings: Settings,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

impl Session {
    /// A client of the server that the settings name, with their key.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let key = self.settings.text(&KEY).map(Secret::new);
        if key.is_none() {
            bail!(
                "no key to call with: set KEYWRIGHT_KEY to a management key, or to the root key that the first start printed"
            );
        }
        self.client_with(key)
    }

    /// A client that calls with another secret.
    pub(crate) fn client_with(&self, key: Option<Secret>) -> anyhow::Result<Client> {
        let server = self.settings.text(&SERVER).unwrap_or_default();
        let options = Options {
            org: self.settings.text(&ORG).map(str::to_owned),
            idempotency_keys: Some(Arc::new(random_name)),
            ..Options::default()
        };
        Ok(Client::with(server, key, options)?)
    }

    /// How answers are laid out.
    pub(crate) fn layout(&self) -> Layout {
        Layout { now: now(), width: self.output.width(), paint: self.output.paint }
    }

    /// A secret from `KEYWRIGHT_SECRET`, or else from standard input, without the line's end.
    pub(crate) fn secret(&self) -> anyhow::Result<Secret> {
        if let Some(secret) = self.environment.get(SECRET_VARIABLE) {
            return Ok(Secret::new(secret.as_str()));
        }
        if std::io::stdin().is_terminal() {
            self.output.note(
                "Type or paste the secret, then press return (or pipe it in, or set KEYWRIGHT_SECRET):",
            );
            let mut line = Zeroizing::new(String::new());
            std::io::stdin().read_line(&mut line).context("standard input cannot be read")?;
            return one_line(&line);
        }
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(SECRET_BYTES_MAX)
            .read_to_string(&mut text)
            .context("standard input cannot be read")?;
        one_line(&text)
    }
}

fn one_line(text: &str) -> anyhow::Result<Secret> {
    let secret = text.strip_suffix('\n').unwrap_or(text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        bail!("there is no secret on standard input");
    }
    if secret.contains('\n') {
        bail!("there is more than one line on standard input");
    }
    Ok(Secret::new(secret))
}

/// JSON that was given inline, in a file, or on standard input (`-`).
pub(crate) fn json(source: &str) -> anyhow::Result<Value> {
    let inline = source.trim_start();
    if inline.starts_with(['{', '[']) || inline == "null" {
        return serde_json::from_str(inline).context("the JSON in the argument cannot be read");
    }
    let mut text = Zeroizing::new(String::new());
    if source == "-" {
        std::io::stdin()
            .take(JSON_BYTES_MAX)
            .read_to_string(&mut text)
            .context("standard input cannot be read")?;
        return serde_json::from_str(&text).context("standard input is not JSON");
    }
    let file = std::fs::File::open(source).with_context(|| format!("{source} cannot be opened"))?;
    file.take(JSON_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("{source} cannot be read"))?;
    serde_json::from_str(&text).with_context(|| format!("{source} is not JSON"))
}

/// The same, of an object.
pub(crate) fn json_object(source: &str) -> anyhow::Result<serde_json::Map<String, Value>> {
    match json(source)? {
        Value::Object(map) => Ok(map),
        _ => bail!("this must be a JSON object"),
    }
}

/// An error in words, from a parser.
pub(crate) fn usage(message: String) -> anyhow::Error {
    anyhow::Error::msg(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        assert_eq!(one_line("kw_x\r\n").unwrap(), Secret::new("kw_x"));
        assert_eq!(one_line("kw_x").unwrap(), Secret::new("kw_x"));
        assert!(one_line("\n").is_err() && one_line("").is_err() && one_line("a\nb\n").is_err());
    }

    #[test]
    fn json_is_inline_or_in_a_file() {
        assert_eq!(json(" [1]").unwrap(), serde_json::json!([1]));
        assert_eq!(json("null").unwrap(), Value::Null);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, "{\"a\":1}").unwrap();
        assert_eq!(json_object(path.to_str().unwrap()).unwrap().get("a"), Some(&1.into()));
        assert!(json("no/such/file").is_err() && json("{").is_err() && json_object("[]").is_err());
    }
}

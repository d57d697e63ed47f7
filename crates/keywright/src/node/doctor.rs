//! `keywright doctor`: what is wrong with an installation, or soon will be. Beside a running server.

mod cluster;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use keywright_control::Vault;
use keywright_store::sqlite::LOCK;
use keywright_store::{Installation, WrappedKey};
use serde_json::json;

use super::data::{Reading, entropy};
use super::master::{self, Place};
use crate::commands::{Outcome, Session};
use crate::render::table::{Cell, Tone, table};
use crate::settings::{DATABASE, LISTEN, PLAINTEXT_OK, Settings, TLS_CERT, TLS_KEY, is_postgres};

/// Below this much free space somebody should look.
const FREE_BYTES_MIN: u64 = 512 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    Warning,
    Problem,
}

struct Finding {
    what: &'static str,
    level: Level,
    says: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, what: &'static str, says: impl Into<String>) {
        self.0.push(Finding { what, level: Level::Good, says: says.into() });
    }

    fn warning(&mut self, what: &'static str, says: impl Into<String>) {
        self.0.push(Finding { what, level: Level::Warning, says: says.into() });
    }

    fn problem(&mut self, what: &'static str, says: impl Into<String>) {
        self.0.push(Finding { what, level: Level::Problem, says: says.into() });
    }
}

/// Looks at everything that can be looked at without changing anything.
pub(crate) async fn doctor(session: &Session) -> Outcome {
    let settings = &session.settings;
    let mut findings = Findings::default();
    findings.good(
        "settings",
        settings.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string()),
    );
    match settings.text(&DATABASE) {
        Some(url) if is_postgres(url) => cluster::look(settings, url, &mut findings).await,
        _ => data_directory(settings, &mut findings),
    }
    listening(settings, &mut findings);
    tell(session, &findings);
    let bad = findings.0.iter().any(|finding| finding.level == Level::Problem);
    if bad { Outcome::No } else { Outcome::Done }
}

fn data_directory(settings: &Settings, findings: &mut Findings) {
    let directory = master::data_dir(settings);
    folder(&directory, findings);
    space(&directory, findings);
    running(&directory, findings);
    match Reading::open(settings) {
        Ok(reading) => {
            let keyring = reading.reader.keyring().map_err(anyhow::Error::from);
            installation(settings, &reading.installation, keyring, findings);
        }
        Err(error) => findings.problem("database", format!("{error:#}")),
    }
}

fn folder(directory: &Path, findings: &mut Findings) {
    if !directory.is_dir() {
        findings.problem(
            "data directory",
            format!("{} is not there: `keywright serve` makes it", directory.display()),
        );
    } else if master::is_open_to_others(directory) {
        findings.warning(
            "data directory",
            format!("{} can be read by others than its owner: chmod 700", directory.display()),
        );
    } else {
        findings.good("data directory", directory.display().to_string());
    }
}

fn space(directory: &Path, findings: &mut Findings) {
    let Ok(status) = nix::sys::statvfs::statvfs(directory) else { return };
    let free = status.blocks_available().saturating_mul(status.fragment_size());
    let says = format!("{} free", indicatif::HumanBytes(free));
    if free < FREE_BYTES_MIN { findings.warning("space", says) } else { findings.good("space", says) }
}

fn running(directory: &Path, findings: &mut Findings) {
    let Ok(lock) = File::open(directory.join(LOCK)) else { return };
    match lock.try_lock_shared() {
        Ok(()) => findings.good("server", "none is running on this directory"),
        Err(_) => findings.good("server", "running"),
    }
}

fn installation(
    settings: &Settings,
    installation: &Installation,
    keyring: anyhow::Result<Vec<WrappedKey>>,
    findings: &mut Findings,
) {
    findings.good("database", "opens");
    match master::find_for(settings, &installation.master_fingerprint) {
        Err(error) => findings.problem("master key", error.to_string()),
        Ok(found) => {
            if let Place::Beside(path) | Place::Named(path) = &found.place
                && master::is_open_to_others(path)
            {
                findings.warning(
                    "master key",
                    format!("{} can be read by others than its owner: chmod 600", path.display()),
                );
            }
            let opened = keyring.and_then(|keyring| Ok(Vault::open(found.key.clone(), &keyring, entropy())?));
            match opened {
                Ok(_) => findings.good("master key", format!("{} opens the keyring", found.fingerprint())),
                Err(error) => findings.problem("keyring", format!("{error:#}")),
            }
        }
    }
    match installation.master_exported_at {
        None => findings.warning(
            "export",
            "the master key was never exported; losing it ends every key: keywright master-key export --to age1…",
        ),
        Some(at) => findings.good("export", format!("the master key was exported at {at}")),
    }
    match installation.root_digest {
        Some(_) => findings.good(
            "root key",
            "in force; `keywright root disable` switches it off once management keys exist",
        ),
        None => findings.good("root key", "disabled"),
    }
}

fn listening(settings: &Settings, findings: &mut Findings) {
    let address: Option<SocketAddr> = settings.text(&LISTEN).and_then(|text| text.parse().ok());
    let Some(address) = address else { return };
    let (certificate, key) = (settings.path(&TLS_CERT), settings.path(&TLS_KEY));
    match (&certificate, &key) {
        (None, None) if address.ip().to_canonical().is_loopback() => {
            findings.good("listen", format!("{address}, this machine only"));
        }
        (None, None) if settings.flag(&PLAINTEXT_OK) => {
            findings
                .warning("listen", format!("{address} without TLS: something in front of it must end TLS"));
        }
        (None, None) => {
            findings
                .problem("listen", format!("{address} needs --tls-cert and --tls-key, or --plaintext-ok"));
        }
        (Some(_), Some(_)) => findings.good("listen", format!("{address} with TLS")),
        _ => findings.problem("listen", "tls-cert and tls-key go together"),
    }
    for path in [certificate, key].into_iter().flatten() {
        if let Err(error) = File::open(&path) {
            findings.problem("tls", format!("{} cannot be read: {error}", path.display()));
        }
    }
}

fn tell(session: &Session, findings: &Findings) {
    let name = |level: Level| match level {
        Level::Good => ("ok", Tone::Good),
        Level::Warning => ("warning", Tone::Notable),
        Level::Problem => ("problem", Tone::Bad),
    };
    if session.output.json {
        let all = findings
            .0
            .iter()
            .map(|one| json!({"what": one.what, "level": name(one.level).0, "says": one.says}));
        session.output.say_json(&all.collect::<Vec<_>>());
        return;
    }
    let rows = findings.0.iter().map(|one| {
        let (level, tone) = name(one.level);
        vec![Cell::new(level, tone), one.what.into(), one.says.as_str().into()]
    });
    session.output.say(&table(
        &["state", "what", "found"],
        rows.collect(),
        session.output.width(),
        session.output.paint.on,
    ));
}

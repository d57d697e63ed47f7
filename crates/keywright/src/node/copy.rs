//! `keywright copy`: an installation moves from a data directory into PostgreSQL, and may be broken off on the way.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use keywright_model::revision::Incarnation;
use keywright_model::secret::Entropy as _;
use keywright_store::copy::{Begun, Copied, CopyError, copy as copy_rows};
use keywright_store::postgres::CopyTarget;
use keywright_store::sqlite::{DATABASE as FILE, SqliteFile};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::master;
use crate::ambient::SystemEntropy;
use crate::cli::data::CopyArgs;
use crate::commands::{Outcome, Session};
use crate::progress::Progress;
use crate::settings::{DATABASE, Settings, has_password, is_postgres, without_password};

/// Said of everything that a second run may not meet again.
const AGAIN: &str =
    "the copy is not finished; what has arrived is kept, and the same command goes on from there";

/// Copies an installation, or goes on with a copy that was broken off.
pub(crate) async fn copy(session: &Session, args: &CopyArgs) -> anyhow::Result<Outcome> {
    let from = source(&session.settings, args.from.as_deref())?;
    let to = target(&session.settings, args.to.as_deref())?;
    if args.to.as_deref().is_some_and(has_password) {
        session
            .output
            .warn("a password in --to can be read by every process of this machine; in KEYWRIGHT_DATABASE it cannot");
    }
    let file = SqliteFile::open_existing(&from)?;
    let fingerprint = file.installation()?.context("the source was never served from")?.master_fingerprint;
    let database = CopyTarget::open(to).await?;
    let mut bits = [0; 8];
    SystemEntropy.fill(&mut bits);
    let incarnation = Incarnation(u64::from_le_bytes(bits));
    let progress = Progress::of("copying", 0);
    let mut tell = |done, all| progress.of_at(done, all);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let copied = tokio::select! {
        copied = copy_rows(&file, &database, incarnation, &mut tell) => copied,
        _ = terminate.recv() => bail!(AGAIN),
        _ = interrupt.recv() => bail!(AGAIN),
    };
    drop(progress);
    match copied {
        Ok(copied) => {
            told(session, &from, to, &copied);
            keep_master_key(session, &from, &fingerprint);
            Ok(Outcome::Done)
        }
        Err(error @ (CopyError::Store(_) | CopyError::Open(_))) => {
            Err(anyhow::Error::from(error).context(AGAIN))
        }
        Err(error) => Err(error.into()),
    }
}

/// The data directory that is copied.
fn source(settings: &Settings, from: Option<&str>) -> anyhow::Result<PathBuf> {
    let Some(from) = from else { return Ok(master::data_dir(settings)) };
    if is_postgres(from) {
        bail!(
            "a copy goes from a data directory into PostgreSQL; from PostgreSQL its own tools copy, see docs/operate/cluster.md"
        );
    }
    let path = match from.strip_prefix("sqlite") {
        Some("") => master::data_dir(settings),
        Some(path) if path.len() > 1 && path.starts_with(':') => PathBuf::from(path.trim_start_matches(':')),
        _ => bail!("--from must be sqlite:DIR, such as sqlite:./keywright-data"),
    };
    // People name the file as often as its folder.
    Ok(if path.ends_with(FILE) { path.parent().unwrap_or(Path::new("")).to_owned() } else { path })
}

/// The database that it is copied into.
fn target<'a>(settings: &'a Settings, to: Option<&'a str>) -> anyhow::Result<&'a str> {
    match to.or_else(|| settings.text(&DATABASE).filter(|text| is_postgres(text))) {
        Some(url) if is_postgres(url) => Ok(url),
        // It may hold a password, so it is not repeated.
        Some(_) => bail!("--to must begin with postgres://"),
        None => {
            bail!("no database to copy into: set KEYWRIGHT_DATABASE to postgres://…, or name it with --to")
        }
    }
}

fn told(session: &Session, from: &Path, to: &str, copied: &Copied) {
    let output = session.output;
    let Copied { begun, rows, revision, entries, incarnation: _ } = copied;
    let to = without_password(to);
    if output.json {
        let begun = match begun {
            Begun::Anew => "anew",
            Begun::GoneOn => "gone_on",
            Begun::Outdated => "outdated",
            Begun::Whole => "whole",
        };
        output.say_json(&json!({
            "from": from, "to": to, "begun": begun, "rows": rows, "revision": revision.0, "audit_entries": entries,
        }));
        return;
    }
    match begun {
        Begun::Anew | Begun::Whole => {}
        Begun::GoneOn => output.note("went on with what an earlier run had copied"),
        Begun::Outdated => {
            output.note("the source was written to since an earlier run, so its half copy was begun anew");
        }
    }
    let what = format!("{rows} rows, {entries} audit entries, revision {}", revision.0);
    if *begun == Begun::Whole {
        output.say(&format!("{to} is a copy of {} already ({what})", from.display()));
    } else {
        output.say(&format!("copied {} to {to}, and compared every row ({what})", from.display()));
    }
    output.note(&format!(
        "Serve from the copy only: {} is left as it was, and what is revoked in one stays good in the other. Revisions that \
         clients hold from before mean nothing now.",
        from.display()
    ));
}

/// The copy opens only with the master key, which is not in it.
fn keep_master_key(session: &Session, from: &Path, fingerprint: &str) {
    let beside = from.join(master::FILE);
    let lies = if beside.exists() { format!(", which lies in {}", beside.display()) } else { String::new() };
    session.output.note(&format!(
        "Its nodes need the master key {fingerprint}{lies}: see KEYWRIGHT_MASTER_KEY_FILE in docs/operate/cluster.md."
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, load};

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let flags = [("data-dir".to_owned(), vec!["own".to_owned()])].into();
        load(&Sources { flags, environment, config: None }).unwrap()
    }

    #[test]
    fn a_source_is_a_data_directory_however_it_is_named() {
        let settings = settings(&[]);
        for (from, directory) in [
            (None, "own"),
            (Some("sqlite"), "own"),
            (Some("sqlite:a/b"), "a/b"),
            (Some("sqlite:/a/keywright.db"), "/a"),
        ] {
            assert_eq!(source(&settings, from).unwrap(), Path::new(directory), "{from:?}");
        }
        for from in ["a/b", "sqlite:", "sqlit", "sqlitea", "mysql://x"] {
            assert!(source(&settings, Some(from)).unwrap_err().to_string().contains("sqlite:DIR"), "{from}");
        }
        let back = source(&settings, Some("postgres://u@h/d")).unwrap_err().to_string();
        assert!(back.contains("its own tools"), "{back}");
    }

    #[test]
    fn a_target_is_named_or_set_and_never_repeated() {
        let set = settings(&[("KEYWRIGHT_DATABASE", "postgres://u:hidden@h/set")]);
        assert_eq!(target(&set, None).unwrap(), "postgres://u:hidden@h/set");
        assert_eq!(target(&set, Some("postgres://u@h/said")).unwrap(), "postgres://u@h/said");
        let wrong = target(&set, Some("mysql://u:hidden@h/d")).unwrap_err().to_string();
        assert!(wrong.contains("postgres://") && !wrong.contains("hidden"), "{wrong}");
        assert!(target(&settings(&[]), None).unwrap_err().to_string().contains("KEYWRIGHT_DATABASE"));
    }
}

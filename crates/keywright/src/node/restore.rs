//! `keywright restore`: a backup as the data directory, in a new life, and nothing that was ended comes back unnoticed.

use keywright_control::leases::LEASE_SECONDS;
use keywright_model::revision::Incarnation;
use keywright_model::secret::Entropy as _;
use keywright_store::sqlite::{
    DATABASE, Ended, Restore, Restored, Revival, Revivals, restore as put_back, restore_check,
};
use serde_json::json;

use super::{door, master};
use crate::ambient::{SystemEntropy, now};
use crate::cli::data::RestoreArgs;
use crate::commands::{Outcome, Session};
use crate::progress::Progress;
use crate::render::table::{Cell, table};

/// Puts a backup in the present data's place, which is kept aside.
pub(crate) fn restore(session: &Session, args: &RestoreArgs) -> anyhow::Result<Outcome> {
    let now = now();
    let directory =
        door::directory(&session.settings, "restore it with its own tools, see docs/operate/cluster.md")?;
    let output = session.output;
    let revivals = restore_check(&args.from, &directory, now)?;
    if !revivals.is_empty() {
        // The answer of a restore that is done lists them too, and programs read one document.
        if !(args.revive && output.json) {
            tell(session, &revivals);
        }
        if !args.revive {
            output.error(&format!(
                "{} would be good again, so nothing was restored. If that is meant, say --revive, and revoke anew what must \
                 not be",
                count(revivals.len())
            ));
            return Ok(Outcome::No);
        }
    }
    let aside = format!("{DATABASE}.{}", now.to_string().replace(':', "-"));
    let replaces = directory.join(DATABASE).exists();
    if replaces && output.is_interactive() && !args.yes {
        let question = format!("Replace the data in {}? It is kept as {aside}.", directory.display());
        if !output.confirm(&question) {
            return Ok(Outcome::No);
        }
    }
    let mut bits = [0; 8];
    SystemEntropy.fill(&mut bits);
    let progress = Progress::counting("restoring");
    progress.show();
    let Restored { manifest, leases_known } = put_back(&Restore {
        backup: args.from.clone(),
        directory: directory.clone(),
        incarnation: Incarnation(u64::from_le_bytes(bits)),
        aside: aside.clone(),
        now,
        revivals: if args.revive { Revivals::Accept } else { Revivals::Refuse },
        lease_ms_max: LEASE_SECONDS.end() * 1_000,
    })?;
    drop(progress);
    let kept = replaces.then_some(aside);
    if output.json {
        output.say_json(&json!({"restored": directory, "manifest": manifest, "kept_as": kept, "revived": rows(&revivals)}));
    } else {
        output.say(&format!(
            "restored {} as of {} (revision {})",
            directory.display(),
            manifest.created_at,
            manifest.revision
        ));
        if let Some(kept) = kept {
            output.note(&format!("what was there is kept as {}", directory.join(kept).display()));
        }
        if !leases_known {
            output.note(
                "nothing says which followers held a lease, so for up to 76 s from its start the server answers changes as pending",
            );
        }
    }
    tell_master(session, &manifest.master_fingerprint);
    Ok(Outcome::Done)
}

/// Says so now, not at the next start, when the restored data cannot be opened.
fn tell_master(session: &Session, fingerprint: &str) {
    if let Err(error) = master::find_for(&session.settings, fingerprint) {
        session.output.warn(&error.to_string());
    }
}

fn tell(session: &Session, revivals: &[Revival]) {
    if session.output.json {
        session.output.say_json(&json!({"would_revive": rows(revivals)}));
        return;
    }
    let cells = revivals
        .iter()
        .map(|one| vec![Cell::from(one.key.to_string()), one.name.as_str().into(), ended(one.ended).into()]);
    let text = table(
        &["key", "name", "since the backup"],
        cells.collect(),
        session.output.width(),
        session.output.paint.on,
    );
    session.output.say(&text);
}

fn rows(revivals: &[Revival]) -> Vec<serde_json::Value> {
    let row = |one: &Revival| json!({"key": one.key, "name": one.name, "ended": ended(one.ended)});
    revivals.iter().map(row).collect()
}

fn ended(ended: Ended) -> String {
    match ended {
        Ended::Revoked => "revoked".to_owned(),
        Ended::Deleted => "deleted".to_owned(),
        Ended::Purged => "deleted, its record gone".to_owned(),
        Ended::Disabled => "disabled or expired".to_owned(),
        Ended::Superseded(secret) => format!("its secret {secret} was ended"),
    }
}

fn count(keys: usize) -> String {
    if keys == 1 {
        "1 key or secret that was ended since".to_owned()
    } else {
        format!("{keys} keys or secrets that were ended since")
    }
}

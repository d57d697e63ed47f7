//! `keywright backup`: a copy of the database, as it is at one moment, beside a running server.

use serde_json::json;

use super::data::Reading;
use crate::ambient::now;
use crate::cli::data::BackupArgs;
use crate::commands::{Outcome, Session};
use crate::progress::Progress;

/// Copies the database into a new directory.
pub(crate) fn backup(session: &Session, args: &BackupArgs) -> anyhow::Result<Outcome> {
    let reading = Reading::open(&session.settings)?;
    let progress = Progress::of("copying", 0);
    let manifest = reading.reader.backup(&args.to, now(), &mut |done, all| progress.of_at(done, all))?;
    drop(progress);
    if session.output.json {
        session.output.say_json(&json!({"backup": args.to, "manifest": manifest}));
        return Ok(Outcome::Done);
    }
    session.output.say(&format!(
        "backed up to {} (revision {}, master key {})",
        args.to.display(),
        manifest.revision,
        manifest.master_fingerprint
    ));
    if reading.installation.master_exported_at.is_none() {
        session.output.warn("the backup opens only with the master key, which was never exported: see `keywright master-key export`");
    }
    Ok(Outcome::Done)
}

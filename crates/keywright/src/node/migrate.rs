//! `keywright migrate`: the tables of this version, made or changed without serving; one transaction, so that it is done or
//! not, whenever it is broken off.

use keywright_store::Migrated;
use keywright_store::postgres::PostgresDatabase;
use keywright_store::sqlite::SqliteFile;
use serde_json::json;

use super::{door, master};
use crate::commands::{Outcome, Session};
use crate::progress::Progress;
use crate::settings::{DATABASE, is_postgres};

/// Brings the schema of the database that the settings name up to this program's.
pub(crate) async fn migrate(session: &Session) -> anyhow::Result<Outcome> {
    let settings = &session.settings;
    let progress = Progress::counting("migrating");
    progress.show();
    let Migrated { from, to } = match settings.text(&DATABASE) {
        Some(url) if is_postgres(url) => PostgresDatabase::migrate(url).await?,
        _ => SqliteFile::migrate(&master::data_dir(settings))?,
    };
    drop(progress);
    let place = door::place(settings);
    if session.output.json {
        session.output.say_json(&json!({"database": place, "from": from, "to": to}));
    } else if from == to {
        session.output.say(&format!("{place} has the tables of this version (schema {to})"));
    } else {
        session.output.say(&format!("{place} was brought from schema {from} to schema {to}"));
    }
    Ok(Outcome::Done)
}

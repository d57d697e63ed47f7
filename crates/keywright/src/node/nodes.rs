//! `keywright nodes …`: who verifies in a cluster, what holds a write up, and forgetting one that is dead.
//!
//! It asks the database and no node, so that it works when they do not.

use anyhow::{Context as _, bail};
use keywright_model::revision::Revision;
use keywright_store::postgres::PostgresDatabase;
use keywright_store::{Member, MemberStatus, Members as _};
use serde_json::{Value, json};

use crate::cli::data::NodesCommand;
use crate::commands::{Outcome, Session};
use crate::render::table::{Cell, Tone, table};
use crate::settings::{DATABASE, Settings, is_postgres};

/// A row that was not renewed for so long is likely dead.
const SILENT_MS: u64 = 3_000;

/// Shows who verifies, or forgets one.
pub(crate) async fn nodes(session: &Session, command: &NodesCommand) -> anyhow::Result<Outcome> {
    let database = database(&session.settings).await?;
    match command {
        NodesCommand::List => list(session, &database).await,
        NodesCommand::Forget { id, yes } => forget(session, &database, id, *yes).await,
    }
}

/// The cluster's database.
async fn database(settings: &Settings) -> anyhow::Result<PostgresDatabase> {
    match settings.text(&DATABASE) {
        Some(url) if is_postgres(url) => Ok(PostgresDatabase::open(url).await?),
        _ => bail!("nodes share a PostgreSQL database: name it with KEYWRIGHT_DATABASE or --database"),
    }
}

/// What a row means for writes.
pub(super) fn holds_up(member: &Member, head: Revision) -> bool {
    member.status.may_answer() && member.applied < head
}

/// Whether a row looks as if nobody stood behind it.
pub(super) fn is_silent(member: &Member) -> bool {
    member.status.may_answer() && member.renewed_ago_ms.is_none_or(|ago| ago > SILENT_MS)
}

async fn list(session: &Session, database: &PostgresDatabase) -> anyhow::Result<Outcome> {
    let (members, head) = (database.members(None).members().await?, database.head().await?);
    let output = session.output;
    if output.json {
        output.say_json(&json!({
            "head": head.0, "nodes": members.iter().map(|member| as_json(member, head)).collect::<Vec<_>>(),
        }));
        return Ok(Outcome::Done);
    }
    let heads = ["node", "name", "status", "applied", "behind", "renewed", "lease", "address", "version"];
    let rows = members.iter().map(|member| row(member, head)).collect();
    output.say(&table(&heads, rows, output.width(), output.paint.on));
    output.say(&format!("the newest revision is {}", head.0));
    let waited: Vec<_> = members.iter().filter(|member| holds_up(member, head)).collect();
    if !waited.is_empty() {
        output.note(&format!("writes wait for {} of them", waited.len()));
    }
    Ok(Outcome::Done)
}

fn as_json(member: &Member, head: Revision) -> Value {
    json!({
        "id": member.id, "name": member.name, "status": member.status.as_str(), "follows": member.scope,
        "applied": member.applied.0, "behind": head.0.saturating_sub(member.applied.0),
        "holds_up_writes": holds_up(member, head), "lease_ms": member.lease_ms,
        "renewed_ago_ms": member.renewed_ago_ms, "address": member.address, "version": member.version,
    })
}

/// A node's slot, or that it is a follower and whose.
fn name_of(member: &Member) -> String {
    match (&member.name, &member.scope) {
        (Some(name), None) => name.clone(),
        (Some(name), Some(_)) => format!("follower {name}"),
        (None, Some(follows)) => format!("follower of {}", follows.by),
        (None, None) => "-".to_owned(),
    }
}

fn row(member: &Member, head: Revision) -> Vec<Cell> {
    let status = match member.status {
        MemberStatus::Live if is_silent(member) => Cell::new("live, silent", Tone::Bad),
        MemberStatus::Fenced => Cell::new("fenced", Tone::Bad),
        status => Cell::from(status.as_str()),
    };
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let renewed =
        member.renewed_ago_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", seconds(ms)));
    vec![
        Cell::from(member.id.to_string()),
        Cell::from(name_of(member)),
        status,
        Cell::from(member.applied.0.to_string()),
        Cell::from(head.0.saturating_sub(member.applied.0).to_string()),
        Cell::from(renewed),
        Cell::from(seconds(member.lease_ms)),
        Cell::from(member.address.clone()),
        Cell::from(member.version.clone()),
    ]
}

async fn forget(
    session: &Session,
    database: &PostgresDatabase,
    id: &str,
    yes: bool,
) -> anyhow::Result<Outcome> {
    let id = id.parse().context("a node is named as `keywright nodes list` shows it, node_…")?;
    let output = session.output;
    let question = "Say that this node is dead? If it still runs, it may answer by old rights until its lease ends, though \
                    writes are then acknowledged as enforced.";
    let sure = yes || (output.is_interactive() && output.confirm(question));
    if !sure {
        if !output.is_interactive() {
            output.error("say --yes: a node that still runs may answer by old rights until its lease ends");
        }
        return Ok(Outcome::No);
    }
    if database.members(None).bury(id).await? {
        output.note(&format!("{id} is gone: no write waits for it"));
        return Ok(Outcome::Done);
    }
    output.error(&format!("there is no node {id}, or it is gone already"));
    Ok(Outcome::No)
}

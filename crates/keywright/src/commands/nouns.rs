//! `keywright orgs|keyspaces|principals|roles|plans …`.

use anyhow::bail;
use keywright_client::{Client, Plan, Role, WriteOptions};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::audit::{collect, page_size};
use super::{Outcome, Session, json as read_json, json_object, usage};
use crate::cli::PageArgs;
use crate::cli::keys::WriteArgs;
use crate::cli::nouns::{NounArgs, NounCommand};
use crate::render;
use crate::render::noun::Row;

/// Runs a command on one kind of noun.
pub(crate) async fn run<N: Row, F: NounArgs>(
    session: &Session,
    command: &NounCommand<F>,
) -> anyhow::Result<Outcome> {
    let client = session.client()?;
    let nouns = client.nouns::<N>();
    let show = |noun: &N| render::noun::noun(noun, session.layout());
    match command {
        NounCommand::Create { fields, body_json, write } => {
            let mut body = body_json.as_deref().map(json_object).transpose()?.unwrap_or_default();
            body.extend(document(&client, fields).await?);
            Ok(session.tell(nouns.create(&body, &write.options()).await?, show))
        }
        NounCommand::Get { id } => {
            let noun = nouns.get(id).await?;
            tell_one(session, &noun);
            Ok(Outcome::Done)
        }
        NounCommand::List { page } => list::<N>(session, &client, *page).await,
        NounCommand::Update { id, fields, set_json, patch_json, write } => {
            let merged = document(&client, fields).await?;
            let (set, patch) = (set_json.as_deref(), patch_json.as_deref());
            update::<N>(session, &client, id, Sources { merged, set, patch }, write).await
        }
        NounCommand::Delete { id, write } => {
            if !confirmed(session, write, &format!("Delete {id}?")) {
                return Ok(Outcome::No);
            }
            Ok(session.tell_gone(nouns.delete(id, &write.options()).await?, &format!("deleted {id}")))
        }
    }
}

fn tell_one<N: Row>(session: &Session, noun: &N) {
    if session.output.json {
        session.output.say_json(noun);
    } else {
        session.output.say(&render::noun::noun(noun, session.layout()));
    }
}

async fn list<N: Row>(session: &Session, client: &Client, page: PageArgs) -> anyhow::Result<Outcome> {
    let found = collect(client.nouns::<N>().list(Some(page_size(page))), page, "reading the list").await?;
    if session.output.json {
        session.output.say_json(&found.items);
    } else {
        session.output.say(&render::noun::nouns(&found.items, session.layout()));
        found.tell_more(session);
    }
    Ok(Outcome::Done)
}

/// Where an update's document comes from.
struct Sources<'a> {
    merged: Map<String, Value>,
    set: Option<&'a str>,
    patch: Option<&'a str>,
}

async fn update<N: Row>(
    session: &Session,
    client: &Client,
    id: &str,
    sources: Sources<'_>,
    write: &WriteArgs,
) -> anyhow::Result<Outcome> {
    let nouns = client.nouns::<N>();
    let show = |noun: &N| render::noun::noun(noun, session.layout());
    if let Some(source) = sources.set {
        if !sources.merged.is_empty() {
            bail!("--set-json replaces everything: no other field goes with it");
        }
        let body = json_object(source)?;
        let options = WriteOptions { if_match: Some(if_match(write, &body)?), ..write.options() };
        return Ok(session.tell(nouns.replace(id, &body, &options).await?, show));
    }
    let document = match sources.patch {
        Some(source) if sources.merged.is_empty() => read_json(source)?,
        Some(_) => bail!("--patch-json says everything: no other field goes with it"),
        None if sources.merged.is_empty() => bail!("nothing to change: name a field, see --help"),
        None => Value::from(sources.merged),
    };
    if session.output.is_interactive() && !write.yes && !write.dry_run {
        let plan = nouns
            .patch(id, &document, &WriteOptions { dry_run: true, ..write.options() })
            .await?
            .planned()?;
        if !plan.access.lost.is_empty() {
            session.output.note(&render::diff::lost(&plan, session.output.paint_error));
            if !session.output.confirm("Make this change?") {
                return Ok(Outcome::No);
            }
        }
    }
    Ok(session.tell(nouns.patch(id, &document, &write.options()).await?, show))
}

/// The version that a replacement is for: the one said, or the one that the document was read at.
pub(crate) fn if_match(write: &WriteArgs, body: &Map<String, Value>) -> anyhow::Result<String> {
    let said = write.options().if_match;
    let read = || body.get("etag").and_then(Value::as_str).map(str::to_owned);
    said.or_else(read).ok_or_else(|| {
        usage("a replacement needs --if-match, or a document that was read with its `etag`".to_owned())
    })
}

/// Asks on a terminal, unless told not to.
pub(crate) fn confirmed(session: &Session, write: &WriteArgs, question: &str) -> bool {
    let asks = session.output.is_interactive() && !write.yes && !write.dry_run;
    !asks || session.output.confirm(question)
}

async fn document<F: NounArgs>(client: &Client, fields: &F) -> anyhow::Result<Map<String, Value>> {
    let mut document = fields.document().map_err(usage)?;
    if let Some(roles) = role_ids(client, fields.roles()).await? {
        document.insert("roles".to_owned(), roles);
    }
    Ok(document)
}

/// Roles by name or id, as identifiers; `none` is no role, and nothing is no change.
pub(crate) async fn role_ids(client: &Client, names: &[String]) -> anyhow::Result<Option<Value>> {
    ids(names, "role_", async |name| Ok(client.nouns::<Role>().get(name).await?.id)).await
}

/// Plans, likewise.
pub(crate) async fn plan_ids(client: &Client, names: &[String]) -> anyhow::Result<Option<Value>> {
    ids(names, "plan_", async |name| Ok(client.nouns::<Plan>().get(name).await?.id)).await
}

async fn ids(
    names: &[String],
    prefix: &str,
    find: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Option<Value>> {
    if names.is_empty() {
        return Ok(None);
    }
    if matches!(names, [only] if only == "none") {
        return Ok(Some(json!([])));
    }
    let mut ids: Vec<String> = Vec::new();
    for name in names {
        ids.push(if name.starts_with(prefix) { name.clone() } else { find(name).await? });
    }
    Ok(Some(to_value(&ids)))
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

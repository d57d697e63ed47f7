//! `keywright keys list`.

use anyhow::bail;
use keywright_client::{Client, KeyFilter};

use super::super::audit::{collect, page_size};
use super::super::nouns::{plan_ids, role_ids};
use super::super::{Outcome, Session, usage};
use crate::ambient::now;
use crate::cli::keys::ListArgs;
use crate::parse::expiry::{parse_moment, parse_past};
use crate::parse::grant::parse_check;
use crate::parse::pair::parse_pair;
use crate::render;

/// Lists keys.
pub(super) async fn list(session: &Session, client: &Client, args: &ListArgs) -> anyhow::Result<Outcome> {
    let filter = filter(client, args).await?;
    let found = collect(client.keys().list(&filter), args.page, "reading keys").await?;
    if session.output.json {
        session.output.say_json(&found.items);
    } else if found.items.is_empty() {
        session.output.note("no key is like that");
    } else {
        session.output.say(&render::key::keys(&found.items, session.layout()));
        found.tell_more(session);
    }
    Ok(Outcome::Done)
}

async fn filter(client: &Client, args: &ListArgs) -> anyhow::Result<KeyFilter> {
    let now = now();
    let past = |text: &Option<String>| {
        let at = text.as_deref().map(|text| parse_past(text, now)).transpose().map_err(usage);
        at.map(|at| at.map(|at| at.to_string()))
    };
    let ahead =
        args.expires_before.as_deref().map(|text| parse_moment(text, now)).transpose().map_err(usage)?;
    let Some(expires_before) = ahead.map_or(Some(None), |at| at.map(Some)) else {
        bail!("--expires-before takes a moment, not `never`");
    };
    let labels = args.label.iter().map(|text| parse_pair(text)).collect::<Result<_, _>>().map_err(usage)?;
    let (can_action, can_resource) =
        args.can.as_deref().map(parse_check).map_or((None, None), |(action, on)| (Some(action), on));
    let first = |ids: Option<serde_json::Value>| ids.and_then(|ids| ids.get(0)?.as_str().map(str::to_owned));
    Ok(KeyFilter {
        keyspace: args.keyspace.clone(),
        state: args.state.clone(),
        kind: args.kind.clone(),
        owner: args.owner.clone(),
        role: first(role_ids(client, args.role.as_slice()).await?),
        plan: first(plan_ids(client, args.plan.as_slice()).await?),
        number: args.number,
        access_id: args.access_id.clone(),
        external_id: args.external_id.clone(),
        q: args.q.clone(),
        labels,
        expires_before: expires_before.map(|at| at.to_string()),
        last_used_before: past(&args.last_used_before)?,
        updated_since: past(&args.updated_since)?,
        created_by: args.created_by.clone(),
        can_action,
        can_resource,
        can_ip: args.can_ip.clone(),
        page_size: Some(page_size(args.page)),
    })
}

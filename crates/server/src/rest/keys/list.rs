//! `GET /v1/keys`: list keys.

use axum::response::Response;
use keywright_control::KeyQuery;
use keywright_control::keys::{Can, KeyList};
use keywright_model::grant::{Action, Resource};
use keywright_model::id::KeyId;
use keywright_model::key::{KeyKind, KeyState};
use keywright_model::time::Timestamp;
use serde_json::Value;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::cursor::Binding;
use crate::rest::problem::{INVALID_PARAMETER, Problem};
use crate::rest::query::Query;

const STATES: &[(&str, KeyState)] = &[
    ("active", KeyState::Active),
    ("disabled", KeyState::Disabled),
    ("scheduled", KeyState::Scheduled),
    ("expired", KeyState::Expired),
    ("revoked", KeyState::Revoked),
];

/// Lists keys, newest first.
pub async fn list(call: Call) -> Result<Response, Problem> {
    let query = &call.asked.query;
    let binding = Binding::new(call.asked.route.id, call.caller.org(), query);
    let after = binding.after(query)?.map(KeyId::from_bits);
    // The use case sets the organization, the keyspaces and the moment itself.
    let all = KeyQuery::all(call.caller.org(), Timestamp::from_unix_ms(0), query.limit()?);
    let list = KeyList {
        keyspace: query.text("keyspace").map(str::to_owned),
        query: filters(query, KeyQuery { after, ..all })?,
        can: can(query)?,
    };
    let page = call.control.keys(&call.caller, &list).await.map_err(Problem::of_query)?;
    let items = page.items.into_iter().map(|record| Value::Object(record.view)).collect();
    answer::page(items, page.next.map(|next| binding.cursor(next.bits())))
}

fn filters(query: &Query, all: KeyQuery) -> Result<KeyQuery, Problem> {
    let text = |name| query.text(name).map(str::to_owned);
    Ok(KeyQuery {
        state: query.word("state", STATES)?,
        kind: query.word("kind", &[("api", KeyKind::Api), ("management", KeyKind::Management)])?,
        owner: query.parsed("owner")?,
        role: query.parsed("role")?,
        plan: query.parsed("plan")?,
        number: query.parsed_as("number", "a whole number")?,
        access_id: text("access_id"),
        external_id: text("external_id"),
        text: text("q"),
        labels: query.prefixed("label.").map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        expires_before: query.parsed("expires_before")?,
        last_used_before: query.parsed("last_used_before")?,
        updated_since: query.parsed("updated_since")?,
        created_by: query.parsed("created_by")?,
        ..all
    })
}

fn can(query: &Query) -> Result<Option<Can>, Problem> {
    let action = query.parsed::<Action>("can_action")?;
    let resource = query.parsed::<Resource>("can_resource")?;
    let address = query.parsed_as("can_ip", "an IPv4 or IPv6 address")?;
    if action.is_none() && resource.is_some() {
        return Err(Problem::parameter(INVALID_PARAMETER, "can_resource", "needs `can_action` with it"));
    }
    let asked = action.is_some() || address.is_some();
    Ok(asked.then(|| Can { action, resource: resource.unwrap_or_else(Resource::root), address }))
}

//! `GET /api/organizations/{organizationId}/api-keys`: every key, without pages.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::KeyList;
use keywright_control::{Caller, KeyQuery};
use keywright_model::key::{Key, KeyKind};
use serde_json::json;

use super::error::Refusal;
use super::{Organization, WIRE, answered, caller, map, wire};
use crate::dialects::Wire;

/// How many keys are read at once.
const PAGE: usize = 200;

pub(super) async fn answer(
    State(wire): State<Wire>,
    organization: Organization,
    request: Request,
) -> Response {
    answered(list(&wire, organization, request).await)
}

async fn list(wire: &Wire, organization: Organization, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming, organization).await?;
    let keys = all(wire, &caller).await?;
    let secrets = wire.control().reveal_current(&caller, &keys.iter().collect::<Vec<_>>()).await?;
    let listed = keys.iter().zip(&secrets).map(|(key, secret)| map::listed(key, secret.as_ref()));
    Ok(wire::envelope(StatusCode::OK, &[], &json!(listed.collect::<Vec<_>>())))
}

/// The API keys of the keyspace that the caller acts in, oldest first. This wire has no word for a revoked key: to it, one
/// is gone.
async fn all(wire: &Wire, caller: &Caller) -> Result<Vec<Key>, Refusal> {
    let keyspace = Some(wire.control().acting_keyspace(caller).await?.to_string());
    let query = KeyQuery { kind: Some(KeyKind::Api), ..KeyQuery::all(caller.org(), wire.now(), PAGE) };
    let mut list = KeyList { keyspace, query, can: None };
    let mut keys = Vec::new();
    loop {
        let page = wire.control().keys(caller, &list).await?;
        let live = page.items.into_iter().filter(|record| record.key.revocation.is_none());
        keys.extend(live.map(|record| std::sync::Arc::unwrap_or_clone(record.key)));
        match page.next {
            Some(after) => list.query.after = Some(after),
            None => break,
        }
    }
    // Identifiers of one millisecond are in no order; numbers are.
    keys.sort_unstable_by_key(|key| key.number);
    Ok(keys)
}

//! `PUT /v2/api_keys/{key_id}`: sets the fields that the body has.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::Error;
use keywright_control::keys::KeyRef;

use super::error::Refusal;
use super::people::Reader;
use super::seen::{self, KeyId, Seen, Unseen};
use super::{WIRE, answered, caller, map, says_json, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, id: KeyId, request: Request) -> Response {
    answered(update(&wire, id, request).await)
}

async fn update(wire: &Wire, id: KeyId, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    says_json(&incoming)?;
    let number = seen::number(id)?;
    let seen = Seen::by(wire, &caller).await?;
    let edit = map::edit(wire::read(&incoming.body)?, seen, wire.now())?;
    let updated = wire.control().update_key(&caller, &KeyRef::Number(number), &edit, &patient()).await;
    let unseen = |error: Error| Unseen::of(&error).map_or_else(|| Refusal::from(error), Refusal::from);
    let done = settled(updated.map_err(unseen)?)?;
    Ok(wire::answer(StatusCode::OK, &Reader::new(wire, &caller).shown(&done.value, true).await?))
}

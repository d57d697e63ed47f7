//! `PUT /v2/api_keys/{key_id}`: sets the fields that the body has.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::KeyRef;

use super::error::Refusal;
use super::{WIRE, answered, caller, map, user, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

/// The key's number as the path has it.
type KeyId = Result<Path<String>, PathRejection>;

pub(super) async fn answer(State(wire): State<Wire>, id: KeyId, request: Request) -> Response {
    answered(update(&wire, id, request).await)
}

async fn update(wire: &Wire, id: KeyId, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let number = id.ok().and_then(|Path(id)| map::number(&id)).ok_or(Refusal::not_found())?;
    let edit = map::edit(wire::read(&incoming.body)?, wire.now())?;
    let updated = wire.control().update_key(&caller, &KeyRef::Number(number), &edit, &patient()).await?;
    let done = settled(updated)?;
    let user = user::of(wire, &caller, &done.value).await?;
    Ok(wire::answer(StatusCode::OK, &map::shown(&done.value, user)))
}

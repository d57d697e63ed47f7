//! `PUT /keys/{key}`: another title, and other permissions in place of all that there were.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::error::Refusal;
use super::{WIRE, answered, caller, map, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(
    State(wire): State<Wire>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    answered(update(&wire, path, request).await)
}

async fn update(
    wire: &Wire,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let Path(name) = path.map_err(|_| Refusal::no_such_key())?;
    let edit = map::edit(wire::read(&incoming.body)?)?;
    let updated = wire.control().update_key(&caller, &map::key_named(&name), &edit, &patient()).await?;
    settled(updated)?;
    // The key's name does not change, so whoever knew it is told what they said.
    Ok(wire::key_named(&name))
}

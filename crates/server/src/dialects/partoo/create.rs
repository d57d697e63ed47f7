//! `POST /v2/api_keys`: a new key, with its secret as the one field that the vendor's page does not have.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::{NewKey, NewSecret};

use super::error::Refusal;
use super::{WIRE, answered, caller, map, user, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    answered(create(&wire, request).await)
}

async fn create(wire: &Wire, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let body = wire::read(&incoming.body)?;
    // A key belongs to whoever makes it: the person or program that owns the calling key.
    let owner = caller.key().and_then(|key| key.spec.owner);
    let new = NewKey { draft: map::new_key(body, owner, wire.now())?, secret: NewSecret::Generated };
    let done = settled(wire.control().create_key(&caller, new, &patient()).await?)?;
    let user = user::of(wire, &caller, &done.value.record).await?;
    let mut shown = map::shown(&done.value.record, user);
    shown.secret = done.value.secret.map(|secret| secret.expose().to_owned());
    Ok(wire::answer(StatusCode::CREATED, &shown))
}

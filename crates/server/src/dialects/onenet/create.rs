//! `POST /keys`: a new key.

use axum::extract::{Request, State};
use axum::response::Response;
use keywright_control::keys::{NewKey, NewSecret};

use super::error::Refusal;
use super::{WIRE, answered, caller, map, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    answered(create(&wire, request).await)
}

async fn create(wire: &Wire, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let draft = map::new_key(&wire::read(&incoming.body)?)?;
    let new = NewKey { draft, secret: NewSecret::Given(map::secret(wire.entropy.as_ref())) };
    let done = settled(wire.control().create_key(&caller, new, &patient()).await?)?;
    // Only a replay has no secret, and this wire names no call.
    let secret = done.value.secret.ok_or(Refusal::internal())?;
    Ok(wire::key_named(secret.expose()))
}

//! `POST /v2/api_keys`: a new key, with its secret as the one field that the vendor's page does not have.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::{NewKey, NewSecret};

use super::error::Refusal;
use super::people::Reader;
use super::seen::Seen;
use super::{WIRE, answered, caller, map, says_json, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    answered(create(&wire, request).await)
}

async fn create(wire: &Wire, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    says_json(&incoming)?;
    let body = wire::read(&incoming.body)?;
    // A key belongs to whoever makes it: the person or program that owns the calling key.
    let owner = match Seen::by(wire, &caller).await? {
        Seen::All => caller.key().and_then(|key| key.spec.owner),
        Seen::OwnedBy(person) => Some(person),
        Seen::None => return Err(Refusal::not_allowed()),
    };
    let new = NewKey { draft: map::new_key(body, owner, wire.now())?, secret: NewSecret::Generated };
    let done = settled(wire.control().create_key(&caller, new, &patient()).await?)?;
    let mut shown = Reader::new(wire, &caller).shown(&done.value.record, true).await?;
    shown.secret = done.value.secret.map(|secret| secret.expose().to_owned());
    Ok(wire::answer(StatusCode::CREATED, &shown))
}

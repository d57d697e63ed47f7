//! `POST /v2/api_keys/revoke/{api_key_id}`: ends a key for ever. Ending it again changes nothing.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::KeyRef;
use serde_json::json;

use super::error::Refusal;
use super::seen::{self, KeyId};
use super::{WIRE, answered, caller, says_json, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, id: KeyId, request: Request) -> Response {
    answered(revoke(&wire, id, request).await)
}

async fn revoke(wire: &Wire, id: KeyId, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    // There is nothing to say in a body, so a client that sends none need not say what it is.
    if !incoming.body.is_empty() || incoming.header("content-type").is_some() {
        says_json(&incoming)?;
    }
    let number = seen::number(id)?;
    let key = KeyRef::Id(seen::key(wire, &caller, number).await?.key.id);
    settled(wire.control().revoke_key(&caller, &key, None, &patient()).await?)?;
    Ok(wire::json_answer(StatusCode::OK, json!({"id": number, "status": "success"}).to_string()))
}

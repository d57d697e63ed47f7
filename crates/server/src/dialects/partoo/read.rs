//! `GET /v2/api_keys/{api_key_id}`: one key.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::error::Refusal;
use super::people::Reader;
use super::seen::{self, KeyId};
use super::{WIRE, answered, caller, query, wire};
use crate::dialects::Wire;

pub(super) async fn answer(State(wire): State<Wire>, id: KeyId, request: Request) -> Response {
    answered(read(&wire, id, request).await)
}

async fn read(wire: &Wire, id: KeyId, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let number = seen::number(id)?;
    let all_permissions = query::of_read(&incoming.parts.uri)?;
    let record = seen::key(wire, &caller, number).await?;
    let shown = Reader::new(wire, &caller).shown(&record, all_permissions).await?;
    Ok(wire::answer(StatusCode::OK, &shown))
}

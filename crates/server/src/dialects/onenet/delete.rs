//! `DELETE /keys/{key}`: ends a key for good.

use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::error::Refusal;
use super::{WIRE, answered, caller, map, wire};
use crate::dialects::Wire;

pub(super) async fn answer(State(wire): State<Wire>, Path(key): Path<String>, request: Request) -> Response {
    answered(delete(&wire, &key, request).await)
}

async fn delete(wire: &Wire, key: &str, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    wire.delete_api_key(&caller, &map::key_named(key)).await?;
    Ok(wire::envelope(0, "succ", None))
}

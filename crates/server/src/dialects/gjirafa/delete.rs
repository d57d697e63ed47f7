//! `DELETE /api/organizations/{organizationId}/api-keys/{id}`: ends a key for good.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::KeyRef;
use serde_json::json;

use super::error::Refusal;
use super::{WIRE, answered, caller, wire};
use crate::dialects::Wire;

/// The organization and the key, as the path names them.
type Named = Result<Path<(String, String)>, PathRejection>;

pub(super) async fn answer(State(wire): State<Wire>, named: Named, request: Request) -> Response {
    answered(delete(&wire, named, request).await)
}

async fn delete(wire: &Wire, named: Named, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let Path((organization, id)) = named.map_err(|_| Refusal::not_found())?;
    let caller = caller(wire, &incoming, Ok(Path(organization))).await?;
    let key = match id.parse() {
        Ok(number) => KeyRef::Number(number),
        Err(_) => KeyRef::Text(id),
    };
    wire.delete_api_key(&caller, &key).await?;
    Ok(wire::envelope(StatusCode::OK, &[], &json!(true)))
}

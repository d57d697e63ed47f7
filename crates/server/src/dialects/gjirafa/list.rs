//! `GET /api/organizations/{organizationId}/api-keys`: every key, without pages.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::error::Refusal;
use super::{Organization, WIRE, answered, caller, map, wire};
use crate::dialects::Wire;

pub(super) async fn answer(
    State(wire): State<Wire>,
    organization: Organization,
    request: Request,
) -> Response {
    answered(list(&wire, organization, request).await)
}

async fn list(wire: &Wire, organization: Organization, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming, organization).await?;
    let keys = wire.live_keys(&caller).await?;
    let secrets =
        wire.control().reveal_current(&caller, &keys.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await?;
    let listed = keys.iter().zip(&secrets).map(|(key, secret)| map::listed(key, secret.as_ref()));
    Ok(wire::envelope(StatusCode::OK, &[], &json!(listed.collect::<Vec<_>>())))
}

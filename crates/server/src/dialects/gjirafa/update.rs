//! `PUT /api/organizations/{organizationId}/api-keys`: sets the fields that the body has; the key's id is one of them.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::KeyRef;

use super::error::Refusal;
use super::{Organization, WIRE, answered, caller, map, roles, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(
    State(wire): State<Wire>,
    organization: Organization,
    request: Request,
) -> Response {
    answered(update(&wire, organization, request).await)
}

async fn update(wire: &Wire, organization: Organization, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming, organization).await?;
    roles::require_read(&caller)?;
    let body = wire::read_update(&incoming.body)?;
    let role = roles::numbered(wire.control(), &caller, body.role_id).await?;
    let key = KeyRef::Number(body.id);
    let updated = wire.control().update_key(&caller, &key, &map::edit(body, role)?, &patient()).await?;
    let done = settled(updated)?;
    let key = &done.value.key;
    let secret = wire.control().reveal_current(&caller, &[key]).await?.pop().flatten();
    let role = roles::shown(wire.control(), &caller, key).await?;
    Ok(wire::success(StatusCode::OK, &map::shown(key, secret.as_ref(), role)))
}

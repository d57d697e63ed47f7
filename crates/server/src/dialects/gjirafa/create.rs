//! `POST /api/organizations/{organizationId}/api-keys`: a new key.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keywright_control::keys::{NewKey, NewSecret};

use super::error::{Refusal, of_create};
use super::{Organization, WIRE, answered, caller, map, roles, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(
    State(wire): State<Wire>,
    organization: Organization,
    request: Request,
) -> Response {
    answered(create(&wire, organization, request).await)
}

async fn create(wire: &Wire, organization: Organization, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming, organization).await?;
    roles::require_read(&caller)?;
    let body = wire::read_create(&incoming.body)?;
    let role = roles::numbered(wire.control(), &caller, body.role_id).await?;
    let new = NewKey { draft: map::new_key(&body, role)?, secret: NewSecret::Generated };
    let made = wire.control().create_key(&caller, new, &patient()).await.map_err(of_create)?;
    let done = settled(made)?;
    let key = &done.value.record.key;
    let role = roles::shown(wire.control(), &caller, key).await?;
    let shown = map::shown(key, done.value.secret.as_ref(), role);
    Ok(wire::success(StatusCode::CREATED, &shown))
}

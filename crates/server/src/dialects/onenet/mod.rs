//! OneNET (heclouds): `/keys`, as `docs/dialects/onenet.md` describes it.

mod create;
mod error;
mod map;
mod update;
mod wire;

use axum::Router;
use axum::response::Response;
use axum::routing::{post, put};
use keywright_control::Caller;

use self::error::Refusal;
use super::Wire;
use super::exchange::Incoming;

/// Its name.
pub(super) const WIRE: &str = "onenet";

/// Its calls. One that is not there is refused in the vendor's envelope, too.
pub(super) fn router() -> Router<Wire> {
    let unknown = async || Refusal::unknown_call();
    Router::new()
        .route("/keys", post(create::answer))
        .route("/keys/{key}", put(update::answer))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
}

/// The caller, from `api-key`.
async fn caller(wire: &Wire, incoming: &Incoming) -> Result<Caller, Refusal> {
    let credential = incoming.credential("api-key").ok_or(Refusal::auth_failed())?;
    Ok(wire.authenticate(incoming, &credential, None).await?)
}

fn answered(outcome: Result<Response, Refusal>) -> Response {
    outcome.unwrap_or_else(Refusal::into_answer)
}

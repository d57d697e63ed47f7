//! OneNET (heclouds): `/keys`, as `docs/dialects/onenet.md` describes it.

mod create;
mod delete;
mod devices;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod list;
mod map;
mod meaning;
mod query;
mod update;
mod wire;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use keywright_control::{Caller, Error};
use keywright_model::signing::onenet_token::parse_token;

use self::error::Refusal;
use self::meaning::meaning;
use super::exchange::Incoming;
use super::{Vendor, Wire};

/// Its name.
const WIRE: &str = "onenet";
/// Where its clients put a key.
const KEY_HEADER: &str = "api-key";

/// What is known of it elsewhere.
pub(super) const VENDOR: Vendor = Vendor {
    name: WIRE,
    router,
    limit: None,
    key_header: Some(KEY_HEADER),
    meaning,
    #[cfg(feature = "fuzzing")]
    read: fuzzing::read,
};

/// Its calls. One that is not there is refused in the vendor's envelope, too.
fn router() -> Router<Wire> {
    let unknown = async || Refusal::unknown_call();
    Router::new()
        .route("/keys", get(list::answer).post(create::answer))
        .route("/keys/{key}", get(list::answer_one).put(update::answer).delete(delete::answer))
        .route("/keys/{key}/devices", get(devices::answer).put(devices::answer_change))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
}

/// The caller, from `api-key`, or else from the signed token of the vendor's secure mode.
async fn caller(wire: &Wire, incoming: &Incoming) -> Result<Caller, Refusal> {
    if let Some(credential) = incoming.credential(KEY_HEADER) {
        return Ok(wire.authenticate(incoming, &credential, None).await?);
    }
    let token = incoming.header("authorization").and_then(|text| parse_token(text).ok());
    let token = token.ok_or(Refusal::auth_failed())?;
    let now = wire.now().unix_seconds();
    let check = |secret: &[u8]| token.check(secret, now).is_ok();
    // That there is no such product is not said.
    wire.authenticate_signed(incoming, token.access_id(), &check).await.map_err(|error| match error {
        Error::NotFound(_) => Refusal::auth_failed(),
        error => error.into(),
    })
}

fn answered(outcome: Result<Response, Refusal>) -> Response {
    outcome.unwrap_or_else(Refusal::into_answer)
}

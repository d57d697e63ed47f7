//! Partoo: `/v2/api_keys`, as `docs/dialects/partoo.md` describes it.

mod create;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod list;
mod map;
mod meaning;
mod people;
mod query;
mod read;
mod revoke;
mod seen;
mod update;
mod wire;

use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use keywright_control::Caller;

use self::error::Refusal;
use self::meaning::meaning;
use super::exchange::Incoming;
use super::pace::Limit;
use super::{Vendor, Wire};

/// Its name.
const WIRE: &str = "partoo";
/// Where its clients put a key, which they spell `x-APIKey`.
const KEY_HEADER: &str = "x-apikey";

/// How often an organization may call.
const LIMIT: Limit = Limit { requests: 300, window: Duration::from_mins(1) };

/// What is known of it elsewhere.
pub(super) const VENDOR: Vendor = Vendor {
    name: WIRE,
    router,
    limit: Some(LIMIT),
    key_header: Some(KEY_HEADER),
    meaning,
    #[cfg(feature = "fuzzing")]
    read: fuzzing::read,
};

/// Its calls. One that is not there is refused in the vendor's envelope, too.
fn router() -> Router<Wire> {
    Router::new()
        .route("/v2/api_keys", get(list::answer).post(create::answer))
        .route("/v2/api_keys/{key_id}", get(read::answer).put(update::answer))
        .route("/v2/api_keys/revoke/{key_id}", post(revoke::answer))
        .method_not_allowed_fallback(async || Refusal::method_not_allowed())
        .fallback(async || Refusal::not_found())
}

/// The caller, from `x-APIKey`.
async fn caller(wire: &Wire, incoming: &Incoming) -> Result<Caller, Refusal> {
    let credential = incoming.credential(KEY_HEADER).ok_or(Refusal::unauthenticated())?;
    let caller = wire.authenticate(incoming, &credential, None).await?;
    wire.paced(caller.org().bits(), "").map_err(|_| Refusal::too_many(LIMIT.window.as_secs()))?;
    Ok(caller)
}

/// Refuses a body that does not say it is JSON.
fn says_json(incoming: &Incoming) -> Result<(), Refusal> {
    let media_type = incoming.header("content-type").and_then(|text| text.split(';').next()).map(str::trim);
    match media_type {
        Some(json) if json.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Refusal::unsupported_media_type()),
    }
}

fn answered(outcome: Result<Response, Refusal>) -> Response {
    outcome.unwrap_or_else(Refusal::into_answer)
}

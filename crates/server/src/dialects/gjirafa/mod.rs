//! Gjirafa VP: `/api/organizations/{organizationId}/api-keys`, as `docs/dialects/gjirafa.md` describes it.

mod create;
mod delete;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod list;
mod map;
mod roles;
mod update;
mod wire;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use axum::routing::{delete, get};
use keywright_control::Caller;
use keywright_model::secret::Secret;

use self::error::Refusal;
use super::exchange::Incoming;
use super::{Vendor, Wire};

/// Its name.
const WIRE: &str = "gjirafa";
/// Where clients of the vendor's sibling product put a key.
const KEY_HEADER: &str = "x-api-key";

/// What is known of it elsewhere.
pub(super) const VENDOR: Vendor = Vendor {
    name: WIRE,
    router,
    limit: None,
    key_header: Some(KEY_HEADER),
    // Which path a role opens is not documented: what it may do is said with grants.
    meaning: |_| Vec::new(),
    #[cfg(feature = "fuzzing")]
    read: fuzzing::read,
};

/// The organization as the path names it.
type Organization = Result<Path<String>, PathRejection>;

/// Its calls. One that is not there is refused in the vendor's envelope, too.
fn router() -> Router<Wire> {
    let unknown = async || Refusal::not_found();
    Router::new()
        .route(
            "/api/organizations/{organization}/api-keys",
            get(list::answer).post(create::answer).put(update::answer),
        )
        .route("/api/organizations/{organization}/api-keys/{id}", delete(delete::answer))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
}

/// The caller, in the organization that the path names.
async fn caller(wire: &Wire, incoming: &Incoming, organization: Organization) -> Result<Caller, Refusal> {
    let credential = credential(incoming).ok_or(Refusal::unauthorized())?;
    let organization = organization.map_err(|_| Refusal::not_found())?;
    Ok(wire.authenticate(incoming, &credential, Some(&organization)).await?)
}

/// The vendor does not say how `Authorization` looks: a bearer token, the bare key, and the header of its sibling product
/// are all read.
fn credential(incoming: &Incoming) -> Option<Secret> {
    let text = match incoming.header("authorization").filter(|text| !text.is_empty()) {
        Some(text) => match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => text,
        },
        None => incoming.header(KEY_HEADER).filter(|text| !text.is_empty())?,
    };
    Some(Secret::new(text))
}

fn answered(outcome: Result<Response, Refusal>) -> Response {
    outcome.unwrap_or_else(Refusal::into_answer)
}

//! `GET /keys`: some keys, or the one that `key` names; `GET /keys/{key}`: one.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use keywright_control::{Caller, Error};
use keywright_model::key::{Key, KeyKind};
use serde_json::{Value, json};

use super::error::Refusal;
use super::query::{Page, Query};
use super::{WIRE, answered, caller, map, wire};
use crate::dialects::Wire;

pub(super) async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    answered(list(&wire, request).await)
}

pub(super) async fn answer_one(
    State(wire): State<Wire>,
    Path(key): Path<String>,
    request: Request,
) -> Response {
    answered(one(&wire, &key, request).await)
}

async fn list(wire: &Wire, request: Request) -> Result<Response, Refusal> {
    let query = Query::read(&request);
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let query = query?;
    let mut page = query.page()?;
    let keys = match query.get("key") {
        Some(name) => {
            // As in the page's example.
            page = Page { number: 1, size: 1 };
            match api_key(wire, &caller, name).await {
                Ok(key) => vec![key],
                Err(Error::NotFound(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            }
        }
        None => wire.live_keys(&caller).await?,
    };
    let device = query.get("device_id").or_else(|| query.get("dev_id"));
    let wanted = |key: &Arc<Key>| {
        let titled = query.get("title").is_none_or(|title| key.spec.name.starts_with(title));
        titled && device.is_none_or(|device| map::devices(key).contains(device))
    };
    let keys: Vec<Arc<Key>> = keys.into_iter().filter(wanted).collect();
    let shown = shown(wire, &caller, page.of(&keys)).await?;
    let data = json!({
        "total_count": keys.len(), "page": page.number, "per_page": page.size, "keys": shown,
    });
    Ok(wire::envelope(0, "succ", Some(data)))
}

async fn one(wire: &Wire, name: &str, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let key = api_key(wire, &caller, name).await?;
    let shown = shown(wire, &caller, &[key]).await?.pop();
    Ok(wire::envelope(0, "succ", shown))
}

/// The key that this wire knows by a name. A management key, and one that was revoked, is none of its keys.
pub(super) async fn api_key(wire: &Wire, caller: &Caller, name: &str) -> Result<Arc<Key>, Error> {
    let key = wire.control().key(caller, &map::key_named(name)).await?.key;
    let ours = key.spec.rights.kind() == KeyKind::Api && key.revocation.is_none();
    if ours { Ok(key) } else { Err(Error::NotFound("key")) }
}

async fn shown(wire: &Wire, caller: &Caller, keys: &[Arc<Key>]) -> Result<Vec<Value>, Error> {
    let refs: Vec<&Key> = keys.iter().map(AsRef::as_ref).collect();
    let secrets = wire.control().reveal_current(caller, &refs).await?;
    Ok(refs.into_iter().zip(&secrets).map(|(key, secret)| map::shown(key, secret.as_ref())).collect())
}

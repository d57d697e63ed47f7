//! `GET` and `PUT /keys/{key}/devices`: the devices that a key names, or that it does not.
//!
//! Keywright keeps no devices: those it knows are the ones that keys of the keyspace name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use keywright_model::fault::Faults;
use serde_json::json;

use super::error::Refusal;
use super::query::Query;
use super::{WIRE, answered, caller, list, map, wire};
use crate::dialects::Wire;
use crate::dialects::exchange::{patient, settled};

pub(super) async fn answer(State(wire): State<Wire>, Path(key): Path<String>, request: Request) -> Response {
    answered(devices(&wire, &key, request).await)
}

pub(super) async fn answer_change(
    State(wire): State<Wire>,
    Path(key): Path<String>,
    request: Request,
) -> Response {
    answered(change(&wire, &key, request).await)
}

async fn devices(wire: &Wire, name: &str, request: Request) -> Result<Response, Refusal> {
    let query = Query::read(&request);
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let query = query?;
    let page = query.page()?;
    let related = match query.get("is_related") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(Faults::one("/is_related", "invalid_value", "must be true or false").into()),
    };
    let own = map::devices(&*list::api_key(wire, &caller, name).await?);
    let found = if related {
        own
    } else {
        let keys = wire.live_keys(&caller).await?;
        let all: BTreeSet<String> = keys.iter().flat_map(|key| map::devices(key)).collect();
        &all - &own
    };
    let wanted = |device: &String| {
        query.get("device_id").is_none_or(|id| device == id)
            && query.get("device_title").is_none_or(|title| device.starts_with(title))
    };
    let found: Vec<String> = found.into_iter().filter(wanted).collect();
    let shown = page.of(&found).iter().map(|id| json!({"id": id, "name": id}));
    let data = json!({
        "total_count": found.len(), "page": page.number, "per_page": page.size, "devices": shown.collect::<Vec<_>>(),
    });
    Ok(wire::envelope(0, "succ", Some(data)))
}

async fn change(wire: &Wire, name: &str, request: Request) -> Result<Response, Refusal> {
    let incoming = wire.take(WIRE, request).await?;
    let caller = caller(wire, &incoming).await?;
    let body = wire::read_devices(&incoming.body)?;
    let counts = Arc::new(map::Counts::default());
    let edit = map::edit_devices(body, Arc::clone(&counts))?;
    let key = map::key_named(name);
    settled(wire.control().update_key(&caller, &key, &edit, &patient()).await?)?;
    let (add, del) = (counts.added.load(Ordering::Relaxed), counts.taken.load(Ordering::Relaxed));
    Ok(wire::envelope(0, "succ", Some(json!({"add": add, "del": del}))))
}

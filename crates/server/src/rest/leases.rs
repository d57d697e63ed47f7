//! `/v1/feed/leases`: followers that writers wait for.

use axum::response::Response;
use keywright_control::feed::Position;
use keywright_control::leases::{LEASE_SECONDS, Life, NewLife};
use keywright_model::document::Fields;
use keywright_model::id::NodeId;
use serde_json::json;

use super::answer;
use super::call::Call;
use super::feed::{HISTORY_MAX, KEYSPACES_MAX};
use super::problem::{NOT_FOUND, Problem};

/// How long the name of a slot, or a program's version, may be.
const NAME_MAX: usize = 100;

/// Registers a life.
pub async fn register(call: Call) -> Result<Response, Problem> {
    let new = call.asked.fields(&["keyspaces", "lease_seconds", "name", "version"], new_life)?;
    let Life { id, scope } = call.control.register_follower(&call.caller, new).await?;
    answer::created(&json!({"id": id, "scope": scope}))
}

fn new_life(fields: &mut Fields<'_>) -> NewLife {
    fields.not_empty("keyspaces", "leave it out to follow every keyspace that this key reaches");
    let named = |text: &str| Ok(text.to_owned());
    fields.required("lease_seconds");
    NewLife {
        keyspaces: fields.parsed_list("keyspaces", KEYSPACES_MAX, "invalid_name", named),
        lease_seconds: fields.whole("lease_seconds", *LEASE_SECONDS.end()).unwrap_or(*LEASE_SECONDS.end()),
        name: fields.label("name", NAME_MAX),
        version: fields.label("version", NAME_MAX).unwrap_or_default(),
    }
}

/// Has writers wait for it.
pub async fn go_live(call: Call) -> Result<Response, Problem> {
    let (id, applied) = (life(&call)?, applied(&call)?);
    let head = call.control.follower_goes_live(&call.caller, id, &applied).await?;
    answer::ok(&json!({"revision": head}))
}

/// Lets its lease run on.
pub async fn renew(call: Call) -> Result<Response, Problem> {
    let (id, applied) = (life(&call)?, applied(&call)?);
    let head = call.control.renew_follower(&call.caller, id, &applied).await?;
    answer::ok(&json!({"revision": head}))
}

/// Notes how far it has come.
pub async fn report(call: Call) -> Result<Response, Problem> {
    let (id, applied) = (life(&call)?, applied(&call)?);
    call.control.follower_applied(&call.caller, id, &applied).await?;
    Ok(answer::nothing())
}

/// Ends it.
pub async fn end(call: Call) -> Result<Response, Problem> {
    call.control.end_follower(&call.caller, life(&call)?).await?;
    Ok(answer::nothing())
}

fn life(call: &Call) -> Result<NodeId, Problem> {
    let text = call.asked.segment("id")?;
    text.parse().map_err(|_| Problem::new(NOT_FOUND).detail("no such lease"))
}

fn applied(call: &Call) -> Result<Position, Problem> {
    let read = |fields: &mut Fields<'_>| {
        fields.required("applied");
        fields.required("history");
        let applied = fields.text("applied").map(str::parse);
        if matches!(applied, Some(Err(_))) {
            fields.fault("applied", "invalid_revision", "not a revision that this installation gave out");
        }
        let history = fields.label("history", HISTORY_MAX).unwrap_or_default();
        applied.and_then(Result::ok).map(|revision| Position { revision, history })
    };
    // A field that is missing or no revision is a fault that was told before.
    call.asked
        .fields(&["applied", "history"], read)?
        .ok_or_else(|| Problem::new(NOT_FOUND).detail("no such revision"))
}

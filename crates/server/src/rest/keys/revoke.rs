//! `POST /v1/keys/{id}/revoke`: end a key for ever.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Ends a key for ever.
pub async fn revoke(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    let reason = call.asked.fields(&["reason"], |fields| fields.text("reason").map(str::to_owned))?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.revoke_key(&call.caller, &key, reason, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

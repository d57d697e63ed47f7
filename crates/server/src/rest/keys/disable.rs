//! `POST /v1/keys/{id}/disable`: switch a key off.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Switches a key off.
pub async fn disable(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    call.asked.fields(&[], |_| ())?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.set_key_enabled(&call.caller, &key, false, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

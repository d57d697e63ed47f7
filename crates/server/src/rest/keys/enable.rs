//! `POST /v1/keys/{id}/enable`: switch a key on.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Switches a key on.
pub async fn enable(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    call.asked.fields(&[], |_| ())?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.set_key_enabled(&call.caller, &key, true, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

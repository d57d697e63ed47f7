//! `POST /v1/keys/{id}/undelete`: bring the record of a deleted key back.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Brings the record of a deleted key back, revoked.
pub async fn undelete(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    call.asked.fields(&[], |_| ())?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.undelete_key(&call.caller, &key, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

//! `PATCH /v1/keys/{id}`: change some fields of a key.

use axum::response::Response;
use keywright_control::keys::KeyEdit;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Changes some fields of a key: merge (RFC 7396) or edit (RFC 6902).
pub async fn patch(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    let edit = KeyEdit::Document(call.asked.edit()?);
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.update_key(&call.caller, &key, &edit, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

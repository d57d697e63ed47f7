//! `PUT /v1/keys/{id}`: replace every writable field of a key.

use axum::response::Response;
use keywright_control::keys::KeyEdit;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Replaces every writable field of a key.
pub async fn replace(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    let options = call.replace_options(Subject::Key(&key)).await?;
    let edit = KeyEdit::Document(call.asked.edit()?);
    let answer = call.control.update_key(&call.caller, &key, &edit, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

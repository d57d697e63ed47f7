//! `PUT` on a noun: replace every writable field.

use axum::response::Response;
use keywright_control::NounKind;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Replaces every writable field of a noun.
pub async fn replace(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let id = call.asked.segment("id")?;
    let options = call.replace_options(Subject::Noun(kind, id)).await?;
    let edit = call.asked.edit()?;
    let answer = call.control.update_noun(&call.caller, kind, id, &edit, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

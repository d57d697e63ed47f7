//! `PATCH` on a noun: change some fields.

use axum::response::Response;
use keywright_control::NounKind;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Changes some fields of a noun: merge (RFC 7396) or edit (RFC 6902).
pub async fn patch(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let id = call.asked.segment("id")?;
    let edit = call.asked.edit()?;
    let options = call.options(Subject::Noun(kind, id)).await?;
    let answer = call.control.update_noun(&call.caller, kind, id, &edit, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

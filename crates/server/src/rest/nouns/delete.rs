//! `DELETE` on a noun that nothing refers to.

use axum::response::Response;
use keywright_control::NounKind;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Deletes a noun that nothing refers to.
pub async fn delete(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let id = call.asked.segment("id")?;
    let options = call.options(Subject::Noun(kind, id)).await?;
    let answer = call.control.delete_noun(&call.caller, kind, id, &options).await?;
    written(&call.asked.headers, answer, |()| Shown::nothing())
}

//! `DELETE /v1/keys/{id}`: end a key and hide it.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Ends a key, if it was not ended, and hides it.
pub async fn delete(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.delete_key(&call.caller, &key, &options).await?;
    written(&call.asked.headers, answer, |()| Shown::nothing())
}

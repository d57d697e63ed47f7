//! `GET /v1/keys/{id}`: show a key.

use axum::response::Response;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::problem::Problem;

/// Shows a key.
pub async fn show(call: Call) -> Result<Response, Problem> {
    let record = call.control.key(&call.caller, &call.key()?).await?;
    answer::noun(record.view)
}

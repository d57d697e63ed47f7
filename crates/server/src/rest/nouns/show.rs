//! `GET` on a noun.

use axum::response::Response;
use keywright_control::NounKind;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::problem::Problem;

/// Shows a noun, by identifier or name.
pub async fn show(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let record = call.control.noun(&call.caller, kind, call.asked.segment("id")?).await?;
    answer::noun(record.view)
}

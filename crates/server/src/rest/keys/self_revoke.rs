//! `POST /v1/keys/self/revoke`: a key ends itself.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::SelfCall;
use crate::rest::problem::Problem;

/// Ends the key that makes the call: whoever found it may.
pub async fn self_revoke(call: SelfCall) -> Result<Response, Problem> {
    let reason = call.asked.fields(&["reason"], |fields| fields.text("reason").map(str::to_owned))?;
    let (origin, options) = (call.asked.origin(), call.asked.write_options()?);
    let answer = call.control.revoke_self(&call.presented, reason, origin, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

//! `GET /v1/revisions/{revision}`: how far a write has come.

use axum::response::Response;
use keywright_model::revision::RevisionToken;
use serde_json::json;

use super::answer;
use super::call::Call;
use super::problem::{NOT_FOUND, Problem};

/// Shows whether every verifier answers by a write.
pub async fn show(call: Call) -> Result<Response, Problem> {
    let token = call.asked.segment("revision")?.parse::<RevisionToken>();
    let token = token.map_err(|_| Problem::new(NOT_FOUND).detail("no such revision"))?;
    let status = call.control.revision_status(&call.caller, token).await?;
    let enforced = if status.enforced { "all" } else { "pending" };
    answer::ok(&json!({
        "revision": token.to_string(), "enforced": enforced, "missing": status.missing,
        "enforced_since": status.since, "enforced_at_latest": status.at_latest,
    }))
}

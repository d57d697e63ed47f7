//! `GET /v1/whoami`: the calling key.

use axum::response::Response;

use super::answer;
use super::call::Call;
use super::problem::Problem;

/// Shows the calling key.
pub async fn show(call: Call) -> Result<Response, Problem> {
    answer::ok(&call.control.whoami(&call.caller).await?)
}

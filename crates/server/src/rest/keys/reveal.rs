//! `POST /v1/keys/{id}/secrets/{sid}/reveal`: show a recoverable secret again.

use axum::response::Response;
use serde_json::json;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::problem::Problem;

/// Shows a recoverable secret again. The audit notes it.
pub async fn reveal(call: Call) -> Result<Response, Problem> {
    call.asked.fields(&[], |_| ())?;
    let id = super::secret_id(&call)?;
    let secret = call.control.reveal_secret(&call.caller, &call.key()?, id).await?;
    answer::ok(&json!({"id": id, "secret": secret.expose()}))
}

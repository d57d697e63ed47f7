//! `POST /v1/keys/lookup`: find the key that a secret belongs to.

use axum::response::Response;
use keywright_model::document::Fields;
use keywright_model::secret::Secret;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::problem::Problem;

/// Finds the key that a secret belongs to.
pub async fn lookup(call: Call) -> Result<Response, Problem> {
    let secret = call.asked.fields(&["secret"], presented)?;
    let record = call.control.lookup_key(&call.caller, &secret).await?;
    answer::noun(record.view)
}

fn presented(fields: &mut Fields<'_>) -> Secret {
    fields.required("secret");
    Secret::new(fields.text("secret").unwrap_or_default())
}

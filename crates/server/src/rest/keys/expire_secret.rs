//! `POST /v1/keys/{id}/secrets/{sid}/expire`: end one secret of a key.

use axum::response::Response;

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Ends one secret of a key now.
pub async fn expire_secret(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    call.asked.fields(&[], |_| ())?;
    let secret = super::secret_id(&call)?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.expire_secret(&call.caller, &key, secret, &options).await?;
    written(&call.asked.headers, answer, |record| Shown::noun(record.view))
}

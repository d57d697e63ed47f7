//! `POST /v1/keys`: make a key.

use axum::response::Response;
use keywright_control::keys::{NewKey, NewSecret};
use keywright_model::document::decode_new_key;

use crate::rest::answer::{Shown, location, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Makes a key; the answer carries its secret, once.
pub async fn create(call: Call) -> Result<Response, Problem> {
    let draft = decode_new_key(&call.asked.object()?).map_err(|faults| Problem::invalid_body(&faults))?;
    let options = call.options(Subject::New).await?;
    let new = NewKey { draft, secret: NewSecret::Generated };
    let answer = call.control.create_key(&call.caller, new, &options).await?;
    written(&call.asked.headers, answer, |made| {
        let location = location("/v1/keys", &made.record.view);
        Shown::key_with_secret(made).created(&location)
    })
}

//! `POST` on a collection: make a noun.

use axum::response::Response;
use keywright_control::NounKind;

use crate::rest::answer::{Shown, location, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Makes a noun.
pub async fn create(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let body = call.asked.object()?;
    let options = call.options(Subject::New).await?;
    let answer = call.control.create_noun(&call.caller, kind, &body, &options).await?;
    written(&call.asked.headers, answer, |record| {
        let location = location(call.asked.route.path, &record.view);
        Shown::noun(record.view).created(&location)
    })
}

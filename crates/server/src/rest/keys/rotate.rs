//! `POST /v1/keys/{id}/rotate`: give a key a new secret.

use axum::response::Response;
use keywright_control::keys::{NewSecret, OVERLAP_SECONDS_MAX, Rotation};
use keywright_model::document::{Fields, custom_secret};

use crate::rest::answer::{Shown, written};
use crate::rest::call::{Call, Subject};
use crate::rest::problem::Problem;

/// Gives a key a new secret; the answer carries it, once.
pub async fn rotate(call: Call) -> Result<Response, Problem> {
    let key = call.key()?;
    let rotation = call.asked.fields(&["overlap_seconds", "secret"], rotation)?;
    let options = call.options(Subject::Key(&key)).await?;
    let answer = call.control.rotate_key(&call.caller, &key, &rotation, &options).await?;
    written(&call.asked.headers, answer, Shown::key_with_secret)
}

fn rotation(fields: &mut Fields<'_>) -> Rotation {
    fields.required("overlap_seconds");
    let given = fields.value("overlap_seconds");
    let overlap = given.and_then(serde_json::Value::as_u64).filter(|seconds| *seconds <= OVERLAP_SECONDS_MAX);
    if given.is_some() && overlap.is_none() {
        fields.fault(
            "overlap_seconds",
            "out_of_range",
            format!("must be a whole number from 0 to {OVERLAP_SECONDS_MAX}"),
        );
    }
    Rotation {
        overlap_seconds: overlap.unwrap_or_default(),
        custom: custom_secret(fields, "secret"),
        secret: NewSecret::Generated,
    }
}

//! `GET` on a collection: list nouns.

use axum::response::Response;
use keywright_control::NounKind;
use serde_json::Value;

use crate::rest::answer;
use crate::rest::call::Call;
use crate::rest::cursor::Binding;
use crate::rest::problem::Problem;

/// Lists nouns, oldest first.
pub async fn list(call: Call, kind: NounKind) -> Result<Response, Problem> {
    let query = &call.asked.query;
    let binding = Binding::new(call.asked.route.id, call.caller.org(), query);
    let page = call.control.nouns(&call.caller, kind, binding.after(query)?, query.limit()?).await?;
    let items = page.items.into_iter().map(|record| Value::Object(record.view)).collect();
    answer::page(items, page.next.map(|next| binding.cursor(next)))
}

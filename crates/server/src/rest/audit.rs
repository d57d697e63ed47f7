//! `GET /v1/audit`: who did what.

use axum::response::Response;
use keywright_control::{AuditEntry, AuditFilter};
use serde_json::{Value, json};

use super::answer;
use super::call::Call;
use super::cursor::Binding;
use super::problem::{INVALID_CURSOR, Problem};

/// Lists the audit of the caller's organization, newest first.
pub async fn list(call: Call) -> Result<Response, Problem> {
    let query = &call.asked.query;
    let binding = Binding::new(call.asked.route.id, call.caller.org(), query);
    let before = binding.after(query)?.map(u64::try_from).transpose();
    let filter = AuditFilter {
        before: before
            .map_err(|_| Problem::parameter(INVALID_CURSOR, "cursor", "belongs to another list"))?,
        limit: query.limit()?,
        subject: query.text("subject").map(str::to_owned),
        actor: query.parsed("actor")?,
        verb: query.text("verb").map(str::to_owned),
        since: query.parsed("since")?,
        until: query.parsed("until")?,
    };
    let page = call.control.audit(&call.caller, &filter).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| binding.cursor(entry.number.into()));
    answer::page(page.items.iter().map(entry).collect(), next)
}

fn entry(entry: &AuditEntry) -> Value {
    json!({
        "number": entry.number, "at": entry.at, "actor": entry.actor, "wire": entry.wire, "verb": entry.verb,
        "subject": entry.subject, "version": entry.version, "after": entry.after, "address": entry.address,
        "request_id": entry.request_id,
    })
}

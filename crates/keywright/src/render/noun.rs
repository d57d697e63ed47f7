//! Organizations, keyspaces, principals, roles, plans and audit entries for people.

use keywright_client::{AuditEntry, Keyspace, Noun, Org, Plan, Principal, Role};
use keywright_model::time::Timestamp;
use serde_json::Value;

use super::age::age_of;
use super::key::Layout;
use super::table::{Cell, Tone, fields, table};
use crate::parse::grant::show_grant;
use crate::parse::limit::{show_limit, show_quota};

/// A noun that fits into a row.
pub(crate) trait Row: Noun {
    /// What the columns after the identifier are called.
    const HEADERS: &'static [&'static str];

    /// What is in them.
    fn cells(&self, now: Timestamp) -> Vec<Cell>;
}

impl Row for Org {
    const HEADERS: &'static [&'static str] = &["name", "created"];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        vec![self.name.as_str().into(), age_of(Some(&self.created_at), now).into()]
    }
}

impl Row for Keyspace {
    const HEADERS: &'static [&'static str] = &["name", "prefix", "secrets", "key policy", "created"];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let mut secrets = vec![if self.recoverable_secrets { "recoverable" } else { "shown once" }];
        secrets.extend(self.allow_custom_secrets.then_some("custom"));
        let set = |value: &&Value| !matches!(value, Value::Null | Value::Bool(false));
        let policy =
            self.key_policy.iter().filter(|(_, value)| set(value)).map(|(name, value)| match value {
                Value::Bool(true) => name.clone(),
                other => format!("{name}={other}"),
            });
        vec![
            self.name.as_str().into(),
            self.secret_prefix.as_str().into(),
            secrets.join(", ").into(),
            dash(policy.collect::<Vec<_>>().join(", ")).into(),
            age_of(Some(&self.created_at), now).into(),
        ]
    }
}

impl Row for Principal {
    const HEADERS: &'static [&'static str] = &["name", "external id", "kind", "state", "roles", "created"];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            dash(self.name.clone().unwrap_or_default()).into(),
            dash(self.external_id.clone().unwrap_or_default()).into(),
            self.kind.as_str().into(),
            Cell::state(if self.enabled { "active" } else { "disabled" }),
            dash(self.roles.join("\n")).into(),
            age_of(Some(&self.created_at), now).into(),
        ]
    }
}

impl Row for Role {
    const HEADERS: &'static [&'static str] = &["number", "name", "grants", "created"];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            self.number.to_string().into(),
            self.name.as_str().into(),
            dash(self.grants.iter().map(show_grant).collect::<Vec<_>>().join("\n")).into(),
            age_of(Some(&self.created_at), now).into(),
        ]
    }
}

impl Row for Plan {
    const HEADERS: &'static [&'static str] = &["name", "limits", "quota", "created"];

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            dash(self.limits.iter().map(show_limit).collect::<Vec<_>>().join("\n")).into(),
            self.quota.as_ref().map_or_else(|| "-".to_owned(), show_quota).into(),
            age_of(Some(&self.created_at), now).into(),
        ]
    }
}

/// A list of nouns.
pub(crate) fn nouns<N: Row>(nouns: &[N], layout: Layout) -> String {
    let headers: Vec<&str> = std::iter::once("id").chain(N::HEADERS.iter().copied()).collect();
    let row = |noun: &N| std::iter::once(noun.id().into()).chain(noun.cells(layout.now)).collect();
    table(&headers, nouns.iter().map(row).collect(), layout.width, layout.paint.on)
}

/// One noun, a field a line.
pub(crate) fn noun<N: Row>(noun: &N, layout: Layout) -> String {
    let cells = N::HEADERS.iter().copied().zip(noun.cells(layout.now));
    let mut rows: Vec<(&str, Cell)> = std::iter::once(("id", noun.id().into())).chain(cells).collect();
    rows.push(("version", noun.etag().trim_matches('"').into()));
    fields(rows, layout.width, layout.paint.on)
}

/// Entries of the audit.
pub(crate) fn audit(entries: &[AuditEntry], layout: Layout) -> String {
    let headers = ["entry", "when", "who", "through", "did", "to", "version"];
    let rows = entries.iter().map(|entry| {
        let text = |text: &Option<String>| dash(text.clone().unwrap_or_default());
        vec![
            entry.number.to_string().into(),
            age_of(entry.at.as_deref(), layout.now).into(),
            text(&entry.actor).into(),
            Cell::new(text(&entry.wire), Tone::Dim),
            text(&entry.verb).into(),
            text(&entry.subject).into(),
            entry.version.map_or_else(|| "-".to_owned(), |version| version.to_string()).into(),
        ]
    });
    table(&headers, rows.collect(), layout.width, layout.paint.on)
}

/// Any object, a field a line: for answers that have no table of their own.
pub(crate) fn object(map: &serde_json::Map<String, Value>, layout: Layout) -> String {
    let rows = map.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.as_str(), Cell::from(if value.is_null() { "-".to_owned() } else { text }))
    });
    fields(rows.collect(), layout.width, layout.paint.on)
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use serde_json::json;

    #[test]
    fn a_role_shows_its_grants_a_line_each() {
        let role: Role = serde_json::from_value(json!({"id":"role_1","number":3,"org":"default","name":"reader",
            "grants":[{"effect":"allow","actions":["get"],"resources":["a/**"]},{"effect":"deny","actions":["*"],"resources":["a/b"]}],
            "created_at":"2026-11-22T00:00:00Z","created_by":"root","updated_at":"2026-11-22T00:00:00Z",
            "updated_by":"root","version":2,"etag":"\"2\""})).unwrap();
        let layout =
            Layout { now: "2026-11-25T00:00:00Z".parse().unwrap(), width: None, paint: Paint { on: false } };
        assert_eq!(
            nouns(std::slice::from_ref(&role), layout),
            "\
ID      NUMBER  NAME    GRANTS         CREATED
role_1  3       reader  get on a/**    3 d ago
                        deny * on a/b"
        );
        assert_eq!(noun(&role, layout).lines().last(), Some("version  2"));
    }
}

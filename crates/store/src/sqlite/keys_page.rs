//! A page of keys: one condition for each filter that is set.

use keywright_model::id::KeyId;
use keywright_model::key::{Key, KeyKind, KeyState};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::nouns::{all, cut, secrets};
use super::rows::{KEY_COLUMNS, key_from};
use super::value::{id, rows};
use crate::{KeyQuery, Page, StoreError};

/// No hint is longer: a prefix of 11 characters, the two between, and the last four.
const HINT_CHARACTERS_MAX: usize = 17;

/// Conditions and their values, in step.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    /// Adds a condition; each `?` in it stands for the next of `values`.
    fn add<const N: usize>(&mut self, condition: &str, values: [Box<dyn ToSql>; N]) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

/// A page of keys, newest first.
pub(super) fn keys_page(connection: &Connection, query: &KeyQuery) -> Result<Page<Key>, StoreError> {
    let mut conditions = Conditions::default();
    place(&mut conditions, query);
    links(&mut conditions, query);
    names(&mut conditions, query);
    moments(&mut conditions, query);
    let limit = rows(query.limit.saturating_add(1));
    conditions.values.push(Box::new(limit));
    let sql = format!("SELECT {KEY_COLUMNS} FROM keys k WHERE {} ORDER BY k.id DESC LIMIT ?", conditions.sql);
    let keys = all(connection, &sql, params_from_iter(conditions.values), key_from)?;
    let mut page = cut(keys, query.limit);
    for key in &mut page.items {
        key.secrets = secrets(connection, key.id)?;
    }
    Ok(page)
}

fn place(conditions: &mut Conditions, query: &KeyQuery) {
    conditions.add("k.org_id = ?", [Box::new(id(query.org.bits()))]);
    if let Some(keyspaces) = &query.keyspaces {
        let marks = vec!["?"; keyspaces.len()].join(", ");
        conditions.add(&format!("k.keyspace_id IN ({marks})"), []);
        let ids = keyspaces.iter().map(|keyspace| Box::new(id(keyspace.bits())) as Box<dyn ToSql>);
        conditions.values.extend(ids);
    }
    if let Some(after) = query.after {
        conditions.add("k.id < ?", [Box::new(id(after.bits()))]);
    }
    if let Some(at) = query.deleted_before {
        conditions.add("k.deleted_at < ?", [Box::new(at.unix_ms())]);
    } else if !query.deleted {
        conditions.add("k.deleted_at IS NULL", []);
    }
    if let Some(kind) = query.kind {
        let kind = match kind {
            KeyKind::Api => "api",
            KeyKind::Management => "management",
        };
        conditions.add("k.kind = ?", [Box::new(kind)]);
    }
}

fn links(conditions: &mut Conditions, query: &KeyQuery) {
    if let Some(owner) = query.owner {
        conditions.add("k.owner_id = ?", [Box::new(id(owner.bits()))]);
    }
    if let Some(role) = query.role {
        conditions
            .add("k.id IN (SELECT key_id FROM key_roles WHERE role_id = ?)", [Box::new(id(role.bits()))]);
    }
    if let Some(plan) = query.plan {
        conditions
            .add("k.id IN (SELECT key_id FROM key_plans WHERE plan_id = ?)", [Box::new(id(plan.bits()))]);
    }
    for (label, value) in &query.labels {
        let labelled = "k.id IN (SELECT key_id FROM key_labels WHERE label = ? AND value = ?)";
        conditions.add(labelled, [Box::new(label.clone()), Box::new(value.clone())]);
    }
    if let Some(actor) = query.created_by {
        conditions.add("k.created_by = ?", [Box::new(actor.to_string())]);
    }
}

fn names(conditions: &mut Conditions, query: &KeyQuery) {
    if let Some(number) = query.number {
        conditions.add("k.number = ?", [Box::new(number)]);
    }
    if let Some(access_id) = &query.access_id {
        conditions.add("k.access_id = ?", [Box::new(access_id.clone())]);
    }
    if let Some(external_id) = &query.external_id {
        conditions.add("k.external_id = ?", [Box::new(external_id.clone())]);
    }
    if let Some(text) = &query.text {
        named(conditions, text);
    }
}

/// `NOCASE` folds ASCII and nothing else; the last code point stands behind every name that begins with `text`.
fn named(conditions: &mut Conditions, text: &str) {
    let mut alternatives = "(k.name COLLATE NOCASE >= ? AND k.name COLLATE NOCASE < ?)".to_owned();
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(text.to_owned()), Box::new(format!("{text}\u{10FFFF}"))];
    if let Ok(key) = text.parse::<KeyId>() {
        alternatives.push_str(" OR k.id = ?");
        values.push(Box::new(id(key.bits())));
    }
    if text.chars().count() <= HINT_CHARACTERS_MAX {
        alternatives
            .push_str(" OR EXISTS (SELECT 1 FROM secrets s WHERE s.key_id = k.id AND instr(s.hint, ?) > 0)");
        values.push(Box::new(text.to_owned()));
    }
    conditions.add(&format!("({alternatives})"), []);
    conditions.values.extend(values);
}

fn moments(conditions: &mut Conditions, query: &KeyQuery) {
    if let Some(state) = query.state {
        in_state(conditions, state, query.now.unix_ms());
    }
    if let Some(at) = query.expires_before {
        conditions.add("k.expires_at < ?", [Box::new(at.unix_ms())]);
    }
    if let Some(at) = query.updated_since {
        conditions.add("k.updated_at >= ?", [Box::new(at.unix_ms())]);
    }
    if let Some(at) = query.last_used_before {
        let unused = "NOT EXISTS (SELECT 1 FROM secrets s WHERE s.key_id = k.id AND s.last_used_at >= ?)";
        conditions.add(unused, [Box::new(at.unix_ms())]);
    }
}

/// As [`Key::state_at`] has it: of the states the last that applies.
fn in_state(conditions: &mut Conditions, state: KeyState, now: i64) {
    let begun = "(k.not_before IS NULL OR k.not_before <= ?)";
    if state == KeyState::Revoked {
        return conditions.add("k.revoked_at IS NOT NULL", []);
    }
    conditions.add("k.revoked_at IS NULL", []);
    if state == KeyState::Expired {
        return conditions.add("k.expires_at <= ?", [Box::new(now)]);
    }
    conditions.add("(k.expires_at IS NULL OR k.expires_at > ?)", [Box::new(now)]);
    match state {
        KeyState::Scheduled => conditions.add("k.not_before > ?", [Box::new(now)]),
        KeyState::Active => conditions.add(&format!("{begun} AND k.enabled = 1"), [Box::new(now)]),
        KeyState::Disabled => conditions.add(&format!("{begun} AND k.enabled = 0"), [Box::new(now)]),
        KeyState::Expired | KeyState::Revoked => {}
    }
}

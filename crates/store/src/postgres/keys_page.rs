//! A page of keys: one condition for each filter that is set.

use keywright_model::id::{KeyId, OrgId};
use keywright_model::key::{Key, KeyKind, KeyState};
use keywright_model::noun::PrincipalKind;
use tokio_postgres::types::Type;

use super::link::Ask;
use super::nouns::cut;
use super::readers::Readers;
use super::rows::{key_and_secret_columns, keys_from};
use super::value::{Id, Owned, count_column, has_nul, number, owned, rows};
use crate::{KeyQuery, Page, Standing, StoreError};

/// No hint is longer: a prefix of 11 characters, the two between, and the last four.
const HINT_CHARACTERS_MAX: usize = 17;

/// Conditions and their values, in step.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<(Owned, Type)>,
}

impl Conditions {
    /// Adds a condition; each `?` in it stands for the next of `values`.
    fn add<const N: usize>(&mut self, condition: &str, values: [(Owned, Type); N]) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.numbered(condition, values.into_iter().collect());
    }

    /// Writes a condition with the numbers of its values.
    fn numbered(&mut self, condition: &str, values: Vec<(Owned, Type)>) {
        let mut values = values.into_iter();
        for (place, part) in condition.split('?').enumerate() {
            if place > 0
                && let Some(value) = values.next()
            {
                self.values.push(value);
                self.sql.push('$');
                self.sql.push_str(&self.values.len().to_string());
            }
            self.sql.push_str(part);
        }
    }

    /// Adds a condition on a table of links: the walked one (`l`) or one that is looked up.
    fn link<const N: usize>(
        &mut self,
        walked: bool,
        table: &str,
        condition: &str,
        values: [(Owned, Type); N],
        after: Option<KeyId>,
    ) {
        if walked {
            self.add(&format!("l.{}", condition.replace("_.", "l.")), values);
            if let Some(after) = after {
                self.add("l.key_id < ?", [uuid(after.bits())]);
            }
        } else {
            let condition = condition.replace("_.", "o.");
            self.add(
                &format!("EXISTS (SELECT 1 FROM {table} o WHERE o.key_id = k.id AND o.{condition})"),
                values,
            );
        }
    }
}

fn uuid(bits: u128) -> (Owned, Type) {
    (Box::new(Id(bits)), Type::UUID)
}

fn integer(value: i64) -> (Owned, Type) {
    (Box::new(value), Type::INT8)
}

/// A text to compare with. Nothing stored holds a NUL, and nothing is equal to NULL.
fn text(value: &str) -> (Owned, Type) {
    (Box::new((!has_nul(value)).then(|| value.to_owned())), Type::TEXT)
}

/// A page of keys, newest first.
pub(super) async fn keys_page(readers: &Readers, query: &KeyQuery) -> Result<Page<Key>, StoreError> {
    let many = query.text.is_some() && has_many_keys(readers, query.org).await?;
    page_of(readers, query, many).await
}

/// How many keys a query that starts at the first one finds.
pub(super) async fn keys_count(readers: &Readers, query: &KeyQuery) -> Result<u64, StoreError> {
    let many = query.text.is_some() && has_many_keys(readers, query.org).await?;
    let (conditions, Order { from, .. }) = conditions(query, many);
    let sql = format!("SELECT count(*) FROM {from} WHERE {}", conditions.sql);
    let found = readers.rows(Ask::once(sql, conditions.values)).await?;
    found.first().map_or(Ok(0), |row| count_column(row, 0))
}

fn conditions(query: &KeyQuery, many: bool) -> (Conditions, Order) {
    let mut conditions = Conditions::default();
    place(&mut conditions, query);
    let order = links(&mut conditions, query);
    names(&mut conditions, query);
    if let Some(text) = &query.text {
        named(&mut conditions, query, text, many);
    }
    moments(&mut conditions, query);
    (conditions, order)
}

async fn page_of(readers: &Readers, query: &KeyQuery, many: bool) -> Result<Page<Key>, StoreError> {
    let (mut conditions, Order { from, by }) = conditions(query, many);
    conditions.values.push(integer(rows(query.limit.saturating_add(1))));
    conditions.values.push(integer(rows(query.skip)));
    let count = conditions.values.len();
    // The page is cut before the secrets are joined to it.
    let sql = format!(
        "SELECT {} FROM (SELECT k.* FROM {from} WHERE {} ORDER BY {by} DESC LIMIT ${} OFFSET ${count}) k \
         LEFT JOIN secrets s ON s.key_id = k.id ORDER BY k.id DESC, s.position",
        key_and_secret_columns!(),
        conditions.sql,
        count - 1,
    );
    let found = readers.rows(Ask::once(sql, conditions.values)).await?;
    Ok(cut(keys_from(&found)?, query.limit))
}

fn place(conditions: &mut Conditions, query: &KeyQuery) {
    conditions.add("k.org_id = ?", [uuid(query.org.bits())]);
    if let Some(keyspaces) = &query.keyspaces {
        let ids: Vec<Id> = keyspaces.iter().map(|keyspace| Id(keyspace.bits())).collect();
        conditions.add("k.keyspace_id = ANY(?)", [(Box::new(ids), Type::UUID_ARRAY)]);
    }
    if let Some(after) = query.after {
        conditions.add("k.id < ?", [uuid(after.bits())]);
    }
    if let Some(at) = query.deleted_before {
        conditions.add("k.deleted_at < ?", [integer(at.unix_ms())]);
    } else if !query.deleted {
        conditions.add("k.deleted_at IS NULL", []);
    }
    if let Some(kind) = query.kind {
        let kind = match kind {
            KeyKind::Api => "api",
            KeyKind::Management => "management",
        };
        conditions.add("k.kind = ?", [text(kind)]);
    }
}

/// Which table is walked, and the column that keeps it in the order of the keys' identifiers.
struct Order {
    from: &'static str,
    by: &'static str,
}

/// A role, plan or label has an index in the order of the list: that one is walked, the others are looked up.
fn links(conditions: &mut Conditions, query: &KeyQuery) -> Order {
    if let Some(owner) = query.owner {
        conditions.add("k.owner_id = ?", [uuid(owner.bits())]);
    }
    let (roles, plans) = (query.role.is_some(), query.plan.is_some());
    if let Some(kind) = query.owner_kind {
        let person = "EXISTS (SELECT 1 FROM principals p WHERE p.id = k.owner_id AND p.kind = 'user')";
        match kind {
            PrincipalKind::User => conditions.add(person, []),
            PrincipalKind::Bot => conditions.add(&format!("NOT {person}"), []),
        }
    }
    if let Some(role) = query.role {
        conditions.link(true, "key_roles", "role_id = ?", [uuid(role.bits())], query.after);
    }
    if let Some(plan) = query.plan {
        conditions.link(!roles, "key_plans", "plan_id = ?", [uuid(plan.bits())], query.after);
    }
    for (place, (label, value)) in query.labels.iter().enumerate() {
        let walked = !roles && !plans && place == 0;
        let values = [text(label), text(value)];
        conditions.link(walked, "key_labels", "label = ? AND _.value = ?", values, query.after);
    }
    if let Some(actor) = query.created_by {
        conditions.add("k.created_by = ?", [text(&actor.to_string())]);
    }
    match (roles, plans, query.labels.is_empty()) {
        (true, _, _) => Order { from: "key_roles l JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (_, true, _) => Order { from: "key_plans l JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (_, _, false) => Order { from: "key_labels l JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (false, false, true) => Order { from: "keys k", by: "k.id" },
    }
}

fn names(conditions: &mut Conditions, query: &KeyQuery) {
    if let Some(wanted) = query.number {
        conditions.add("k.number = ?", [(Box::new(number(wanted)), Type::INT4)]);
    }
    if let Some(access_id) = &query.access_id {
        conditions.add("k.access_id = ?", [text(access_id)]);
    }
    if let Some(external_id) = &query.external_id {
        conditions.add("k.external_id = ?", [text(external_id)]);
    }
    if let Some(part) = &query.name_part {
        conditions.add("strpos(lower(k.name), lower(? COLLATE \"C\")) > 0", [text(part)]);
    }
}

/// How many keys an organization has when walking through all of them takes too long.
const MANY_KEYS: i64 = 10_000;
/// Texts of so many characters match few keys: it is quicker to find those than to walk until a page is full.
const TELLING_CHARACTERS: usize = 3;

async fn has_many_keys(readers: &Readers, org: OrgId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM keys WHERE org_id = $1 LIMIT 1 OFFSET $2";
    let found = readers.rows(Ask::rows(sql, owned![Id(org.bits()), MANY_KEYS])).await?;
    Ok(!found.is_empty())
}

/// `lower` folds ASCII and nothing else here; the last code point stands behind every name that begins with `wanted`.
fn named(conditions: &mut Conditions, query: &KeyQuery, wanted: &str, many: bool) {
    let characters = wanted.chars().count();
    let end = format!("{}\u{10FFFF}", wanted.to_ascii_lowercase());
    let range = || [text(&wanted.to_ascii_lowercase()), text(&end)];
    if many && (TELLING_CHARACTERS..=HINT_CHARACTERS_MAX).contains(&characters) {
        let [from, to] = range();
        let found = "k.id IN (SELECT id FROM keys WHERE org_id = ? AND lower(name) >= ? AND lower(name) < ? \
                     UNION SELECT key_id FROM secrets WHERE strpos(hint, ?) > 0)";
        return conditions.add(found, [uuid(query.org.bits()), from, to, text(wanted)]);
    }
    let mut alternatives = "((lower(k.name) >= ? AND lower(k.name) < ?)".to_owned();
    let mut values: Vec<(Owned, Type)> = range().into();
    if let Ok(key) = wanted.parse::<KeyId>() {
        alternatives.push_str(" OR k.id = ?");
        values.push(uuid(key.bits()));
    }
    if characters <= HINT_CHARACTERS_MAX {
        alternatives
            .push_str(" OR EXISTS (SELECT 1 FROM secrets s WHERE s.key_id = k.id AND strpos(s.hint, ?) > 0)");
        values.push(text(wanted));
    }
    alternatives.push(')');
    conditions.sql.push_str(" AND ");
    conditions.numbered(&alternatives, values);
}

fn moments(conditions: &mut Conditions, query: &KeyQuery) {
    if let Some(state) = query.state {
        in_state(conditions, state, query.now.unix_ms());
    }
    if let Some(standing) = query.standing {
        stands(conditions, standing, query.now.unix_ms());
    }
    if let Some(at) = query.expires_before {
        conditions.add("k.expires_at < ?", [integer(at.unix_ms())]);
    }
    if let Some(at) = query.updated_since {
        conditions.add("k.updated_at >= ?", [integer(at.unix_ms())]);
    }
    if let Some(at) = query.last_used_before {
        let unused = "NOT EXISTS (SELECT 1 FROM secrets s WHERE s.key_id = k.id AND s.last_used_at >= ?)";
        conditions.add(unused, [integer(at.unix_ms())]);
    }
}

fn stands(conditions: &mut Conditions, standing: Standing, now: i64) {
    let off = "(k.revoked_at IS NOT NULL OR NOT k.enabled)";
    let expired = "coalesce(k.expires_at <= ?, false)";
    match standing {
        Standing::On => conditions.add(&format!("NOT {off}"), []),
        Standing::Off => conditions.add(off, []),
        Standing::Expired => conditions.add(expired, [integer(now)]),
        Standing::Good => conditions.add(&format!("NOT ({off} OR {expired})"), [integer(now)]),
        Standing::NotGood => conditions.add(&format!("({off} OR {expired})"), [integer(now)]),
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
        return conditions.add("k.expires_at <= ?", [integer(now)]);
    }
    conditions.add("(k.expires_at IS NULL OR k.expires_at > ?)", [integer(now)]);
    match state {
        KeyState::Scheduled => conditions.add("k.not_before > ?", [integer(now)]),
        KeyState::Active => conditions.add(&format!("{begun} AND k.enabled"), [integer(now)]),
        KeyState::Disabled => conditions.add(&format!("{begun} AND NOT k.enabled"), [integer(now)]),
        KeyState::Expired | KeyState::Revoked => {}
    }
}

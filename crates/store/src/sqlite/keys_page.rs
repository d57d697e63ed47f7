//! A page of keys: one condition for each filter that is set.

use keywright_model::id::{KeyId, OrgId};
use keywright_model::key::{Key, KeyKind, KeyState};
use keywright_model::noun::PrincipalKind;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::nouns::{all, cut, first, secrets};
use super::rows::{KEY_COLUMNS, key_from};
use super::value::{column, id, rows, uncount};
use crate::{KeyQuery, Page, Standing, StoreError};

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

    /// Adds a condition on a table of links: the walked one (`l`) or one that is looked up.
    fn link<const N: usize>(
        &mut self,
        walked: bool,
        table: &str,
        condition: &str,
        values: [Box<dyn ToSql>; N],
        after: Option<KeyId>,
    ) {
        if walked {
            self.add(&format!("l.{}", condition.replace("_.", "l.")), values);
            if let Some(after) = after {
                self.add("l.key_id < ?", [Box::new(id(after.bits()))]);
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

/// A page of keys, newest first.
pub(super) fn keys_page(connection: &Connection, query: &KeyQuery) -> Result<Page<Key>, StoreError> {
    let many = query.text.is_some() && has_many_keys(connection, query.org)?;
    page_of(connection, query, many)
}

/// How many keys a query that starts at the first one finds.
pub(super) fn keys_count(connection: &Connection, query: &KeyQuery) -> Result<u64, StoreError> {
    let many = query.text.is_some() && has_many_keys(connection, query.org)?;
    let (conditions, Order { from, .. }) = conditions(query, many);
    let sql = format!("SELECT count(*) FROM {from} WHERE {}", conditions.sql);
    let count: Option<i64> =
        first(connection, &sql, params_from_iter(conditions.values), |row| column(row, 0))?;
    Ok(count.map(uncount).unwrap_or_default())
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

fn page_of(connection: &Connection, query: &KeyQuery, many: bool) -> Result<Page<Key>, StoreError> {
    let (mut conditions, Order { from, by }) = conditions(query, many);
    let (limit, skip) = (rows(query.limit.saturating_add(1)), rows(query.skip));
    conditions.values.extend([limit, skip].map(|count| Box::new(count) as Box<dyn ToSql>));
    let sql = format!(
        "SELECT {KEY_COLUMNS} FROM {from} WHERE {} ORDER BY {by} DESC LIMIT ? OFFSET ?",
        conditions.sql
    );
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

/// Which table is walked, and the column that keeps it in the order of the keys' identifiers.
struct Order {
    from: &'static str,
    by: &'static str,
}

/// A role, plan or label has an index in the order of the list: that one is walked, the others are looked up.
fn links(conditions: &mut Conditions, query: &KeyQuery) -> Order {
    if let Some(owner) = query.owner {
        conditions.add("k.owner_id = ?", [Box::new(id(owner.bits()))]);
    }
    let (roles, plans) = (query.role.is_some(), query.plan.is_some());
    if let Some(kind) = query.owner_kind {
        let person =
            "EXISTS (SELECT 1 FROM principals p WHERE p.id = k.owner_id AND p.body ->> '$.kind' = 'user')";
        match kind {
            PrincipalKind::User => conditions.add(person, []),
            PrincipalKind::Bot => conditions.add(&format!("NOT {person}"), []),
        }
    }
    if let Some(role) = query.role {
        conditions.link(true, "key_roles", "role_id = ?", [Box::new(id(role.bits()))], query.after);
    }
    if let Some(plan) = query.plan {
        conditions.link(!roles, "key_plans", "plan_id = ?", [Box::new(id(plan.bits()))], query.after);
    }
    for (place, (label, value)) in query.labels.iter().enumerate() {
        let walked = !roles && !plans && place == 0;
        let values: [Box<dyn ToSql>; 2] = [Box::new(label.clone()), Box::new(value.clone())];
        conditions.link(walked, "key_labels", "label = ? AND _.value = ?", values, query.after);
    }
    if let Some(actor) = query.created_by {
        conditions.add("k.created_by = ?", [Box::new(actor.to_string())]);
    }
    match (roles, plans, query.labels.is_empty()) {
        (true, _, _) => Order { from: "key_roles l CROSS JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (_, true, _) => Order { from: "key_plans l CROSS JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (_, _, false) => Order { from: "key_labels l CROSS JOIN keys k ON k.id = l.key_id", by: "l.key_id" },
        (false, false, true) => Order { from: "keys k", by: "k.id" },
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
    if let Some(part) = &query.name_part {
        conditions.add("instr(lower(k.name), lower(?)) > 0", [Box::new(part.clone())]);
    }
}

/// How many keys an organization has when walking through all of them takes too long.
const MANY_KEYS: i64 = 10_000;
/// Texts of so many characters match few keys: it is quicker to find those than to walk until a page is full.
const TELLING_CHARACTERS: usize = 3;

fn has_many_keys(connection: &Connection, org: OrgId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM keys WHERE org_id = ?1 LIMIT 1 OFFSET ?2";
    Ok(first(connection, sql, (id(org.bits()), MANY_KEYS), |_| Ok(()))?.is_some())
}

/// `NOCASE` folds ASCII and nothing else; the last code point stands behind every name that begins with `text`.
fn named(conditions: &mut Conditions, query: &KeyQuery, text: &str, many: bool) {
    let characters = text.chars().count();
    if many && (TELLING_CHARACTERS..=HINT_CHARACTERS_MAX).contains(&characters) {
        let found = "k.id IN (SELECT id FROM keys WHERE org_id = ? AND name COLLATE NOCASE >= ? \
                     AND name COLLATE NOCASE < ? UNION SELECT key_id FROM secrets WHERE instr(hint, ?) > 0)";
        let (org, end) = (id(query.org.bits()), format!("{text}\u{10FFFF}"));
        return conditions.add(
            found,
            [Box::new(org), Box::new(text.to_owned()), Box::new(end), Box::new(text.to_owned())],
        );
    }
    let mut alternatives = "(k.name COLLATE NOCASE >= ? AND k.name COLLATE NOCASE < ?)".to_owned();
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(text.to_owned()), Box::new(format!("{text}\u{10FFFF}"))];
    if let Ok(key) = text.parse::<KeyId>() {
        alternatives.push_str(" OR k.id = ?");
        values.push(Box::new(id(key.bits())));
    }
    if characters <= HINT_CHARACTERS_MAX {
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
    if let Some(standing) = query.standing {
        stands(conditions, standing, query.now.unix_ms());
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

fn stands(conditions: &mut Conditions, standing: Standing, now: i64) {
    let off = "(k.revoked_at IS NOT NULL OR k.enabled = 0)";
    let expired = "ifnull(k.expires_at <= ?, 0)";
    let now = || Box::new(now) as Box<dyn ToSql>;
    match standing {
        Standing::On => conditions.add(&format!("NOT {off}"), []),
        Standing::Off => conditions.add(off, []),
        Standing::Expired => conditions.add(expired, [now()]),
        Standing::Good => conditions.add(&format!("NOT ({off} OR {expired})"), [now()]),
        Standing::NotGood => conditions.add(&format!("({off} OR {expired})"), [now()]),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Backend as _;
    use crate::contract::fixture::{at, key, of_key, world, write};
    use crate::sqlite::tests::SqliteBackend;
    use crate::sqlite::{DATABASE, SqliteReader};

    #[tokio::test]
    async fn a_text_finds_the_same_keys_in_a_large_organization_as_in_a_small_one() {
        let backend = SqliteBackend::new();
        let store = backend.open().await;
        world(&store).await;
        write(&store, (1..=300).map(|n| of_key(key(1, 1, n))).collect()).await.unwrap();
        let reader = SqliteReader::open_file(&backend.0.path().join(DATABASE)).unwrap();
        for (text, count) in
            [("Key", 300), ("kEY 29", 11), ("…0042", 1), ("0042", 1), ("kw_", 300), ("none", 0), ("ey 2", 0)]
        {
            let query =
                KeyQuery { text: Some(text.to_owned()), ..KeyQuery::all(OrgId::from_bits(1), at(0), 500) };
            let small = page_of(&reader.connection, &query, false).unwrap();
            let large = page_of(&reader.connection, &query, true).unwrap();
            assert_eq!((small.items.len(), &small), (count, &large), "{text}");
        }
    }
}

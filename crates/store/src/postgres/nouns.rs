//! Reading nouns: what is asked in one call is one exchange and one moment.

use std::sync::Arc;

use keywright_model::change::NounRef;
use keywright_model::id::{KeyId, SecretId};
use keywright_model::noun::{Keyspace, Org, Plan, Principal, Role};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::link::{Answer, Ask};
use super::rows::{keys_from, keys_with_secrets};
use super::value::{
    Id, Owned, column, from_json, has_nul, id_column, noun_bits, number, optional_time_column, owned, rows,
};
use crate::{LastUsed, Lookup, Noun, NounKind, NounQuery, Page, StoreError};

/// Asks for a noun by its identifier.
pub(super) fn ask(wanted: NounRef) -> Ask {
    let sql = match wanted {
        NounRef::Org(_) => "SELECT body FROM orgs WHERE id = $1",
        NounRef::Keyspace(_) => "SELECT body FROM keyspaces WHERE id = $1",
        NounRef::Principal(_) => "SELECT body FROM principals WHERE id = $1",
        NounRef::Role(_) => "SELECT body FROM roles WHERE id = $1",
        NounRef::Plan(_) => "SELECT body FROM plans WHERE id = $1",
        NounRef::Key(_) => keys_with_secrets!("WHERE k.id = $1 ORDER BY s.position"),
    };
    Ask::rows(sql, owned![Id(noun_bits(wanted))])
}

/// Asks for a noun by something else. A text that PostgreSQL cannot hold asks for nothing.
pub(super) fn ask_lookup(lookup: &Lookup) -> Ask {
    let (sql, params): (&'static str, Vec<Owned>) = match lookup {
        Lookup::KeyByDigest(digest) => (
            keys_with_secrets!(
                "WHERE k.id = (SELECT key_id FROM secrets WHERE digest = $1) ORDER BY s.position"
            ),
            owned![digest.0.to_vec()],
        ),
        Lookup::KeyByAccessId(text) => {
            (keys_with_secrets!("WHERE k.access_id = $1 ORDER BY s.position"), owned![held(text)])
        }
        Lookup::KeyByNumber(org, wanted) => (
            keys_with_secrets!("WHERE k.org_id = $1 AND k.number = $2 ORDER BY s.position"),
            owned![Id(org.bits()), number(*wanted)],
        ),
        Lookup::KeyByExternalId(keyspace, text) => (
            keys_with_secrets!("WHERE k.keyspace_id = $1 AND k.external_id = $2 ORDER BY s.position"),
            owned![Id(keyspace.bits()), held(text)],
        ),
        Lookup::OrgByName(name) => ("SELECT body FROM orgs WHERE name = $1", owned![held(name)]),
        Lookup::KeyspaceByName(org, name) => {
            ("SELECT body FROM keyspaces WHERE org_id = $1 AND name = $2", owned![Id(org.bits()), held(name)])
        }
        Lookup::PrincipalByExternalId(org, text) => (
            "SELECT body FROM principals WHERE org_id = $1 AND external_id = $2",
            owned![Id(org.bits()), held(text)],
        ),
        Lookup::RoleByNumber(org, wanted) => (
            "SELECT body FROM roles WHERE org_id = $1 AND number = $2",
            owned![Id(org.bits()), number(*wanted)],
        ),
        Lookup::RoleByName(org, name) => {
            ("SELECT body FROM roles WHERE org_id = $1 AND name = $2", owned![Id(org.bits()), held(name)])
        }
        Lookup::PlanByName(org, name) => {
            ("SELECT body FROM plans WHERE org_id = $1 AND name = $2", owned![Id(org.bits()), held(name)])
        }
    };
    Ask::rows(sql, params)
}

/// A text to compare with; nothing is equal to `NULL`.
fn held(text: &str) -> Option<String> {
    (!has_nul(text)).then(|| text.to_owned())
}

/// What kind of noun a lookup finds.
pub(super) const fn kind_of(lookup: &Lookup) -> Kind {
    match lookup {
        Lookup::KeyByDigest(_)
        | Lookup::KeyByAccessId(_)
        | Lookup::KeyByNumber(..)
        | Lookup::KeyByExternalId(..) => Kind::Key,
        Lookup::OrgByName(_) => Kind::Org,
        Lookup::KeyspaceByName(..) => Kind::Keyspace,
        Lookup::PrincipalByExternalId(..) => Kind::Principal,
        Lookup::RoleByNumber(..) | Lookup::RoleByName(..) => Kind::Role,
        Lookup::PlanByName(..) => Kind::Plan,
    }
}

/// What kind of noun a reference names.
pub(super) const fn kind_of_ref(noun: NounRef) -> Kind {
    match noun {
        NounRef::Org(_) => Kind::Org,
        NounRef::Keyspace(_) => Kind::Keyspace,
        NounRef::Principal(_) => Kind::Principal,
        NounRef::Role(_) => Kind::Role,
        NounRef::Plan(_) => Kind::Plan,
        NounRef::Key(_) => Kind::Key,
    }
}

/// The kinds of noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Org,
    Keyspace,
    Principal,
    Role,
    Plan,
    Key,
}

/// The noun in an answer, if there is one.
pub(super) fn noun(kind: Kind, answer: Answer) -> Result<Option<Noun>, StoreError> {
    let rows = answer.rows();
    if kind == Kind::Key {
        let key = keys_from(&rows)?.pop();
        return Ok(key.map(|key| Noun::Key(Arc::new(key))));
    }
    rows.first().map(|row| body(kind, row)).transpose()
}

fn body(kind: Kind, row: &Row) -> Result<Noun, StoreError> {
    let text: &str = column(row, 0)?;
    Ok(match kind {
        Kind::Org => Noun::Org(read::<Org>(text)?),
        Kind::Keyspace => Noun::Keyspace(read::<Keyspace>(text)?),
        Kind::Principal => Noun::Principal(read::<Principal>(text)?),
        Kind::Role => Noun::Role(read::<Role>(text)?),
        Kind::Plan | Kind::Key => Noun::Plan(read::<Plan>(text)?),
    })
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    from_json(text, "a noun")
}

/// Asks for a page of a kind of noun, oldest first, read one item too far.
pub(super) fn ask_page(query: &NounQuery) -> Ask {
    let sql = match query.kind {
        NounKind::Org => "SELECT body FROM orgs WHERE id > $1 ORDER BY id LIMIT $2",
        NounKind::Keyspace => "SELECT body FROM keyspaces WHERE id > $1 AND org_id = $3 ORDER BY id LIMIT $2",
        NounKind::Principal => {
            "SELECT body FROM principals WHERE id > $1 AND org_id = $3 ORDER BY id LIMIT $2"
        }
        NounKind::Role => "SELECT body FROM roles WHERE id > $1 AND org_id = $3 ORDER BY id LIMIT $2",
        NounKind::Plan => "SELECT body FROM plans WHERE id > $1 AND org_id = $3 ORDER BY id LIMIT $2",
    };
    // No identifier is all zeroes, so nothing is left out before the first.
    let mut params = owned![Id(query.after.unwrap_or(0)), rows(query.limit.saturating_add(1))];
    if query.kind != NounKind::Org {
        params.extend(owned![query.org.map(|org| Id(org.bits()))]);
    }
    Ask::rows(sql, params)
}

/// The page in an answer.
pub(super) fn page(query: &NounQuery, rows: &[Row]) -> Result<Page<Noun>, StoreError> {
    let kind = match query.kind {
        NounKind::Org => Kind::Org,
        NounKind::Keyspace => Kind::Keyspace,
        NounKind::Principal => Kind::Principal,
        NounKind::Role => Kind::Role,
        NounKind::Plan => Kind::Plan,
    };
    let items = rows.iter().map(|row| body(kind, row)).collect::<Result<_, _>>()?;
    Ok(cut(items, query.limit))
}

/// A page from what was read one item too far.
pub(super) fn cut<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

/// Asks when keys and their secrets were used last.
pub(super) fn ask_last_used(keys: &[KeyId]) -> Ask {
    let sql =
        "SELECT key_id, id, last_used_at FROM secrets WHERE key_id = ANY($1) AND last_used_at IS NOT NULL";
    let keys: Vec<Id> = keys.iter().map(|key| Id(key.bits())).collect();
    Ask::rows(sql, owned![keys])
}

/// When these keys were used last, in their order.
pub(super) fn last_used(keys: &[KeyId], rows: &[Row]) -> Result<Vec<LastUsed>, StoreError> {
    let mut found: std::collections::HashMap<u128, LastUsed> = std::collections::HashMap::new();
    for row in rows {
        if let Some(at) = optional_time_column(row, 2)? {
            let secret = SecretId::from_bits(id_column(row, 1)?);
            found.entry(id_column(row, 0)?).or_default().secrets.insert(secret, at);
        }
    }
    Ok(keys.iter().map(|key| found.get(&key.bits()).cloned().unwrap_or_default()).collect())
}

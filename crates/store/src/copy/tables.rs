//! What an installation consists of: every table of both schemas but who verifies and what nodes have agreed on for a
//! second, which are nobody's of a copy.

/// How a column's values stand in PostgreSQL. SQLite keeps the first four as integers or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 bytes that are a `UUID`.
    Id,
    /// A `BIGINT`.
    Count,
    /// An `INTEGER`.
    Number,
    /// A `BOOLEAN`.
    Switch,
    /// A `TEXT`.
    Text,
    /// A `BYTEA`.
    Bytes,
}

/// One value of a row, as SQLite has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// `NULL`.
    Nothing,
    /// A number, a moment or a switch.
    Count(i64),
    /// A text.
    Text(String),
    /// Bytes, or an identifier.
    Bytes(Vec<u8>),
}

impl Cell {
    /// A number that is never below 0.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => u64::try_from(*count).ok(),
            Self::Nothing | Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Nothing | Self::Count(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What SQLite reads it from, where it is no column there.
    pub(crate) derived: Option<&'static str>,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// How many of the first columns are its key. Both backends order rows by them alike.
    pub(crate) key: usize,
    pub(crate) columns: &'static [Column],
}

impl Table {
    /// The columns of its key.
    pub(crate) fn key_columns(&self) -> &'static [Column] {
        self.columns.get(..self.key).unwrap_or_default()
    }

    /// The key of a row.
    pub(crate) fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        row.iter().take(self.key).cloned().collect()
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, derived: None }
}

macro_rules! table {
    ($name:literal, $key:literal, [$($column:ident $kind:ident),* $(,)?]) => {
        Table { name: $name, key: $key, columns: &[$(column(stringify!($column), Kind::$kind)),*] }
    };
}

/// The newest revision and the end of the audit. Written last.
pub(crate) const HEAD: &Table =
    &table!("head", 1, [only_row Number, revision Count, entries Count, hash Bytes, mac Bytes]);

/// What the installation is. Written last, and with the copy's own incarnation.
pub(crate) const INSTALLATION: &Table = &table!("installation", 1, [
    only_row Number, incarnation Count, master_fingerprint Text, root_digest Bytes, master_exported_at Count, mac Bytes,
]);

/// All others, so that none comes before what it refers to.
pub(crate) const TABLES: &[Table] = &[
    table!("keyring", 2, [purpose Text, version Number, wrapped Bytes]),
    table!("counters", 2, [org_id Id, name Text, last Count]),
    table!("orgs", 1, [id Id, name Text, version Count, body Text]),
    table!("keyspaces", 1, [id Id, org_id Id, name Text, version Count, body Text]),
    table!("roles", 1, [id Id, org_id Id, number Number, name Text, version Count, body Text]),
    table!("plans", 1, [id Id, org_id Id, name Text, version Count, body Text]),
    Table {
        name: "principals",
        key: 1,
        columns: &[
            column("id", Kind::Id),
            column("org_id", Kind::Id),
            column("external_id", Kind::Text),
            Column { name: "kind", kind: Kind::Text, derived: Some("body ->> '$.kind'") },
            column("version", Kind::Count),
            column("body", Kind::Text),
        ],
    },
    table!("principal_roles", 2, [principal_id Id, role_id Id]),
    table!("keys", 1, [
        id Id, org_id Id, keyspace_id Id, number Number, kind Text, access_id Text, external_id Text, name Text, owner_id Id,
        enabled Switch, not_before Count, expires_at Count, revoked_at Count, deleted_at Count, created_at Count,
        created_by Text, updated_at Count, updated_by Text, version Count, body Text,
    ]),
    table!("key_roles", 2, [key_id Id, role_id Id]),
    table!("key_plans", 2, [key_id Id, plan_id Id]),
    table!("key_labels", 2, [key_id Id, label Text, value Text]),
    table!("secrets", 2, [
        key_id Id, id Id, position Count, hint Text, recoverable Switch, custom Switch, created_at Count, expires_at Count,
        digest Bytes, pepper_version Count, hash_sealed Bytes, secret_sealed Bytes, argon2 Text, last_used_at Count,
    ]),
    table!("feed", 1, [revision Count, at Count, changes Text]),
    table!("audit", 1, [
        seq Count, org_id Id, number Count, revision Count, position Count, at Count, actor Text, wire Text, verb Text,
        subject Text, version Count, request_id Text, rights Text, proof Bytes, personal Text, salt Bytes,
        personal_hash Bytes, hash Bytes,
    ]),
    table!("audit_heads", 1, [org_id Id, entries Count, hash Bytes, mac Bytes]),
    table!("idempotency", 1, [
        scope Bytes, request Bytes, revision Count, changed Switch, subject Text, secret_sealed Bytes, secret_until Count,
        until Count,
    ]),
    table!("quotas", 2, [subject Bytes, period_start Count, reserved Count]),
];

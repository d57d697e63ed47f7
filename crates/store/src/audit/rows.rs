//! Compares rows with the last audit entry about them: the noun itself, the columns that lists filter by, the tables of
//! links, and what proves a key's secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyId, OrgId};
use keywright_model::key::Key;

use super::entry::{StoredEntry, image, secrets_proof};
use super::verify::{Verifier, differences};
use crate::StoreError;
use crate::value::{count, from_json, noun_bits};

/// A column beside a noun's JSON, whichever database it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// An identifier.
    Id(u128),
    /// A count or a number.
    Integer(i64),
    /// A text that may be missing.
    Text(Option<String>),
}

/// One table of nouns that hold themselves as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Orgs,
    Keyspaces,
    Roles,
    Plans,
    Principals,
}

impl Table {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Orgs, Self::Keyspaces, Self::Roles, Self::Plans, Self::Principals];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orgs => "orgs",
            Self::Keyspaces => "keyspaces",
            Self::Roles => "roles",
            Self::Plans => "plans",
            Self::Principals => "principals",
        }
    }

    /// Which columns every backend has beside the JSON.
    pub(crate) const fn columns(self) -> &'static str {
        match self {
            Self::Orgs => "name, version",
            Self::Keyspaces | Self::Plans => "org_id, name, version",
            Self::Roles => "org_id, number, name, version",
            Self::Principals => "org_id, external_id, version",
        }
    }

    /// The noun in a body.
    pub(crate) fn read(self, body: &str) -> Result<Change, StoreError> {
        let what = "a noun";
        Ok(match self {
            Self::Orgs => Change::OrgChanged(Arc::new(from_json(body, what)?)),
            Self::Keyspaces => Change::KeyspaceChanged(Arc::new(from_json(body, what)?)),
            Self::Roles => Change::RoleChanged(Arc::new(from_json(body, what)?)),
            Self::Plans => Change::PlanChanged(Arc::new(from_json(body, what)?)),
            Self::Principals => Change::PrincipalChanged(Arc::new(from_json(body, what)?)),
        })
    }
}

/// What the columns beside a noun must hold.
fn columns_of(change: &Change) -> Vec<Column> {
    let version = || Column::Integer(change.version().map_or(0, |version| count(version.0)));
    let org = || Column::Id(change.org().bits());
    let name = |name: &String| Column::Text(Some(name.clone()));
    match change {
        Change::OrgChanged(noun) => vec![name(&noun.spec.name), version()],
        Change::KeyspaceChanged(noun) => vec![org(), name(&noun.spec.name), version()],
        Change::PlanChanged(noun) => vec![org(), name(&noun.spec.name), version()],
        Change::RoleChanged(noun) => {
            vec![org(), Column::Integer(noun.number.into()), name(&noun.spec.name), version()]
        }
        Change::PrincipalChanged(noun) => vec![org(), Column::Text(noun.spec.external_id.clone()), version()],
        _ => Vec::new(),
    }
}

/// The rows of links of a noun, as they are stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// Its roles.
    pub(crate) roles: BTreeSet<u128>,
    /// Its plans.
    pub(crate) plans: BTreeSet<u128>,
    /// Its labels, in their order.
    pub(crate) labels: Vec<(String, String)>,
}

impl Verifier<'_> {
    /// The number of the last entry about a noun, for whoever reads it for [`Self::take_noun`] and [`Self::take_key`].
    pub(crate) fn last_entry(&self, noun: NounRef) -> Option<u64> {
        self.latest.get(&noun).copied()
    }

    /// A row that does not read back.
    pub(crate) fn take_damaged(&mut self, table: Table, bits: u128, error: &StoreError) {
        self.find(None, format!("{} row {bits:032x}", table.name()), error.to_string());
    }

    /// Takes a noun other than a key: its identifier, the columns beside its JSON, its links, and the last entry about it.
    pub(crate) fn take_noun(
        &mut self,
        table: Table,
        (bits, columns): (u128, &[Column]),
        change: &Change,
        links: &Links,
        entry: Option<&StoredEntry>,
    ) -> Result<(), StoreError> {
        if columns != columns_of(change) || noun_bits(change.noun()) != bits {
            let what = format!("its columns ({}) differ from its body", table.columns());
            self.find(Some(change.org()), change.noun().to_string(), what);
        }
        if let Change::PrincipalChanged(principal) = change {
            let roles = principal.spec.roles.iter().map(|role| role.bits()).collect();
            self.compare_links(change, "principal_roles", &links.roles, &roles);
        }
        self.compare_noun(change, entry)
    }

    /// Takes a key with its links and the last entry about it.
    pub(crate) fn take_key(
        &mut self,
        key: Key,
        links: &Links,
        entry: Option<&StoredEntry>,
    ) -> Result<(), StoreError> {
        let roles = key.spec.roles.iter().map(|role| role.bits()).collect();
        let plans = key.spec.plans.iter().map(|plan| plan.bits()).collect();
        let labels = links.labels.iter().map(|(label, value)| (label, value)).eq(&key.spec.labels);
        let change = Change::KeyChanged(Arc::new(key));
        self.compare_links(&change, "key_roles", &links.roles, &roles);
        self.compare_links(&change, "key_plans", &links.plans, &plans);
        if !labels {
            let what = "its rows in key_labels differ from its body";
            self.find(Some(change.org()), change.noun().to_string(), what);
        }
        self.compare_noun(&change, entry)
    }

    /// A key whose rows do not read back.
    pub(crate) fn take_damaged_key(&mut self, key: KeyId, error: &StoreError) {
        self.latest.remove(&NounRef::Key(key));
        self.find(None, key.to_string(), format!("does not read back: {error}"));
    }

    fn compare_links(
        &mut self,
        change: &Change,
        table: &str,
        stored: &BTreeSet<u128>,
        expected: &BTreeSet<u128>,
    ) {
        if stored != expected {
            let what = format!("its rows in {table} differ from its body");
            self.find(Some(change.org()), change.noun().to_string(), what);
        }
    }

    /// Compares a noun as its rows have it with the last entry about it.
    fn compare_noun(&mut self, change: &Change, entry: Option<&StoredEntry>) -> Result<(), StoreError> {
        self.report.rows += 1;
        self.step();
        let (org, noun): (OrgId, NounRef) = (change.org(), change.noun());
        if self.latest.remove(&noun).is_none() {
            self.find(Some(org), noun.to_string(), "no entry speaks of it: its row was added by hand");
            return Ok(());
        }
        let Some(entry) = entry else { return Ok(()) };
        let entry_place = format!("entry {}", entry.sealed.number);
        let same = entry.is_spelled_as(change)?;
        match if same { Ok(Vec::new()) } else { differences(image(change)?, entry) } {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => {
                let what = format!("differs from {entry_place} in {}", fields.join(", "));
                self.find(Some(org), noun.to_string(), what);
            }
            Err(error) => self.find(Some(org), entry_place.as_str(), error.to_string()),
        }
        let Change::KeyChanged(key) = change else { return Ok(()) };
        if entry.sealed.proof != Some(secrets_proof(self.key, key)) {
            let what = format!("what proves its secrets differs from {entry_place}");
            self.find(Some(org), noun.to_string(), what);
        }
        Ok(())
    }

    /// After the last row: what an entry speaks of and no row holds.
    pub(crate) fn end_rows(&mut self) {
        let mut lost: Vec<NounRef> = self.latest.keys().copied().collect();
        lost.sort_unstable();
        for noun in lost {
            self.find(None, noun.to_string(), "its row is missing, and no entry says that it was deleted");
        }
    }

    /// A row that refers to nothing: whoever added it had the database's own checks switched off.
    pub(crate) fn take_dangling(&mut self, table: &str, parent: &str) {
        self.find(None, table, format!("a row refers to a row of {parent} that is not there"));
    }
}

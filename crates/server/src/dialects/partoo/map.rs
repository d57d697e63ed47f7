//! Partoo's key and ours: the permissions are the actions of a grant on `**`, an expiry is the end of its day in UTC.

use std::collections::BTreeSet;
use std::sync::Arc;

use keywright_control::keys::{KeyEdit, KeyRecord, SetFields};
use keywright_model::address::IpRange;
use keywright_model::document::{KeyDraft, NewKeyDraft, OwnerDraft, decode_new_key};
use keywright_model::fault::Faults;
use keywright_model::grant::{Action, ActionPattern, Effect, Grant};
use keywright_model::id::PrincipalId;
use keywright_model::key::{Key, Rights};
use keywright_model::time::Timestamp;
use serde_json::{Map, Value};

use super::people::{People, User};
use super::seen::{Seen, Unseen};
use super::wire::{ApiKey, KeyBody, Restriction, Said};
use crate::dialects::fields::{self as texts, rfc3339};
use crate::dialects::grants::Shape;

/// The grants that this wire shows.
const SHAPE: Shape =
    Shape { action: |action| !action.has_wildcard(), resource: |resource| resource.as_str() == "**" };

const ADDRESSES_MAX: usize = 1_000;
const DAY_SECONDS: u64 = 86_400;

/// The fields of a body, read by the rules and ready to be set.
#[derive(Debug, Default)]
struct Fields {
    label: Option<String>,
    description: Said<String>,
    expires_at: Said<Timestamp>,
    addresses: Option<Vec<IpRange>>,
    permissions: Option<Permissions>,
}

#[derive(Debug)]
enum Permissions {
    OfTheOwner,
    Only(Vec<Grant>),
}

/// The number in a path; what is none names nothing.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The key that a create asks for.
pub(super) fn new_key(
    body: KeyBody,
    owner: Option<PrincipalId>,
    now: Timestamp,
) -> Result<NewKeyDraft, Faults> {
    let fields = fields(body, now)?;
    let missing = || Faults::one("/label", "missing_field", "Missing data for required field.");
    let label = fields.label.ok_or_else(missing)?;
    let mut new = decode_new_key(&Map::from_iter([("name".to_owned(), Value::from(label))]))?;
    let spec = &mut new.draft.spec;
    spec.description = fields.description.value();
    spec.expires_at = fields.expires_at.value();
    spec.ip_allowlist = fields.addresses.filter(|addresses| !addresses.is_empty());
    // Not restricted is the schema's default.
    spec.rights = match fields.permissions {
        None | Some(Permissions::OfTheOwner) => Rights::Api { grants: None },
        Some(Permissions::Only(grants)) => Rights::Api { grants: Some(grants) },
    };
    new.draft.owner = owner.map(OwnerDraft::Id);
    Ok(new)
}

/// The change that an update asks for: the fields that the body has.
pub(super) fn edit(body: KeyBody, seen: Seen, now: Timestamp) -> Result<KeyEdit, Faults> {
    let fields = fields(body, now)?;
    let set: SetFields = Arc::new(move |draft: &mut KeyDraft, key: &Key| {
        seen.check(key).map_err(Unseen::fault)?;
        set(draft, &fields)
    });
    Ok(KeyEdit::Set(set))
}

fn set(draft: &mut KeyDraft, fields: &Fields) -> Result<(), Faults> {
    let spec = &mut draft.spec;
    let Rights::Api { grants } = &mut spec.rights else {
        return Err(Unseen::Management.fault());
    };
    if let Some(permissions) = &fields.permissions {
        set_permissions(grants, permissions)?;
    }
    if let Some(label) = &fields.label {
        spec.name.clone_from(label);
    }
    match &fields.description {
        Said::Nothing => {}
        Said::Null => spec.description = None,
        Said::Value(description) => spec.description = Some(description.clone()),
    }
    match fields.expires_at {
        Said::Nothing => {}
        Said::Null => spec.expires_at = None,
        // The same day again keeps the time of day, which this wire cannot show.
        Said::Value(at) if spec.expires_at.map(day) == Some(day(at)) => {}
        Said::Value(at) => spec.expires_at = Some(at),
    }
    if let Some(addresses) = &fields.addresses {
        spec.ip_allowlist = Some(addresses.clone()).filter(|addresses| !addresses.is_empty());
    }
    if spec.not_before.zip(spec.expires_at).is_some_and(|(from, to)| to <= from) {
        return Err(Faults::one("/expiration_date", "invalid_validity", "Must lie after the key's start."));
    }
    Ok(())
}

/// A key whose rights this wire cannot show whole does not become an unrestricted one here: its denies would be gone.
fn set_permissions(grants: &mut Option<Vec<Grant>>, permissions: &Permissions) -> Result<(), Faults> {
    match permissions {
        Permissions::Only(new) => {
            *grants = Some(SHAPE.replaced(grants.as_deref().unwrap_or_default(), new, "permissions")?);
        }
        Permissions::OfTheOwner => {
            if !SHAPE.divide(grants.as_deref().unwrap_or_default()).kept.is_empty() {
                let detail = "This key has rights that this API does not show; they would be lost.";
                return Err(Faults::one("/has_restricted_permissions", "not_shown", detail));
            }
            *grants = None;
        }
    }
    Ok(())
}

fn fields(body: KeyBody, now: Timestamp) -> Result<Fields, Faults> {
    let mut faults = Faults::new();
    let mut text = |read: Result<String, Faults>| read.map_err(|found| add(&mut faults, &found)).ok();
    let label = body.label.and_then(|label| text(texts::name("label", &label)));
    let description = body.description.map(|description| {
        let given = Some(description).filter(|description| !description.is_empty())?;
        text(texts::description("description", &given))
    });
    let expires_at = body.expiration_date.map(|date| end_of(&date, now, &mut faults));
    let addresses = body.ip_whitelist.map(|list| addresses(&list, &mut faults));
    let permissions = body.restriction.map(|restriction| match restriction {
        Restriction::Unrestricted => Permissions::OfTheOwner,
        Restriction::To(names) => Permissions::Only(granted(&names, &mut faults)),
    });
    faults.into_result().map(|()| Fields { label, description, expires_at, addresses, permissions })
}

fn add(faults: &mut Faults, found: &Faults) {
    for fault in found.as_slice() {
        faults.add(fault.pointer.clone(), fault.code, fault.detail.clone());
    }
}

/// The moment at which a day has passed. The first day that is accepted is tomorrow.
fn end_of(date: &str, now: Timestamp, faults: &mut Faults) -> Option<Timestamp> {
    let form = date.len() == 10;
    let start = form.then(|| format!("{date}T00:00:00Z").parse::<Timestamp>().ok()).flatten();
    let Some(start) = start else {
        faults.add("/expiration_date", "invalid_date", "Not a valid date.");
        return None;
    };
    if start <= now {
        faults.add("/expiration_date", "too_early", "Must be at least the day after today.");
    }
    Some(start.plus_seconds(DAY_SECONDS))
}

/// The last day on which a key with this expiry is good, as `yyyy-mm-dd`.
fn day(expires_at: Timestamp) -> String {
    rfc3339(expires_at.plus_ms(-1), 0).chars().take(10).collect()
}

fn addresses(list: &[String], faults: &mut Faults) -> Vec<IpRange> {
    let mut ranges = Vec::new();
    for text in list {
        match text.parse::<IpRange>() {
            Ok(range) if !ranges.contains(&range) => ranges.push(range),
            Ok(_) => {}
            Err(error) => faults.add("/ip_whitelist", "invalid_cidr", format!("{text}: {error}")),
        }
    }
    if ranges.len() > ADDRESSES_MAX {
        faults.add("/ip_whitelist", "too_many", format!("At most {ADDRESSES_MAX} entries."));
    }
    ranges
}

/// One grant of all the permissions on everything; none for no permission.
fn granted(names: &[String], faults: &mut Faults) -> Vec<Grant> {
    let mut actions: Vec<ActionPattern> = Vec::new();
    for name in names {
        // A pattern would be read as one, and `*` is no permission's name.
        let action = name.parse::<Action>().and_then(|action| action.as_str().parse());
        match action {
            Ok(action) if !actions.contains(&action) => actions.push(action),
            Ok(_) => {}
            Err(error) => faults.add("/permissions", error.code(), format!("Not a permission: {error}.")),
        }
    }
    let grant = "**".parse().ok().filter(|_| !actions.is_empty());
    let grants: Vec<Grant> = grant
        .into_iter()
        .map(|all| Grant { effect: Effect::Allow, actions: actions.clone(), resources: vec![all] })
        .collect();
    match SHAPE.replaced(&[], &grants, "permissions") {
        Ok(grants) => grants,
        Err(found) => {
            add(faults, &found);
            Vec::new()
        }
    }
}

/// The key as this wire shows it, with only those permissions that its owner has unless all of them are asked for.
pub(super) fn shown(record: &KeyRecord, people: &People, all_permissions: bool) -> ApiKey {
    let key = &record.key;
    let owner = people.owner.as_ref();
    let grants = match &key.spec.rights {
        Rights::Api { grants } => grants.as_deref(),
        Rights::Management { .. } => None,
    };
    let end = key.revocation.as_ref();
    let last_used = record.view.get("last_used_at").and_then(Value::as_str);
    ApiKey {
        id: key.number,
        label: key.spec.name.clone(),
        description: key.spec.description.clone().unwrap_or_default(),
        user_id: owner.map(|owner| owner.id.clone()),
        user_name: owner.and_then(|owner| owner.name.clone()),
        user_type: owner.map_or("bot", |owner| owner.kind),
        disabled: end.is_some() || !key.spec.enabled,
        expiration_date: key.spec.expires_at.map(day),
        last_used_at: last_used.and_then(|text| text.parse().ok()).map(stamp),
        created_by: key.meta.created_by.to_string(),
        created_by_name: people.created_by_name.clone(),
        created_at: stamp(key.meta.created_at),
        revoked_by: end.map(|end| end.by.to_string()),
        revoked_by_name: people.revoked_by_name.clone(),
        revoked_at: end.map(|end| stamp(end.at)),
        ip_whitelist: key.spec.ip_allowlist.iter().flatten().map(ToString::to_string).collect(),
        has_restricted_permissions: grants.is_some(),
        permissions: permissions(grants.unwrap_or_default(), owner.filter(|_| !all_permissions)),
        secret: None,
    }
}

fn permissions(grants: &[Grant], limited_by: Option<&User>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for pattern in SHAPE.divide(grants).shown.iter().flat_map(|grant| &grant.actions) {
        // What this wire shows has no wildcard, so it is an action.
        let Ok(action) = pattern.as_str().parse::<Action>() else { continue };
        if limited_by.is_none_or(|owner| owner.may(&action)) && known.insert(action.as_str().to_owned()) {
            names.push(action.as_str().to_owned());
        }
    }
    names
}

/// A moment as the vendor's database writes it: `2019-08-22 11:46:38.914467+00`.
fn stamp(at: Timestamp) -> String {
    rfc3339(at, 6).replace('T', " ").replace('Z', "+00")
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;

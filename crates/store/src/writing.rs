//! What every backend decides alike about a write.

use keywright_model::change::{Change, NounRef};
use keywright_model::key::{Key, KeyKind, KeySecret};

use crate::StoreError;

/// The largest number of a key or role.
pub(crate) const NUMBER_MAX: i64 = i32::MAX as i64;

/// In which order a commit's changes are written, so that whatever is referred to is there: makers before users,
/// and what goes goes last, users first.
pub(crate) const fn rank(change: &Change) -> u8 {
    match change {
        Change::OrgChanged(_) => 0,
        Change::KeyspaceChanged(_) => 1,
        Change::RoleChanged(_) => 2,
        Change::PlanChanged(_) => 3,
        Change::PrincipalChanged(_) => 4,
        Change::KeyChanged(_) => 5,
        Change::KeyPurged(..) => 6,
        Change::PrincipalDeleted(..) => 7,
        Change::PlanDeleted(..) => 8,
        Change::RoleDeleted(..) => 9,
        Change::KeyspaceDeleted(..) => 10,
        Change::OrgDeleted(_) => 11,
    }
}

/// A key's kind as a column holds it.
pub(crate) const fn kind(key: &Key) -> &'static str {
    match key.spec.rights.kind() {
        KeyKind::Api => "api",
        KeyKind::Management => "management",
    }
}

/// What a key's row and links refer to.
pub(crate) fn references(key: &Key) -> Vec<NounRef> {
    let spec = &key.spec;
    let own = [NounRef::Org(key.org), NounRef::Keyspace(key.keyspace)];
    let owner = spec.owner.map(NounRef::Principal);
    let roles = spec.roles.iter().copied().map(NounRef::Role);
    own.into_iter().chain(owner).chain(roles).chain(spec.plans.iter().copied().map(NounRef::Plan)).collect()
}

/// Fills in a stored key's number, and refuses a change of what is for ever.
pub(crate) fn keep_for_ever(stored: &Key, key: &mut Key) -> Result<(), StoreError> {
    if key.number == 0 {
        key.number = stored.number;
    }
    let for_ever =
        |key: &Key| (key.org, key.keyspace, key.number, kind(key), key.meta.created_at, key.meta.created_by);
    let named = |key: &Key| (key.access_id.clone(), key.external_id.clone());
    if for_ever(stored) != for_ever(key) || named(stored) != named(key) {
        let what = format!("{} was to change what is for ever", key.id);
        return Err(StoreError::Corrupt(what));
    }
    Ok(())
}

/// Gives secrets that came without what proves them what is stored of them.
pub(crate) fn keep_material(stored: &[KeySecret], key: &mut Key) {
    for secret in key.secrets.iter_mut().filter(|secret| secret.material.is_none()) {
        let known = stored.iter().find(|known| known.id == secret.id);
        secret.material = known.and_then(|known| known.material.clone());
    }
}

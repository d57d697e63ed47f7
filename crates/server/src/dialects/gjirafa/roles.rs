//! Roles by the number that this wire has for them.

use keywright_control::{Caller, Control, Error, Noun, NounKind};
use keywright_model::admin::AdminAction;
use keywright_model::fault::Faults;
use keywright_model::id::RoleId;
use keywright_model::key::Key;

/// What a body's `roleId` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedRole {
    /// It says nothing.
    Unsaid,
    /// 0, which is no role's number: none.
    NoRole,
    /// This one.
    Role(RoleId),
}

/// Every answer of this wire names a role, so whoever calls it must be able to see roles.
pub(super) fn require_read(caller: &Caller) -> Result<(), Error> {
    let action = AdminAction::RolesRead;
    if caller.may(action) { Ok(()) } else { Err(Error::Forbidden { action }) }
}

/// Finds the role with a number in the caller's organization.
pub(super) async fn numbered(
    control: &Control,
    caller: &Caller,
    number: Option<u32>,
) -> Result<AskedRole, Error> {
    let number = match number {
        None => return Ok(AskedRole::Unsaid),
        Some(0) => return Ok(AskedRole::NoRole),
        Some(number) => number,
    };
    match control.role_numbered(caller, number).await {
        Ok(role) => Ok(AskedRole::Role(role.id)),
        Err(Error::NotFound(_)) => {
            Err(Faults::one("/roleId", "unknown_role", "is no role of this organization").into())
        }
        Err(error) => Err(error),
    }
}

/// The number of the role that a key is shown with: its first, 0 when it has none.
pub(super) async fn shown(control: &Control, caller: &Caller, key: &Key) -> Result<u32, Error> {
    let Some(id) = key.spec.roles.first() else { return Ok(0) };
    match control.noun(caller, NounKind::Role, &id.to_string()).await?.noun {
        Noun::Role(role) => Ok(role.number),
        _ => Err(Error::internal("a role's id that names another noun")),
    }
}

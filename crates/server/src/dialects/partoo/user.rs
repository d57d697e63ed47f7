//! Who a key belongs to and who made it, as far as the caller may see them.

use keywright_control::keys::KeyRecord;
use keywright_control::{Caller, Error, Noun, NounKind};
use keywright_model::admin::AdminAction;
use keywright_model::noun::{Actor, PrincipalKind};

use crate::dialects::Wire;

/// What an answer says about people. What is not known is left out of it.
#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) kind: Option<&'static str>,
    /// The name of the caller, where it made the key.
    pub(super) created_by_name: Option<String>,
}

/// Reads the owner of a key. Without one it is a bot's, as the vendor's keys for integrations are.
pub(super) async fn of(wire: &Wire, caller: &Caller, record: &KeyRecord) -> Result<User, Error> {
    let made_it = caller.key().filter(|key| record.key.meta.created_by == Actor::Key(key.id));
    let created_by_name = made_it.map(|key| key.spec.name.clone());
    let Some(owner) = record.key.spec.owner else {
        return Ok(User { kind: Some("bot"), created_by_name, ..User::default() });
    };
    let id = owner.to_string();
    if !caller.may(AdminAction::PrincipalsRead) {
        return Ok(User { id: Some(id), created_by_name, ..User::default() });
    }
    let principal = match wire.control().noun(caller, NounKind::Principal, &id).await?.noun {
        Noun::Principal(principal) => principal.spec,
        _ => return Err(Error::internal("a principal's id that names another noun")),
    };
    let kind = match principal.kind {
        PrincipalKind::User => "user",
        PrincipalKind::Bot => "bot",
    };
    let id = principal.external_id.unwrap_or(id);
    Ok(User { id: Some(id), name: principal.name, kind: Some(kind), created_by_name })
}

//! Which keys there are for a caller. A bot's (owned by a program, or by nobody) are for administrators.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use keywright_control::keys::{KeyRecord, KeyRef};
use keywright_control::{Caller, Error};
use keywright_model::fault::Faults;
use keywright_model::id::PrincipalId;
use keywright_model::key::{Key, KeyKind};
use keywright_model::noun::PrincipalKind;

use super::error::Refusal;
use super::map;
use crate::dialects::Wire;

/// The key's number as the path has it.
pub(super) type KeyId = Result<Path<String>, PathRejection>;

/// The keys that a caller sees and changes on this wire, as far as its rights in Keywright go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Every key: for an administrator, whose key reaches all of its organization.
    All,
    /// Those of the person whose key calls.
    OwnedBy(PrincipalId),
    /// None: a program's key that is no administrator's.
    None,
}

impl Seen {
    /// What a caller sees.
    pub(super) async fn by(wire: &Wire, caller: &Caller) -> Result<Self, Error> {
        if caller.reaches_all() {
            return Ok(Self::All);
        }
        let Some(key) = caller.key() else { return Ok(Self::None) };
        let owner = wire.control().owner_of(key).await?;
        let person = key.spec.owner.filter(|_| owner.is_some_and(|owner| owner.kind == PrincipalKind::User));
        Ok(person.map_or(Self::None, Self::OwnedBy))
    }

    /// Refuses a key that is not for the caller. A management key is no key of this API.
    pub(super) fn check(self, key: &Key) -> Result<(), Unseen> {
        if key.spec.rights.kind() == KeyKind::Management {
            return Err(Unseen::Management);
        }
        match self {
            Self::All => Ok(()),
            Self::OwnedBy(person) if key.spec.owner == Some(person) => Ok(()),
            Self::OwnedBy(_) | Self::None => Err(Unseen::NotTheirs),
        }
    }
}

/// Why a key is not for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unseen {
    Management,
    NotTheirs,
}

impl Unseen {
    const ALL: [Self; 2] = [Self::Management, Self::NotTheirs];

    const fn code(self) -> &'static str {
        match self {
            Self::Management => "management_key",
            Self::NotTheirs => "not_theirs",
        }
    }

    /// As a fault, for the middle of a write.
    pub(super) fn fault(self) -> Faults {
        Faults::one("/id", self.code(), "This key is not for you.")
    }

    /// Out of the error of a write that ended with such a fault.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let Error::Invalid(faults) = error else { return None };
        let is = |unseen: &Self| faults.as_slice().iter().any(|fault| fault.code == unseen.code());
        Self::ALL.into_iter().find(is)
    }
}

impl From<Unseen> for Refusal {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Management => Self::not_found(),
            Unseen::NotTheirs => Self::not_allowed(),
        }
    }
}

/// The number that a path names.
pub(super) fn number(id: KeyId) -> Result<u32, Refusal> {
    id.ok().and_then(|Path(id)| map::number(&id)).ok_or(Refusal::not_found())
}

/// The key with a number, if it is for the caller.
pub(super) async fn key(wire: &Wire, caller: &Caller, number: u32) -> Result<KeyRecord, Refusal> {
    let record = wire.control().key(caller, &KeyRef::Number(number)).await?;
    Seen::by(wire, caller).await?.check(&record.key)?;
    Ok(record)
}

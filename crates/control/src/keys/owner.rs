//! What its owner means for a key, for wires that show it.

use keywright_model::access::{Access, AccessSource};
use keywright_model::grant::Grant;
use keywright_model::key::Key;
use keywright_model::noun::PrincipalKind;

use crate::{Control, Error};

/// The owner of a key, as far as the key rests on it.
#[derive(Clone, Debug)]
pub struct Owner {
    /// A person or a program.
    pub kind: PrincipalKind,
    /// The most that its keys may do; `None` when it has no roles, which limits nothing.
    pub ceiling: Option<Access>,
}

impl Control {
    /// The owner of a key that the caller has read; `None` when nobody owns it.
    pub async fn owner_of(&self, key: &Key) -> Result<Option<Owner>, Error> {
        if key.spec.owner.is_none() {
            return Ok(None);
        }
        let around = self.surroundings(key.keyspace, &key.spec).await?;
        let Some(owner) = &around.owner else { return Ok(None) };
        let roles = owner.spec.roles.iter().filter_map(|id| around.roles.get(id));
        let grants: Vec<&[Grant]> = roles.map(|role| role.spec.grants.as_slice()).collect();
        let limited = !grants.is_empty();
        let ceiling = Access::new(&AccessSource { owner_roles: Some(grants), ..AccessSource::default() });
        Ok(Some(Owner { kind: owner.spec.kind, ceiling: limited.then_some(ceiling) }))
    }
}

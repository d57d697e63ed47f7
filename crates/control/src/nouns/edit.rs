//! Make and change a noun.

use keywright_model::access::{Access, AccessChange, difference};
use keywright_model::change::NounRef;
use keywright_model::document::{
    Edit, Shape, decode_keyspace, decode_org, decode_plan, decode_principal, decode_role, edited_as,
    field_changes,
};
use keywright_model::fault::Faults;
use keywright_model::grant::Grant;
use keywright_model::id::{KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::noun::{Keyspace, Meta, Org, Plan, Principal, Role};
use keywright_store::query::NounKind;
use keywright_store::{Expect, Noun};
use serde_json::{Map, Value};

use super::{NounRecord, changed, kind, place, view_of, wants_if_match};
use crate::keys::LoadedKey;
use crate::lookup::Surroundings;
use crate::rights::{Held, check_grants_change, check_holds_all};
use crate::write::{Answer, Decision, Plan as Planned, WriteOptions};
use crate::{Caller, Control, Error};

impl Control {
    /// Makes a noun from its JSON.
    pub async fn create_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        body: &Map<String, Value>,
        options: &WriteOptions,
    ) -> Result<Answer<NounRecord>, Error> {
        let decide = async |caller: Caller| self.decide_create_noun(&caller, of, body).await;
        self.write(caller, options, decide, async |outcome| self.written_noun(&outcome).await).await
    }

    async fn decide_create_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        body: &Map<String, Value>,
    ) -> Result<Decision, Error> {
        caller.require(kind(of).write)?;
        // A key that is bound to organizations or keyspaces would not see the one that it makes.
        let bound = match of {
            NounKind::Org => !caller.reaches_all_orgs(),
            NounKind::Keyspace => !caller.reaches_all(),
            NounKind::Principal | NounKind::Role | NounKind::Plan => false,
        };
        if bound {
            return Err(Error::Forbidden { action: kind(of).write });
        }
        let (now, random) = (self.clock.now(), self.random_bits());
        let (ms, org, meta) = (now.unix_ms(), caller.org, Meta::new(now, caller.actor()));
        let noun = match of {
            NounKind::Org => Noun::Org(Org { id: OrgId::new(ms, random), spec: decode_org(body)?, meta }),
            NounKind::Keyspace => Noun::Keyspace(Keyspace {
                id: KeyspaceId::new(ms, random),
                org,
                spec: decode_keyspace(body)?,
                meta,
            }),
            NounKind::Principal => Noun::Principal(Principal {
                id: PrincipalId::new(ms, random),
                org,
                spec: decode_principal(body)?,
                meta,
            }),
            NounKind::Role => Noun::Role(Role {
                id: RoleId::new(ms, random),
                number: 0,
                org,
                spec: decode_role(body)?,
                meta,
            }),
            NounKind::Plan => {
                Noun::Plan(Plan { id: PlanId::new(ms, random), org, spec: decode_plan(body)?, meta })
            }
        };
        let expect = self.check_noun(caller, None, &noun).await?;
        let names = self.names_of(&[NounRef::Org(org)]).await?;
        let mut view = view_of(&noun, &names);
        for unknown in ["id", "number", "created_at", "created_by"] {
            view.remove(unknown);
        }
        let wrapped_keys = match &noun {
            Noun::Keyspace(keyspace) => vec![self.vault.new_data_key(keyspace.id)],
            Noun::Org(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) | Noun::Key(_) => Vec::new(),
        };
        Ok(Decision {
            shown: None,
            verb: verb(of, Verb::Create),
            subject: place(&noun).1,
            expect,
            changes: vec![changed(noun)],
            wrapped_keys,
            secret: None,
            takes_away: false,
            plan: Planned { changes: field_changes(&Map::new(), &view), access: AccessChange::default() },
        })
    }

    /// Changes a noun.
    pub async fn update_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        id: &str,
        edit: &Edit,
        options: &WriteOptions,
    ) -> Result<Answer<NounRecord>, Error> {
        let decide = async |caller: Caller| self.decide_update_noun(&caller, of, id, edit, options).await;
        self.write(caller, options, decide, async |outcome| self.written_noun(&outcome).await).await
    }

    async fn decide_update_noun(
        &self,
        caller: &Caller,
        of: NounKind,
        id: &str,
        edit: &Edit,
        options: &WriteOptions,
    ) -> Result<Decision, Error> {
        let before = self.noun_for(caller, of, id, kind(of).write).await?;
        Self::check_version(options, wants_if_match(&before), before.version())?;
        let (org, subject) = place(&before);
        let names = self.names_of(&[NounRef::Org(org)]).await?;
        let view = view_of(&before, &names);
        let now = self.clock.now();
        let after = respecified(&before, &view, edit, |meta| meta.changed(now, caller.actor()))?;
        let mut expect = self.check_noun(caller, Some(&before), &after).await?;
        expect.push(Expect::Version(subject, before.version()));
        let changes = field_changes(&view, &view_of(&after, &names));
        let access = grants_difference(&before, &after)?;
        Ok(Decision {
            shown: None,
            verb: verb(of, Verb::Update),
            subject,
            expect,
            changes: if changes.is_empty() { Vec::new() } else { vec![changed(after)] },
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away: true,
            plan: Planned { changes, access },
        })
    }

    /// Refuses a noun by which keys would gain more than the caller may hand out. What that was judged by is expected.
    async fn check_noun(
        &self,
        caller: &Caller,
        before: Option<&Noun>,
        after: &Noun,
    ) -> Result<Vec<Expect>, Error> {
        match (before, after) {
            (before, Noun::Role(after)) => {
                let before = match before {
                    Some(Noun::Role(before)) => Some(before.spec.grants.as_slice()),
                    _ => None,
                };
                check_grants_change(caller, before, &after.spec.grants)?;
                Ok(Vec::new())
            }
            (Some(Noun::Principal(before)), Noun::Principal(after)) => {
                self.check_principal(caller, Some(before), after).await
            }
            (_, Noun::Principal(after)) => self.check_principal(caller, None, after).await,
            (_, Noun::Org(_) | Noun::Keyspace(_) | Noun::Plan(_) | Noun::Key(_)) => Ok(Vec::new()),
        }
    }

    /// Roles are what a principal's keys have, or the ceiling of what they have. A ceiling that is taken away, or a
    /// principal that is switched on, gives its keys all that they hold: then each of them is looked at.
    async fn check_principal(
        &self,
        caller: &Caller,
        before: Option<&Principal>,
        after: &Principal,
    ) -> Result<Vec<Expect>, Error> {
        let new_roles = self.known_roles(after).await?;
        let mut expect: Vec<Expect> = new_roles.iter().map(expect_role).collect();
        if caller.is_root() {
            return Ok(expect);
        }
        let Some(before) = before else {
            check_grants_change(caller, None, &grants_of(&new_roles))?;
            return Ok(expect);
        };
        let old_roles = self.known_roles(before).await?;
        expect.extend(old_roles.iter().map(expect_role));
        check_grants_change(caller, Some(&grants_of(&old_roles)), &grants_of(&new_roles))?;
        let uncapped = !before.spec.roles.is_empty() && after.spec.roles.is_empty();
        let switched_on = after.spec.enabled && !before.spec.enabled;
        if uncapped || switched_on {
            let check = |loaded: &LoadedKey| {
                if !caller.reaches(loaded.key.keyspace) {
                    return Err(Error::BeyondGrantable { gained: Vec::new() });
                }
                let around = Surroundings { owner: Some(after.clone()), ..loaded.around.clone() };
                check_holds_all(caller, Held { key: &loaded.key, around: &around })
            };
            expect.extend(self.each_key_of(before, check).await?);
        }
        Ok(expect)
    }

    /// The roles of a principal; those that its organization does not have are faults.
    async fn known_roles(&self, principal: &Principal) -> Result<Vec<Role>, Error> {
        let mut faults = Faults::new();
        let mut known = Vec::new();
        let roles = self.roles_of(principal.org, &principal.spec.roles).await?;
        for (index, role) in roles.into_iter().enumerate() {
            match role {
                Some(role) => known.push(role),
                None => {
                    faults.add(
                        format!("/roles/{index}"),
                        "unknown_role",
                        "no such role in this organization",
                    );
                }
            }
        }
        faults.into_result()?;
        Ok(known)
    }
}

const fn expect_role(role: &Role) -> Expect {
    Expect::Version(NounRef::Role(role.id), role.meta.version)
}

fn grants_of(roles: &[Role]) -> Vec<Grant> {
    roles.iter().flat_map(|role| role.spec.grants.iter().cloned()).collect()
}

#[derive(Clone, Copy)]
pub(super) enum Verb {
    Create,
    Update,
    Delete,
}

/// What the audit calls it.
pub(super) const fn verb(of: NounKind, verb: Verb) -> &'static str {
    match (of, verb) {
        (NounKind::Org, Verb::Create) => "org.create",
        (NounKind::Org, Verb::Update) => "org.update",
        (NounKind::Org, Verb::Delete) => "org.delete",
        (NounKind::Keyspace, Verb::Create) => "keyspace.create",
        (NounKind::Keyspace, Verb::Update) => "keyspace.update",
        (NounKind::Keyspace, Verb::Delete) => "keyspace.delete",
        (NounKind::Principal, Verb::Create) => "principal.create",
        (NounKind::Principal, Verb::Update) => "principal.update",
        (NounKind::Principal, Verb::Delete) => "principal.delete",
        (NounKind::Role, Verb::Create) => "role.create",
        (NounKind::Role, Verb::Update) => "role.update",
        (NounKind::Role, Verb::Delete) => "role.delete",
        (NounKind::Plan, Verb::Create) => "plan.create",
        (NounKind::Plan, Verb::Update) => "plan.update",
        (NounKind::Plan, Verb::Delete) => "plan.delete",
    }
}

/// A noun after an edit of its view.
fn respecified(
    before: &Noun,
    view: &Map<String, Value>,
    edit: &Edit,
    meta: impl Fn(Meta) -> Meta,
) -> Result<Noun, Error> {
    Ok(match before {
        Noun::Org(org) => {
            let spec = edited_as(Shape::ORG, view, edit, decode_org)?;
            Noun::Org(Org { spec, meta: meta(org.meta), ..org.clone() })
        }
        Noun::Keyspace(keyspace) => {
            let spec = edited_as(Shape::KEYSPACE, view, edit, decode_keyspace)?;
            Noun::Keyspace(Keyspace { spec, meta: meta(keyspace.meta), ..keyspace.clone() })
        }
        Noun::Principal(principal) => {
            let spec = edited_as(Shape::PRINCIPAL, view, edit, decode_principal)?;
            Noun::Principal(Principal { spec, meta: meta(principal.meta), ..principal.clone() })
        }
        Noun::Role(role) => {
            let spec = edited_as(Shape::ROLE, view, edit, decode_role)?;
            Noun::Role(Role { spec, meta: meta(role.meta), ..role.clone() })
        }
        Noun::Plan(plan) => {
            let spec = edited_as(Shape::PLAN, view, edit, decode_plan)?;
            Noun::Plan(Plan { spec, meta: meta(plan.meta), ..plan.clone() })
        }
        Noun::Key(_) => return Err(Error::internal("keys have a verb of their own")),
    })
}

/// What a role's own grants give more or less: what keys then gain or lose depends on the rest of their rights.
fn grants_difference(before: &Noun, after: &Noun) -> Result<AccessChange, Error> {
    match (before, after) {
        (Noun::Role(before), Noun::Role(after)) => Ok(difference(
            &Access::from_grants(&before.spec.grants),
            &Access::from_grants(&after.spec.grants),
        )?),
        _ => Ok(AccessChange::default()),
    }
}

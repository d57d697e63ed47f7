//! Make and change a noun.

use keywright_model::access::{Access, AccessChange, difference};
use keywright_model::change::NounRef;
use keywright_model::document::{
    Edit, Shape, decode_keyspace, decode_org, decode_plan, decode_principal, decode_role, edited,
    field_changes,
};
use keywright_model::fault::Faults;
use keywright_model::grant::Grant;
use keywright_model::id::{KeyspaceId, OrgId, PlanId, PrincipalId, RoleId};
use keywright_model::noun::{Keyspace, Meta, Org, Plan, Principal, Role};
use keywright_store::query::NounKind;
use keywright_store::{Expect, Noun};
use serde_json::{Map, Value};

use super::{NounRecord, changed, kind, place, view_of};
use crate::caller::Who;
use crate::rights::{check_grants_change, check_holds_all, within};
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
        if let (NounKind::Org, Who::Key { admin, .. }) = (of, &caller.who) {
            // A key that is bound to organizations would not see the one it makes.
            if admin.orgs != keywright_model::admin::Reach::All {
                return Err(Error::Forbidden { action: kind(of).write });
            }
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
        self.check_noun_gain(caller, None, &noun).await?;
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
            verb: verb(of, Verb::Create),
            subject: place(&noun).1,
            expect: Vec::new(),
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
        let required = match &before {
            Noun::Keyspace(keyspace) => keyspace.spec.require_if_match,
            Noun::Org(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Plan(_) | Noun::Key(_) => false,
        };
        Self::check_version(options, required, before.version())?;
        let (org, subject) = place(&before);
        let names = self.names_of(&[NounRef::Org(org)]).await?;
        let view = view_of(&before, &names);
        let mut writable = edited(shape(of), &view, edit)?;
        for field in ["enabled", "recoverable_secrets", "allow_custom_secrets", "require_if_match"] {
            if writable.get(field).is_some_and(Value::is_null) {
                return Err(Faults::one(format!("/{field}"), "invalid_type", "must be true or false").into());
            }
        }
        writable.retain(|_, value| !value.is_null());
        let now = self.clock.now();
        let after = respecified(&before, &writable, |meta| meta.changed(now, caller.actor()))?;
        self.check_noun_gain(caller, Some(&before), &after).await?;
        let changes = field_changes(&view, &view_of(&after, &names));
        let access = grants_difference(&before, &after)?;
        Ok(Decision {
            verb: verb(of, Verb::Update),
            subject,
            expect: vec![Expect::Version(subject, before.version())],
            changes: if changes.is_empty() { Vec::new() } else { vec![changed(after)] },
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away: true,
            plan: Planned { changes, access },
        })
    }

    /// Refuses a noun by which keys would gain more than the caller may hand out.
    async fn check_noun_gain(
        &self,
        caller: &Caller,
        before: Option<&Noun>,
        after: &Noun,
    ) -> Result<(), Error> {
        match (before, after) {
            (Some(Noun::Role(before)), Noun::Role(after)) => {
                check_grants_change(caller, &before.spec.grants, &after.spec.grants)
            }
            (None, Noun::Role(after)) => check_grants_change(caller, &[], &after.spec.grants),
            (before, Noun::Principal(after)) => {
                let before = match before {
                    Some(Noun::Principal(before)) => Some(before),
                    _ => None,
                };
                self.check_principal_gain(caller, before, after).await
            }
            _ => Ok(()),
        }
    }

    /// Roles are what a principal's keys have, or the ceiling of what they have. A ceiling that is taken away, or a
    /// principal that is switched on, gives its keys all that they hold: then each of them is looked at.
    async fn check_principal_gain(
        &self,
        caller: &Caller,
        before: Option<&Principal>,
        after: &Principal,
    ) -> Result<(), Error> {
        let Who::Key { grantable, .. } = &caller.who else { return Ok(()) };
        let old_roles = before.map_or(&[][..], |before| &before.spec.roles);
        let mut grants_of = [Vec::<Grant>::new(), Vec::new()];
        for (ids, grants) in [old_roles, &after.spec.roles].into_iter().zip(&mut grants_of) {
            for (index, role) in self.roles_of(after.org, ids).await?.into_iter().enumerate() {
                let unknown = || {
                    Faults::one(
                        format!("/roles/{index}"),
                        "unknown_role",
                        "no such role in this organization",
                    )
                };
                grants.extend(role.ok_or_else(unknown)?.spec.grants);
            }
        }
        let [old_grants, new_grants] = &grants_of;
        check_grants_change(caller, old_grants, new_grants)?;
        let Some(before) = before else { return Ok(()) };
        let uncapped = !before.spec.roles.is_empty() && after.spec.roles.is_empty();
        let switched_on = after.spec.enabled && !before.spec.enabled;
        if !uncapped && !switched_on {
            return Ok(());
        }
        self.each_key_of(before, |loaded| {
            check_holds_all(caller, loaded.held())?;
            let mut around = loaded.around.clone();
            around.owner = Some(after.clone());
            within(&Access::nothing(), &crate::rights::access_of(&loaded.key.spec, &around), grantable)
        })
        .await
    }
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

const fn shape(of: NounKind) -> Shape {
    match of {
        NounKind::Org => Shape::ORG,
        NounKind::Keyspace => Shape::KEYSPACE,
        NounKind::Principal => Shape::PRINCIPAL,
        NounKind::Role => Shape::ROLE,
        NounKind::Plan => Shape::PLAN,
    }
}

fn respecified(
    before: &Noun,
    writable: &Map<String, Value>,
    meta: impl Fn(Meta) -> Meta,
) -> Result<Noun, Error> {
    Ok(match before {
        Noun::Org(org) => Noun::Org(Org { spec: decode_org(writable)?, meta: meta(org.meta), ..org.clone() }),
        Noun::Keyspace(keyspace) => {
            let spec = decode_keyspace(writable)?;
            Noun::Keyspace(Keyspace { spec, meta: meta(keyspace.meta), ..keyspace.clone() })
        }
        Noun::Principal(principal) => {
            let spec = decode_principal(writable)?;
            Noun::Principal(Principal { spec, meta: meta(principal.meta), ..principal.clone() })
        }
        Noun::Role(role) => {
            Noun::Role(Role { spec: decode_role(writable)?, meta: meta(role.meta), ..role.clone() })
        }
        Noun::Plan(plan) => {
            Noun::Plan(Plan { spec: decode_plan(writable)?, meta: meta(plan.meta), ..plan.clone() })
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

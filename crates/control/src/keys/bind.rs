//! Bind several keys to a plan, or let them go: all or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use keywright_model::admin::AdminAction;
use keywright_model::change::NounRef;
use keywright_model::document::{KeyDraft, PLANS_MAX};
use keywright_model::fault::Faults;
use keywright_model::id::PlanId;
use keywright_model::key::Key;
use keywright_store::{Expect, NounKind};

use super::{KeyEdit, KeyRef, KeyRule};
use crate::write::{Answer, Decision, Plan, WriteOptions};
use crate::{Caller, Control, Error};

/// What shall become of some keys and a plan.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The plan.
    pub plan: PlanId,
    /// The keys. One that is named twice is changed once.
    pub keys: Vec<KeyRef>,
    /// Whether they shall be bound to it, or not.
    pub bound: bool,
}

impl Control {
    /// Binds keys to a plan or lets them go, in one commit: each is checked as an update of it would be, and by a wire's
    /// own rule. A key that is as it shall be stays as it is. There is no dry run of it.
    pub async fn bind_keys(
        &self,
        caller: &Caller,
        binding: &Binding,
        rule: KeyRule<'_>,
        options: &WriteOptions,
    ) -> Result<Answer<()>, Error> {
        let decide = async |caller: Caller| self.decide_bind((&caller, options), binding, rule).await;
        self.write(caller, options, decide, async |_| Ok(())).await
    }

    async fn decide_bind(
        &self,
        (caller, options): (&Caller, &WriteOptions),
        binding: &Binding,
        rule: KeyRule<'_>,
    ) -> Result<Decision, Error> {
        let name = binding.plan.to_string();
        let plan = self.noun_for(caller, NounKind::Plan, &name, AdminAction::PlansRead).await?;
        let subject = NounRef::Plan(binding.plan);
        let mut all = Decision {
            verb: "key.update",
            subject,
            expect: vec![Expect::Version(subject, plan.version())],
            changes: Vec::new(),
            wrapped_keys: Vec::new(),
            secret: None,
            takes_away: false,
            shown: None,
            plan: Plan::default(),
        };
        let (id, bound) = (binding.plan, binding.bound);
        let edit = KeyEdit::Set(Arc::new(move |draft: &mut KeyDraft, _: &Key| rebind(draft, id, bound)));
        let mut seen = BTreeSet::new();
        for key in &binding.keys {
            let found = self.find_for(caller, key).await?;
            if !seen.insert(found.id) {
                continue;
            }
            let one = self.decide_update(caller, &KeyRef::Id(found.id), &edit, rule, options).await?;
            all.takes_away |= one.takes_away;
            all.changes.extend(one.changes);
            for expect in one.expect {
                if !all.expect.contains(&expect) {
                    all.expect.push(expect);
                }
            }
        }
        Ok(all)
    }
}

fn rebind(draft: &mut KeyDraft, plan: PlanId, bound: bool) -> Result<(), Faults> {
    let plans = &mut draft.spec.plans;
    if !bound {
        plans.retain(|other| *other != plan);
        return Ok(());
    }
    if plans.contains(&plan) {
        return Ok(());
    }
    if plans.len() >= PLANS_MAX {
        return Err(Faults::one("/plans", "too_many", format!("a key has at most {PLANS_MAX} plans")));
    }
    plans.push(plan);
    Ok(())
}

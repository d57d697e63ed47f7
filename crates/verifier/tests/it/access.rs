//! The index agrees with the naive reading of api.md §2.

use std::sync::Arc;

use keywright_model::access::{AccessSource, naive};
use keywright_model::change::Change;
use keywright_model::grant::{Effect, Grant, ResourcePattern};
use keywright_model::id::{PrincipalId, RoleId};
use keywright_model::key::Rights;
use keywright_verifier::Check;
use proptest::prelude::*;

use crate::fixture::*;

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let action = prop_oneof![Just("*"), Just("get"), Just("put"), Just("get.*")];
    let one = (any::<bool>(), action, pattern()).prop_map(|(deny, action, resource)| {
        let effect = if deny { Effect::Deny } else { Effect::Allow };
        Grant { effect, actions: vec![action.parse().unwrap()], resources: vec![resource] }
    });
    prop::collection::vec(one, 0..4)
}

fn pattern() -> impl Strategy<Value = ResourcePattern> {
    let text =
        prop_oneof![Just("**"), Just("a/**"), Just("a/*"), Just("*/b"), Just("a/b"), Just("a"), Just("b/**")];
    text.prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn a_verdict_is_what_the_naive_evaluator_says(
        own in prop::option::of(grants()), roles in prop::collection::vec(grants(), 0..3),
        scope in prop::option::of(prop::collection::vec(pattern(), 1..3)),
        owner_roles in prop::option::of(prop::collection::vec(grants(), 0..3)),
    ) {
        let mut changes = Vec::new();
        let mut number = 0;
        let mut make_roles = |lists: &[Vec<Grant>]| -> Vec<RoleId> {
            lists.iter().map(|grants| {
                number += 1;
                changes.push(role(number, grants.clone()));
                RoleId::from_bits(number)
            }).collect()
        };
        let key_roles = make_roles(&roles);
        let owned = owner_roles.as_deref().map(&mut make_roles);
        if let Some(roles) = owned.clone() {
            changes.push(principal(1, |spec| spec.roles = roles));
        }
        let mut key = key(1);
        key.spec.roles = key_roles;
        key.spec.scope.clone_from(&scope);
        key.spec.owner = owned.map(|_| PrincipalId::from_bits(1));
        key.spec.rights = Rights::Api { grants: own.clone() };
        changes.push(Change::KeyChanged(Arc::new(key)));
        let verifier = loaded(changes);
        let source = AccessSource {
            own: own.as_deref(),
            roles: roles.iter().map(Vec::as_slice).collect(),
            scope: scope.as_deref(),
            owner_roles: owner_roles.as_ref().map(|lists| lists.iter().map(Vec::as_slice).collect()),
        };
        for action in ["get", "put", "get.x", "del"] {
            for resource in ["", "a", "b", "a/b", "a/c", "c/b", "a/b/c"] {
                let verdict = ask(&verifier, &secret_of(1, 1), &about(&[Check { action, resource }]), now(0));
                prop_assert_eq!(verdict.allowed, naive::allows(&source, action, resource), "{} {}", action, resource);
            }
        }
    }
}

#[test]
fn all_checks_must_hold_and_the_first_that_fails_is_named() {
    let verifier = loaded([key_with(1, |key| {
        key.spec.rights = Rights::Api { grants: Some(vec![grant(Effect::Allow, "get", "a/**")]) };
    })]);
    let checks =
        [("get", "a"), ("get", "b"), ("put", "a")].map(|(action, resource)| Check { action, resource });
    let verdict = ask(&verifier, &secret_of(1, 1), &about(&checks), now(0));
    assert_eq!((verdict.check_failed, verdict.authorized), (Some(1), Some(false)));
    assert!(ask(&verifier, &secret_of(1, 1), &about(&checks[..1]), now(0)).allowed);
    // What is no action or resource is covered by nothing.
    for (action, resource) in [("get", "a//b"), ("", "a"), ("get", "a/*")] {
        assert!(!ask(&verifier, &secret_of(1, 1), &about(&[Check { action, resource }]), now(0)).allowed);
    }
    let nfd = [Check { action: "get", resource: "a/e\u{301}" }];
    assert!(ask(&verifier, &secret_of(1, 1), &about(&nfd), now(0)).allowed);
}

#[test]
fn an_edit_of_a_role_or_owner_counts_at_once_without_touching_the_key() {
    let verifier = loaded([
        role(1, vec![grant(Effect::Allow, "get", "**")]),
        principal(1, |_| ()),
        key_with(1, |key| {
            key.spec.roles = vec![RoleId::from_bits(1)];
            key.spec.owner = Some(PrincipalId::from_bits(1));
        }),
    ]);
    let asked = [Check { action: "get", resource: "a" }];
    let allowed = || ask(&verifier, &secret_of(1, 1), &about(&asked), now(0)).allowed;
    assert!(allowed());
    verifier.apply(&batch(2, vec![role(1, vec![grant(Effect::Allow, "put", "**")])])).unwrap();
    assert!(!allowed());
    verifier.apply(&batch(3, vec![role(1, vec![grant(Effect::Allow, "*", "**")])])).unwrap();
    assert!(allowed());
    verifier.apply(&batch(4, vec![principal(1, |spec| spec.enabled = false)])).unwrap();
    assert!(!allowed());
}

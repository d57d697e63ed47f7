//! Every code, in its order.

use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::denial::Denial;
use keywright_model::grant::Effect;
use keywright_model::id::PrincipalId;
use keywright_model::key::{Key, Revocation, Rights};
use keywright_model::limit::Period;
use keywright_model::noun::Actor;
use keywright_verifier::{Asked, Check, Credential, Decided, Deferred, Now, Request};

use crate::fixture::*;

/// A code, and what makes a key answer it.
type Fault = (Denial, fn(&mut Key));

/// One fault each, worst first: the order of api.md §4.
fn faults() -> Vec<Fault> {
    vec![
        (Denial::Revoked, |key| {
            key.revocation = Some(Revocation { at: at(1), by: Actor::Root, reason: None });
        }),
        (Denial::Superseded, |key| {
            key.secrets[0].expires_at = Some(now(0).wall);
            key.secrets.push(secret(key.id.bits(), 2));
        }),
        (Denial::Disabled, |key| key.spec.enabled = false),
        (Denial::OwnerDisabled, |key| key.spec.owner = Some(PrincipalId::from_bits(1))),
        (Denial::Expired, |key| key.spec.expires_at = Some(now(0).wall)),
        (Denial::NotYetValid, |key| key.spec.not_before = Some(now(1).wall)),
        (Denial::IpNotAllowed, |key| key.spec.ip_allowlist = Some(vec!["10.0.0.0/8".parse().unwrap()])),
        (Denial::InsufficientPermission, |key| key.spec.rights = Rights::Api { grants: Some(vec![]) }),
        (Denial::RateLimited, |key| key.spec.limits = vec![limit("burst", 1, 1)]),
        (Denial::QuotaExceeded, |key| key.spec.quota = Some(quota(1, Period::None))),
    ]
}

fn good(n: u128) -> Key {
    let mut key = key(n);
    key.spec.rights = Rights::Api { grants: Some(vec![grant(Effect::Allow, "get", "**")]) };
    key
}

#[test]
fn a_key_with_several_faults_answers_the_first_that_applies() {
    let faults = faults();
    for (first, (expected, _)) in faults.iter().enumerate() {
        let mut key = good(1);
        faults[first..].iter().for_each(|(_, break_it)| break_it(&mut key));
        let disabled = principal(1, |spec| spec.enabled = false);
        let verifier = loaded([disabled, Change::KeyChanged(Arc::new(key))]);
        let checks = [Check { action: "get", resource: "a" }];
        // A cost of 2 is more than the limit and the quota ever hold.
        let request = Request { cost: 2, ip: Some("11.0.0.1".parse().unwrap()), ..about(&checks) };
        let verdict = ask(&verifier, &secret_of(1, 1), &request, now(0));
        assert_eq!((verdict.denial, verdict.allowed), (Some(*expected), false));
        assert!(verdict.key.is_some());
        let expected = if *expected < Denial::InsufficientPermission {
            None
        } else {
            Some(*expected != Denial::InsufficientPermission)
        };
        assert_eq!(verdict.authorized, expected);
    }
}

#[test]
fn one_fault_alone_answers_its_own_code_and_none_is_allowed() {
    for (expected, break_it) in faults() {
        let mut key = good(1);
        break_it(&mut key);
        let verifier = loaded([principal(1, |spec| spec.enabled = false), Change::KeyChanged(Arc::new(key))]);
        let checks = [Check { action: "get", resource: "a" }];
        let verdict = ask(&verifier, &secret_of(1, 1), &Request { cost: 2, ..about(&checks) }, now(0));
        assert_eq!(verdict.denial, Some(expected));
    }
    let verifier = loaded([Change::KeyChanged(Arc::new(good(1)))]);
    let verdict = ask(&verifier, &secret_of(1, 1), &about(&[Check { action: "get", resource: "" }]), now(0));
    assert_eq!((verdict.allowed, verdict.denial, verdict.authorized), (true, None, Some(true)));
    let key = verdict.key.unwrap();
    assert_eq!(
        (key.org_name(), key.keyspace_name(), key.id()),
        ("default", "default", keywright_model::id::KeyId::from_bits(1))
    );
}

#[test]
fn what_is_malformed_or_unknown_or_of_another_keyspace_says_nothing_about_any_key() {
    let verifier = loaded([key_with(1, |_| ()), key_with(2, |key| key.keyspace = OTHER_KEYSPACE)]);
    let here = Request { keyspaces: Asked::whole(ORG).only(KEYSPACE), ..plain() };
    let long = "x".repeat(257);
    let wrong_checksum = format!("kw_{}", "a".repeat(38));
    for (text, expected) in [
        (long.as_str(), Denial::Malformed),
        (wrong_checksum.as_str(), Denial::Malformed),
        ("unknown", Denial::NotFound),
        (&secret_of(2, 1), Denial::NotFound),
    ] {
        let verdict = ask(&verifier, text, &here, now(0));
        assert_eq!(verdict.denial, Some(expected), "{text}");
        assert!(verdict.key.is_none() && verdict.limits.is_empty() && verdict.quota.is_none());
    }
    assert!(ask(&verifier, &secret_of(1, 1), &here, now(0)).allowed);
    assert!(ask(&verifier, &secret_of(2, 1), &plain(), now(0)).allowed);
    let stranger = Request { keyspaces: Asked::whole(keywright_model::id::OrgId::from_bits(9)), ..plain() };
    assert_eq!(ask(&verifier, &secret_of(1, 1), &stranger, now(0)).denial, Some(Denial::NotFound));
}

#[test]
fn a_deleted_key_is_revoked_until_it_is_purged_and_then_unknown() {
    let verifier = loaded([key_with(1, |_| ())]);
    verifier.apply(&batch(2, vec![key_with(1, |key| key.deleted_at = Some(at(1)))])).unwrap();
    assert_eq!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).denial, Some(Denial::Revoked));
    verifier
        .apply(&batch(3, vec![Change::KeyPurged(ORG, KEYSPACE, keywright_model::id::KeyId::from_bits(1))]))
        .unwrap();
    assert_eq!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).denial, Some(Denial::NotFound));
}

#[test]
fn a_management_key_has_no_product_access() {
    let admin = keywright_model::admin::AdminRights {
        actions: keywright_model::admin::AdminActions::star(),
        orgs: keywright_model::admin::Reach::All,
        keyspaces: keywright_model::admin::Reach::All,
    };
    let everything = vec![grant(Effect::Allow, "*", "**")];
    let verifier = loaded([
        key_with(1, |key| {
            key.spec.rights = Rights::Management { admin: admin.clone(), grantable: everything };
        }),
        key_with(2, |_| ()),
    ]);
    let checks = [Check { action: "get", resource: "a" }];
    assert_eq!(
        ask(&verifier, &secret_of(1, 1), &about(&checks), now(0)).denial,
        Some(Denial::InsufficientPermission)
    );
    assert!(ask(&verifier, &secret_of(1, 1), &plain(), now(0)).allowed);
    assert_eq!(
        verifier.authenticate(&secret_of(1, 1), None, now(0)).unwrap().key.spec.rights.kind(),
        keywright_model::key::KeyKind::Management
    );
    let not_found = keywright_verifier::Unauthenticated::Denied(Denial::NotFound);
    assert_eq!(verifier.authenticate(&secret_of(2, 1), None, now(0)).unwrap_err(), not_found);
    assert_eq!(verifier.authenticate("unknown", None, now(0)).unwrap_err(), not_found);
}

#[test]
fn the_moment_before_and_the_moment() {
    let verifier = loaded([key_with(1, |key| {
        key.spec.not_before = Some(now(10).wall);
        key.spec.expires_at = Some(now(20).wall);
    })]);
    for (ms, expected) in
        [(9, Some(Denial::NotYetValid)), (10, None), (19, None), (20, Some(Denial::Expired))]
    {
        assert_eq!(ask(&verifier, &secret_of(1, 1), &plain(), now(ms)).denial, expected, "at {ms}");
    }
}

#[test]
fn nothing_is_answered_before_a_load_or_after_the_lease() {
    let verifier = verifier_with(keywright_verifier::Lease::embedded());
    let bearer = Credential::Bearer("x");
    assert!(matches!(verifier.verify(&bearer, &plain(), now(0)), Decided::NotCurrent { .. }));
    let verifier = verifier_with(keywright_verifier::Lease::none());
    verifier.load(
        tenancy(),
        keywright_model::revision::Revision(1),
        keywright_model::revision::Incarnation(1),
    );
    assert!(matches!(verifier.verify(&bearer, &plain(), now(0)), Decided::NotCurrent { .. }));
    verifier.lease().renew(now(60_000).boot_ns, now(0).boot_ns);
    for (ms, current) in [(0, true), (2_999, true), (3_000, false), (59_999, false)] {
        let verdict = ask(&verifier, "x", &plain(), now(ms));
        assert_eq!((verdict.current, verdict.age_ms), (current, ms));
        assert!(verdict.holds_at(now(59_999).boot_ns) && !verdict.holds_at(now(60_000).boot_ns));
    }
    assert!(matches!(
        verifier.verify(&bearer, &plain(), now(60_000)),
        Decided::NotCurrent { age_ms: 60_000 }
    ));
}

#[test]
fn a_quota_that_is_not_known_yet_is_deferred_only_when_all_else_holds() {
    let verifier = loaded([key_with(1, |key| key.spec.quota = Some(quota(5, Period::Day)))]);
    let text = secret_of(1, 1);
    let decided = verifier.verify(&Credential::Bearer(&text), &plain(), now(0));
    assert!(matches!(decided, Decided::Deferred(Deferred::QuotaBlock(_))));
    let checks = [Check { action: "get", resource: "a" }];
    assert_eq!(ask(&verifier, &text, &about(&checks), now(0)).denial, Some(Denial::InsufficientPermission));
}

#[test]
fn a_secret_that_was_rotated_out_is_over_on_a_clock_that_is_behind() {
    let rotated = |overlap_ms: i64| {
        key_with(1, |key| {
            key.meta.updated_at = at(1_000);
            key.secrets[0].expires_at = Some(at(1_000 + overlap_ms));
            key.secrets.push(secret(key.id.bits(), 2));
        })
    };
    let behind = Now { wall: at(500), ..now(0) };
    let verifier = loaded([key_with(1, |_| ())]);
    verifier.apply(&batch(2, vec![rotated(0)])).unwrap();
    assert_eq!(ask(&verifier, &secret_of(1, 1), &plain(), behind).denial, Some(Denial::Superseded));
    assert!(ask(&verifier, &secret_of(1, 2), &plain(), behind).allowed);
    let restarted = loaded([rotated(0)]);
    assert_eq!(ask(&restarted, &secret_of(1, 1), &plain(), behind).denial, Some(Denial::Superseded));
    let overlapping = loaded([rotated(1)]);
    assert!(ask(&overlapping, &secret_of(1, 1), &plain(), behind).allowed, "its overlap has not passed");
}

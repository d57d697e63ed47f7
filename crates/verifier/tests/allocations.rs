//! A verification allocates nothing: counted by a global allocator of its own, in a binary of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "fixture/mod.rs"]
#[expect(dead_code, reason = "each binary uses its part")]
mod fixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use keywright_model::grant::Effect;
use keywright_model::id::{PrincipalId, RoleId};
use keywright_model::key::Rights;
use keywright_verifier::{Check, Credential, Decided, Deferred, Request, Verifier};

use crate::fixture::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; it only counts and passes on")]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    act();
    ALLOCATIONS.with(Cell::get) - before
}

fn full() -> Verifier {
    loaded([
        role(1, vec![grant(Effect::Allow, "get", "devices/**"), grant(Effect::Deny, "get", "devices/9/**")]),
        principal(1, |spec| {
            spec.roles = vec![RoleId::from_bits(1)];
            spec.limits = vec![limit("owner", 1_000_000, 1)];
        }),
        key_with(1, |key| {
            key.spec.rights = Rights::Api { grants: Some(vec![grant(Effect::Allow, "get", "devices/7/**")]) };
            key.spec.roles = vec![RoleId::from_bits(1)];
            key.spec.owner = Some(PrincipalId::from_bits(1));
            key.spec.ip_allowlist = Some(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
            key.spec.limits = vec![limit("burst", 1_000_000, 1), limit("slow", 1_000_000, 60)];
            key.spec.expires_at = Some(now(1_000).wall);
            key.spec.labels.insert("team".to_owned(), "fleet".to_owned());
        }),
    ])
}

#[test]
fn a_verification_allocates_nothing() {
    let verifier = full();
    let (text, unknown) = (secret_of(1, 1), secret_of(2, 1));
    let allowed = [Check { action: "get", resource: "devices/7/gps" }];
    let denied = [Check { action: "put", resource: "devices/7/gps" }];
    let from = |checks| Request { ip: Some("10.1.2.3".parse().unwrap()), ..about(checks) };
    for (text, checks, expected) in
        [(&text, &allowed, true), (&text, &denied, false), (&unknown, &allowed, false)]
    {
        // The first call of a thread makes the thread's place in `arc_swap`.
        let _ = verifier.verify(&Credential::Bearer(text), &from(checks), now(0));
        let counted = allocations(|| {
            for _ in 0..100 {
                match verifier.verify(&Credential::Bearer(text), &from(checks), now(0)) {
                    Decided::Verdict(verdict) => assert_eq!(verdict.allowed, expected),
                    other => panic!("no verdict: {other:?}"),
                }
            }
        });
        assert_eq!(counted, 0);
    }
    assert!(allocations(|| drop(String::from("counted"))) > 0);
}

#[test]
fn a_verification_against_limits_that_nodes_share_allocates_nothing_while_it_has_units() {
    let verifier = verifier_with(keywright_verifier::Lease::embedded()).share_limits();
    let keys = [
        key_with(1, |key| key.spec.limits = vec![limit("burst", 1_000_000, 1)]),
        key_with(2, |key| {
            key.spec.limits = vec![limit("a", 1_000_000, 1), limit("b", 1_000_000, 1), limit("c", 9_999, 1)];
        }),
    ];
    let (revision, life) =
        (keywright_model::revision::Revision(1), keywright_model::revision::Incarnation(1));
    verifier.load(tenancy().into_iter().chain(keys), revision, life);
    for text in [secret_of(1, 1), secret_of(2, 1)] {
        let decide = || verifier.verify(&Credential::Bearer(&text), &plain(), now(0));
        let Decided::Deferred(Deferred::Allowances(needs)) = decide() else { panic!("no need") };
        for need in needs {
            assert!(verifier.credit_allowance(&need.cell, 150, 0));
        }
        let allow = || assert!(matches!(decide(), Decided::Verdict(verdict) if verdict.allowed));
        let counted = allocations(|| (0..150).for_each(|_| allow()));
        assert_eq!(counted, 0);
        assert!(matches!(decide(), Decided::Deferred(_)));
    }
}

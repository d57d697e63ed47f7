//! Readers beside writers: whole batches, and a revocation is in force when `apply` returns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keywright_model::grant::Effect;
use keywright_model::key::Rights;
use keywright_verifier::Check;

use crate::fixture::*;

#[test]
fn readers_never_see_half_a_batch() {
    // In each batch one of the two keys may act and the other may not; the verdict's revision says which.
    let keys = |even: bool| {
        let grants = |allowed: bool| Rights::Api {
            grants: Some(vec![grant(if allowed { Effect::Allow } else { Effect::Deny }, "get", "**")]),
        };
        vec![
            key_with(1, |key| key.spec.rights = grants(even)),
            key_with(2, |key| key.spec.rights = grants(!even)),
        ]
    };
    let verifier = loaded(keys(false));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3_u128 {
            let (verifier, done) = (&verifier, &done);
            scope.spawn(move || {
                let text = secret_of(reader % 2 + 1, 1);
                let checks = [Check { action: "get", resource: "a" }];
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let verdict = ask(verifier, &text, &about(&checks), now(0));
                    let even = verdict.revision.0.is_multiple_of(2);
                    assert_eq!(verdict.allowed, even == (reader % 2 == 0), "at {}", verdict.revision);
                    assert!(verdict.revision.0 >= last);
                    last = verdict.revision.0;
                }
            });
        }
        for revision in 2..3_000 {
            verifier.apply(&batch(revision, keys(revision.is_multiple_of(2)))).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_revocation_is_in_force_when_apply_returns() {
    let verifier = loaded((1..=500).map(|n| key_with(n, |_| ())));
    let revoked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (verifier, revoked) = (&verifier, &revoked);
        for _ in 0..2 {
            scope.spawn(move || {
                loop {
                    let so_far = revoked.load(Ordering::Acquire);
                    if so_far == 500 {
                        return;
                    }
                    if so_far > 0 {
                        assert!(!ask(verifier, &secret_of(u128::from(so_far), 1), &plain(), now(0)).allowed);
                    }
                }
            });
        }
        for n in 1..=500_u64 {
            verifier
                .apply(&batch(n + 1, vec![key_with(u128::from(n), |key| key.deleted_at = Some(at(1)))]))
                .unwrap();
            revoked.store(n, Ordering::Release);
        }
    });
}

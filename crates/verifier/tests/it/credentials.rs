//! Custom secrets and signed requests: by access id only, and equal to whoever guesses.

use std::sync::Arc;

use keywright_model::change::Change;
use keywright_model::denial::Denial;
use keywright_model::key::{Key, SecretMaterial, SecretStatus};
use keywright_model::seal::Sealed;
use keywright_verifier::{Credential, Decided, Deferred, SignatureDenial, Verifier, WeakSecret};

use crate::fixture::*;

fn custom(key: &mut Key, nth: usize, argon2: &str) {
    key.access_id = Some("AKID1".to_owned());
    let weak = SecretMaterial { digest: None, argon2: Some(argon2.to_owned()), ..material("unused") };
    key.secrets[nth].custom = true;
    key.secrets[nth].material = Some(Arc::new(weak));
}

fn deferred(verifier: &Verifier, access_id: &str, secret: &str) -> WeakSecret {
    match verifier.verify(&Credential::Custom { access_id, secret }, &plain(), now(0)) {
        Decided::Deferred(Deferred::WeakSecret(weak)) => weak,
        other => panic!("not deferred: {other:?}"),
    }
}

fn denial(verifier: &Verifier, credential: &Credential<'_>) -> Option<Denial> {
    verdict(verifier.verify(credential, &plain(), now(0))).denial
}

#[test]
fn a_custom_secret_is_proven_once_and_then_known() {
    let verifier = loaded([key_with(1, |key| custom(key, 0, "hash-1"))]);
    let asked = deferred(&verifier, "AKID1", "hunter2hunter2");
    assert_eq!(asked.hashes().collect::<Vec<_>>(), ["hash-1"]);
    verifier.remember_proven(&asked, 0, "hunter2hunter2");
    let good = Credential::Custom { access_id: "AKID1", secret: "hunter2hunter2" };
    assert_eq!(denial(&verifier, &good), None);
    // A wrong one costs what an unknown access id costs.
    assert_eq!(deferred(&verifier, "AKID1", "hunter3hunter3").hashes().count(), 1);
    // It survives an edit of the key, and not a new hash.
    verifier
        .apply(&batch(
            2,
            vec![key_with(1, |key| {
                custom(key, 0, "hash-1");
                key.spec.name = "new".to_owned();
            })],
        ))
        .unwrap();
    assert_eq!(denial(&verifier, &good), None);
    verifier.apply(&batch(3, vec![key_with(1, |key| custom(key, 0, "hash-2"))])).unwrap();
    assert_eq!(deferred(&verifier, "AKID1", "hunter2hunter2").hashes().collect::<Vec<_>>(), ["hash-2"]);
}

#[test]
fn an_unknown_access_id_is_deferred_like_a_known_one_and_is_never_proven() {
    let verifier = loaded([key_with(1, |key| key.access_id = Some("AKID1".to_owned()))]);
    for access_id in ["AKID1", "AKID2"] {
        let asked = deferred(&verifier, access_id, "hunter2hunter2");
        assert_eq!(asked.hashes().collect::<Vec<_>>(), ["dummy"]);
        verifier.remember_proven(&asked, 0, "hunter2hunter2");
        assert_eq!(deferred(&verifier, access_id, "hunter2hunter2").hashes().count(), 1);
    }
    assert_eq!(verdict(verifier.unproven(&plain(), now(0))).denial, Some(Denial::NotFound));
    // The generated secret of such a key needs no proof.
    let good = Credential::Custom { access_id: "AKID1", secret: &secret_of(1, 1) };
    assert_eq!(denial(&verifier, &good), None);
}

#[test]
fn a_custom_secret_is_never_a_bearer() {
    let verifier = loaded([key_with(1, |key| custom(key, 0, "hash-1"))]);
    let asked = deferred(&verifier, "AKID1", "hunter2hunter2");
    verifier.remember_proven(&asked, 0, "hunter2hunter2");
    assert_eq!(denial(&verifier, &Credential::Bearer("hunter2hunter2")), Some(Denial::NotFound));
}

#[test]
fn a_rotated_custom_secret_is_superseded_once_proven() {
    let verifier = loaded([key_with(1, |key| {
        key.secrets.push(secret(1, 2));
        custom(key, 0, "old");
        custom(key, 1, "new");
        key.secrets[0].expires_at = Some(now(0).wall);
    })]);
    let asked = deferred(&verifier, "AKID1", "hunter2hunter2");
    assert_eq!(asked.hashes().collect::<Vec<_>>(), ["new", "old"]);
    verifier.remember_proven(&asked, 1, "hunter2hunter2");
    let old = Credential::Custom { access_id: "AKID1", secret: "hunter2hunter2" };
    assert_eq!(denial(&verifier, &old), Some(Denial::Superseded));
}

fn signing_key(set: impl FnOnce(&mut Key)) -> Change {
    key_with(1, |key| {
        key.access_id = Some("AKID1".to_owned());
        key.secrets.push(secret(1, 2));
        for secret in &mut key.secrets {
            let sealed = Sealed { key_version: 1, bytes: vec![1] };
            let material = SecretMaterial {
                secret_sealed: Some(sealed),
                ..(**secret.material.as_ref().unwrap()).clone()
            };
            secret.material = Some(Arc::new(material));
        }
        set(key);
    })
}

#[test]
fn a_signed_request_is_tested_with_each_secret_of_its_key() {
    let signed_with = |nth: usize, access_id: &'static str| {
        let wanted = format!("clear {}", secret(1, nth as u128).id);
        move |verifier: &Verifier| {
            let check = |bytes: &[u8]| {
                if bytes == wanted.as_bytes() { Ok(()) } else { Err(SignatureDenial::Invalid) }
            };
            verdict(verifier.verify(&Credential::Signed { access_id, check: &check }, &plain(), now(0)))
        }
    };
    let verifier = loaded([signing_key(|_| ())]);
    let status = |verdict: keywright_verifier::Verdict| verdict.key.unwrap().secret_status();
    assert_eq!(status(signed_with(2, "AKID1")(&verifier)), SecretStatus::Current);
    assert_eq!(status(signed_with(1, "AKID1")(&verifier)), SecretStatus::Overlapping);
    assert_eq!(signed_with(3, "AKID1")(&verifier).denial, Some(Denial::SignatureInvalid));
    assert_eq!(signed_with(1, "AKID2")(&verifier).denial, Some(Denial::NotFound));
    let verifier = loaded([signing_key(|key| key.secrets[0].expires_at = Some(at(1)))]);
    assert_eq!(signed_with(1, "AKID1")(&verifier).denial, Some(Denial::Superseded));
    let expired = |_: &[u8]| Err(SignatureDenial::Expired);
    for (access_id, expected) in [("AKID1", Denial::SignatureExpired), ("AKID2", Denial::NotFound)] {
        assert_eq!(denial(&verifier, &Credential::Signed { access_id, check: &expired }), Some(expected));
    }
}

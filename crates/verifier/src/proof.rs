//! Credentials that come with an access id: custom secrets, proven once slowly and then fast, and signed requests.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use keywright_model::denial::Denial;
use keywright_model::digest::SecretHash;
use keywright_model::key::SecretStatus;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::ask::SignatureDenial;
use crate::pairs::PairSecret;
use crate::verdict::{Decided, Deferred, TermsAt, WeakSecret};
use crate::verify::{Asking, is_too_long, status_at};

/// Signs nothing that exists: what an unknown access id is checked with, so that it costs the same.
const DUMMY_SECRET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEF";

/// Remembers proven custom secrets under a key of this boot, so that memory holds nothing that could be used again.
pub(crate) struct Proofs {
    prepared: Hmac<Sha256>,
    pub(crate) dummy: Arc<str>,
}

impl Proofs {
    pub(crate) fn new(boot_key: &[u8; 32], dummy: Arc<str>) -> Self {
        let mut block = [0; 64];
        block.split_at_mut(32).0.copy_from_slice(boot_key);
        Self { prepared: Hmac::new(&block.into()), dummy }
    }

    pub(crate) fn of(&self, secret: &str) -> [u8; 32] {
        let mut mac = self.prepared.clone();
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl<'a> Asking<'a> {
    fn secrets(&self, access_id: &str) -> Option<&'a [PairSecret]> {
        let secrets = self.state.pairs.secrets(access_id)?;
        secrets.first().is_some_and(|first| self.is_asked_about(&first.record)).then_some(secrets)
    }

    /// A secret with its access id. Whatever is not right costs one Argon2id and is `not_found`.
    pub(crate) fn pair(&self, access_id: &str, secret: &str) -> Decided {
        if is_too_long(secret) {
            return self.without_key(Denial::Malformed);
        }
        let proof = self.verifier.proofs.of(secret);
        let hash = SecretHash::of_text(secret);
        let digests = self.verifier.peppers.iter().map(|(_, pepper)| pepper.digest(&hash));
        let secrets = self.secrets(access_id).unwrap_or_default();
        let mut right = None;
        for digest in digests {
            for candidate in secrets {
                let proven = candidate.weak.as_ref().and_then(|weak| weak.proven.get());
                let is_right = candidate.digest.is_some_and(|own| own.0.ct_eq(&digest.0).into())
                    || proven.is_some_and(|proven| proven.ct_eq(&proof).into());
                right = right.or(is_right.then_some(candidate));
            }
        }
        right.map_or_else(|| self.prove(secrets), |right| self.judge(&right.record, held(right)))
    }

    /// Every secret that counts still, and the newest that has ended, so that its holder is told so.
    fn prove(&self, secrets: &[PairSecret]) -> Decided {
        let mut ended = 0;
        let mut candidates = secrets.iter().filter(|secret| {
            let has_ended = status_at(&secret.record.terms, self.now.wall) == SecretStatus::Ended;
            ended += usize::from(secret.weak.is_some() && has_ended);
            secret.weak.is_some() && (!has_ended || ended == 1)
        });
        let first = candidates.next();
        let weak = first.and_then(|secret| secret.weak.clone());
        let argon2 = weak.as_ref().map_or_else(|| &self.verifier.proofs.dummy, |weak| &weak.argon2);
        Decided::Deferred(Deferred::WeakSecret(WeakSecret {
            argon2: Arc::clone(argon2),
            others: candidates.filter_map(|secret| secret.weak.clone()).collect(),
            key: first
                .and_then(|secret| self.verifier.seats.at(secret.record.seat))
                .map(crate::seats::Seat::key),
            weak,
        }))
    }

    /// A signed request: which of the key's secrets signed it, newest first.
    pub(crate) fn signed(
        &self,
        access_id: &str,
        check: &dyn Fn(&[u8]) -> Result<(), SignatureDenial>,
    ) -> Decided {
        let Some(secrets) = self.secrets(access_id) else {
            // The result cannot matter.
            std::hint::black_box(check(DUMMY_SECRET).is_ok());
            return self.without_key(Denial::NotFound);
        };
        let mut denial = Denial::SignatureInvalid;
        for secret in secrets {
            let Some(signing) = &secret.signing else { continue };
            match check(&signing.0) {
                Ok(()) => return self.judge(&secret.record, held(secret)),
                Err(SignatureDenial::Expired) => denial = Denial::SignatureExpired,
                Err(SignatureDenial::Invalid) => {}
            }
        }
        self.without_key(denial)
    }
}

fn held(secret: &PairSecret) -> TermsAt {
    TermsAt::Held(Arc::clone(&secret.record.terms))
}

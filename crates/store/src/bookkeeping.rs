//! What every backend does alike with what takes no revision.

use crate::audit::{AuditKey, Link};
use crate::value::id;
use crate::{Installation, QuotaSubject, StoreError, WrappedKey};

/// How long a quota's finished period is kept: longer than any period, so that a clock set back finds its count.
pub(crate) const QUOTA_DAYS: i64 = 62;

/// What names a quota in its row.
pub(crate) fn subject_bytes(subject: QuotaSubject) -> Vec<u8> {
    let (kind, first, second) = match subject {
        QuotaSubject::Key(key) => (1, id(key.bits()), None),
        QuotaSubject::PlanOfKey(plan, key) => (2, id(plan.bits()), Some(id(key.bits()))),
        QuotaSubject::Principal(principal) => (3, id(principal.bits()), None),
    };
    [&[kind][..], &first, second.as_ref().map_or(&[][..], <[u8; 16]>::as_slice)].concat()
}

/// Vouches for the root key and the master key's fingerprint: putting an old root digest back is found.
pub(crate) fn installation_mac(key: &AuditKey, installation: &Installation) -> Link {
    let root = installation.root_digest.map_or_else(Vec::new, |digest| digest.0.to_vec());
    key.mac("installation", &[installation.master_fingerprint.as_bytes(), &root])
}

/// A data key made while the ring was being wrapped anew must not be forgotten: what it sealed would be lost.
pub(crate) fn refuse_lost_keys(stored: &[WrappedKey], rewrapped: &[WrappedKey]) -> Result<(), StoreError> {
    let lost = stored
        .iter()
        .find(|old| !rewrapped.iter().any(|new| new.purpose == old.purpose && new.version == old.version));
    match lost {
        None => Ok(()),
        Some(lost) => {
            let what =
                format!("the new keyring lacks {} {}: read it again and retry", lost.purpose, lost.version);
            Err(StoreError::Corrupt(what))
        }
    }
}

//! The in-memory index and the one question: is this credential good, for this, now?
//!
//! This crate must not know SQL, HTTP or async, and reads no clock. Readers take no lock: they load one pointer to an
//! immutable state, so that a batch is seen whole or not at all. Counters, last uses and proven custom secrets live
//! beside the state, so that they survive every publication.

mod allowance;
mod apply;
mod ask;
mod directory;
mod inline;
mod lease;
#[cfg(test)]
mod lease_tests;
mod limits;
mod meters;
mod pairs;
mod prefetch;
mod proof;
mod published;
mod quota;
mod seats;
mod spending;
mod state;
mod sync;
mod table;
mod terms;
mod verdict;
mod verify;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keywright_model::change::{Batch, Change};
use keywright_model::denial::Denial;
use keywright_model::digest::{Digest, Pepper};
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::{Key, KeySecret};
use keywright_model::revision::{Incarnation, Revision, RevisionToken};
use keywright_model::time::Timestamp;
use zeroize::Zeroizing;

pub use crate::allowance::{AllowanceCell, AllowanceNeed, Counting, Meter};
pub use crate::ask::{Asked, Check, Credential, Now, Request, SignatureDenial};
pub use crate::inline::Inline;
pub use crate::lease::Lease;
pub use crate::quota::{QuotaBlock, QuotaSubject, Unspent, block_units};
pub use crate::verdict::{Decided, Deferred, FoundKey, LimitState, QuotaState, Verdict, WeakSecret};

use crate::apply::{Applying, Writer};
use crate::limits::Sharing;
use crate::proof::Proofs;
use crate::published::Published;
use crate::seats::{KeyIds, Seats};
use crate::state::{Position, State};
use crate::terms::CompiledRights;
use crate::verify::Asking;

/// Opens the sealed secret of a key that signs requests. Called when a change is applied, never on a verification.
pub type Unseal = Box<dyn Fn(&Key, &KeySecret) -> Option<Zeroizing<Vec<u8>>> + Send + Sync>;

/// What a verifier is made of.
pub struct Options {
    /// The peppers in use with their versions; the newest is tried first. Two at most while digests are made anew.
    pub peppers: Vec<(u32, Pepper)>,
    /// 32 random bytes of this boot, under which proven custom secrets are remembered.
    pub boot_key: Zeroizing<[u8; 32]>,
    /// An Argon2id hash (PHC) that nothing matches, with the parameters of real ones.
    pub dummy_argon2: Arc<str>,
    /// Opens secrets that sign.
    pub unseal: Unseal,
    /// Until when this node may answer.
    pub lease: Lease,
}

/// Every way of counting, by the number that it is kept as.
const COUNTING: [Counting; 4] =
    [Counting::Installation, Counting::Node, Counting::Nobody, Counting::Refusing];

/// The index. Share it in an `Arc`.
pub struct Verifier {
    published: Published<State>,
    pub(crate) seats: Seats,
    pub(crate) peppers: Box<[(u32, Pepper)]>,
    pub(crate) proofs: Proofs,
    /// Who counts limits, and how that goes: see [`Self::share_limits`].
    sharing: Sharing,
    counting: AtomicU8,
    unseal: Unseal,
    /// Held by whoever applies; no reader ever takes it.
    writer: Mutex<Writer>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("at", &self.published.newest().at).finish_non_exhaustive()
    }
}

/// A batch is missing between what was applied and what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {got} came after revision {have}")]
pub struct Gap {
    /// The newest applied; 0 before the first load.
    pub have: Revision,
    /// The one that came.
    pub got: Revision,
}

/// A management key that may call.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The key, as it stands at `revision`.
    pub key: Arc<Key>,
    /// The secret that was presented.
    pub secret: SecretId,
    /// The revision that it was read at.
    pub revision: Revision,
}

/// Why nobody may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// The credential is not good, or not a management key's (`not_found`).
    Denied(Denial),
    /// This node may not answer now.
    NotCurrent,
}

/// One use of a secret, to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The key.
    pub key: KeyId,
    /// Its secret.
    pub secret: SecretId,
    /// When it was last allowed something.
    pub at: Timestamp,
}

/// How large an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Secrets that are found by digest.
    pub secrets: usize,
    /// Bytes of the table, the seats and the writer's index; policies, owners and counters come on top.
    pub bytes: usize,
}

impl Verifier {
    /// An empty index. It answers [`Decided::NotCurrent`] until something is loaded.
    pub fn new(options: Options) -> Self {
        let Options { mut peppers, boot_key, dummy_argon2, unseal, lease } = options;
        peppers.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        Self {
            published: Published::new(lease, State::default()),
            seats: Seats::new(),
            peppers: peppers.into(),
            proofs: Proofs::new(&boot_key, dummy_argon2),
            sharing: Sharing::OneNode,
            counting: AtomicU8::new(0),
            unseal,
            writer: Mutex::default(),
        }
    }

    /// Counts limits together with other nodes: units are spent that a limiter has given ahead of use, and
    /// [`Deferred::Allowances`] asks for more. To be said before anything is loaded.
    #[must_use]
    pub fn share_limits(mut self) -> Self {
        self.sharing = Sharing::Nodes;
        self
    }

    /// Says how limits are counted from now on. Counts for limits that nodes share.
    pub fn set_counting(&self, counting: Counting) {
        let place = COUNTING.iter().position(|other| *other == counting).unwrap_or_default();
        self.counting.store(u8::try_from(place).unwrap_or_default(), Ordering::Release);
    }

    /// How limits are counted now.
    pub fn counting(&self) -> Counting {
        let place = usize::from(self.counting.load(Ordering::Acquire));
        COUNTING.get(place).copied().unwrap_or_default()
    }

    /// How limits are counted, where nodes share them.
    pub(crate) fn shared_counting(&self) -> Option<Counting> {
        match self.sharing {
            Sharing::OneNode => None,
            Sharing::Nodes => Some(self.counting()),
        }
    }

    /// Answers one question. Takes no lock; allocates nothing for a generated secret, unless a resource must be
    /// normalised, a custom secret proven, or more than 8 limits apply.
    ///
    /// A use counts (for `last_used_at`) when it is allowed. A cost of 0 is answered and consumes nothing.
    pub fn verify(&self, credential: &Credential<'_>, request: &Request<'_>, now: Now) -> Decided {
        let (lease, state) = self.published.read();
        let Some(Position { revision, .. }) = state.at else {
            return Decided::NotCurrent { age_ms: lease.age_ns(now.boot_ns) / 1_000_000 };
        };
        let asking = Asking { verifier: self, state: &state, revision, request, now, lease };
        asking.decide(credential).by(state)
    }

    /// Finds the management key that a bearer credential belongs to, without the store. Its own limits are not
    /// charged: they are for the product's API.
    pub fn authenticate(
        &self,
        bearer: &str,
        ip: Option<std::net::IpAddr>,
        now: Now,
    ) -> Result<Authenticated, Unauthenticated> {
        let (lease, state) = self.published.read();
        let Some(Position { revision, .. }) = state.at else { return Err(Unauthenticated::NotCurrent) };
        if lease.valid_until(None) <= now.boot_ns {
            return Err(Unauthenticated::NotCurrent);
        }
        if keywright_model::secret::form(bearer) == keywright_model::secret::Form::Malformed {
            return Err(Unauthenticated::Denied(Denial::Malformed));
        }
        let request = Request { keyspaces: Asked::anywhere(), checks: &[], ip, cost: 0 };
        let asking = Asking { verifier: self, state: &state, revision, request: &request, now, lease };
        let not_found = Unauthenticated::Denied(Denial::NotFound);
        let (record, _) = asking.find(bearer).ok_or(not_found)?;
        let CompiledRights::Management(key) = &record.terms.rights else { return Err(not_found) };
        if let Some(denial) = asking.management_denial(record) {
            return Err(Unauthenticated::Denied(denial));
        }
        self.seats.touch(record.seat, now.wall);
        let secret = self.seats.at(record.seat).map(seats::Seat::secret).ok_or(not_found)?;
        Ok(Authenticated { key: Arc::clone(key), secret, revision })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic while applying leaves the published state as it was, and the writer's maps only grow.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the next batch and publishes it: the next verification answers by it. One that was applied before is
    /// skipped.
    pub fn apply(&self, batch: &Batch) -> Result<(), Gap> {
        let mut writer = self.writer();
        let previous = self.published.newest_full();
        let have = previous.at.map_or(Revision(0), |at| at.revision);
        let gap = Gap { have, got: batch.revision };
        let Position { incarnation, revision } = previous.at.ok_or(gap)?;
        if batch.revision <= revision {
            return Ok(());
        }
        if batch.revision != revision.next() {
            return Err(gap);
        }
        let next = State::clone(&previous);
        let (seats, unseal, sharing) = (&self.seats, &self.unseal, self.sharing);
        let writer = &mut *writer;
        let mut applying =
            Applying { writer, seats, unseal, sharing, previous: &previous, next, loaded_ids: None };
        batch.changes.iter().for_each(|change| applying.change(change));
        let mut next = applying.next;
        next.at = Some(Position { incarnation, revision: batch.revision });
        self.published.publish(next);
        Ok(())
    }

    /// Replaces everything by a snapshot. Counters, last uses and proofs of what is still there are kept, and readers
    /// answer by the old state until all of the new one is there.
    pub fn load(
        &self,
        changes: impl IntoIterator<Item = Change>,
        revision: Revision,
        incarnation: Incarnation,
    ) {
        let mut writer = self.writer();
        let previous = self.published.newest_full();
        let (seats, unseal, next) = (&self.seats, &self.unseal, State::default());
        let sharing = self.sharing;
        let loaded_ids = Some(KeyIds::default());
        let mut applying =
            Applying { writer: &mut writer, seats, unseal, sharing, previous: &previous, next, loaded_ids };
        for change in changes {
            applying.change(&change);
        }
        let (mut next, loaded_ids) = (applying.next, applying.loaded_ids);
        writer.ids = loaded_ids.unwrap_or_default();
        next.at = Some(Position { incarnation, revision });
        self.published.publish(next);
    }

    /// The newest revision that answers are by; 0 before the first load.
    pub fn revision(&self) -> Revision {
        self.published.newest().at.map_or(Revision(0), |at| at.revision)
    }

    /// The same as clients see it; `None` before the first load.
    pub fn position(&self) -> Option<RevisionToken> {
        let Position { incarnation, revision } = self.published.newest().at?;
        Some(RevisionToken { incarnation, revision })
    }

    /// Until when this node may answer: the feeder renews it.
    pub const fn lease(&self) -> &Lease {
        self.published.lease()
    }

    /// Remembers that Argon2id has proven a custom secret against the `nth` of [`WeakSecret::hashes`]. The question
    /// can then be asked again. When none matched, the answer is `not_found`: see [`Self::unproven`].
    pub fn remember_proven(&self, asked: &WeakSecret, nth: usize, secret: &str) {
        let weak = match nth {
            0 => asked.weak.as_ref(),
            later => asked.others.get(later - 1),
        };
        if let Some(weak) = weak {
            weak.proven.get_or_init(|| self.proofs.of(secret));
        }
    }

    /// The answer to a custom secret that nothing proved: the same for an access id that does not exist.
    pub fn unproven(&self, request: &Request<'_>, now: Now) -> Decided {
        let (lease, state) = self.published.read();
        let revision = state.at.map_or(Revision(0), |at| at.revision);
        Asking { verifier: self, state: &state, revision, request, now, lease }.without_key(Denial::NotFound)
    }

    /// Adds units that the store has reserved for a block. `granted` is what this reservation gave (0 when the period
    /// is used up) and `reserved` what the period has reserved in all.
    pub fn credit_quota(&self, block: &QuotaBlock, granted: u64, reserved: u64) {
        block.cell.credit(block, granted, reserved);
    }

    /// Says that a block could not be fetched, so that the next question may try again at once.
    pub fn release_quota(&self, block: &QuotaBlock) {
        block.cell.release();
    }

    /// Takes out every unit that was reserved and not spent, for giving it back on an orderly shutdown. Call it when
    /// nothing is verified any more.
    pub fn unspent_quota(&self) -> Vec<Unspent> {
        self.writer().quotas.iter().filter_map(|cell| cell.upgrade()?.drain()).collect()
    }

    /// Visits every secret that was used since the last drain; costs what was used, not what there is.
    pub fn drain_uses(&self, visit: &mut impl FnMut(Use)) {
        self.seats.drain(&mut |seat| {
            if let Some(at) = seat.last_used() {
                visit(Use { key: seat.key(), secret: seat.secret(), at });
            }
        });
    }

    /// The digest of a text under the newest pepper, for comparing it with the root key's.
    pub fn digest(&self, text: &str) -> Option<Digest> {
        let (_, pepper) = self.peppers.first()?;
        Some(pepper.digest(&keywright_model::digest::SecretHash::of_text(text)))
    }

    /// How large the index is.
    pub fn size(&self) -> Size {
        let state = self.published.newest();
        let bytes = state.table.bytes() + self.seats.bytes() + self.writer().ids.bytes();
        Size { secrets: state.table.len(), bytes }
    }
}

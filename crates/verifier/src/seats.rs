//! One seat for each secret: who it belongs to and when it was used last. Seats live outside the published state, are
//! taken when a change is applied, and are never given to another secret, so that a reader of an old state cannot
//! write into a stranger's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use keywright_model::id::{KeyId, SecretId};
use keywright_model::time::Timestamp;

use crate::allowance;
use crate::limits::{CellRef, Sharing};
use crate::table::Route;

/// No seat.
pub(crate) const NONE: u32 = u32::MAX;

const SEATS: usize = 4_096;
const SEGMENTS: usize = 16_384;
const WORDS: usize = SEATS / 64;

/// Exactly one cache line: a verification that finds its secret touches one seat, and most keys' counting is in it too.
/// Written before the seat is published, but for what counts.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Seat {
    /// Where the secret's digest belongs in the table.
    route: AtomicU64,
    key: [AtomicU64; 2],
    secret: [AtomicU64; 2],
    /// Milliseconds since 1970; 0 is never.
    last_used: AtomicU64,
    /// The one limit of a key with one secret, one limit and nothing else that counts: see [`CellRef`].
    limit: AtomicU64,
    /// The next seat of the same key; only the writer reads it.
    next: AtomicU32,
}

struct Segment {
    seats: Box<[Seat]>,
    /// A bit for each seat used since the last drain.
    used: Box<[AtomicU64]>,
}

/// All seats. Readers take no lock and writers move nothing.
pub(crate) struct Seats {
    segments: Box<[OnceLock<Segment>]>,
    /// A bit for each segment with a used seat, so that a drain costs what was used.
    used: Box<[AtomicU64]>,
    taken: AtomicU32,
}

fn split(bits: u128) -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
    [(bits >> 64) as u64, bits as u64]
}

fn joined(words: &[AtomicU64; 2]) -> u128 {
    let [high, low] = words;
    u128::from(high.load(Ordering::Relaxed)) << 64 | u128::from(low.load(Ordering::Relaxed))
}

fn store(words: &[AtomicU64; 2], bits: u128) {
    for (word, value) in words.iter().zip(split(bits)) {
        word.store(value, Ordering::Relaxed);
    }
}

impl Seat {
    fn empty() -> Self {
        let zero = || [AtomicU64::new(0), AtomicU64::new(0)];
        let (route, last_used, limit) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { route, key: zero(), secret: zero(), last_used, limit, next: AtomicU32::new(NONE) }
    }

    pub(crate) const fn limit(&self) -> CellRef<'_> {
        CellRef::in_word(&self.limit)
    }

    /// Goes on counting where another seat stopped: the same secret under another digest.
    pub(crate) fn go_on_from(&self, seat: &Self, sharing: Sharing) {
        let word = match sharing {
            Sharing::OneNode => seat.limit.load(Ordering::Acquire),
            Sharing::Nodes => allowance::moved(&seat.limit),
        };
        self.limit.store(word, Ordering::Release);
    }

    pub(crate) fn route(&self) -> Route {
        Route(self.route.load(Ordering::Relaxed))
    }

    pub(crate) fn key(&self) -> KeyId {
        KeyId::from_bits(joined(&self.key))
    }

    pub(crate) fn secret(&self) -> SecretId {
        SecretId::from_bits(joined(&self.secret))
    }

    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> Option<Timestamp> {
        let ms = self.last_used.load(Ordering::Relaxed);
        i64::try_from(ms).ok().filter(|ms| *ms > 0).map(Timestamp::from_unix_ms)
    }
}

impl Seats {
    pub(crate) fn new() -> Self {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let segments = (0..SEGMENTS).map(|_| OnceLock::new()).collect();
        Self { segments, used: words(SEGMENTS / 64), taken: AtomicU32::new(0) }
    }

    /// The seat at a place; `None` only for a place that was never taken.
    pub(crate) fn at(&self, place: u32) -> Option<&Seat> {
        let place = place as usize;
        self.segments.get(place / SEATS)?.get()?.seats.get(place % SEATS)
    }

    /// Takes a new seat. `None` when all 67 million are taken: then the secret is not found, which is safe.
    pub(crate) fn take(&self, route: Route, key: KeyId, secret: SecretId, next: u32) -> Option<u32> {
        let place = self.taken.load(Ordering::Relaxed);
        let segment = self.segments.get(place as usize / SEATS)?.get_or_init(|| Segment {
            seats: (0..SEATS).map(|_| Seat::empty()).collect(),
            used: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
        });
        let seat = segment.seats.get(place as usize % SEATS)?;
        seat.route.store(route.0, Ordering::Relaxed);
        store(&seat.key, key.bits());
        store(&seat.secret, secret.bits());
        seat.set_next(next);
        self.taken.store(place + 1, Ordering::Relaxed);
        Some(place)
    }

    /// Notes that a secret was used.
    pub(crate) fn touch(&self, place: u32, at: Timestamp) {
        let (segment_place, in_segment) = (place as usize / SEATS, place as usize % SEATS);
        let Some(segment) = self.segments.get(segment_place).and_then(OnceLock::get) else { return };
        let (Some(seat), Ok(ms)) = (segment.seats.get(in_segment), u64::try_from(at.unix_ms())) else {
            return;
        };
        if seat.last_used.load(Ordering::Relaxed) >= ms {
            return;
        }
        // Two at once may leave the older time, which is the same to everybody: it saves a locked instruction.
        seat.last_used.store(ms, Ordering::Relaxed);
        // The time is there before the bits: a drain that sees the bit sees the time.
        if set(&segment.used, in_segment) {
            set(&self.used, segment_place);
        }
    }

    /// Visits each seat used since the last drain.
    pub(crate) fn drain(&self, visit: &mut impl FnMut(&Seat)) {
        for segment_place in taken_bits(&self.used) {
            let Some(segment) = self.segments.get(segment_place).and_then(OnceLock::get) else { continue };
            for in_segment in taken_bits(&segment.used) {
                if let Some(seat) = segment.seats.get(in_segment) {
                    visit(seat);
                }
            }
        }
    }

    /// How many bytes seats take, for `docs/performance.md`.
    pub(crate) fn bytes(&self) -> usize {
        let segments = (self.taken.load(Ordering::Relaxed) as usize).div_ceil(SEATS);
        segments * SEATS * size_of::<Seat>() + SEGMENTS * size_of::<OnceLock<Segment>>()
    }
}

/// Sets a bit; says whether it was not set before.
fn set(words: &[AtomicU64], bit: usize) -> bool {
    let mask = 1 << (bit % 64);
    words.get(bit / 64).is_some_and(|word| {
        // Reading first keeps the line shared when the bit is set already, as it nearly always is.
        word.load(Ordering::Relaxed) & mask == 0 && word.fetch_or(mask, Ordering::AcqRel) & mask == 0
    })
}

/// Clears all bits and gives the places of those that were set.
fn taken_bits(words: &[AtomicU64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().filter(|(_, word)| word.load(Ordering::Relaxed) != 0).flat_map(|(at, word)| {
        let mut bits = word.swap(0, Ordering::AcqRel);
        std::iter::from_fn(move || {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits.checked_sub(1)?;
            Some(at * 64 + bit)
        })
    })
}

/// The writer's way from a key to the first of its seats: open addressing on four bytes a key.
#[derive(Default)]
pub(crate) struct KeyIds {
    slots: Vec<u32>,
    used: usize,
}

impl KeyIds {
    fn start(key: KeyId, mask: usize) -> usize {
        let [high, low] = split(key.bits());
        // The random half of a ULID is uniform unless somebody chose it: mix, so that chosen ones spread too.
        let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        usize::try_from(mixed >> 16).unwrap_or_default() & mask
    }

    /// The slot that has the key, or the free one where it belongs.
    fn slot(&self, seats: &Seats, key: KeyId) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = Self::start(key, mask);
        loop {
            match self.slots.get(slot).copied() {
                None | Some(NONE) => return slot,
                Some(place) if seats.at(place).is_some_and(|seat| seat.key() == key) => return slot,
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }

    pub(crate) fn first(&self, seats: &Seats, key: KeyId) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots.get(self.slot(seats, key)).copied().filter(|place| *place != NONE)
    }

    pub(crate) fn set_first(&mut self, seats: &Seats, key: KeyId, first: u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow(seats);
        }
        let slot = self.slot(seats, key);
        if let Some(place) = self.slots.get_mut(slot) {
            self.used += usize::from(*place == NONE);
            *place = first;
        }
    }

    fn grow(&mut self, seats: &Seats) {
        let size = (self.slots.len() * 2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![NONE; size]);
        for place in old.into_iter().filter(|place| *place != NONE) {
            if let Some(seat) = seats.at(place) {
                let slot = self.slot(seats, seat.key());
                if let Some(free) = self.slots.get_mut(slot) {
                    *free = place;
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

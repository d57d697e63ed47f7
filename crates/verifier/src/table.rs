//! Secrets by digest: a persistent table, so that publishing a change copies a few pages and readers see the old
//! table or the new one.
//!
//! 64 nodes of 64 shards, each an open-addressing table of its own. A write copies one shard (some 250 records at a
//! million) and 128 pointers, whatever the size of the rest, so there is no overlay to search on every verification
//! and no merge that could hold up a writer. Chosen over a base with an overlay for that reason.

use std::sync::Arc;

use keywright_model::digest::Digest;
use subtle::ConstantTimeEq as _;

use crate::meters::Meters;
use crate::seats::Seats;
use crate::terms::Terms;

const FAN: usize = 64;
/// In a slot: where the record is, and as many bits of the digest as are left.
const PLACE_BITS: u32 = 20;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const EMPTY: u32 = u32::MAX;
const TAG_MASK: u32 = (1 << (32 - PLACE_BITS)) - 1;

/// What the index keeps of one secret, besides its [`crate::seats::Seat`]. 48 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The second half of the digest.
    pub(crate) tail: [u64; 2],
    /// The key's `expires_at`; `i64::MAX` is never.
    pub(crate) expires_at: i64,
    /// What it shares with other secrets.
    pub(crate) terms: Arc<Terms>,
    /// The key's counters, if anything counts.
    pub(crate) meters: Option<Arc<Meters>>,
    /// The key's owner in the directory.
    pub(crate) owner: u32,
    /// Its seat.
    pub(crate) seat: u32,
}

/// A digest as the table works with it.
#[derive(Clone, Copy)]
pub(crate) struct Halves {
    pub(crate) head: u128,
    pub(crate) tail: [u64; 2],
}

impl Halves {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
    pub(crate) fn of(digest: &Digest) -> Self {
        let (head, tail) = digest.0.split_at(16);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        let tail = number(tail);
        Self { head: number(head), tail: [(tail >> 64) as u64, tail as u64] }
    }

    #[expect(clippy::cast_possible_truncation, reason = "bits are cut out on purpose")]
    const fn bits(self, from: u32) -> u32 {
        (self.head >> from) as u32
    }

    const fn node(self) -> usize {
        self.bits(122) as usize % FAN
    }

    const fn shard(self) -> usize {
        self.bits(116) as usize % FAN
    }

    const fn slot(self) -> usize {
        self.bits(64) as usize
    }

    const fn tag(self) -> u32 {
        self.bits(100) & TAG_MASK
    }
}

#[derive(Clone, Debug, Default)]
struct Shard {
    records: Vec<Record>,
    /// A power of two of them; at most three quarters used.
    slots: Box<[u32]>,
}

#[derive(Clone, Debug)]
struct Node([Arc<Shard>; FAN]);

/// All secrets that are found by digest.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    nodes: Arc<[Arc<Node>; FAN]>,
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        let shard = Arc::new(Shard::default());
        let node = Arc::new(Node(std::array::from_fn(|_| Arc::clone(&shard))));
        Self { nodes: Arc::new(std::array::from_fn(|_| Arc::clone(&node))), len: 0 }
    }
}

impl Table {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn shard(&self, digest: Halves) -> Option<&Shard> {
        self.nodes.get(digest.node())?.0.get(digest.shard()).map(|shard| &**shard)
    }

    fn shard_mut(&mut self, digest: Halves) -> Option<&mut Shard> {
        let node = Arc::make_mut(&mut self.nodes).get_mut(digest.node())?;
        Arc::make_mut(node).0.get_mut(digest.shard()).map(Arc::make_mut)
    }

    /// The record of a digest, if `wanted` wants it.
    ///
    /// A miss reads and compares a record too, and `wanted` is asked about it: a secret that does not exist, one that
    /// is not wanted and one that is there cost the same.
    pub(crate) fn find(&self, seats: &Seats, digest: Halves, wanted: impl Fn(&Record) -> bool) -> Option<&Record> {
        let shard = self.shard(digest)?;
        let mut compared = false;
        let mut slot = digest.slot();
        let mask = shard.slots.len().wrapping_sub(1);
        while let Some(held) = shard.slots.get(slot & mask).copied().filter(|held| *held != EMPTY) {
            if held >> PLACE_BITS == digest.tag() {
                let record = shard.records.get((held & PLACE_MASK) as usize)?;
                compared = true;
                if is_digest(record, seats, digest) & wanted(record) {
                    return Some(record);
                }
            }
            slot = slot.wrapping_add(1);
        }
        if !compared && let Some(decoy) = shard.records.get(digest.slot() % shard.records.len().max(1)) {
            std::hint::black_box(is_digest(decoy, seats, digest) & wanted(decoy));
        }
        None
    }

    /// The record in a seat.
    pub(crate) fn record(&self, digest: Halves, seat: u32) -> Option<&Record> {
        let shard = self.shard(digest)?;
        shard.slot_of(digest, seat).and_then(|(_, place)| shard.records.get(place))
    }

    pub(crate) fn insert(&mut self, digest: Halves, seats: &Seats, record: Record) {
        let Some(shard) = self.shard_mut(digest) else { return };
        if let Some((_, place)) = shard.slot_of(digest, record.seat) {
            if let Some(old) = shard.records.get_mut(place) {
                *old = record;
            }
            return;
        }
        if shard.records.len() == shard.records.capacity() {
            shard.records.reserve_exact((shard.records.len() / 8).max(2));
        }
        shard.records.push(record);
        if shard.records.len() * 4 > shard.slots.len() * 3 {
            shard.rebuild(seats);
        } else {
            shard.link(digest, shard.records.len() - 1);
        }
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, digest: Halves, seats: &Seats, seat: u32) {
        if self.record(digest, seat).is_none() {
            return;
        }
        let Some(shard) = self.shard_mut(digest) else { return };
        if let Some((_, place)) = shard.slot_of(digest, seat) {
            shard.records.swap_remove(place);
            shard.rebuild(seats);
            self.len -= 1;
        }
    }

    /// How many bytes the table takes, policies and counters apart.
    pub(crate) fn bytes(&self) -> usize {
        let shards = self.nodes.iter().flat_map(|node| &node.0).filter(|shard| !shard.records.is_empty());
        let sizes = shards.map(|shard| {
            shard.records.capacity() * size_of::<Record>() + size_of_val(&*shard.slots) + size_of::<Shard>() + 16
        });
        sizes.sum::<usize>() + FAN * size_of::<Node>()
    }
}

impl Shard {
    fn slot_of(&self, digest: Halves, seat: u32) -> Option<(usize, usize)> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = digest.slot();
        loop {
            let held = self.slots.get(slot & mask).copied().filter(|held| *held != EMPTY)?;
            let place = (held & PLACE_MASK) as usize;
            if self.records.get(place).is_some_and(|record| record.seat == seat) {
                return Some((slot & mask, place));
            }
            slot = slot.wrapping_add(1);
        }
    }

    fn link(&mut self, digest: Halves, place: usize) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = digest.slot();
        while self.slots.get(slot & mask).is_some_and(|held| *held != EMPTY) {
            slot = slot.wrapping_add(1);
        }
        // A shard of a million records is a table of four thousand million: it never comes to that.
        let place = u32::try_from(place).unwrap_or(PLACE_MASK) & PLACE_MASK;
        if let Some(free) = self.slots.get_mut(slot & mask) {
            *free = digest.tag() << PLACE_BITS | place;
        }
    }

    fn rebuild(&mut self, seats: &Seats) {
        // Room for an eighth more before the next time.
        let wanted = (self.records.len() * 3 / 2 + 1).next_power_of_two();
        self.slots = vec![EMPTY; wanted].into();
        for place in 0..self.records.len() {
            let record = self.records.get(place).and_then(|record| seats.at(record.seat).map(|seat| (seat.head(), record.tail)));
            if let Some((head, tail)) = record {
                self.link(Halves { head, tail }, place);
            }
        }
    }
}

/// Compares all 32 bytes in constant time.
fn is_digest(record: &Record, seats: &Seats, digest: Halves) -> bool {
    let Some(seat) = seats.at(record.seat) else { return false };
    let [high, low] = digest.tail;
    let [record_high, record_low] = record.tail;
    let differ = (seat.head() ^ digest.head).ct_eq(&0);
    (differ & record_high.ct_eq(&high) & record_low.ct_eq(&low)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_48_bytes_and_a_seat_is_a_cache_line() {
        assert_eq!(size_of::<Record>(), 48);
        assert_eq!(size_of::<crate::seats::Seat>(), 64);
    }
}

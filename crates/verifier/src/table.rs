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
use crate::terms::Terms;

const FAN: usize = 64;
/// In a slot: where the record is, and as many bits of the digest as are left.
const PLACE_BITS: u32 = 20;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const EMPTY: u32 = u32::MAX;
const TAG_MASK: u32 = (1 << (32 - PLACE_BITS)) - 1;

/// What the index keeps of one secret, besides its [`crate::seats::Seat`]. Exactly one cache line: with everything
/// that decides whether it is the right one in it, so that a verification waits for one random read and not for two.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Record {
    /// The whole digest.
    pub(crate) digest: Digest,
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

/// Where a digest belongs: its first 64 bits, which nobody without the pepper can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route(pub(crate) u64);

impl Route {
    pub(crate) fn of(digest: &Digest) -> Self {
        Self(digest.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "bits are cut out on purpose")]
    const fn bits(self, from: u32) -> u32 {
        (self.0 >> from) as u32
    }

    const fn node(self) -> usize {
        self.bits(58) as usize % FAN
    }

    const fn shard(self) -> usize {
        self.bits(52) as usize % FAN
    }

    const fn slot(self) -> usize {
        self.bits(0) as usize
    }

    const fn tag(self) -> u32 {
        self.bits(36) & TAG_MASK
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

    fn shard(&self, route: Route) -> Option<&Shard> {
        self.nodes.get(route.node())?.0.get(route.shard()).map(|shard| &**shard)
    }

    fn shard_mut(&mut self, route: Route) -> Option<&mut Shard> {
        let node = Arc::make_mut(&mut self.nodes).get_mut(route.node())?;
        Arc::make_mut(node).0.get_mut(route.shard()).map(Arc::make_mut)
    }

    /// The record of a digest, if `wanted` wants it.
    ///
    /// A miss reads and compares a record too, and `wanted` is asked about it: a secret that does not exist, one that
    /// is not wanted and one that is there cost the same.
    pub(crate) fn find(&self, digest: &Digest, wanted: impl Fn(&Record) -> bool) -> Option<&Record> {
        let route = Route::of(digest);
        let shard = self.shard(route)?;
        let mut compared = false;
        let mut slot = route.slot();
        let mask = shard.slots.len().wrapping_sub(1);
        while let Some(held) = shard.slots.get(slot & mask).copied().filter(|held| *held != EMPTY) {
            if held >> PLACE_BITS == route.tag() {
                let record = shard.records.get((held & PLACE_MASK) as usize)?;
                compared = true;
                if is_digest(record, digest) & wanted(record) {
                    return Some(record);
                }
            }
            slot = slot.wrapping_add(1);
        }
        if !compared && let Some(decoy) = shard.records.get(route.slot() % shard.records.len().max(1)) {
            std::hint::black_box(is_digest(decoy, digest) & wanted(decoy));
        }
        None
    }

    /// The record in a seat.
    pub(crate) fn record(&self, route: Route, seat: u32) -> Option<&Record> {
        let shard = self.shard(route)?;
        shard.slot_of(route, seat).and_then(|(_, place)| shard.records.get(place))
    }

    pub(crate) fn insert(&mut self, record: Record) {
        let route = Route::of(&record.digest);
        let Some(shard) = self.shard_mut(route) else { return };
        if let Some((_, place)) = shard.slot_of(route, record.seat) {
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
            shard.rebuild();
        } else {
            shard.link(route, shard.records.len() - 1);
        }
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, route: Route, seat: u32) {
        if self.record(route, seat).is_none() {
            return;
        }
        let Some(shard) = self.shard_mut(route) else { return };
        if let Some((_, place)) = shard.slot_of(route, seat) {
            shard.records.swap_remove(place);
            shard.rebuild();
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
    fn slot_of(&self, route: Route, seat: u32) -> Option<(usize, usize)> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = route.slot();
        loop {
            let held = self.slots.get(slot & mask).copied().filter(|held| *held != EMPTY)?;
            let place = (held & PLACE_MASK) as usize;
            if self.records.get(place).is_some_and(|record| record.seat == seat) {
                return Some((slot & mask, place));
            }
            slot = slot.wrapping_add(1);
        }
    }

    fn link(&mut self, route: Route, place: usize) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = route.slot();
        while self.slots.get(slot & mask).is_some_and(|held| *held != EMPTY) {
            slot = slot.wrapping_add(1);
        }
        // A shard of a million records is a table of four thousand million: it never comes to that.
        let place = u32::try_from(place).unwrap_or(PLACE_MASK) & PLACE_MASK;
        if let Some(free) = self.slots.get_mut(slot & mask) {
            *free = route.tag() << PLACE_BITS | place;
        }
    }

    fn rebuild(&mut self) {
        // Room for an eighth more before the next time.
        let wanted = (self.records.len() * 3 / 2 + 1).next_power_of_two();
        self.slots = vec![EMPTY; wanted].into();
        for place in 0..self.records.len() {
            if let Some(route) = self.records.get(place).map(|record| Route::of(&record.digest)) {
                self.link(route, place);
            }
        }
    }
}

/// Compares all 32 bytes in constant time.
fn is_digest(record: &Record, digest: &Digest) -> bool {
    let (held, _) = record.digest.0.as_chunks::<8>();
    let (given, _) = digest.0.as_chunks::<8>();
    // One comparison of all the differences: as constant in time as four.
    let pairs = held.iter().zip(given);
    let differences = pairs.fold(0, |sum, (held, given)| sum | u64::from_ne_bytes(*held) ^ u64::from_ne_bytes(*given));
    differences.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_cache_line_and_a_seat_fits_into_one() {
        assert_eq!(size_of::<Record>(), 64);
        assert_eq!(size_of::<crate::seats::Seat>(), 56);
    }
}

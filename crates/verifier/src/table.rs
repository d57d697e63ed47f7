//! Secrets by digest: a persistent table, so that publishing a change copies a few pages and readers see the old
//! table or the new one.
//!
//! 64 nodes of 64 shards, each an open-addressing table of its own with its records in place: a look-up waits for one
//! random read. A write copies one shard (some 250 records at a million) and 128 pointers, whatever the size of the
//! rest, so there is no overlay to search on every verification and no merge that could hold up a writer. Chosen over
//! a base with an overlay for that reason.

use std::sync::Arc;

use keywright_model::digest::Digest;
use subtle::ConstantTimeEq as _;

use crate::meters::Meters;
use crate::terms::Terms;

const FAN: usize = 64;
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
    /// The key's counters, if anything counts but one limit, whose counter is in the seat.
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

    const fn node(self) -> usize {
        (self.0 >> 58) as usize % FAN
    }

    const fn shard(self) -> usize {
        (self.0 >> 52) as usize % FAN
    }

    /// Where to begin in a shard of `places` (fewer than 2^32 of them).
    fn start(self, places: usize) -> usize {
        let scaled = (self.0 & 0xFFFF_FFFF) * (places as u64);
        usize::try_from(scaled >> 32).unwrap_or_default()
    }
}

/// Open addressing with linear probing: runs end at an empty place, and a quarter of them are.
#[derive(Clone, Debug, Default)]
struct Shard {
    places: Box<[Option<Record>]>,
    used: usize,
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
        let shard = self.shard(Route::of(digest))?;
        let (behind, from) = shard.split(Route::of(digest));
        let mut compared = false;
        for place in from.iter().chain(behind) {
            let Some(record) = place else { break };
            compared = true;
            if is_digest(record, digest) & wanted(record) {
                return Some(record);
            }
        }
        if !compared && let Some(decoy) = from.iter().chain(behind).flatten().next() {
            std::hint::black_box(is_digest(decoy, digest) & wanted(decoy));
        }
        None
    }

    /// The record in a seat.
    pub(crate) fn record(&self, route: Route, seat: u32) -> Option<&Record> {
        let shard = self.shard(route)?;
        shard.places.get(shard.place_of(route, seat)?)?.as_ref()
    }

    pub(crate) fn insert(&mut self, record: Record) {
        let route = Route::of(&record.digest);
        let Some(shard) = self.shard_mut(route) else { return };
        if let Some(place) = shard.place_of(route, record.seat).and_then(|place| shard.places.get_mut(place)) {
            *place = Some(record);
            return;
        }
        if (shard.used + 1) * 4 > shard.places.len() * 3 {
            shard.rebuild();
        }
        shard.put(record);
        shard.used += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, route: Route, seat: u32) {
        if self.record(route, seat).is_none() {
            return;
        }
        let Some(shard) = self.shard_mut(route) else { return };
        if let Some(place) = shard.place_of(route, seat).and_then(|place| shard.places.get_mut(place)) {
            *place = None;
            shard.used -= 1;
            // What was pushed behind it must be found again.
            shard.rebuild();
            self.len -= 1;
        }
    }

    /// How many bytes the table takes, policies and counters apart.
    pub(crate) fn bytes(&self) -> usize {
        let shards = self.nodes.iter().flat_map(|node| &node.0).filter(|shard| shard.used > 0);
        shards.map(|shard| size_of_val(&*shard.places) + size_of::<Shard>() + 16).sum::<usize>() + FAN * size_of::<Node>()
    }
}

impl Shard {
    /// The places before a route's start, and those from there on.
    fn split(&self, route: Route) -> (&[Option<Record>], &[Option<Record>]) {
        let start = route.start(self.places.len());
        self.places.split_at_checked(start).unwrap_or_default()
    }

    fn place_of(&self, route: Route, seat: u32) -> Option<usize> {
        let (behind, from) = self.split(route);
        let (start, total) = (behind.len(), self.places.len());
        let run = from.iter().chain(behind).map_while(Option::as_ref);
        let nth = run.enumerate().find(|(_, record)| record.seat == seat)?.0;
        Some((start + nth) % total)
    }

    fn put(&mut self, record: Record) {
        let start = Route::of(&record.digest).start(self.places.len());
        let (behind, from) = self.places.split_at_mut(start);
        if let Some(free) = from.iter_mut().chain(behind).find(|place| place.is_none()) {
            *free = Some(record);
        }
    }

    /// Puts everything where it belongs, with room for an eighth more before the next time.
    fn rebuild(&mut self) {
        let places = self.used * 3 / 2 + 2;
        let old = std::mem::replace(&mut self.places, (0..places).map(|_| None).collect());
        old.into_iter().flatten().for_each(|record| self.put(record));
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
    fn a_record_is_a_cache_line_and_so_is_a_seat() {
        assert_eq!(size_of::<Option<Record>>(), 64);
        assert_eq!(size_of::<crate::seats::Seat>(), 64);
    }
}

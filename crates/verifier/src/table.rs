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

impl Record {
    fn is(&self, other: &Self) -> bool {
        let same_meters = match (&self.meters, &other.meters) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        };
        let facts = |record: &Self| (record.digest, record.expires_at, record.owner, record.seat);
        same_meters && Arc::ptr_eq(&self.terms, &other.terms) && facts(self) == facts(other)
    }
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

/// Where a record is in one version of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    route: Route,
    in_shard: usize,
}

/// Open addressing with linear probing: runs end at an empty place, and at least a quarter of them are.
type Places = [Option<Record>];

/// Shards where their pointers are, so that nothing else is read on the way to a record.
#[derive(Clone, Debug)]
struct Node {
    shards: [Arc<Places>; FAN],
    /// How many records each has.
    used: [usize; FAN],
}

/// All secrets that are found by digest.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    nodes: Arc<[Arc<Node>; FAN]>,
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        let empty: Arc<Places> = Arc::default();
        let node = Arc::new(Node { shards: std::array::from_fn(|_| Arc::clone(&empty)), used: [0; FAN] });
        Self { nodes: Arc::new(std::array::from_fn(|_| Arc::clone(&node))), len: 0 }
    }
}

/// One shard while it is changed.
struct ShardMut<'a> {
    places: &'a mut Arc<Places>,
    used: &'a mut usize,
}

impl Table {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn shard(&self, route: Route) -> Option<&Places> {
        self.nodes.get(route.node())?.shards.get(route.shard()).map(|shard| &**shard)
    }

    fn shard_mut(&mut self, route: Route) -> Option<ShardMut<'_>> {
        let node = Arc::make_mut(Arc::make_mut(&mut self.nodes).get_mut(route.node())?);
        Some(ShardMut {
            places: node.shards.get_mut(route.shard())?,
            used: node.used.get_mut(route.shard())?,
        })
    }

    /// The record of a digest, if `wanted` wants it.
    ///
    /// A miss reads and compares a record too, and `wanted` is asked about it: a secret that does not exist, one that
    /// is not wanted and one that is there cost the same.
    pub(crate) fn find(&self, digest: &Digest, wanted: impl Fn(&Record) -> bool) -> Option<(&Record, Place)> {
        let route = Route::of(digest);
        let shard = self.shard(route)?;
        let start = route.start(shard.len());
        let mut in_shard = start;
        while let Some(Some(record)) = shard.get(in_shard) {
            if is_digest(record, digest) & wanted(record) {
                return Some((record, Place { route, in_shard }));
            }
            in_shard = if in_shard + 1 == shard.len() { 0 } else { in_shard + 1 };
        }
        if in_shard == start {
            // Nothing was compared.
            let (behind, from) = split(shard, route);
            if let Some(decoy) = from.iter().chain(behind).flatten().next() {
                std::hint::black_box(is_digest(decoy, digest) & wanted(decoy));
            }
        }
        None
    }

    /// The record at a place where one was found in this version of the table.
    pub(crate) fn at(&self, place: Place) -> Option<&Record> {
        self.shard(place.route)?.get(place.in_shard)?.as_ref()
    }

    /// The record in a seat.
    pub(crate) fn record(&self, route: Route, seat: u32) -> Option<&Record> {
        let shard = self.shard(route)?;
        shard.get(place_of(shard, route, seat)?)?.as_ref()
    }

    pub(crate) fn insert(&mut self, record: Record) {
        let route = Route::of(&record.digest);
        // Many writes change nothing that is verified by: then nothing is copied.
        if self.record(route, record.seat).is_some_and(|stored| stored.is(&record)) {
            return;
        }
        let Some(mut shard) = self.shard_mut(route) else { return };
        if let Some(place) = place_of(shard.places, route, record.seat) {
            shard.set(place, Some(record));
            return;
        }
        if (*shard.used + 1) * 4 > shard.places.len() * 3 {
            shard.rebuild();
        }
        *shard.used += 1;
        put(Arc::make_mut(shard.places), record);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, route: Route, seat: u32) {
        if self.record(route, seat).is_none() {
            return;
        }
        let Some(mut shard) = self.shard_mut(route) else { return };
        if let Some(place) = place_of(shard.places, route, seat) {
            shard.set(place, None);
            *shard.used -= 1;
            // What was pushed behind it must be found again.
            shard.rebuild();
            self.len -= 1;
        }
    }

    /// How many bytes the table takes, policies and counters apart.
    pub(crate) fn bytes(&self) -> usize {
        let shards = self.nodes.iter().flat_map(|node| &node.shards).filter(|shard| !shard.is_empty());
        shards.map(|shard| size_of_val(&**shard) + size_of::<Record>()).sum::<usize>()
            + FAN * size_of::<Node>()
    }
}

impl ShardMut<'_> {
    fn set(&mut self, place: usize, record: Option<Record>) {
        if let Some(held) = Arc::make_mut(self.places).get_mut(place) {
            *held = record;
        }
    }

    /// Puts everything where it belongs, with room for an eighth more before the next time.
    fn rebuild(&mut self) {
        let mut places: Vec<Option<Record>> = (0..*self.used * 3 / 2 + 2).map(|_| None).collect();
        match Arc::get_mut(self.places) {
            Some(old) => old.iter_mut().filter_map(Option::take).for_each(|record| put(&mut places, record)),
            None => self.places.iter().flatten().for_each(|record| put(&mut places, record.clone())),
        }
        *self.places = places.into();
    }
}

/// The places before a route's start, and those from there on.
fn split(places: &Places, route: Route) -> (&Places, &Places) {
    places.split_at_checked(route.start(places.len())).unwrap_or_default()
}

fn place_of(places: &Places, route: Route, seat: u32) -> Option<usize> {
    let (behind, from) = split(places, route);
    let run = from.iter().chain(behind).map_while(Option::as_ref);
    let nth = run.enumerate().find(|(_, record)| record.seat == seat)?.0;
    Some((behind.len() + nth) % places.len())
}

fn put(places: &mut Places, record: Record) {
    let start = Route::of(&record.digest).start(places.len());
    let (behind, from) = places.split_at_mut(start);
    if let Some(free) = from.iter_mut().chain(behind).find(|place| place.is_none()) {
        *free = Some(record);
    }
}

/// Compares all 32 bytes in constant time.
fn is_digest(record: &Record, digest: &Digest) -> bool {
    let (held, _) = record.digest.0.as_chunks::<8>();
    let (given, _) = digest.0.as_chunks::<8>();
    // One comparison of all the differences: as constant in time as four.
    let pairs = held.iter().zip(given);
    let differences =
        pairs.fold(0, |sum, (held, given)| sum | u64::from_ne_bytes(*held) ^ u64::from_ne_bytes(*given));
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

//! Organizations, keyspaces, principals, roles and plans as the index has them. Keys refer to them by place, so that
//! editing one rewrites no key.

use std::sync::Arc;

use keywright_model::access::CompiledGrants;
use keywright_model::id::PrincipalId;

use crate::limits::CompiledLimit;
use crate::meters::Meters;
use crate::quota::CompiledQuota;

/// Rows in a chunk: a write copies one chunk and the list of chunks.
const CHUNK: usize = 256;

/// Rows by place, copied on write chunk by chunk. A place is never given to another row.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    chunks: Vec<Arc<Chunk<T>>>,
}

#[derive(Debug)]
struct Chunk<T>(Vec<Option<Arc<T>>>);

impl<T> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Rows<T> {
    pub(crate) fn at(&self, place: u32) -> Option<&Arc<T>> {
        let place = place as usize;
        self.chunks.get(place / CHUNK)?.0.get(place % CHUNK)?.as_ref()
    }

    pub(crate) fn set(&mut self, place: u32, row: Option<Arc<T>>) {
        let place = place as usize;
        while self.chunks.len() <= place / CHUNK {
            self.chunks.push(Arc::new(Chunk(vec![None; CHUNK])));
        }
        if let Some(slot) =
            self.chunks.get_mut(place / CHUNK).and_then(|chunk| Arc::make_mut(chunk).0.get_mut(place % CHUNK))
        {
            *slot = row;
        }
    }
}

/// Everything that keys refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    pub(crate) orgs: Arc<Rows<OrgRow>>,
    pub(crate) keyspaces: Arc<Rows<KeyspaceRow>>,
    pub(crate) owners: Arc<Rows<OwnerRow>>,
    pub(crate) roles: Arc<Rows<CompiledGrants>>,
    pub(crate) plans: Arc<Rows<PlanRow>>,
}

/// An organization.
#[derive(Debug)]
pub(crate) struct OrgRow {
    pub(crate) name: Box<str>,
}

/// A keyspace.
#[derive(Debug)]
pub(crate) struct KeyspaceRow {
    pub(crate) name: Box<str>,
    pub(crate) max_staleness_ns: Option<u64>,
}

/// A principal.
#[derive(Debug)]
pub(crate) struct OwnerRow {
    pub(crate) id: PrincipalId,
    pub(crate) external_id: Option<Box<str>>,
    pub(crate) enabled: bool,
    pub(crate) roles: Box<[u32]>,
    pub(crate) limits: Box<[CompiledLimit]>,
    pub(crate) quota: Option<CompiledQuota>,
    pub(crate) meters: Option<Arc<Meters>>,
}

/// A plan.
#[derive(Debug)]
pub(crate) struct PlanRow {
    /// Each limit with the place of its cell in every bound key's meters: the same for a name as long as it is there.
    /// Editing a plan touches no key, so when a limit's numbers change, keys keep the share of it that they have used.
    pub(crate) limits: Box<[(CompiledLimit, usize)]>,
    pub(crate) quota: Option<CompiledQuota>,
}

/// Places for a plan's limits: names keep theirs, new ones get free ones.
pub(crate) fn placed(limits: Vec<CompiledLimit>, before: Option<&PlanRow>) -> Box<[(CompiledLimit, usize)]> {
    let old = before.map_or(&[][..], |row| &row.limits);
    let kept =
        |limit: &CompiledLimit| old.iter().find(|(was, _)| was.name == limit.name).map(|(_, place)| *place);
    let mut taken: Vec<usize> = limits.iter().filter_map(kept).collect();
    let mut placed = Vec::with_capacity(limits.len());
    for limit in limits {
        let place = kept(&limit).unwrap_or_else(|| {
            let free = (0..=taken.len()).find(|place| !taken.contains(place)).unwrap_or_default();
            taken.push(free);
            free
        });
        placed.push((limit, place));
    }
    placed.into()
}

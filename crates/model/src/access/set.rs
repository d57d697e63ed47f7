//! Sets of resources in one canonical form, so that two sets are equal exactly when their ids are.
//!
//! A set is a tree by segment: is the resource itself in, what is below each named segment, and what is below any other
//! segment. Equal subtrees are one node, as in a decision diagram, and a subtree that is all in or all out is [`ALL`]
//! or [`NONE`]. All work is counted, because patterns can be written whose sets are exponentially large.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::TooComplex;

/// How many steps one comparison may take: some tens of milliseconds, and a few megabytes, at most.
pub(super) const WORK_MAX: usize = 2_000_000;

/// The empty set.
pub(super) const NONE: SetId = SetId(0);
/// Every resource at and below this point.
pub(super) const ALL: SetId = SetId(1);

/// A set of resources, relative to where it hangs in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SetId(usize);

/// A segment that some pattern mentions, numbered in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(pub(super) usize);

/// One node of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Split {
    /// Whether the resource that ends here is in.
    pub(super) here: bool,
    /// What is in below any segment that is not in `named`.
    pub(super) other: SetId,
    /// What is in below these segments. Invariant: sorted by name, and each differs from `other`.
    pub(super) named: Vec<(Name, SetId)>,
}

impl Split {
    /// What is in below this segment.
    pub(super) fn below(&self, name: Name) -> SetId {
        let at = self.named.binary_search_by_key(&name, |&(held, _)| held).ok();
        at.and_then(|at| self.named.get(at)).map_or(self.other, |&(_, id)| id)
    }
}

/// All sets of one comparison.
#[derive(Debug)]
pub(super) struct Sets {
    splits: Vec<Rc<Split>>,
    ids: HashMap<Rc<Split>, SetId>,
    differences: HashMap<(SetId, SetId), SetId>,
    work_left: usize,
}

impl Sets {
    pub(super) fn new() -> Self {
        let all = Split { here: true, other: ALL, named: Vec::new() };
        Self {
            splits: vec![Rc::default(), Rc::new(all)],
            ids: HashMap::new(),
            differences: HashMap::new(),
            work_left: WORK_MAX,
        }
    }

    /// Counts `steps` of work.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), TooComplex> {
        self.work_left = self.work_left.checked_sub(steps).ok_or(TooComplex)?;
        Ok(())
    }

    /// All or nothing.
    pub(super) fn constant(is_in: bool) -> SetId {
        if is_in { ALL } else { NONE }
    }

    /// The node behind an id.
    pub(super) fn split(&self, id: SetId) -> Rc<Split> {
        self.splits.get(id.0).map(Rc::clone).unwrap_or_default()
    }

    /// The one id of this set. `named` is sorted.
    pub(super) fn make(
        &mut self,
        here: bool,
        other: SetId,
        mut named: Vec<(Name, SetId)>,
    ) -> Result<SetId, TooComplex> {
        self.spend(1 + named.len())?;
        named.retain(|&(_, id)| id != other);
        if named.is_empty() && other == Self::constant(here) {
            return Ok(other);
        }
        let split = Rc::new(Split { here, other, named });
        if let Some(&id) = self.ids.get(&split) {
            return Ok(id);
        }
        let id = SetId(self.splits.len());
        self.splits.push(Rc::clone(&split));
        self.ids.insert(split, id);
        Ok(id)
    }

    /// What is in `left` and not in `right`.
    pub(super) fn minus(&mut self, left: SetId, right: SetId) -> Result<SetId, TooComplex> {
        if left == NONE || right == ALL || left == right {
            return Ok(NONE);
        }
        if right == NONE {
            return Ok(left);
        }
        if let Some(&known) = self.differences.get(&(left, right)) {
            return Ok(known);
        }
        let (from, less) = (self.split(left), self.split(right));
        let other = self.minus(from.other, less.other)?;
        let either: BTreeSet<Name> = from.named.iter().chain(&less.named).map(|&(name, _)| name).collect();
        let mut named = Vec::with_capacity(either.len());
        for name in either {
            named.push((name, self.minus(from.below(name), less.below(name))?));
        }
        let id = self.make(from.here && !less.here, other, named)?;
        self.differences.insert((left, right), id);
        Ok(id)
    }

    /// What is not in the set.
    pub(super) fn complement(&mut self, id: SetId) -> Result<SetId, TooComplex> {
        self.minus(ALL, id)
    }

    /// The set without the resource that ends here.
    pub(super) fn without_here(&mut self, id: SetId) -> Result<SetId, TooComplex> {
        let split = self.split(id);
        self.make(false, split.other, split.named.clone())
    }

    /// Says whether all of `inner` is in `outer`.
    pub(super) fn is_within(&mut self, inner: SetId, outer: SetId) -> Result<bool, TooComplex> {
        Ok(self.minus(inner, outer)? == NONE)
    }
}

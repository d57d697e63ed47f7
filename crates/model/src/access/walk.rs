//! The set of resources that one class of actions may touch, found by walking all patterns at once.
//!
//! The patterns of every list of every access in a comparison share one trie; each is tagged with the bit of its layer
//! ("the new access' denies"). A walk stands on the trie nodes that a resource's first segments reach, and asks at each
//! place [`combine`] what the layers seen there amount to. Where no pattern is left to follow, all below is the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use super::classes::Classes;
use super::set::{Name, SetId, Sets};
use super::{Access, Decision, Parts, TooComplex, combine};
use crate::grant::{Effect, Grant, RESOURCE_SEGMENTS_MAX, ResourcePattern, Segment};

/// The layers of one access; those of the next access in a comparison are [`LAYER_COUNT`] bits further left.
const OWN: u16 = 1;
const ROLES: u16 = 1 << 1;
const SCOPE: u16 = 1 << 2;
const OWNER: u16 = 1 << 3;
const DENY: u16 = 1 << 4;
const LAYER_COUNT: usize = 5;

/// What a comparison found: for each class of actions, the resources asked for.
#[derive(Debug)]
pub(super) struct Solution<'a> {
    pub(super) sets: Sets,
    pub(super) names: Vec<&'a str>,
    pub(super) classes: Classes<'a>,
}

impl Solution<'_> {
    /// Says whether no action on no resource was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

/// Which accesses allow a request, as bits: the first of the comparison is the lowest.
pub(super) type Allowed = u8;

/// Finds all requests for which `wanted` holds. At most three accesses, of [`LAYER_COUNT`] layers each.
pub(super) fn solve<'a>(
    accesses: &[&'a Access],
    wanted: fn(Allowed) -> bool,
) -> Result<Solution<'a>, TooComplex> {
    let layers = Layers::new(accesses);
    let names = layers.names();
    let numbers = names.iter().enumerate().map(|(number, &name)| (name, Name(number))).collect();
    let mut sets = Sets::new();
    let mut classes = Classes::new(layers.grants.iter().map(|&(grant, _)| grant));
    let mut known: HashMap<Vec<usize>, SetId> = HashMap::new();
    classes.solve(|about| {
        sets.spend(1 + about.len())?;
        if let Some(&set) = known.get(&about) {
            return Ok(set);
        }
        let mut trie = Trie::default();
        for (pattern, layer) in layers.patterns(&about) {
            sets.spend(1)?;
            trie.insert(pattern, layer, &numbers);
        }
        let meaning = Meaning { accesses, wanted };
        let set = Walk { trie, sets: &mut sets, meaning, known: HashMap::new() }.visit(&[0], 0, 0)?;
        known.insert(about, set);
        Ok(set)
    })?;
    Ok(Solution { sets, names, classes })
}

/// Every grant and scope of a comparison with the layers it belongs to.
struct Layers<'a> {
    grants: Vec<(&'a Grant, u16)>,
    scopes: Vec<(&'a ResourcePattern, u16)>,
}

impl<'a> Layers<'a> {
    fn new(accesses: &[&'a Access]) -> Self {
        let mut grants: BTreeMap<&Grant, u16> = BTreeMap::new();
        let mut scopes: BTreeMap<&ResourcePattern, u16> = BTreeMap::new();
        for (index, access) in accesses.iter().enumerate() {
            let shift = index * LAYER_COUNT;
            let lists = [
                (access.0.own.as_deref(), OWN),
                (Some(access.0.roles.as_slice()), ROLES),
                (access.0.owner_roles.as_deref(), OWNER),
            ];
            for (list, allow) in lists {
                for grant in list.into_iter().flatten() {
                    let layer = if grant.effect == Effect::Allow { allow } else { DENY };
                    *grants.entry(grant).or_default() |= layer << shift;
                }
            }
            for pattern in access.0.scope.iter().flatten() {
                *scopes.entry(pattern).or_default() |= SCOPE << shift;
            }
        }
        Self { grants: grants.into_iter().collect(), scopes: scopes.into_iter().collect() }
    }

    /// Every segment that a pattern names, sorted.
    fn names(&self) -> Vec<&'a str> {
        let of_grants = self.grants.iter().flat_map(|&(grant, _)| &grant.resources);
        let all = of_grants.chain(self.scopes.iter().map(|&(pattern, _)| pattern));
        let names = all.flat_map(ResourcePattern::segments).filter_map(|segment| match segment {
            Segment::Name(name) => Some(name),
            Segment::Any | Segment::Rest => None,
        });
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The resource patterns of these grants, and of the scopes, which are about every action.
    fn patterns(&self, about: &[usize]) -> impl Iterator<Item = (&'a ResourcePattern, u16)> {
        let grants = about.iter().filter_map(|&index| self.grants.get(index));
        let granted = grants.flat_map(|&(grant, layer)| grant.resources.iter().map(move |p| (p, layer)));
        granted.chain(self.scopes.iter().copied())
    }
}

/// The question that a place is asked.
struct Meaning<'a> {
    accesses: &'a [&'a Access],
    wanted: fn(Allowed) -> bool,
}

impl Meaning<'_> {
    /// Says whether a request about which these layers say something is wanted.
    fn holds(&self, layers: u16) -> bool {
        let mut allowed = 0;
        for (index, access) in self.accesses.iter().enumerate() {
            if access.0.allows_by_layers(layers >> (index * LAYER_COUNT)) {
                allowed |= 1 << index;
            }
        }
        (self.wanted)(allowed)
    }
}

impl Parts {
    fn allows_by_layers(&self, layers: u16) -> bool {
        let says = |layer: u16| if layers & layer == 0 { Decision::Silent } else { Decision::Allowed };
        let denial = (layers & DENY != 0).then_some(Decision::Denied);
        combine(
            self.own.is_some().then(|| says(OWN)),
            iter::once(says(ROLES)).chain(denial),
            self.scope.is_none() || layers & SCOPE != 0,
            self.owner_roles.is_some().then(|| iter::once(says(OWNER))),
        )
    }
}

/// The patterns about one class of actions.
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    named: BTreeMap<Name, usize>,
    any: Option<usize>,
    /// Layers with a pattern that ends here.
    here: u16,
    /// Layers with a pattern whose `**` starts here.
    rest: u16,
    /// Layers with a pattern that goes on below.
    below: u16,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    fn insert(&mut self, pattern: &ResourcePattern, layer: u16, numbers: &HashMap<&str, Name>) {
        let mut at = 0;
        for segment in pattern.segments() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match segment {
                Segment::Rest => {
                    node.rest |= layer;
                    return;
                }
                Segment::Any => *node.any.get_or_insert(next),
                Segment::Name(name) => match numbers.get(name) {
                    Some(&number) => *node.named.entry(number).or_insert(next),
                    None => return,
                },
            };
            node.below |= layer;
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.here |= layer;
        }
    }
}

/// The nodes that each named segment leads to.
type Named = BTreeMap<Name, Vec<usize>>;

/// One walk over all resources at once.
struct Walk<'a> {
    trie: Trie,
    sets: &'a mut Sets,
    meaning: Meaning<'a>,
    /// What was found below a place: the nodes to follow, the layers that hold for all of it, and whether it is in.
    known: HashMap<(Vec<usize>, u16, bool), SetId>,
}

impl Walk<'_> {
    /// The set at and below the place that reaches the nodes `at`, where the layers `above` hold for all.
    fn visit(&mut self, at: &[usize], above: u16, depth: usize) -> Result<SetId, TooComplex> {
        self.sets.spend(1 + at.len())?;
        let (mut rest, mut here) = (above, 0);
        for node in at.iter().filter_map(|&index| self.trie.nodes.get(index)) {
            rest |= node.rest;
            here |= node.here;
        }
        let here = self.meaning.holds(rest | here);
        if depth == RESOURCE_SEGMENTS_MAX {
            return Ok(Sets::constant(here));
        }
        let goes_on = |index: &usize| self.trie.nodes.get(*index).is_some_and(|node| node.below & !rest != 0);
        let alive: Vec<usize> = at.iter().copied().filter(goes_on).collect();
        if alive.is_empty() {
            return self.sets.make(here, Sets::constant(self.meaning.holds(rest)), Vec::new());
        }
        let place = (alive, rest, here);
        if let Some(&set) = self.known.get(&place) {
            return Ok(set);
        }
        let (named, any) = self.step(&place.0)?;
        let other = self.visit(&any, rest, depth + 1)?;
        let mut below = Vec::with_capacity(named.len());
        for (name, nodes) in named {
            below.push((name, self.visit(&nodes, rest, depth + 1)?));
        }
        let set = self.sets.make(here, other, below)?;
        self.known.insert(place, set);
        Ok(set)
    }

    /// The nodes one segment further: for each segment named there, and for any other.
    fn step(&mut self, alive: &[usize]) -> Result<(Named, Vec<usize>), TooComplex> {
        let mut named = Named::new();
        let mut any = Vec::new();
        for node in alive.iter().filter_map(|&index| self.trie.nodes.get(index)) {
            self.sets.spend(1 + node.named.len())?;
            any.extend(node.any);
            for (&name, &child) in &node.named {
                named.entry(name).or_default().push(child);
            }
        }
        self.sets.spend(named.len().saturating_mul(any.len()))?;
        any.sort_unstable();
        for nodes in named.values_mut() {
            nodes.extend(&any);
            nodes.sort_unstable();
        }
        Ok((named, any))
    }
}

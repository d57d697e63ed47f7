//! One list of grants, compiled for the hot path: one request in, one [`Decision`] out, nothing allocated.
//!
//! The patterns of all its grants share one trie of segments. Following a request down the trie visits each node at
//! most once, so a list of 1,000 patterns costs at most its own size and usually a few nodes. Where a pattern ends is
//! a [`Verdict`]: which actions are allowed and which are denied there. The compiled form is as large as the list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::CheckedRequest;
use super::request::Segments;
use crate::grant::{ActionPattern, Actions, Effect, Grant, ResourcePattern, Segment};

/// Up to how many names are looked at one by one, which is faster than halving.
const FEW: usize = 8;

/// What one list of grants says about one request. Deny beats allow within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A deny is about this request.
    Denied,
    /// An allow is about this request, and no deny.
    Allowed,
    /// Nothing is about this request.
    Silent,
}

/// A compiled list of grants; one per distinct list, shared by all that have it.
#[derive(Debug, Default)]
pub struct CompiledGrants {
    nodes: Box<[Node]>,
    verdicts: Box<[Verdict]>,
    actions: Box<[ActionSet]>,
    denies: bool,
}

/// The compiled `scope` of a key: where its roles apply (`api.md` §2).
#[derive(Debug, Default)]
pub struct CompiledScope(CompiledGrants);

#[derive(Debug, Default)]
struct Node {
    /// The named children, sorted by name.
    named: Box<[(Box<str>, usize)]>,
    /// The child under `*`.
    any: Option<usize>,
    /// The verdict on exactly this resource.
    here: Option<usize>,
    /// The verdict on this resource and all below it, from a final `**`.
    rest: Option<usize>,
}

/// What is said where a pattern ends: indices of sets of actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Verdict {
    denied: Vec<usize>,
    allowed: Vec<usize>,
}

/// A set of actions, for looking one up.
#[derive(Debug, Default)]
struct ActionSet {
    any: bool,
    /// Single actions, sorted; the names of trees are among them.
    ones: Box<[Box<str>]>,
    /// The names of trees, sorted: `orders` for `orders.*`.
    trees: Box<[Box<str>]>,
}

impl CompiledGrants {
    /// Compiles a list.
    pub fn new(grants: &[Grant]) -> Self {
        // Grants that differ only in their actions are one, so that many actions on `**` are one lookup.
        let mut by_resources: BTreeMap<(Effect, &[ResourcePattern]), BTreeSet<&ActionPattern>> =
            BTreeMap::new();
        for grant in grants {
            by_resources.entry((grant.effect, &grant.resources)).or_default().extend(&grant.actions);
        }
        let mut builder = Builder::default();
        for ((effect, resources), actions) in by_resources {
            builder.insert(effect, actions, resources);
        }
        builder.build()
    }

    /// Says what this list says about `request`.
    pub fn decide(&self, request: &CheckedRequest<'_>) -> Decision {
        let mut search = Search { list: self, request, decision: Decision::Silent };
        search.visit(0, request.segments());
        search.decision
    }
}

impl CompiledScope {
    /// Compiles a scope.
    pub fn new(patterns: &[ResourcePattern]) -> Self {
        let everything = ActionPattern::from_parts(Actions::Any);
        let resources = patterns.to_vec();
        Self(CompiledGrants::new(&[Grant { effect: Effect::Allow, actions: vec![everything], resources }]))
    }

    /// Says whether the scope is about the resource of `request`.
    pub fn covers(&self, request: &CheckedRequest<'_>) -> bool {
        self.0.decide(request) == Decision::Allowed
    }
}

/// A walk down the trie that stops as soon as nothing can change the decision.
struct Search<'a> {
    list: &'a CompiledGrants,
    request: &'a CheckedRequest<'a>,
    decision: Decision,
}

impl Search<'_> {
    fn visit(&mut self, node: usize, left: Segments<'_>) {
        let Some(node) = self.list.nodes.get(node) else { return };
        self.hear(node.rest);
        if self.is_settled() {
            return;
        }
        let Some((segment, left)) = left.split_first() else { return self.hear(node.here) };
        if let Some(child) = node.child(segment) {
            self.visit(child, left);
        }
        if let Some(child) = node.any
            && !self.is_settled()
        {
            self.visit(child, left);
        }
    }

    fn hear(&mut self, verdict: Option<usize>) {
        let Some(verdict) = verdict.and_then(|index| self.list.verdicts.get(index)) else { return };
        if self.is_in_one(&verdict.denied) {
            self.decision = Decision::Denied;
        } else if self.decision == Decision::Silent && self.is_in_one(&verdict.allowed) {
            self.decision = Decision::Allowed;
        }
    }

    fn is_in_one(&self, sets: &[usize]) -> bool {
        let mut sets = sets.iter().filter_map(|&index| self.list.actions.get(index));
        sets.any(|set| set.contains(self.request.action()))
    }

    fn is_settled(&self) -> bool {
        match self.decision {
            Decision::Denied => true,
            Decision::Allowed => !self.list.denies,
            Decision::Silent => false,
        }
    }
}

impl Node {
    fn child(&self, segment: &[u8]) -> Option<usize> {
        if self.named.len() <= FEW {
            let mut named = self.named.iter();
            return named.find(|(name, _)| name.as_bytes() == segment).map(|&(_, child)| child);
        }
        let at = self.named.binary_search_by(|(name, _)| name.as_bytes().cmp(segment)).ok()?;
        self.named.get(at).map(|&(_, child)| child)
    }
}

impl ActionSet {
    fn contains(&self, action: &str) -> bool {
        self.any || holds(&self.ones, action) || self.has_tree_above(action)
    }

    fn has_tree_above(&self, action: &str) -> bool {
        !self.trees.is_empty()
            && action
                .match_indices('.')
                .any(|(at, _)| action.get(..at).is_some_and(|name| holds(&self.trees, name)))
    }

    fn new(actions: &BTreeSet<&ActionPattern>) -> Self {
        let (mut any, mut ones, mut trees) = (false, BTreeSet::new(), BTreeSet::new());
        for pattern in actions {
            match pattern.parts() {
                Actions::Any => any = true,
                Actions::One(name) => {
                    ones.insert(name);
                }
                Actions::Tree(name) => {
                    ones.insert(name);
                    trees.insert(name);
                }
            }
        }
        let boxed = |names: BTreeSet<&str>| names.into_iter().map(Box::from).collect();
        Self { any, ones: boxed(ones), trees: boxed(trees) }
    }
}

fn holds(sorted: &[Box<str>], name: &str) -> bool {
    if sorted.len() <= FEW {
        return sorted.iter().any(|held| **held == *name);
    }
    sorted.binary_search_by(|held| (**held).cmp(name)).is_ok()
}

/// The trie while it grows.
struct Builder<'a> {
    nodes: Vec<Growing<'a>>,
    /// The sets of actions so far, each with its index.
    actions: HashMap<BTreeSet<&'a ActionPattern>, usize>,
    denies: bool,
}

#[derive(Default)]
struct Growing<'a> {
    named: BTreeMap<&'a str, usize>,
    any: Option<usize>,
    here: Verdict,
    rest: Verdict,
}

impl Default for Builder<'_> {
    fn default() -> Self {
        Self { nodes: vec![Growing::default()], actions: HashMap::new(), denies: false }
    }
}

impl<'a> Builder<'a> {
    fn insert(
        &mut self,
        effect: Effect,
        actions: BTreeSet<&'a ActionPattern>,
        resources: &'a [ResourcePattern],
    ) {
        self.denies |= effect == Effect::Deny;
        let next = self.actions.len();
        let actions = *self.actions.entry(actions).or_insert(next);
        for pattern in resources {
            let Some(verdict) = self.verdict_at(pattern) else { continue };
            let sets = match effect {
                Effect::Allow => &mut verdict.allowed,
                Effect::Deny => &mut verdict.denied,
            };
            if !sets.contains(&actions) {
                sets.push(actions);
            }
        }
    }

    fn verdict_at(&mut self, pattern: &'a ResourcePattern) -> Option<&mut Verdict> {
        let mut at = 0;
        for segment in pattern.segments() {
            let next = self.nodes.len();
            let node = self.nodes.get_mut(at)?;
            at = match segment {
                Segment::Rest => return self.nodes.get_mut(at).map(|node| &mut node.rest),
                Segment::Any => *node.any.get_or_insert(next),
                Segment::Name(name) => *node.named.entry(name).or_insert(next),
            };
            if at == next {
                self.nodes.push(Growing::default());
            }
        }
        self.nodes.get_mut(at).map(|node| &mut node.here)
    }

    fn build(self) -> CompiledGrants {
        let mut verdicts = Verdicts::default();
        let nodes = self.nodes.into_iter().map(|node| Node {
            named: node.named.into_iter().map(|(name, child)| (name.into(), child)).collect(),
            any: node.any,
            here: verdicts.index_of(node.here),
            rest: verdicts.index_of(node.rest),
        });
        let nodes = nodes.collect();
        let mut actions: Vec<_> = self.actions.into_iter().collect();
        actions.sort_unstable_by_key(|&(_, index)| index);
        CompiledGrants {
            nodes,
            verdicts: verdicts.all.into(),
            actions: actions.iter().map(|(actions, _)| ActionSet::new(actions)).collect(),
            denies: self.denies,
        }
    }
}

/// The verdicts so far: equal ones are one.
#[derive(Default)]
struct Verdicts {
    known: HashMap<Verdict, usize>,
    all: Vec<Verdict>,
}

impl Verdicts {
    fn index_of(&mut self, verdict: Verdict) -> Option<usize> {
        if verdict == Verdict::default() {
            return None;
        }
        let next = self.all.len();
        let index = *self.known.entry(verdict).or_insert_with_key(|verdict| {
            self.all.push(verdict.clone());
            next
        });
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(effect: Effect, actions: &str, resources: &str) -> Grant {
        Grant {
            effect,
            actions: actions.split(' ').map(|text| text.parse().unwrap()).collect(),
            resources: resources.split(' ').map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[track_caller]
    fn check(compiled: &CompiledGrants, action: &str, resource: Option<&str>, expected: Decision) {
        let request = CheckedRequest::new(action, resource).unwrap();
        assert_eq!(compiled.decide(&request), expected, "{action} on {resource:?}");
    }

    #[test]
    fn a_list_says_denied_before_allowed_before_nothing() {
        let compiled = CompiledGrants::new(&[
            list(Effect::Allow, "get orders.*", "devices/*/gps devices/7/**"),
            list(Effect::Deny, "get", "devices/7/secret"),
        ]);
        check(&compiled, "get", Some("devices/7"), Decision::Allowed);
        check(&compiled, "get", Some("devices/8/gps"), Decision::Allowed);
        check(&compiled, "orders.read", Some("devices/7/secret"), Decision::Allowed);
        check(&compiled, "get", Some("devices/7/secret"), Decision::Denied);
        check(&compiled, "get", Some("devices/8"), Decision::Silent);
        check(&compiled, "get", None, Decision::Silent);
    }

    #[test]
    fn a_scope_covers_what_one_of_its_patterns_does() {
        let scope = CompiledScope::new(&["projects/1/**".parse().unwrap()]);
        assert!(scope.covers(&CheckedRequest::new("get", Some("projects/1/a")).unwrap()));
        assert!(!scope.covers(&CheckedRequest::new("get", Some("projects/2")).unwrap()));
        assert!(!CompiledScope::new(&[]).covers(&CheckedRequest::new("get", None).unwrap()));
    }
}

//! One list of grants, compiled for the hot path: one request in, one [`Decision`] out, nothing allocated.
//!
//! The patterns of all its grants share one trie of segments. Following a request down the trie visits each node at
//! most once, so a list of 1,000 patterns costs at most its own size and usually a few nodes. Where a pattern ends is
//! a [`Verdict`]: which actions are allowed and which are denied there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::grant::{
    Action, Actions, Effect, Grant, PatternError, Resource, ResourcePattern, Segment, check_action,
    checked_resource,
};

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

/// An action and a resource from outside that were tested once, before any number of lists decide on them.
#[derive(Clone, Debug)]
pub struct CheckedRequest<'a> {
    action: &'a str,
    /// Normalised; empty for the root.
    resource: Cow<'a, str>,
}

impl<'a> CheckedRequest<'a> {
    /// Tests both by the rules of `api.md` §2. No resource is the root (`api.md` §4).
    ///
    /// Allocates only for a resource that is not in normal form C.
    pub fn new(action: &'a str, resource: Option<&'a str>) -> Result<Self, PatternError> {
        check_action(action)?;
        let resource = resource.map(checked_resource).transpose()?.unwrap_or_default();
        Ok(Self { action, resource })
    }

    /// The same from what was parsed before.
    pub fn of(action: &'a Action, resource: &'a Resource) -> Self {
        Self { action: action.as_str(), resource: Cow::Borrowed(resource.as_str()) }
    }

    /// The action.
    pub fn action(&self) -> &str {
        self.action
    }

    /// The resource in normal form C; empty for the root.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

/// A compiled list of grants; one per distinct list, shared by all that have it.
#[derive(Debug, Default)]
pub struct CompiledGrants {
    nodes: Box<[Node]>,
    verdicts: Box<[Verdict]>,
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

/// What is said where a pattern ends.
#[derive(Debug, Default)]
struct Verdict {
    denied: ActionSet,
    allowed: ActionSet,
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
        let mut builder = Builder::default();
        for (index, grant) in grants.iter().enumerate() {
            for pattern in &grant.resources {
                builder.insert(pattern, index);
            }
        }
        builder.build(grants)
    }

    /// Says what this list says about `request`.
    pub fn decide(&self, request: &CheckedRequest<'_>) -> Decision {
        let resource = request.resource();
        let mut search = Search { list: self, action: request.action(), decision: Decision::Silent };
        search.visit(0, (!resource.is_empty()).then_some(resource));
        search.decision
    }
}

impl CompiledScope {
    /// Compiles a scope.
    pub fn new(patterns: &[ResourcePattern]) -> Self {
        let everything = crate::grant::ActionPattern::from_parts(Actions::Any);
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
    action: &'a str,
    decision: Decision,
}

impl Search<'_> {
    fn visit(&mut self, node: usize, resource: Option<&str>) {
        let Some(node) = self.list.nodes.get(node) else { return };
        self.hear(node.rest);
        let Some(resource) = resource else { return self.hear(node.here) };
        if self.is_settled() {
            return;
        }
        let (segment, below) = match resource.split_once('/') {
            Some((segment, below)) => (segment, Some(below)),
            None => (resource, None),
        };
        if let Some(child) = node.child(segment) {
            self.visit(child, below);
        }
        if let Some(child) = node.any
            && !self.is_settled()
        {
            self.visit(child, below);
        }
    }

    fn hear(&mut self, verdict: Option<usize>) {
        let Some(verdict) = verdict.and_then(|index| self.list.verdicts.get(index)) else { return };
        if self.list.denies && verdict.denied.contains(self.action) {
            self.decision = Decision::Denied;
        } else if self.decision == Decision::Silent && verdict.allowed.contains(self.action) {
            self.decision = Decision::Allowed;
        }
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
    fn child(&self, segment: &str) -> Option<usize> {
        let at = self.named.binary_search_by(|(name, _)| (**name).cmp(segment)).ok()?;
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

    fn of<'a>(grants: impl Iterator<Item = &'a Grant>) -> Self {
        let (mut any, mut ones, mut trees) = (false, BTreeSet::new(), BTreeSet::new());
        for pattern in grants.flat_map(|grant| &grant.actions) {
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
    sorted.binary_search_by(|held| (**held).cmp(name)).is_ok()
}

/// The trie while it grows: which grants end where.
struct Builder<'a> {
    nodes: Vec<Growing<'a>>,
}

#[derive(Default)]
struct Growing<'a> {
    named: BTreeMap<&'a str, usize>,
    any: Option<usize>,
    here: Vec<usize>,
    rest: Vec<usize>,
}

impl Default for Builder<'_> {
    fn default() -> Self {
        Self { nodes: vec![Growing::default()] }
    }
}

impl<'a> Builder<'a> {
    fn insert(&mut self, pattern: &'a ResourcePattern, grant: usize) {
        let mut at = 0;
        for segment in pattern.segments() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match segment {
                Segment::Rest => return node.rest.push(grant),
                Segment::Any => *node.any.get_or_insert(next),
                Segment::Name(name) => *node.named.entry(name).or_insert(next),
            };
            if at == next {
                self.nodes.push(Growing::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.here.push(grant);
        }
    }

    fn build(self, grants: &[Grant]) -> CompiledGrants {
        let mut verdicts = Verdicts { grants, known: HashMap::new(), all: Vec::new() };
        let nodes = self.nodes.into_iter().map(|node| Node {
            named: node.named.into_iter().map(|(name, child)| (name.into(), child)).collect(),
            any: node.any,
            here: verdicts.index_of(node.here),
            rest: verdicts.index_of(node.rest),
        });
        CompiledGrants {
            nodes: nodes.collect(),
            verdicts: verdicts.all.into(),
            denies: grants.iter().any(|grant| grant.effect == Effect::Deny),
        }
    }
}

/// The verdicts so far: patterns at which the same grants end share one.
struct Verdicts<'a> {
    grants: &'a [Grant],
    known: HashMap<Vec<usize>, usize>,
    all: Vec<Verdict>,
}

impl Verdicts<'_> {
    fn index_of(&mut self, mut ending: Vec<usize>) -> Option<usize> {
        ending.dedup();
        if ending.is_empty() {
            return None;
        }
        if let Some(&index) = self.known.get(&ending) {
            return Some(index);
        }
        let with = |effect| {
            let all = ending.iter().filter_map(|&index| self.grants.get(index));
            ActionSet::of(all.filter(move |grant| grant.effect == effect))
        };
        self.all.push(Verdict { denied: with(Effect::Deny), allowed: with(Effect::Allow) });
        let index = self.all.len() - 1;
        self.known.insert(ending, index);
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
    fn a_request_is_normalised_and_refused_like_a_resource() {
        assert_eq!(CheckedRequest::new("get", Some("e\u{301}")).unwrap().resource(), "\u{e9}");
        assert_eq!(CheckedRequest::new("get", Some("*")).unwrap_err(), PatternError::WildcardInRequest);
        assert_eq!(CheckedRequest::new("get", Some("")).unwrap_err(), PatternError::EmptySegment);
        assert_eq!(CheckedRequest::new("", None).unwrap_err(), PatternError::InvalidAction);
    }

    #[test]
    fn a_scope_covers_what_one_of_its_patterns_does() {
        let scope = CompiledScope::new(&["projects/1/**".parse().unwrap()]);
        assert!(scope.covers(&CheckedRequest::new("get", Some("projects/1/a")).unwrap()));
        assert!(!scope.covers(&CheckedRequest::new("get", Some("projects/2")).unwrap()));
        assert!(!CompiledScope::new(&[]).covers(&CheckedRequest::new("get", None).unwrap()));
    }
}

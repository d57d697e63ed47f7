//! Random accesses over a small world whose every request can be asked: the fast against the naive, sets against all.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Names that collide: one above another, and one that only looks like it.
const ACTION_PATTERNS: [&str; 8] =
    ["*", "get", "orders", "orders.*", "orders.read", "orders.read.*", "orders2", "get.*"];
/// Every class that those patterns can make, fresh names included.
const ACTIONS: [&str; 9] =
    ["fresh", "get", "get.z", "orders", "orders.z", "orders.read", "orders.read.z", "orders2", "orders."];
/// Segments of requests: those of the patterns and a fresh one.
const SEGMENTS: [&str; 3] = ["a", "b", "z"];

/// Every resource down to one segment deeper than patterns go, and the root.
fn all_resources() -> Vec<Resource> {
    let mut all = vec![Resource::root()];
    let mut deepest = vec![String::new()];
    for _ in 0..4 {
        let longer = |above: &String| {
            SEGMENTS.map(|name| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") })
        };
        deepest = deepest.iter().flat_map(longer).collect();
        all.extend(deepest.iter().map(|text| text.parse::<Resource>().unwrap()));
    }
    all
}

fn all_requests() -> Vec<(Action, Resource)> {
    let actions = ACTIONS.map(|text| text.parse::<Action>().unwrap());
    let resources = all_resources();
    actions.iter().flat_map(|a| resources.iter().map(move |r| (a.clone(), r.clone()))).collect()
}

fn action_pattern() -> impl Strategy<Value = ActionPattern> {
    select(&ACTION_PATTERNS[..]).prop_map(|text| text.parse().unwrap())
}

fn resource_pattern() -> impl Strategy<Value = ResourcePattern> {
    let segments = vec(select(&["a", "a", "b", "*"][..]), 0..=3);
    (segments, any::<bool>()).prop_map(|(mut segments, rest)| {
        if rest || segments.is_empty() {
            segments.push("**");
        }
        segments.join("/").parse().unwrap()
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let effect = select(&[Effect::Allow, Effect::Allow, Effect::Deny][..]);
    (effect, vec(action_pattern(), 1..=3), vec(resource_pattern(), 1..=3))
        .prop_map(|(effect, actions, resources)| Grant { effect, actions, resources })
}

/// What an [`AccessSource`] borrows.
#[derive(Clone, Debug)]
struct Source {
    own: Option<Vec<Grant>>,
    roles: Vec<Vec<Grant>>,
    scope: Option<Vec<ResourcePattern>>,
    owner_roles: Option<Vec<Vec<Grant>>>,
}

impl Source {
    fn borrowed(&self) -> AccessSource<'_> {
        AccessSource {
            own: self.own.as_deref(),
            roles: self.roles.iter().map(Vec::as_slice).collect(),
            scope: self.scope.as_deref(),
            owner_roles: self.owner_roles.as_ref().map(|roles| roles.iter().map(Vec::as_slice).collect()),
        }
    }

    fn access(&self) -> Access {
        Access::new(&self.borrowed())
    }

    fn allows(&self, (action, resource): &(Action, Resource)) -> bool {
        naive::allows(&self.borrowed(), action.as_str(), resource.as_str())
    }
}

fn source() -> impl Strategy<Value = Source> {
    let own = option::weighted(0.8, vec(grant(), 0..=4));
    let roles = vec(vec(grant(), 0..=2), 0..=2);
    let scope = option::weighted(0.4, vec(resource_pattern(), 0..=2));
    let owner_roles = option::weighted(0.4, vec(vec(grant(), 0..=3), 0..=2));
    (own, roles, scope, owner_roles).prop_map(|(own, roles, scope, owner_roles)| Source {
        own,
        roles,
        scope,
        owner_roles,
    })
}

/// Two that are often nearly the same, as before and after an edit.
fn before_and_after() -> impl Strategy<Value = (Source, Source)> {
    let edited = (source(), grant(), any::<prop::sample::Index>()).prop_map(|(old, extra, at)| {
        let mut new = old.clone();
        match &mut new.own {
            Some(own) if !own.is_empty() && at.index(2) == 0 => drop(own.remove(at.index(own.len()))),
            Some(own) => own.push(extra),
            none => *none = Some(vec![extra]),
        }
        (old, new)
    });
    prop_oneof![4 => edited, 4 => (source(), source()), 1 => source().prop_map(|same| (same.clone(), same))]
}

fn is_in(regions: &[AccessRegion], (action, resource): &(Action, Resource)) -> bool {
    regions.iter().any(|region| region.contains(action, resource))
}

/// The same meaning in other words: reversed, one pattern a grant, each thing twice.
fn rewritten(grants: &[Grant]) -> Vec<Grant> {
    let single = |grant: &Grant| {
        let pairs = grant.actions.iter().flat_map(|a| grant.resources.iter().map(move |r| (a, r)));
        let effect = grant.effect;
        let one = |(a, r): (&ActionPattern, &ResourcePattern)| Grant {
            effect,
            actions: vec![a.clone()],
            resources: vec![r.clone()],
        };
        pairs.map(one).collect::<Vec<_>>()
    };
    let mut split: Vec<Grant> = grants.iter().rev().flat_map(single).collect();
    split.extend(grants.iter().take(1).cloned());
    split
}

proptest! {
    #[test]
    fn the_compiled_access_decides_as_the_naive_one(source in source()) {
        let access = source.access();
        for request in all_requests() {
            prop_assert_eq!(access.allows(&request.0, &request.1), source.allows(&request), "{:?}", request);
        }
    }

    #[test]
    fn all_that_is_allowed_is_in_the_regions_and_nothing_else(source in source()) {
        let regions = source.access().regions().unwrap();
        for request in all_requests() {
            prop_assert_eq!(is_in(&regions, &request), source.allows(&request), "{:?} {:?}", request, regions);
        }
        prop_assert_eq!(source.access().is_empty().unwrap(), regions.is_empty());
    }

    #[test]
    fn a_difference_is_what_is_gained_and_lost_and_nothing_else((old, new) in before_and_after()) {
        let change = difference(&old.access(), &new.access()).unwrap();
        let mut same = true;
        for request in all_requests() {
            let (before, after) = (old.allows(&request), new.allows(&request));
            same &= before == after;
            prop_assert_eq!(is_in(&change.gained, &request), !before && after, "{:?} {:?}", request, change);
            prop_assert_eq!(is_in(&change.lost, &request), before && !after, "{:?} {:?}", request, change);
        }
        prop_assert_eq!(change.is_empty(), same);
    }

    #[test]
    fn a_grant_in_other_words_is_no_change(source in source()) {
        let mut other = source.clone();
        other.own = source.own.as_deref().map(rewritten);
        other.roles = source.roles.iter().rev().map(|role| rewritten(role)).collect();
        other.scope = source.scope.clone().map(|scope| scope.into_iter().rev().collect());
        prop_assert!(difference(&source.access(), &other.access()).unwrap().is_empty());
        let (ours, theirs) = (source.access().regions().unwrap(), other.access().regions().unwrap());
        prop_assert_eq!(ours, theirs, "written in another order");
    }

    #[test]
    fn a_ceiling_covers_what_lies_within_it((ceiling, of) in before_and_after()) {
        let expected = all_requests().iter().all(|request| ceiling.allows(request) || !of.allows(request));
        prop_assert_eq!(covers(&ceiling.access(), &of.access()).unwrap(), expected);
    }

    #[test]
    fn what_is_gained_beyond_a_ceiling_is_exact((old, new) in before_and_after(), ceiling in source()) {
        let beyond = gained_beyond(&old.access(), &new.access(), &ceiling.access()).unwrap();
        for request in all_requests() {
            let expected = new.allows(&request) && !old.allows(&request) && !ceiling.allows(&request);
            prop_assert_eq!(is_in(&beyond, &request), expected, "{:?} {:?}", request, beyond);
        }
    }

    #[test]
    fn a_region_is_read_back_as_it_was_written(source in source()) {
        for region in source.access().regions().unwrap() {
            let text = serde_json::to_string(&region).unwrap();
            prop_assert_eq!(serde_json::from_str::<AccessRegion>(&text).unwrap(), region);
        }
    }
}

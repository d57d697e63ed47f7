//! What of a key's grants a wire can show, and what must survive an update through it.
//!
//! Each wire shows allow grants of one shape. A grant is a product (each of its actions on each of its resources), so it
//! is divided exactly: what the wire shows of it, and the rest as grants that say no more and no less.

use keywright_model::fault::Faults;
use keywright_model::grant::{ActionPattern, Effect, Grant, ResourcePattern};

/// How many patterns of actions, and of resources, the grants of a key may hold in all (api.md §2, "Sizes").
const PATTERNS_MAX: usize = 1_000;

/// The shape of the grants that a wire shows.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) action: fn(&ActionPattern) -> bool,
    pub(super) resource: fn(&ResourcePattern) -> bool,
}

/// A key's grants as a wire sees them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Divided {
    /// What the wire shows, and an update through it replaces.
    pub(super) shown: Vec<Grant>,
    /// Denies and other shapes: what the wire does not show and leaves as it is.
    pub(super) kept: Vec<Grant>,
}

impl Shape {
    /// Divides a key's grants.
    pub(super) fn divide(self, grants: &[Grant]) -> Divided {
        let mut divided = Divided::default();
        for grant in grants {
            self.divide_one(grant, &mut divided);
        }
        divided
    }

    fn divide_one(self, grant: &Grant, divided: &mut Divided) {
        let (actions, other_actions) = parted(&grant.actions, self.action);
        let (resources, other_resources) = parted(&grant.resources, self.resource);
        if grant.effect == Effect::Deny || actions.is_empty() || resources.is_empty() {
            divided.kept.push(grant.clone());
            return;
        }
        let allow = |actions, resources| Grant { effect: Effect::Allow, actions, resources };
        if !other_actions.is_empty() {
            divided.kept.push(allow(other_actions, grant.resources.clone()));
        }
        if !other_resources.is_empty() {
            divided.kept.push(allow(actions.clone(), other_resources));
        }
        divided.shown.push(allow(actions, resources));
    }

    /// The grants after an update: `new` in place of all that was shown. `field` is the vendor's for a fault.
    pub(super) fn replaced(self, grants: &[Grant], new: &[Grant], field: &str) -> Result<Vec<Grant>, Faults> {
        let mut after = self.divide(grants).kept;
        after.extend_from_slice(new);
        let actions: usize = after.iter().map(|grant| grant.actions.len()).sum();
        let resources: usize = after.iter().map(|grant| grant.resources.len()).sum();
        if actions.max(resources) > PATTERNS_MAX {
            let detail = format!(
                "at most {PATTERNS_MAX} patterns of each kind in all, with those set through other wires"
            );
            return Err(Faults::one(format!("/{field}"), "too_many", detail));
        }
        Ok(after)
    }
}

fn parted<T: Clone>(patterns: &[T], fits: fn(&T) -> bool) -> (Vec<T>, Vec<T>) {
    patterns.iter().cloned().partition(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_ON_DEVICES: Shape = Shape {
        action: |action| action.as_str() == "get",
        resource: |resource| resource.as_str().starts_with("devices/"),
    };

    fn grant(effect: Effect, actions: &[&str], resources: &[&str]) -> Grant {
        let actions = actions.iter().map(|text| text.parse().unwrap()).collect();
        Grant { effect, actions, resources: resources.iter().map(|text| text.parse().unwrap()).collect() }
    }

    fn allow(actions: &[&str], resources: &[&str]) -> Grant {
        grant(Effect::Allow, actions, resources)
    }

    #[track_caller]
    fn check(grants: &[Grant], shown: &[Grant], kept: &[Grant]) {
        let expected = Divided { shown: shown.to_vec(), kept: kept.to_vec() };
        assert_eq!(GET_ON_DEVICES.divide(grants), expected);
    }

    #[test]
    fn a_grant_of_the_shape_is_shown_and_every_other_is_kept() {
        let ours = allow(&["get"], &["devices/1/**", "devices/2/**"]);
        check(std::slice::from_ref(&ours), std::slice::from_ref(&ours), &[]);
        for other in [
            grant(Effect::Deny, &["get"], &["devices/1/**"]),
            allow(&["put"], &["devices/1/**"]),
            allow(&["*"], &["devices/1/**"]),
            allow(&["get"], &["**"]),
        ] {
            check(std::slice::from_ref(&other), &[], std::slice::from_ref(&other));
        }
    }

    #[test]
    fn a_mixed_grant_is_divided_into_the_same_rights() {
        let mixed = allow(&["get", "put"], &["devices/1/**", "orders/**"]);
        let shown = allow(&["get"], &["devices/1/**"]);
        let kept = [allow(&["put"], &["devices/1/**", "orders/**"]), allow(&["get"], &["orders/**"])];
        check(&[mixed], &[shown], &kept);
    }

    #[test]
    fn an_update_replaces_what_is_shown_and_nothing_else() {
        let deny = grant(Effect::Deny, &["get"], &["devices/9/**"]);
        let before = [allow(&["get"], &["devices/1/**"]), deny.clone()];
        let new = [allow(&["get"], &["devices/2/**"])];
        let after = GET_ON_DEVICES.replaced(&before, &new, "permissions").unwrap();
        assert_eq!(after, [deny, new[0].clone()]);
    }

    #[test]
    fn a_thousand_patterns_fit_and_not_one_more() {
        let devices = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("devices/{n}/**")).collect();
            [allow(&["get"], &names.iter().map(String::as_str).collect::<Vec<_>>())]
        };
        assert!(GET_ON_DEVICES.replaced(&[], &devices(1_000), "permissions").is_ok());
        let faults = GET_ON_DEVICES.replaced(&[], &devices(1_001), "permissions").unwrap_err();
        assert_eq!(faults.as_slice()[0].pointer, "/permissions");
    }
}

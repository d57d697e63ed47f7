//! Effective access once more, straight from the text of `api.md` §2, to test the fast one against.
//!
//! It is slow and shares no code with the rest of [`crate::access`] on purpose: patterns are read as text, and there
//! is no trie, no compiled form and no common formula.

use crate::access::AccessSource;
use crate::grant::{Effect, Grant};

/// Says whether `source` allows `action` on `resource`; an empty resource is the root.
pub fn allows(source: &AccessSource<'_>, action: &str, resource: &str) -> bool {
    let none = Vec::new();
    let owner_roles = source.owner_roles.as_ref().unwrap_or(&none);
    let owner_has_roles = !owner_roles.is_empty();
    let owner_gives = owner_roles.iter().any(|role| mentions(role, Effect::Allow, action, resource));

    // ((own `grants`) ∪ … "grants": null means: what the owner's roles give …
    let own = match source.own {
        Some(grants) => mentions(grants, Effect::Allow, action, resource),
        None => owner_gives,
    };
    // … ∪ (its roles' grants, within `scope` if set)) …
    let in_scope = match source.scope {
        Some(patterns) => patterns.iter().any(|pattern| resource_fits(pattern.as_str(), resource)),
        None => true,
    };
    let role = in_scope && source.roles.iter().any(|role| mentions(role, Effect::Allow, action, resource));
    // … ∩ (its owner's roles' grants, if the owner has roles) …
    let within_owner = !owner_has_roles || owner_gives;
    // … − denies.
    let denied = source.own.is_some_and(|grants| mentions(grants, Effect::Deny, action, resource))
        || source.roles.iter().any(|role| mentions(role, Effect::Deny, action, resource))
        || owner_roles.iter().any(|role| mentions(role, Effect::Deny, action, resource));

    (own || role) && within_owner && !denied
}

/// Says whether a grant with this effect is about this action on this resource.
fn mentions(grants: &[Grant], effect: Effect, action: &str, resource: &str) -> bool {
    grants.iter().any(|grant| {
        grant.effect == effect
            && grant.actions.iter().any(|pattern| action_fits(pattern.as_str(), action))
            && grant.resources.iter().any(|pattern| resource_fits(pattern.as_str(), resource))
    })
}

/// `*` is any; `orders.*` is `orders` and all below it.
fn action_fits(pattern: &str, action: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.strip_suffix(".*") {
        Some(name) => action == name || action.starts_with(&format!("{name}.")),
        None => action == pattern,
    }
}

/// `*` is one segment; a final `**` is the rest, nothing included.
fn resource_fits(pattern: &str, resource: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let resource: Vec<&str> = if resource.is_empty() { vec![] } else { resource.split('/').collect() };
    match pattern.split_last() {
        Some((&"**", before)) => {
            resource.len() >= before.len() && before.iter().zip(&resource).all(|(p, r)| *p == "*" || p == r)
        }
        _ => {
            resource.len() == pattern.len() && pattern.iter().zip(&resource).all(|(p, r)| *p == "*" || p == r)
        }
    }
}

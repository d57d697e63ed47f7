//! Grants in words: `get, put on devices/7/**`, `deny delete on devices/**`.

use keywright_client::Grant;
use keywright_model::grant::{ActionPattern, ResourcePattern};

const FORM: &str = "write `get,put on devices/7/**`: actions, `on`, resources, each separated by commas";

/// Reads a grant whose effect is `effect` unless its first word says otherwise.
pub(crate) fn parse_grant(text: &str, effect: &str) -> Result<Grant, String> {
    let fault = |what: &str| format!("`{text}`: {what}");
    let (left, resources) = text.split_once(" on ").ok_or_else(|| fault(FORM))?;
    let left = left.trim();
    // An action has no spaces, so a first word that is followed by another is the effect.
    let (effect, actions) = match left.split_once(char::is_whitespace) {
        Some((word @ ("allow" | "deny"), rest)) => (word, rest),
        _ => (effect, left),
    };
    let actions = items(actions);
    let resources = items(resources);
    if actions.is_empty() || resources.is_empty() {
        return Err(fault(FORM));
    }
    for action in &actions {
        action.parse::<ActionPattern>().map_err(|error| fault(&error.to_string()))?;
    }
    let mut normalised = Vec::new();
    for resource in &resources {
        let pattern = resource.parse::<ResourcePattern>().map_err(|error| fault(&error.to_string()))?;
        normalised.push(pattern.as_str().to_owned());
    }
    Ok(Grant { effect: effect.to_owned(), actions, resources: normalised })
}

/// Reads one question: `get on devices/7`, or `get` alone for the root.
pub(crate) fn parse_check(text: &str) -> (String, Option<String>) {
    match text.split_once(" on ") {
        Some((action, resource)) => (action.trim().to_owned(), Some(resource.trim().to_owned())),
        None => (text.trim().to_owned(), None),
    }
}

fn items(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// A grant in the words that [`parse_grant`] reads.
pub(crate) fn show_grant(grant: &Grant) -> String {
    let effect = if grant.effect == "deny" { "deny " } else { "" };
    format!("{effect}{} on {}", grant.actions.join(","), grant.resources.join(","))
}

/// Whether two grants say the same, in whatever order.
pub(crate) fn same_grant(one: &Grant, other: &Grant) -> bool {
    let sorted = |items: &[String]| {
        let mut items = items.to_vec();
        items.sort_unstable();
        items.dedup();
        items
    };
    one.effect == other.effect
        && sorted(&one.actions) == sorted(&other.actions)
        && sorted(&one.resources) == sorted(&other.resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, effect: &str, actions: &[&str], resources: &[&str]) {
        let grant = parse_grant(text, "allow").unwrap();
        assert_eq!(grant.effect, effect);
        assert_eq!((grant.actions, grant.resources), (owned(actions), owned(resources)));
    }

    fn owned(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn a_grant_is_actions_on_resources() {
        check("get,put on devices/7/**", "allow", &["get", "put"], &["devices/7/**"]);
        check("  get , orders.*  on a/b,c/** ", "allow", &["get", "orders.*"], &["a/b", "c/**"]);
        check("deny delete on devices/**", "deny", &["delete"], &["devices/**"]);
        check("allow get,put on **", "allow", &["get", "put"], &["**"]);
        check("deny on **", "allow", &["deny"], &["**"]);
    }

    #[test]
    fn what_is_no_grant_is_refused_with_the_rule() {
        for (text, rule) in [
            ("get", "on"),
            ("get on ", "separated by commas"),
            (" on a", "separated by commas"),
            ("ge* on a", "wildcard"),
            ("get on a/**/b", "last segment"),
            ("get put on a", "characters"),
        ] {
            let refused = parse_grant(text, "allow").unwrap_err();
            assert!(refused.contains(rule), "{text}: {refused}");
        }
    }

    #[test]
    fn a_grant_in_words_reads_back() {
        for text in ["get,put on devices/7/**", "deny * on a,b"] {
            assert_eq!(show_grant(&parse_grant(text, "allow").unwrap()), text);
        }
        let same = |one, other| {
            same_grant(&parse_grant(one, "allow").unwrap(), &parse_grant(other, "allow").unwrap())
        };
        assert!(
            same("a,b on c", "b,a on c") && !same("a on c", "deny a on c") && !same("a on c", "a on c,d")
        );
    }

    #[test]
    fn a_question_may_leave_the_resource_out() {
        assert_eq!(parse_check("get on devices/7"), ("get".to_owned(), Some("devices/7".to_owned())));
        assert_eq!(parse_check("get"), ("get".to_owned(), None));
    }
}

//! The rules of `api.md` §2 one by one, each at its edges, and how regions read.

use std::time::Duration;

use super::*;

/// `allow get,put on a/** b` or `deny * on **`.
fn grant(text: &str) -> Grant {
    let (effect, text) = text.split_once(' ').unwrap();
    let (actions, resources) = text.split_once(" on ").unwrap();
    Grant {
        effect: if effect == "allow" { Effect::Allow } else { Effect::Deny },
        actions: actions.split(',').map(|text| text.parse().unwrap()).collect(),
        resources: resources.split(' ').map(|text| text.parse().unwrap()).collect(),
    }
}

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| grant(text)).collect()
}

fn access(texts: &[&str]) -> Access {
    Access::from_grants(&grants(texts))
}

#[track_caller]
fn check(access: &Access, action: &str, resource: &str, expected: bool) {
    let resource = if resource.is_empty() { Resource::root() } else { resource.parse().unwrap() };
    assert_eq!(access.allows(&action.parse().unwrap(), &resource), expected, "{action} on {resource:?}");
}

#[track_caller]
fn check_change(old: &[&str], new: &[&str], gained: &[&str], lost: &[&str]) {
    let change = difference(&access(old), &access(new)).unwrap();
    let text = |regions: &[AccessRegion]| regions.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&change.gained), gained, "gained");
    assert_eq!(text(&change.lost), lost, "lost");
}

#[test]
fn the_rest_covers_the_place_where_it_starts() {
    let access = access(&["allow get on devices/7/**"]);
    check(&access, "get", "devices/7", true);
    check(&access, "get", "devices/7/a/b/c", true);
    check(&access, "get", "devices/70", false);
    check(&access, "get", "devices", false);
}

#[test]
fn a_star_is_one_segment_and_not_none_or_two() {
    let access = access(&["allow get on devices/*/gps"]);
    check(&access, "get", "devices/7/gps", true);
    check(&access, "get", "devices/gps", false);
    check(&access, "get", "devices/7/8/gps", false);
}

#[test]
fn only_the_rest_alone_covers_the_root() {
    check(&access(&["allow get on **"]), "get", "", true);
    check(&access(&["allow get on * */** a a/**"]), "get", "", false);
}

#[test]
fn a_tree_of_actions_is_its_name_and_all_below_it() {
    let access = access(&["allow orders.* on **"]);
    check(&access, "orders", "a", true);
    check(&access, "orders.read", "a", true);
    check(&access, "orders.read.all", "a", true);
    check(&access, "orders2", "a", false);
    check(&access, "order", "a", false);
}

#[test]
fn a_name_of_an_action_is_only_itself_and_has_a_case() {
    let access = access(&["allow orders on A"]);
    check(&access, "orders", "A", true);
    check(&access, "orders.read", "A", false);
    check(&access, "Orders", "A", false);
    check(&access, "orders", "a", false);
}

#[test]
fn deny_beats_allow_in_any_order() {
    for order in [["deny get on a/b", "allow * on **"], ["allow * on **", "deny get on a/b"]] {
        let access = access(&order);
        check(&access, "get", "a/b", false);
        check(&access, "get", "a/b/c", true);
        check(&access, "put", "a/b", true);
    }
}

#[test]
fn a_role_gives_only_within_scope_and_takes_everywhere() {
    let (own, role) = (grants(&["allow put on **"]), grants(&["allow get on **", "deny put on b"]));
    let scope = ["a/**".parse().unwrap()];
    let source = AccessSource { own: Some(&own), roles: vec![&role], scope: Some(&scope), owner_roles: None };
    let access = Access::new(&source);
    check(&access, "get", "a/1", true);
    check(&access, "get", "b", false);
    check(&access, "put", "b", false);
    check(&access, "put", "c", true);
}

#[test]
fn an_owner_with_roles_is_a_ceiling_and_one_without_is_none() {
    let (own, owner) = (grants(&["allow * on a/**"]), grants(&["allow get on **", "deny get on a/secret"]));
    let source = |owner_roles| AccessSource { own: Some(&own), owner_roles, ..AccessSource::default() };
    let within = Access::new(&source(Some(vec![&owner])));
    check(&within, "get", "a/1", true);
    check(&within, "put", "a/1", false);
    check(&within, "get", "b", false);
    check(&within, "get", "a/secret", false);
    check(&Access::new(&source(Some(vec![]))), "put", "a/1", true);
    check(&Access::new(&source(Some(vec![&[]]))), "put", "a/1", false);
    check(&Access::new(&source(None)), "put", "a/1", true);
}

#[test]
fn null_grants_are_what_the_owners_roles_give_and_nothing_without_them() {
    let owner = grants(&["allow get on a/**"]);
    let mut source = AccessSource { owner_roles: Some(vec![&owner]), ..AccessSource::default() };
    check(&Access::new(&source), "get", "a", true);
    check(&Access::new(&source), "get", "b", false);
    source.owner_roles = None;
    assert!(Access::new(&source).is_empty().unwrap());
    let role = grants(&["allow get on b"]);
    source.roles = vec![&role];
    check(&Access::new(&source), "get", "b", true);
}

#[test]
fn everything_covers_all_and_nothing_covers_only_nothing() {
    let some = access(&["allow get on a"]);
    assert!(covers(&Access::everything(), &some).unwrap());
    assert!(covers(&Access::everything(), &Access::everything()).unwrap());
    assert!(!covers(&Access::nothing(), &some).unwrap());
    assert!(covers(&Access::nothing(), &access(&["deny * on **", "allow get on a"])).unwrap());
    assert!(Access::nothing().is_empty().unwrap());
    check(&Access::everything(), "any.thing", "", true);
}

#[test]
fn what_a_grant_means_counts_and_not_how_it_is_written() {
    check_change(
        &["allow get,put on a b"],
        &["allow put on b a", "allow get on a", "allow get on b"],
        &[],
        &[],
    );
    check_change(&["allow get on a/**"], &["allow get on a/**", "allow get on a/b/*"], &[], &[]);
    check_change(&["allow get on **"], &["allow get on **", "allow get on */**"], &[], &[]);
    check_change(&["allow a.* on x"], &["allow a.*,a,a.b,a.b.* on x"], &[], &[]);
    check_change(&["allow get on a"], &["allow get on a", "deny get on b", "deny put on a"], &[], &[]);
}

#[test]
fn a_difference_reads_as_a_person_would_say_it() {
    check_change(&[], &["allow get on devices/7/**"], &["get on devices/7/**"], &[]);
    check_change(
        &["allow get on devices/7/**"],
        &["allow get on devices/7/**", "deny get on devices/7/secret"],
        &[],
        &["get on devices/7/secret"],
    );
    check_change(
        &[],
        &["allow get on devices/7/** a", "deny get on devices/7/secret"],
        &["get on a, devices/7/** except devices/7/secret"],
        &[],
    );
    check_change(&[], &["allow * on **", "deny * on a/**"], &["* on ** except a/**"], &[]);
    check_change(&[], &["allow * on **", "deny get on **"], &["* except get on **"], &[]);
    check_change(&[], &["allow * on a/**", "allow get on b"], &["* on a/**", "get on b"], &[]);
    check_change(&[], &["allow * on */x", "deny * on 7/x"], &["* on */x except 7/x"], &[]);
    check_change(&["allow get on */**"], &["allow get on **"], &["get on ** except */**"], &[]);
    check_change(&["allow get on */**"], &["allow put on */**"], &["put on */**"], &["get on */**"]);
    check_change(&["allow get on *"], &["allow get on a"], &[], &["get on * except a"]);
}

#[test]
fn actions_read_as_a_person_would_say_them() {
    check_change(&[], &["allow orders.* on a", "deny orders on a"], &["orders.* except orders on a"], &[]);
    check_change(
        &[],
        &["allow orders.*,get on a", "deny orders.delete.* on a"],
        &["get, orders.* except orders.delete.* on a"],
        &[],
    );
    check_change(&["allow get on a"], &["allow * on a"], &["* except get on a"], &[]);
}

#[test]
fn a_region_is_json_with_exceptions_only_when_there_are_any() {
    let json = |texts: &[&str]| serde_json::to_string(&access(texts).regions().unwrap()).unwrap();
    let plain = r#"[{"actions":["get"],"resources":["devices/7/**"]}]"#;
    assert_eq!(json(&["allow get on devices/7/**"]), plain);
    let excepted = r#"[{"actions":["*"],"resources":["**"],"except_resources":["a"]}]"#;
    assert_eq!(json(&["allow * on **", "deny * on a"]), excepted);
}

#[test]
fn a_change_may_gain_only_what_the_ceiling_has() {
    let ceiling = access(&["allow get on devices/**", "deny get on devices/secret"]);
    let beyond = |old: &[&str], new: &[&str]| {
        let regions = gained_beyond(&access(old), &access(new), &ceiling).unwrap();
        regions.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(beyond(&[], &["allow get on devices/7/**"]), Vec::<String>::new());
    assert_eq!(beyond(&[], &["allow get on devices/**"]), ["get on devices/secret"]);
    assert_eq!(beyond(&["allow * on **"], &["allow * on a"]), Vec::<String>::new());
    assert_eq!(beyond(&["allow get on **", "deny get on a"], &["allow get on **"]), ["get on a"]);
}

#[test]
fn the_deepest_resource_is_compared_too_and_nothing_lies_below_it() {
    let deepest = ["a"; 32].join("/");
    let rest = format!("{}/**", ["a"; 31].join("/"));
    check_change(
        &[&format!("allow get on {deepest}")],
        &[&format!("allow get on {rest}")],
        &[&format!("get on {rest} except {deepest}")],
        &[],
    );
    let both = [format!("allow get on {rest}"), format!("deny get on {deepest}")];
    for region in access(&both.each_ref().map(String::as_str)).regions().unwrap() {
        let text = serde_json::to_string(&region).unwrap();
        assert_eq!(serde_json::from_str::<AccessRegion>(&text).unwrap(), region);
    }
    let above = ["a"; 31].join("/");
    check_change(&[&format!("allow get on {rest}")], &[&format!("allow get on {above} {above}/*")], &[], &[]);
    let any = format!("allow get on {}", ["*"; 32].join("/"));
    check_change(&[&any], &[&any, &format!("allow get on {deepest}")], &[], &[]);
}

/// Runs on another thread, and fails when it takes longer than a person would wait.
fn soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn a_thousand_ordinary_patterns_are_compared() {
    let devices = |numbers: std::ops::Range<u32>| {
        let resources = numbers.map(|number| format!("devices/{number}/**").parse().unwrap()).collect();
        Access::from_grants(&[
            Grant { resources, ..grant("allow get,put on a") },
            grant("deny * on */*/secret"),
        ])
    };
    let (old, new) = (devices(0..998), devices(1..999));
    let change = soon(move || difference(&old, &new)).unwrap();
    let text: Vec<_> = change.gained.iter().chain(&change.lost).map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "get, put on devices/998/** except devices/998/secret",
            "get, put on devices/0/** except devices/0/secret"
        ]
    );
}

#[test]
fn a_grant_an_action_is_compared_too() {
    let list = |from: usize| {
        let text = |n: usize| grant(&format!("allow action{n} on devices/{n}/** shared/*/x"));
        Access::from_grants(&(from..from + 333).map(text).collect::<Vec<_>>())
    };
    let (old, new) = (list(0), list(333));
    let change = soon(move || difference(&old, &new)).unwrap();
    assert_eq!(change.gained.len(), 333);
    assert_eq!(change.lost.len(), 333);
}

#[test]
fn patterns_that_multiply_are_refused_quickly() {
    // After n segments a walk can stand on any of 2^n sets of these patterns.
    let pattern = |n: usize| {
        let segments = (0..31).map(|at| if at == n { "a" } else { "*" });
        segments.chain(iter::once("b")).collect::<Vec<_>>().join("/")
    };
    let resources = |effect, at: fn(usize) -> bool| Grant {
        effect,
        actions: vec!["get".parse().unwrap()],
        resources: (0..31).filter(|&n| at(n)).map(|n| pattern(n).parse().unwrap()).collect(),
    };
    let old = Access::from_grants(&[resources(Effect::Allow, |n| n % 2 == 0)]);
    let new = Access::from_grants(&[resources(Effect::Allow, |n| n % 2 == 1), grant("deny get on a/b")]);
    let again = old.clone();
    let found = soon(move || (difference(&old, &new), covers(&old, &new).is_err()));
    assert_eq!(found, (Err(TooComplex), true));
    // What stays as it is need not be compared.
    let same = (difference(&again, &again), gained_beyond(&again, &again, &Access::nothing()));
    assert_eq!(same, (Ok(AccessChange::default()), Ok(vec![])));
    assert_eq!(TooComplex.code(), "grants_too_complex");
}

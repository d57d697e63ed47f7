use stateright::{Checker, HasDiscoveries, Model};

use super::*;

fn assert_safe(protocol: Protocol) {
    let variant = protocol.variant;
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    println!(
        "{variant:?}: {} states, {} steps at the deepest",
        checker.unique_state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done());
    for property in checker.model().properties() {
        let path = found.get(property.name).map(|path| path.clone().into_actions());
        let expected = match property.name {
            NO_STALE_ANSWER => false,
            SECOND_LIFE => checker.model().lives > 1,
            // A comparison at the end, which one variant has not.
            REFUSED => variant != Variant::CheckBeforeLookupOnly,
            _ => true,
        };
        assert_eq!(path.is_some(), expected, "{variant:?}: {}: {path:#?}", property.name);
    }
}

fn assert_unsafe(protocol: Protocol) {
    let variant = protocol.variant;
    let checker = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discovery(NO_STALE_ANSWER).map(|path| path.into_actions().len());
    println!("{variant:?}: {found:?} steps, {} states", checker.unique_state_count());
    assert!(found.is_some(), "{variant:?} was not found");
}

#[test]
fn no_verification_after_an_acknowledgement_answers_by_a_state_before_it() {
    assert_safe(Protocol::ONE);
}

#[test]
fn two_writers_that_fence_one_node_both_wait_for_it() {
    assert_safe(Protocol::TWO_WRITERS);
}

#[test]
fn both_harmless_variants_are_safe() {
    for variant in Variant::HARMLESS {
        assert_safe(Protocol { variant, ..Protocol::ONE });
    }
}

#[test]
fn every_unsafe_variant_is_found() {
    for variant in Variant::UNSAFE {
        let size = match variant {
            Variant::FencedMeansGone => Protocol { end: 4, ..Protocol::TWO_WRITERS },
            Variant::IdReused => Protocol { end: 4, lag: 0, ..Protocol::TWO_WRITERS },
            _ => Protocol::ONE,
        };
        assert_unsafe(Protocol { variant, ..size });
    }
}

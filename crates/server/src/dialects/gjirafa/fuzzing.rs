//! This wire's readers for the fuzzer.

use super::roles::AskedRole;
use super::{map, wire};
use crate::dialects::fuzzing::edited;

pub(super) fn read(input: &[u8]) {
    match wire::read_create(input) {
        Ok(body) => drop(map::new_key(&body, AskedRole::Unsaid)),
        Err(refusal) => drop(refusal.into_answer()),
    }
    match wire::read_update(input) {
        Ok(body) => {
            let after = map::edit(body, AskedRole::NoRole).ok().and_then(|edit| edited(&edit));
            drop(after.map(|key| (map::shown(&key, None, 0), map::listed(&key, None))));
        }
        Err(refusal) => drop(refusal.into_answer()),
    }
}

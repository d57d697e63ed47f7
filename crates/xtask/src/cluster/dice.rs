//! Randomness that repeats: the same seed throws the same.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and good enough to choose faults by.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that was not used before. Short, so that it can be typed.
    pub(crate) fn fresh_seed() -> u64 {
        std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000
    }

    pub(crate) const fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Dice of its own for another task.
    pub(crate) const fn split(&mut self) -> Self {
        Self(self.throw())
    }

    /// One of `0..bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.throw() % bound).unwrap_or(0)
    }

    /// Whether something that happens `times` in a hundred happens.
    pub(crate) fn percent(&mut self, times: usize) -> bool {
        self.below(100) < times
    }

    /// At least `least_ms`, less than `most_ms`.
    pub(crate) fn millis(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        let span = most_ms.saturating_sub(least_ms).max(1);
        Duration::from_millis(least_ms + self.throw() % span)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_another_does_not() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.throw()).collect::<Vec<_>>()
        };
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
    }

    #[test]
    fn throws_stay_within_their_bounds_and_reach_them() {
        let mut dice = Dice::new(1);
        let thrown: std::collections::BTreeSet<_> = (0..200).map(|_| dice.below(5)).collect();
        assert_eq!(thrown, (0..5).collect());
        assert!((0..200).all(|_| (3..9).contains(&dice.millis(3, 9).as_millis())));
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}

//! A limit's arithmetic in whole microseconds: what units cost, how many fit, and how many a node may hold ahead of use.
//!
//! The same bucket as `keywright_verifier::limits`, in a unit that a script of the limiter's server computes exactly.

/// The share of a limit that all nodes together may hold ahead of use: an eighth.
const AHEAD: u64 = 8;

/// Millionths of a limit.
pub(crate) const WHOLE: u32 = 1_000_000;

/// The numbers of a limit, in the units that nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in a full bucket: 1 to 2³⁰.
    pub max: u64,
    /// The window.
    pub per_seconds: u32,
}

impl Rate {
    fn per_us(self) -> u64 {
        u64::from(self.per_seconds.max(1)) * 1_000_000
    }

    /// Microseconds that a unit costs; 1 where it is less.
    pub fn unit_us(self) -> u64 {
        self.per_us().div_ceil(self.max.max(1))
    }

    /// What so many units cost. Rounding up only slows.
    pub fn charge_us(self, units: u64) -> u64 {
        if self.max <= self.per_us() {
            return units.saturating_mul(self.unit_us());
        }
        let us = (u128::from(units) * u128::from(self.per_us())).div_ceil(u128::from(self.max));
        u64::try_from(us).unwrap_or(u64::MAX)
    }

    /// What a full bucket holds.
    pub fn capacity_us(self) -> u64 {
        self.charge_us(self.max.max(1))
    }

    /// Whole units in so many microseconds.
    pub fn units(self, us: u64) -> u64 {
        if self.max <= self.per_us() {
            return us / self.unit_us();
        }
        let units = u128::from(us) * u128::from(self.max) / u128::from(self.per_us());
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// How many units a node may hold ahead of use: `⌊max / (8 × nodes)⌋`, so that small limits are held by nobody.
    pub fn block(self, nodes: u32) -> u64 {
        self.max / AHEAD / u64::from(nodes.max(1))
    }
}

/// A bucket of which a node has a share, on the node's own clock.
///
/// It admits what fits; and, when it is full, one call of any cost, whose excess it then owes. So a call that costs
/// more than the share of its node is slow, not impossible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// When it is full again.
    full_at_us: u64,
    /// Its share of the limit.
    share: u32,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new(share: u32) -> Self {
        Self { full_at_us: 0, share }
    }

    fn charge(self, rate: Rate, units: u64) -> u64 {
        let whole = u128::from(rate.charge_us(units)) * u128::from(WHOLE);
        u64::try_from(whole.div_ceil(u128::from(self.share.max(1)))).unwrap_or(u64::MAX)
    }

    fn used(self, now_us: u64) -> u64 {
        self.full_at_us.saturating_sub(now_us)
    }

    /// Takes units, or says in how many microseconds they fit.
    pub(crate) fn take(&mut self, rate: Rate, units: u64, now_us: u64) -> Result<(), u64> {
        let (used, charge) = (self.used(now_us), self.charge(rate, units));
        let after = used.saturating_add(charge);
        if used > 0 && after > rate.capacity_us() {
            return Err(used.min(after - rate.capacity_us()));
        }
        self.full_at_us = now_us.saturating_add(after);
        Ok(())
    }

    /// Takes as many units as fit, at most this many; with a full bucket and an owed excess never.
    pub(crate) fn take_up_to(&mut self, rate: Rate, units: u64, now_us: u64) -> u64 {
        let free = u128::from(rate.capacity_us().saturating_sub(self.used(now_us)));
        let free = free * u128::from(self.share) / u128::from(WHOLE);
        let units = rate.units(u64::try_from(free).unwrap_or(u64::MAX)).min(units);
        let fits = units > 0 && self.take(rate, units, now_us).is_ok();
        if fits { units } else { 0 }
    }

    /// Gives back units that nobody spent.
    pub(crate) fn give_back(&mut self, rate: Rate, units: u64) {
        self.full_at_us = self.full_at_us.saturating_sub(self.charge(rate, units));
    }

    /// Counts as used what is known to be used of the whole limit.
    pub(crate) fn learn(&mut self, full_at_us: u64) {
        self.full_at_us = self.full_at_us.max(full_at_us);
    }

    /// When it is full again.
    pub(crate) const fn full_at_us(self) -> u64 {
        self.full_at_us
    }

    /// Takes another share. Units stay as many as they were, and are cut to what the new share holds: shares that
    /// never add up to more than the whole never hold more than the whole.
    pub(crate) fn reshare(&mut self, rate: Rate, share: u32, now_us: u64) {
        if share == self.share {
            return;
        }
        let (old, new) = (i128::from(self.share.max(1)), i128::from(share.max(1)));
        let capacity = i128::from(rate.capacity_us());
        let free = capacity - i128::from(self.used(now_us));
        let kept = (free * old / new).min(capacity);
        let used = u64::try_from(capacity - kept).unwrap_or(0);
        *self = Self { full_at_us: now_us.saturating_add(used), share };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(max: u64, per_seconds: u32) -> Rate {
        Rate { max, per_seconds }
    }

    #[test]
    fn a_full_bucket_holds_its_maximum_and_a_block_is_an_eighth_of_it_for_all_nodes_together() {
        for (max, per) in [(1, 1), (3, 1), (7, 60), (999_983, 1), (1 << 30, 1), (1 << 30, 2_678_400)] {
            let rate = rate(max, per);
            assert_eq!(rate.units(rate.capacity_us()), max, "{max} in {per} s");
            for nodes in [1, 2, 3, 16, 100] {
                assert!(rate.block(nodes) * u64::from(nodes) * 8 <= max);
            }
        }
        assert_eq!((rate(7, 1).block(1), rate(8, 1).block(1), rate(240, 1).block(3)), (0, 1, 10));
    }

    #[test]
    fn a_share_admits_its_part_and_a_call_larger_than_it_only_when_it_is_full() {
        let rate = rate(12, 12);
        let mut bucket = Bucket::new(WHOLE / 4);
        assert_eq!((0..9).filter(|_| bucket.take(rate, 1, 0).is_ok()).count(), 3);
        // Four seconds a unit.
        assert_eq!(bucket.take(rate, 1, 0), Err(4_000_000));
        assert!(bucket.take(rate, 1, 4_000_000).is_ok());
        assert!(bucket.take(rate, 12, 15_999_999).is_err());
        assert!(bucket.take(rate, 12, 16_000_000).is_ok());
        assert_eq!(bucket.take(rate, 1, 16_000_000), Err(40_000_000));
    }

    #[test]
    fn another_share_keeps_the_units_that_it_has_room_for() {
        let rate = rate(100, 100);
        let mut bucket = Bucket::new(WHOLE / 2);
        assert_eq!(bucket.take_up_to(rate, 20, 0), 20);
        bucket.reshare(rate, WHOLE, 0);
        assert_eq!(bucket.take_up_to(rate, 100, 0), 30, "growing gives nothing at once");
        let mut bucket = Bucket::new(WHOLE / 2);
        bucket.reshare(rate, WHOLE / 10, 0);
        assert_eq!(bucket.take_up_to(rate, 100, 0), 10);
    }
}

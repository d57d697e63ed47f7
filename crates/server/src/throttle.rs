//! Slows the guessing of credentials down: failed authentications are counted for each client address, and no
//! address pays for another one.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many failures an address may have at once.
pub const BURST: u32 = 20;
/// How long it takes to forget one failure.
pub const REFILL_NS: u64 = 1_000_000_000;
/// How many addresses are remembered. Beyond it those that have nearly been forgotten go first.
pub const ADDRESSES_MAX: usize = 10_000;

/// Which addresses have failed how often. Times are nanoseconds of a clock that is never set back.
#[derive(Debug, Default)]
pub struct Throttle(Failures<IpAddr>);

impl Throttle {
    /// Says after how many seconds an address may try again; `None` is now.
    pub fn wait_seconds(&self, address: IpAddr, now_ns: u64) -> Option<u64> {
        self.0.wait_seconds(&group(address), now_ns)
    }

    /// Notes a failure.
    pub fn failed(&self, address: IpAddr, now_ns: u64) {
        self.0.failed(group(address), now_ns);
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.0.table().len()
    }

    /// Whether nobody has failed lately.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Who has failed how often: a bucket of [`BURST`] for each, refilled by one each [`REFILL_NS`].
#[derive(Debug)]
pub struct Failures<Who> {
    /// The moment at which all of somebody's failures are forgotten.
    forgotten_at: Mutex<HashMap<Who, u64>>,
    /// Whether anybody ever failed: until then nobody waits for the lock.
    any: AtomicBool,
}

impl<Who> Default for Failures<Who> {
    fn default() -> Self {
        Self { forgotten_at: Mutex::default(), any: AtomicBool::new(false) }
    }
}

impl<Who: Eq + Hash> Failures<Who> {
    /// Says after how many seconds somebody may try again; `None` is now.
    pub fn wait_seconds(&self, who: &Who, now_ns: u64) -> Option<u64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let debt = self.table().get(who)?.saturating_sub(now_ns);
        let free = u64::from(BURST - 1) * REFILL_NS;
        (debt > free).then(|| (debt - free).div_ceil(REFILL_NS))
    }

    /// Notes a failure.
    pub fn failed(&self, who: Who, now_ns: u64) {
        let mut table = self.table();
        self.any.store(true, Ordering::Release);
        if table.len() >= ADDRESSES_MAX && !table.contains_key(&who) {
            make_room(&mut table, now_ns);
        }
        let at = table.entry(who).or_insert(now_ns);
        *at = ((*at).max(now_ns) + REFILL_NS).min(now_ns + u64::from(BURST) * REFILL_NS);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Who, u64>> {
        self.forgotten_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what is forgotten, and of the rest the half that will be soonest: whoever guesses most stays.
fn make_room<Who: Eq + Hash>(table: &mut HashMap<Who, u64>, now_ns: u64) {
    table.retain(|_, at| *at > now_ns);
    if table.len() >= ADDRESSES_MAX {
        let mut times: Vec<u64> = table.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        table.retain(|_, at| *at > median);
    }
}

/// The address that failures are counted for: an IPv6 host owns its /64, and a mapped IPv4 address is that address.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_burst_passes_and_the_next_one_waits() {
        let (throttle, here) = (Throttle::default(), address("10.0.0.1"));
        for _ in 0..BURST {
            assert_eq!(throttle.wait_seconds(here, 5), None);
            throttle.failed(here, 5);
        }
        assert_eq!(throttle.wait_seconds(here, 5), Some(1));
        assert_eq!(throttle.wait_seconds(here, 5 + SECOND - 1), Some(1));
        assert_eq!(throttle.wait_seconds(here, 5 + SECOND), None);
        throttle.failed(here, 5 + SECOND);
        assert_eq!(throttle.wait_seconds(here, 5 + SECOND), Some(1));
        assert_eq!(throttle.wait_seconds(here, 100 * SECOND), None);
    }

    #[test]
    fn no_address_pays_for_another() {
        let throttle = Throttle::default();
        for _ in 0..1000 {
            throttle.failed(address("2001:db8::1"), 0);
        }
        assert!(throttle.wait_seconds(address("2001:db8::ffff:1"), 0).is_some(), "the same /64");
        for other in ["10.0.0.1", "2001:db8:0:1::1", "::1"] {
            assert_eq!(throttle.wait_seconds(address(other), 0), None, "{other}");
        }
        throttle.failed(address("::ffff:10.0.0.9"), 0);
        assert_eq!(throttle.len(), 2);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_guesses_most() {
        let (throttle, worst) = (Throttle::default(), address("9.9.9.9"));
        for _ in 0..1000 {
            throttle.failed(worst, 0);
        }
        for number in 0..3 * ADDRESSES_MAX {
            throttle.failed(IpAddr::V4(u32::try_from(number).unwrap().into()), 0);
        }
        assert!(throttle.len() <= ADDRESSES_MAX);
        assert!(throttle.wait_seconds(worst, 0).is_some());
    }
}

//! How often somebody may call: a vendor's limit of so many requests in so much time, for each whom it counts apart.
//!
//! A window begins with somebody's first request and ends on time, whatever they send in it. So no window holds more than the
//! limit, and no stretch of one window's length more than twice the limit, less one. Refused requests do not count.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many are remembered. Beyond it those go first whose window is over, then those who asked least.
const REMEMBERED_MAX: usize = 10_000;

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) requests: u32,
    pub(super) window: Duration,
}

/// Who has called how often. Times are nanoseconds of a clock that is never set back.
#[derive(Debug)]
pub(super) struct Pace<Who> {
    limit: Limit,
    windows: Mutex<HashMap<Who, Window>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    requests: u32,
    ends_at: u64,
}

impl<Who: Eq + Hash> Pace<Who> {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    /// Counts a request; an error is how long to wait until one will pass.
    pub(super) fn pass(&self, who: Who, now_ns: u64) -> Result<(), Duration> {
        let mut windows = self.windows();
        if windows.len() >= REMEMBERED_MAX && !windows.contains_key(&who) {
            make_room(&mut windows, now_ns);
        }
        let length = u64::try_from(self.limit.window.as_nanos()).unwrap_or(u64::MAX);
        let new = Window { requests: 0, ends_at: now_ns.saturating_add(length) };
        let window = windows.entry(who).or_insert(new);
        if window.ends_at <= now_ns {
            *window = new;
        }
        if window.requests >= self.limit.requests {
            return Err(Duration::from_nanos(window.ends_at - now_ns));
        }
        window.requests += 1;
        Ok(())
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Who, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops at least half of a full table, so that its cost is shared by as many requests.
fn make_room<Who: Eq + Hash>(windows: &mut HashMap<Who, Window>, now_ns: u64) {
    windows.retain(|_, window| window.ends_at > now_ns);
    if windows.len() > REMEMBERED_MAX / 2 {
        let mut all: Vec<Window> = windows.values().copied().collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        let median = *median;
        windows.retain(|_, window| *window > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn twenty_a_second() -> Pace<u32> {
        Pace::new(Limit { requests: 20, window: Duration::from_secs(1) })
    }

    #[test]
    fn as_many_as_the_limit_pass_and_the_next_one_waits_for_the_end_of_the_window() {
        let pace = twenty_a_second();
        for request in 0..20 {
            assert_eq!(pace.pass(1, 5 + request), Ok(()));
        }
        assert_eq!(pace.pass(1, 30), Err(Duration::from_nanos(SECOND - 25)));
        assert_eq!(pace.pass(1, SECOND + 4), Err(Duration::from_nanos(1)));
        assert_eq!(pace.pass(1, SECOND + 5), Ok(()));
    }

    #[test]
    fn whoever_goes_on_asking_waits_no_longer() {
        let pace = twenty_a_second();
        let passed = (0..10_000).filter(|n| pace.pass(1, n * SECOND / 1_000).is_ok()).count();
        assert_eq!(passed, 200, "ten seconds of a thousand requests a second");
    }

    #[test]
    fn nobody_pays_for_another() {
        let pace = twenty_a_second();
        while pace.pass(1, 0).is_ok() {}
        assert_eq!(pace.pass(2, 0), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_whoever_is_at_the_limit_stays_there() {
        let pace = twenty_a_second();
        while pace.pass(0, 0).is_ok() {}
        for who in 1..50_000 {
            pace.pass(who, 0).unwrap();
            assert!(pace.windows().len() <= REMEMBERED_MAX);
        }
        assert!(pace.pass(0, 0).is_err());
    }

    #[test]
    fn windows_that_are_over_make_room_first() {
        let pace = twenty_a_second();
        for who in 0..6_000 {
            pace.pass(who, 0).unwrap();
            pace.pass(who, 0).unwrap();
        }
        for who in 6_000..10_001 {
            pace.pass(who, SECOND).unwrap();
        }
        assert_eq!(pace.windows().len(), 4_001, "6,000 are over, and none of the rest had to go");
    }
}

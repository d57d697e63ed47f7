//! What lies outside the program: clocks, randomness, the environment, the process itself. Nothing else reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use keywright_model::secret::Entropy;
use keywright_model::time::Timestamp;
use nix::sys::resource::{Resource, setrlimit};
use nix::time::{ClockId, clock_gettime};

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl keywright_control::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn boot_ns(&self) -> u64 {
        boot_ns()
    }
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}

/// `CLOCK_BOOTTIME` in nanoseconds: never set back, and it runs while the machine sleeps.
pub(crate) fn boot_ns() -> u64 {
    clock_ns(ClockId::CLOCK_BOOTTIME)
}

fn clock_ns(clock: ClockId) -> u64 {
    // Linux has had these clocks since 2.6.39, so that the call cannot fail on it.
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

impl keywright_feed::Clocks for SystemClock {
    fn boot_ns(&self) -> u64 {
        boot_ns()
    }

    fn raw_ns(&self) -> u64 {
        clock_ns(ClockId::CLOCK_MONOTONIC_RAW)
    }
}

/// A lease that ends in no test.
pub(crate) const UNENDING: Duration = Duration::from_hours(24);

/// Whether leases are never looked at, so that the test of them can be seen to fail. Only a debug build can be told so.
#[expect(clippy::disallowed_methods, reason = "no setting: it must not be found in any reference")]
pub(crate) fn ignores_leases() -> bool {
    cfg!(debug_assertions) && std::env::var_os("CHAOS_KEYWRIGHT_NO_LEASE_CHECK").is_some()
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the operating system's randomness"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // A secret that can be guessed is worse than no service.
            std::process::abort();
        }
    }
}

/// 128 random bits in hex, for naming calls and files.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    hex::encode(bytes)
}

/// The environment, as far as it is UTF-8.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// Makes sure that what is in memory never gets into a core dump, and that no other process of this user can read it.
pub(crate) fn seal_memory() -> std::io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_and_names_differ() {
        assert!(now().unix_ms() > 1_700_000_000_000);
        let before = boot_ns();
        assert!(before > 0 && boot_ns() >= before);
        assert_ne!(random_name(), random_name());
    }
}

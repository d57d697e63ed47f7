//! What a fuzzer may drive, with the feature `fuzzing` only: no wire and no test needs it.

use keywright_verifier::Check;

use crate::dialects::Dialect;
pub use crate::dialects::fuzzing::read as wire;
use crate::gateway::credential;
use crate::gateway::readings::{Meant, Readings};

/// Reads a request as a gateway forwards it. What it means must be what the verifier can be asked.
pub fn gateway(method: &str, target: &str, headers: &[(&str, &str)]) {
    let _ = credential::carried(headers);
    crate::gateway::fuzz_address(headers);
    for vendor in Dialect::ALL {
        let Ok(readings) = Readings::of(method, target, Some(vendor)) else { return };
        for Check { action, resource } in
            [&readings.plain].into_iter().chain(&readings.vendors).map(Meant::check)
        {
            assert!(!action.is_empty() && !resource.starts_with('/'), "{action} {resource}");
            assert!(!resource.split('/').any(|segment| segment == "." || segment == ".."), "{resource}");
        }
    }
}

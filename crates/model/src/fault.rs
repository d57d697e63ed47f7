//! What is wrong with an input: every fault at once, each naming the place and the rule.

use std::fmt;

use serde::Serialize;

/// One thing wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: a JSON Pointer (RFC 6901) into the body.
    pub pointer: String,
    /// The rule that was broken, stable, in `snake_case`.
    pub code: &'static str,
    /// The rule in words. Never repeats a secret.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the body" } else { &self.pointer };
        write!(f, "{pointer}: {} ({})", self.detail, self.code)
    }
}

/// All that is wrong with an input; empty when nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// How many faults an answer names. A hostile body could otherwise hold a hundred thousand.
pub const FAULTS_MAX: usize = 100;

impl Faults {
    /// No fault yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A single fault.
    pub fn one(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        let mut faults = Self::new();
        faults.add(pointer, code, detail);
        faults
    }

    /// Notes one more fault; past [`FAULTS_MAX`] they are dropped.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        if !self.is_full() {
            self.0.push(Fault { pointer: pointer.into(), code, detail: detail.into() });
        }
    }

    /// Notes the faults of a later step, but those at or below a place that is known to be wrong: they follow from it.
    pub fn absorb(&mut self, later: Self) {
        let known = self.0.len();
        for fault in later.0 {
            let follows = |earlier: &Fault| {
                let below = fault.pointer.strip_prefix(earlier.pointer.as_str());
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if !self.0.iter().take(known).any(follows) {
                self.add(fault.pointer, fault.code, fault.detail);
            }
        }
    }

    /// The same faults, each told anew.
    #[must_use]
    pub fn map(self, tell: impl FnMut(Fault) -> Fault) -> Self {
        Self(self.0.into_iter().map(tell).collect())
    }

    /// Whether further faults would be dropped.
    pub fn is_full(&self) -> bool {
        self.0.len() >= FAULTS_MAX
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults, in the order in which they were found.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// `Err` when something is wrong.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_faults_at_or_below_a_known_one_follow_from_it() {
        let mut faults = Faults::one("/a", "missing_field", "must be given");
        let mut later = Faults::new();
        for pointer in ["/a", "/a/b", "/ab", "/c", "/c/d"] {
            later.add(pointer, "invalid_type", "must be a text");
        }
        faults.absorb(later);
        let pointers: Vec<&str> = faults.as_slice().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/ab", "/c", "/c/d"]);
    }

    #[test]
    fn the_hundred_and_first_fault_is_dropped() {
        let mut faults = Faults::new();
        for index in 0..=FAULTS_MAX {
            assert_eq!(faults.is_full(), index == FAULTS_MAX);
            faults.add(format!("/{index}"), "invalid_type", "must be a text");
        }
        assert_eq!(faults.as_slice().len(), FAULTS_MAX);
    }
}

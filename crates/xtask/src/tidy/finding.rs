//! What a rule found: the file, the rule, what is wrong and what to do about it.

use std::fmt;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    Warning,
    Error,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) rule: &'static str,
    /// The file, with `:line` where that helps.
    pub(super) place: String,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn error(
        rule: &'static str,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Error,
            rule,
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn warning(self) -> Self {
        Self { level: Level::Warning, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{level}[{}] {}: {}\n    do: {}", self.rule, self.place, self.problem, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_rule_the_file_and_what_to_do() {
        let finding = Finding::error("size", "a.rs", "too long", "split it");
        assert_eq!(finding.to_string(), "error[size] a.rs: too long\n    do: split it");
        assert_eq!(finding.warning().to_string(), "warning[size] a.rs: too long\n    do: split it");
    }
}

//! What a key should answer after each write: the service in one page, to compare the real one with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a writer does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Create,
    Narrow,
    Widen,
    Rotate,
    Disable,
    Enable,
    Revoke,
}

/// A key as far as verifications show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) enabled: bool,
    /// May `put`, beside `get`.
    pub(super) wide: bool,
    pub(super) revoked: bool,
    /// Which of its secrets, in the order of their making, is the current one.
    pub(super) secret: usize,
}

/// A question about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Which of its secrets is presented.
    pub(super) secret: usize,
    /// Asks for `put` instead of `get`.
    pub(super) wide: bool,
}

/// What a verification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    NotFound,
    Revoked,
    Superseded,
    Disabled,
    InsufficientPermission,
}

impl Verdict {
    pub(super) fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "allowed" => Self::Allowed,
            "not_found" => Self::NotFound,
            "revoked" => Self::Revoked,
            "superseded" => Self::Superseded,
            "disabled" => Self::Disabled,
            "insufficient_permission" => Self::InsufficientPermission,
            _ => return None,
        })
    }
}

impl State {
    /// As it is made.
    pub(super) const NEW: Self = Self { enabled: true, wide: true, revoked: false, secret: 0 };

    pub(super) const fn after(self, act: Act) -> Self {
        match act {
            Act::Create => Self::NEW,
            Act::Narrow => Self { wide: false, ..self },
            Act::Widen => Self { wide: true, ..self },
            Act::Rotate => Self { secret: self.secret + 1, ..self },
            Act::Disable => Self { enabled: false, ..self },
            Act::Enable => Self { enabled: true, ..self },
            Act::Revoke => Self { revoked: true, ..self },
        }
    }

    /// What a verifier that answers by this state says, in the order of api.md §4.
    pub(super) const fn answer(self, probe: Probe) -> Verdict {
        if probe.secret > self.secret {
            return Verdict::NotFound;
        }
        match (self.revoked, probe.secret < self.secret, self.enabled) {
            (true, ..) => Verdict::Revoked,
            (false, true, _) => Verdict::Superseded,
            (false, false, false) => Verdict::Disabled,
            (false, false, true) if probe.wide && !self.wide => Verdict::InsufficientPermission,
            (false, false, true) => Verdict::Allowed,
        }
    }

    /// What changes something now. Revoking is final, so that it is rarer.
    pub(super) fn acts(self) -> &'static [Act] {
        match self {
            Self { revoked: true, .. } => &[],
            Self { enabled: false, .. } => &[Act::Enable, Act::Enable, Act::Enable, Act::Revoke],
            Self { wide: true, .. } => {
                &[Act::Narrow, Act::Narrow, Act::Narrow, Act::Rotate, Act::Rotate, Act::Disable, Act::Revoke]
            }
            Self { wide: false, .. } => &[Act::Widen, Act::Widen, Act::Widen, Act::Rotate, Act::Disable],
        }
    }

    /// The question whose answer the act has changed.
    pub(super) const fn probe_of(self, act: Act) -> Probe {
        match act {
            Act::Create | Act::Disable | Act::Enable | Act::Revoke => {
                Probe { secret: self.secret, wide: false }
            }
            Act::Narrow | Act::Widen => Probe { secret: self.secret, wide: true },
            // The secret before the current one: it must be over.
            Act::Rotate => Probe { secret: self.secret.saturating_sub(1), wide: false },
        }
    }

    /// Whether a key as the service shows it is in this state.
    pub(super) fn is_shown_by(self, key: &Value) -> bool {
        let revoked = key.get("state").and_then(Value::as_str) == Some("revoked");
        let enabled = key.get("enabled").and_then(Value::as_bool) == Some(self.enabled);
        revoked == self.revoked && enabled && key.get("grants") == Some(&grants(self.wide))
    }
}

/// What a key of that width is allowed.
pub(super) fn grants(wide: bool) -> Value {
    let actions: &[&str] = if wide { &["get", "put"] } else { &["get"] };
    json!([{"effect": "allow", "actions": actions, "resources": ["devices/**"]}])
}

/// How often each act was done.
pub(super) type Acts = BTreeMap<Act, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_changes_the_answer_to_its_probe() {
        let states = [
            State::NEW,
            State::NEW.after(Act::Narrow),
            State::NEW.after(Act::Disable),
            State::NEW.after(Act::Narrow).after(Act::Disable),
            State::NEW.after(Act::Rotate),
        ];
        for before in states {
            for act in before.acts() {
                let after = before.after(*act);
                let probe = after.probe_of(*act);
                assert_ne!(before.answer(probe), after.answer(probe), "{before:?} {act:?}");
            }
        }
        assert_eq!(State::NEW.after(Act::Revoke).acts(), []);
    }

    #[test]
    fn the_first_reason_counts() {
        let old = Probe { secret: 0, wide: true };
        let state = State::NEW.after(Act::Narrow);
        assert_eq!(state.answer(old), Verdict::InsufficientPermission);
        assert_eq!(state.after(Act::Disable).answer(old), Verdict::Disabled);
        assert_eq!(state.after(Act::Disable).after(Act::Rotate).answer(old), Verdict::Superseded);
        assert_eq!(state.after(Act::Rotate).after(Act::Revoke).answer(old), Verdict::Revoked);
        assert_eq!(state.answer(Probe { secret: 1, wide: false }), Verdict::NotFound);
    }
}

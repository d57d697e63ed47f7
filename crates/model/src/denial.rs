//! The answers a verification can give. A denial is an answer, not an error.

use serde::Serialize;

/// Why a credential may not do what was asked, in the order in which the reasons are tested (api.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The right form with a wrong checksum, or longer than 256 bytes.
    Malformed,
    /// No such credential in this keyspace.
    NotFound,
    /// A signed request whose signature does not match.
    SignatureInvalid,
    /// A signed request whose time is outside the window.
    SignatureExpired,
    /// The key was revoked, for ever.
    Revoked,
    /// The secret was rotated out; the key has a newer one.
    Superseded,
    /// The key is switched off.
    Disabled,
    /// The key's owner is switched off.
    OwnerDisabled,
    /// The key's `expires_at` has come.
    Expired,
    /// The key's `not_before` has not come.
    NotYetValid,
    /// The address is outside the key's list, or was not given.
    IpNotAllowed,
    /// No grant covers an action on a resource that was asked for, or a deny does.
    InsufficientPermission,
    /// A limit has no room for the cost now.
    RateLimited,
    /// A quota has no room for the cost in this period.
    QuotaExceeded,
}

impl Denial {
    /// The stable code of api.md §4.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotFound => "not_found",
            Self::SignatureInvalid => "signature_invalid",
            Self::SignatureExpired => "signature_expired",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::Disabled => "disabled",
            Self::OwnerDisabled => "owner_disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientPermission => "insufficient_permission",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
        }
    }
}

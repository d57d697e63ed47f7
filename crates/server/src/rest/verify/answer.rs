//! Writing the answer (api.md §4), borrowed from the verdict.

use std::collections::BTreeMap;
use std::fmt;

use keywright_model::denial::Denial;
use keywright_model::id::{KeyId, PrincipalId};
use keywright_model::key::SecretStatus;
use keywright_model::revision::{Incarnation, RevisionToken};
use keywright_model::time::Timestamp;
use keywright_verifier::{Check, FoundKey, LimitState, QuotaState, Verdict};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use serde_json::{Map, Value};

/// An answer. What `malformed` and `not_found` cannot say about any key is left out.
#[derive(serde::Serialize)]
pub(crate) struct Answer<'a> {
    allowed: bool,
    code: &'static str,
    detail: Option<Text<Detail<'a>>>,
    authorized: Option<bool>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    key: Option<KeyPart<'a>>,
    limits: Limits<'a>,
    quota: Option<Quota>,
    revision: Text<RevisionToken>,
    current: bool,
    age_ms: u64,
}

#[derive(serde::Serialize)]
struct KeyPart<'a> {
    key_id: KeyId,
    org: &'a str,
    keyspace: &'a str,
    owner: Option<Owner<'a>>,
    expires_at: Option<Timestamp>,
    secret_status: SecretStatus,
    labels: &'a BTreeMap<String, String>,
    metadata: &'a Map<String, Value>,
}

#[derive(serde::Serialize)]
struct Owner<'a> {
    id: PrincipalId,
    external_id: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Quota {
    max: u64,
    remaining: u64,
    period: keywright_model::limit::Period,
    reset_at: Option<Timestamp>,
}

/// The limits, as the verdict has them.
struct Limits<'a>(&'a Verdict);

/// Something that is written as it is shown.
struct Text<T>(T);

/// Why not, in words.
struct Detail<'a> {
    denial: Denial,
    failed: Option<&'a Check<'a>>,
    retry_ms: Option<u64>,
}

impl<'a> Answer<'a> {
    /// The answer to a question about these checks.
    pub(crate) fn new(verdict: &'a Verdict, checks: &'a [Check<'a>], incarnation: Incarnation) -> Self {
        let failed = verdict.check_failed.and_then(|index| checks.get(index));
        let detail = verdict.denial.map(|denial| Text(Detail { denial, failed, retry_ms: verdict.retry_ms }));
        Self {
            allowed: verdict.allowed,
            code: verdict.denial.map_or("allowed", Denial::code),
            detail,
            authorized: verdict.authorized,
            key: verdict.key.as_ref().map(key_part),
            limits: Limits(verdict),
            quota: verdict.quota.map(quota),
            revision: Text(RevisionToken { incarnation, revision: verdict.revision }),
            current: verdict.current,
            age_ms: verdict.age_ms,
        }
    }

    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }
}

fn key_part(key: &FoundKey) -> KeyPart<'_> {
    KeyPart {
        key_id: key.id(),
        org: key.org_name(),
        keyspace: key.keyspace_name(),
        owner: key.owner_id().map(|id| Owner { id, external_id: key.owner_external_id() }),
        expires_at: key.expires_at(),
        secret_status: key.secret_status(),
        labels: key.labels(),
        metadata: key.metadata(),
    }
}

const fn quota(state: QuotaState) -> Quota {
    Quota { max: state.max, remaining: state.remaining, period: state.period, reset_at: state.resets_at }
}

impl Serialize for Limits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Limit<'a> {
            name: &'a str,
            max: u64,
            remaining: u64,
            reset_ms: u64,
        }
        let mut list = serializer.serialize_seq(None)?;
        for LimitState { name, max, remaining, reset_ms } in self.0.limits.iter() {
            list.serialize_element(&Limit { name, max: *max, remaining: *remaining, reset_ms: *reset_ms })?;
        }
        list.end()
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.denial, self.failed, self.retry_ms) {
            (Denial::InsufficientPermission, Some(Check { action, resource: "" }), _) => {
                write!(f, "no grant covers {action} on the root")
            }
            (Denial::InsufficientPermission, Some(Check { action, resource }), _) => {
                write!(f, "no grant covers {action} on {resource}")
            }
            (Denial::RateLimited, _, Some(wait)) => write!(f, "a limit has no room for the next {wait} ms"),
            (Denial::RateLimited, _, None) => f.write_str("the cost is more than a limit ever admits"),
            (denial, _, _) => f.write_str(words(denial)),
        }
    }
}

const fn words(denial: Denial) -> &'static str {
    match denial {
        Denial::Malformed => "the secret's checksum is wrong, or it is too long",
        Denial::NotFound => "no such secret in this keyspace",
        Denial::SignatureInvalid => "the signature does not match",
        Denial::SignatureExpired => "the signature's time is outside the window",
        Denial::Revoked => "the key was revoked",
        Denial::Superseded => "the secret was rotated out",
        Denial::Disabled => "the key is switched off",
        Denial::OwnerDisabled => "the key's owner is switched off",
        Denial::Expired => "the key has expired",
        Denial::NotYetValid => "the key is not valid yet",
        Denial::IpNotAllowed => "the key cannot be used from this address",
        Denial::InsufficientPermission => "no grant covers this",
        Denial::RateLimited => "a limit has no room",
        Denial::QuotaExceeded => "the quota is used up",
    }
}

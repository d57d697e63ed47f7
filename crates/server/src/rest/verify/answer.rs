//! Writing the answer (api.md §4), borrowed from the verdict.
//!
//! The names of the members are written as they stand here: `serde_json` would look through each of them for characters
//! to escape, which took longer than the verification itself. Values that may need escaping are left to it.

use std::fmt;
use std::io::{self, Write as _};

use keywright_model::denial::Denial;
use keywright_model::revision::{Incarnation, RevisionToken};
use keywright_verifier::{Check, Counting, FoundKey, LimitState, QuotaState, Verdict};
use serde::Serialize;

/// An answer.
pub(crate) struct Answer<'a> {
    verdict: &'a Verdict,
    code: &'static str,
    detail: Option<Detail<'a>>,
    incarnation: Incarnation,
    counted: Counted,
}

/// Among whom limits are counted, as far as a verifier cannot know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// As the verifier says.
    AsItSays,
    /// By this follower alone.
    Alone,
}

/// Why not, in words.
struct Detail<'a> {
    denial: Denial,
    failed: Option<Check<'a>>,
    retry_ms: Option<u64>,
}

impl<'a> Answer<'a> {
    /// The answer to a question of which this check failed.
    pub(crate) fn new(
        verdict: &'a Verdict,
        failed: Option<Check<'a>>,
        incarnation: Incarnation,
        counted: Counted,
    ) -> Self {
        let detail = verdict.denial.map(|denial| Detail { denial, failed, retry_ms: verdict.retry_ms });
        Self { verdict, code: verdict.denial.map_or("allowed", Denial::code), detail, incarnation, counted }
    }

    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    /// Writes it as JSON. What `malformed` and `not_found` cannot say about any key is left out.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let verdict = self.verdict;
        json(out, r#"{"allowed":"#, &verdict.allowed)?;
        out.extend_from_slice(br#","code":""#);
        out.extend_from_slice(self.code.as_bytes());
        out.push(b'"');
        json(out, r#","detail":"#, &self.detail.as_ref().map(Detail::to_string))?;
        json(out, r#","authorized":"#, &verdict.authorized)?;
        if let Some(key) = &verdict.key {
            write_key(out, key)?;
        }
        out.extend_from_slice(br#","limits":["#);
        for (index, limit) in verdict.limits.iter().enumerate() {
            let scope = match self.counted {
                Counted::AsItSays => scope(limit.counting),
                Counted::Alone => Some("node"),
            };
            write_limit(out, if index == 0 { "" } else { "," }, limit, scope)?;
        }
        out.extend_from_slice(br#"],"quota":"#);
        match &verdict.quota {
            None => out.extend_from_slice(b"null"),
            Some(quota) => write_quota(out, quota)?,
        }
        let revision = RevisionToken { incarnation: self.incarnation, revision: verdict.revision };
        shown(out, r#","revision":"#, revision)?;
        json(out, r#","current":"#, &verdict.current)?;
        json(out, r#","age_ms":"#, &verdict.age_ms)?;
        out.push(b'}');
        Ok(())
    }
}

/// Why not, in words.
pub(crate) fn detail(denial: Denial, failed: Option<Check<'_>>, retry_ms: Option<u64>) -> String {
    Detail { denial, failed, retry_ms }.to_string()
}

fn write_key(out: &mut Vec<u8>, key: &FoundKey) -> io::Result<()> {
    shown(out, r#","key_id":"#, key.id())?;
    json(out, r#","org":"#, key.org_name())?;
    json(out, r#","keyspace":"#, key.keyspace_name())?;
    out.extend_from_slice(br#","owner":"#);
    match key.owner_id() {
        None => out.extend_from_slice(b"null"),
        Some(id) => {
            shown(out, r#"{"id":"#, id)?;
            json(out, r#","external_id":"#, &key.owner_external_id())?;
            out.push(b'}');
        }
    }
    json(out, r#","expires_at":"#, &key.expires_at())?;
    json(out, r#","secret_status":"#, &key.secret_status())?;
    json(out, r#","labels":"#, key.labels())?;
    json(out, r#","metadata":"#, key.metadata())
}

fn write_limit(out: &mut Vec<u8>, before: &str, limit: &LimitState, scope: Option<&str>) -> io::Result<()> {
    out.extend_from_slice(before.as_bytes());
    json(out, r#"{"name":"#, &*limit.name)?;
    json(out, r#","max":"#, &limit.max)?;
    json(out, r#","remaining":"#, &limit.remaining)?;
    json(out, r#","reset_ms":"#, &limit.reset_ms)?;
    if let Some(scope) = scope {
        write!(out, r#","scope":"{scope}""#)?;
    }
    out.push(b'}');
    Ok(())
}

/// Who counts a limit, said only when it is not all nodes of the installation together.
const fn scope(counting: Counting) -> Option<&'static str> {
    match counting {
        Counting::Installation => None,
        Counting::Node => Some("node"),
        Counting::Nobody => Some("uncounted"),
        Counting::Refusing => Some("unavailable"),
    }
}

fn write_quota(out: &mut Vec<u8>, quota: &QuotaState) -> io::Result<()> {
    json(out, r#"{"max":"#, &quota.max)?;
    json(out, r#","remaining":"#, &quota.remaining)?;
    json(out, r#","period":"#, &quota.period)?;
    json(out, r#","reset_at":"#, &quota.resets_at)?;
    out.push(b'}');
    Ok(())
}

/// A member with any value.
fn json(out: &mut Vec<u8>, before: &str, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    out.extend_from_slice(before.as_bytes());
    Ok(serde_json::to_writer(out, value)?)
}

/// A member whose value is shown in letters and digits, with nothing to escape.
fn shown(out: &mut Vec<u8>, before: &str, value: impl fmt::Display) -> io::Result<()> {
    out.extend_from_slice(before.as_bytes());
    write!(out, "\"{value}\"")
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

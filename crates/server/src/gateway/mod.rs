//! `/gateway/auth` (api.md §6): whether a gateway may let a request through, for nginx's `auth_request`, Caddy's
//! `forward_auth`, Traefik's `forwardAuth` and `HAProxy`.
//!
//! The gateway says what it was asked in headers; nothing of it is believed unless the gateway is a peer that may ask. What
//! could be read in two ways is refused, since the upstream might read it in the other one. Answered from memory, by the
//! same way as `/v1/verify`: no SQL, and no other decision than the verifier's.
//!
//! `original` reads what was asked, `credential` who asks, `address` from where, `target` and `readings` what it means.

mod address;
mod answer;
pub(crate) mod credential;
mod original;
pub(crate) mod readings;
pub(crate) mod target;

use std::net::IpAddr;

use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;
use keywright_control::bootstrap::DEFAULT;
use keywright_model::address::{AddressSet, IpRange};
use keywright_model::denial::Denial;
use keywright_model::id::KeyspaceId;
use keywright_model::signing;
use keywright_model::time::Timestamp;
use keywright_verifier::{Asked as Keyspaces, Verdict};

use self::credential::Carried;
use self::original::Original;
use self::readings::Readings;
use crate::listen::Peer;
use crate::rest::problem::{FORBIDDEN, Problem};
use crate::rest::verify::{Checks, Presented, Question, Signed, VerifyState};

/// Where gateways ask.
pub(crate) const PATH: &str = "/gateway/auth";

/// Who may ask, and whose word about a client's address counts.
#[derive(Clone, Debug)]
pub struct Gateway {
    peers: AddressSet,
    trusted: AddressSet,
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl Gateway {
    /// Peers that may ask, loopback when none are named; and the proxies before them that are trusted.
    pub fn new(peers: &[IpRange], trusted: &[IpRange]) -> Self {
        let loopback: Vec<IpRange> =
            ["127.0.0.0/8", "::1"].iter().filter_map(|range| range.parse().ok()).collect();
        let peers = if peers.is_empty() { &loopback } else { peers };
        Self { peers: AddressSet::new(peers), trusted: AddressSet::new(trusted) }
    }

    fn may_ask(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.peers.contains(peer))
    }
}

/// Answers a gateway.
pub(crate) async fn auth(
    verify: &VerifyState,
    gateway: &Gateway,
    parts: &Parts,
) -> Result<Response, Problem> {
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    if !gateway.may_ask(peer) {
        return Err(Problem::new(FORBIDDEN)
            .detail("only gateways may ask: this address is not one of `gateway-peers`"));
    }
    let headers = text_headers(&parts.headers);
    let original = Original::read(&headers)?;
    let carried = credential::carried(&headers)
        .map_err(|conflict| Problem::unauthenticated(Some("invalid_request"), conflict.to_string()))?;
    let (presented, vendor) = match carried {
        Carried::Nothing => return Err(answer::no_credential()),
        Carried::Secret { secret, vendor } => (Presented::Secret(secret), vendor),
        Carried::Signed => {
            original.require_signed_whole(&headers)?;
            let Original { method, target, host } = original;
            (Presented::Signed(Signed::new(method, host, target, headers.clone(), None)), None)
        }
    };
    let readings = Readings::of(original.method, original.target, vendor).map_err(answer::ambiguous)?;
    let ip = address::client(&headers, &gateway.trusted);
    let question =
        Question { presented, keyspace: None, checks: Checks::None, readings: Some(readings), ip, cost: 1 };
    let verdict = decide(verify, &question).await?;
    answer::answer(&verdict, question.failed(&verdict), verify.common().clock.now())
}

/// Asks in the keyspace that a request without a route belongs to. A key of any other is not found.
async fn decide(verify: &VerifyState, question: &Question<'_>) -> Result<Verdict, Problem> {
    let is_signed = if let Presented::Signed(signed) = &question.presented {
        timely(signed, verify.common().clock.now())
            .map_err(|denial| verify.refuse(denial, answer::unknown))?;
        true
    } else {
        false
    };
    let anywhere = Keyspaces::anywhere();
    let found = verify.whose(anywhere, question).await?;
    let default = found.filter(|key| key.org_name() == DEFAULT && key.keyspace_name() == DEFAULT);
    let keyspaces = match default {
        Some(key) => Keyspaces::whole(key.org_id()).only(key.keyspace_id()),
        // Whether another tenant has this access id is nobody's business.
        None if is_signed => return Err(verify.refuse(Denial::SignatureInvalid, answer::unknown)),
        // No keyspace has this identifier, so nothing is found in it.
        None => anywhere.only(KeyspaceId::from_bits(0)),
    };
    let verdict = verify.ask_within(keyspaces, question).await?;
    verify.settle(&verdict)?;
    Ok(verdict)
}

/// Tests what can be said of a signature without a key, so that it is said of unknown keys too.
fn timely(signed: &Signed<'_>, now: Timestamp) -> Result<(), Denial> {
    let parsed = signing::parse(&signed.request()).map_err(|_| Denial::SignatureInvalid)?;
    let is_stale = now.unix_seconds().abs_diff(parsed.timestamp()) > parsed.tolerance();
    if is_stale { Err(Denial::SignatureExpired) } else { Ok(()) }
}

/// Reads a client's address as a fuzzer wants it read.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_address(headers: &[(&str, &str)]) {
    let _ = address::client(headers, &Gateway::default().peers);
}

/// Every header that is text, in the order it came.
fn text_headers(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}

/// The value of a header that was sent once; an empty one counts as not sent.
fn once<'h>(headers: &[(&'h str, &'h str)], name: &str) -> Result<Option<&'h str>, SentTwice> {
    let mut values = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty());
    if values.next().is_some() { Err(SentTwice) } else { Ok(value) }
}

/// A header that must be sent once.
struct SentTwice;

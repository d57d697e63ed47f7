//! What the wires share around a call: taking the request in, who it comes from, and whether a write is in force.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::request::Parts;
use keywright_control::keys::{KeyList, KeyRef};
use keywright_control::{Answer, Caller, Control, Done, Enforced, Error, KeyQuery, Origin, WriteOptions};
use keywright_model::fault::Faults;
use keywright_model::key::{Key, KeyKind};
use keywright_model::secret::Secret;
use keywright_model::time::Timestamp;

use super::Wire;
use crate::listen::Peer;
use crate::rest::body::{WRITE_BYTES_MAX, take};
use crate::rest::error::is_failed_authentication;

/// How long a write waits until every verifier answers by it: these wires cannot say "not yet".
const ENFORCE_WAIT: Duration = Duration::from_secs(30);

/// How many keys are read at once for a list.
const PAGE: usize = 200;

/// A request, taken in whole.
pub(super) struct Incoming {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    origin: Origin,
}

/// Why a body could not be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// More than 256 KiB.
    TooLarge,
    /// It ended early, or did not arrive in time.
    Broken,
}

/// Why a call failed after it was read.
#[derive(Debug)]
pub(super) enum Failed {
    /// The use case refused it.
    Refused(Error),
    /// It is done, but some verifier may still answer by the state before it. Which verifiers those are, and when they
    /// follow, only REST can say.
    NotYetEnforced,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Faults> for Failed {
    fn from(faults: Faults) -> Self {
        Self::Refused(Error::Invalid(faults))
    }
}

impl Wire {
    pub(super) fn control(&self) -> &Control {
        self.state.control()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state.clock().now()
    }

    /// Takes a request in that came through the wire of this name.
    pub(super) async fn take(&self, name: &'static str, request: Request) -> Result<Incoming, Unread> {
        let (parts, body) = request.into_parts();
        let common = self.state.common();
        let origin = Origin {
            wire: name,
            address: parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical()),
            request_id: Some(common.request_ids.of(&parts.headers).as_str().to_owned()),
        };
        let taken = take(body, &parts.headers, WRITE_BYTES_MAX, common.body_timeout).await;
        let body = taken.map_err(|problem| match problem.kind().status {
            413 => Unread::TooLarge,
            _ => Unread::Broken,
        })?;
        Ok(Incoming { parts, body, origin })
    }

    /// Finds the caller from a bearer credential, in the organization that the call names.
    pub(super) async fn authenticate(
        &self,
        incoming: &Incoming,
        credential: &Secret,
        org: Option<&str>,
    ) -> Result<Caller, Error> {
        self.throttled(incoming)?;
        let origin = incoming.origin.clone();
        let caller = self.control().authenticate(credential.expose(), org, origin).await;
        caller.inspect_err(|error| self.note_failure(incoming, is_failed_authentication(error)))
    }

    /// Finds the caller from a signature: `check` says whether a secret made it.
    pub(super) async fn authenticate_signed(
        &self,
        incoming: &Incoming,
        access_id: &str,
        check: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Caller, Error> {
        self.throttled(incoming)?;
        let caller = self.control().authenticate_signed(access_id, check, incoming.origin.clone()).await;
        let guessed = |error: &Error| matches!(error, Error::NotFound(_)) || is_failed_authentication(error);
        caller.inspect_err(|error| self.note_failure(incoming, guessed(error)))
    }

    /// Counts a call against the vendor's limit; an error is how long to wait.
    pub(super) fn paced(&self, who: u128, call: &'static str) -> Result<(), Duration> {
        let now_ns = self.state.common().clock.boot_ns();
        self.pace.as_ref().map_or(Ok(()), |pace| pace.pass((who, call), now_ns))
    }

    /// The API keys of the keyspace that the caller acts in, in the order in which they were made. These wires have no word
    /// for a revoked key: to them, one is gone. Management keys are not theirs.
    pub(super) async fn live_keys(&self, caller: &Caller) -> Result<Vec<Arc<Key>>, Error> {
        let keyspace = Some(self.control().acting_keyspace(caller).await?.to_string());
        let query = KeyQuery { kind: Some(KeyKind::Api), ..KeyQuery::all(caller.org(), self.now(), PAGE) };
        let mut list = KeyList { keyspace, query, can: None };
        let mut keys = Vec::new();
        loop {
            let page = self.control().keys(caller, &list).await?;
            keys.extend(
                page.items.into_iter().map(|record| record.key).filter(|key| key.revocation.is_none()),
            );
            match page.next {
                Some(after) => list.query.after = Some(after),
                None => break,
            }
        }
        // Identifiers of one millisecond are in no order; numbers are.
        keys.sort_unstable_by_key(|key| key.number);
        Ok(keys)
    }

    /// Ends an API key and hides it. A management key is not these wires' to end.
    pub(super) async fn delete_api_key(&self, caller: &Caller, key: &KeyRef) -> Result<(), Failed> {
        if self.control().key(caller, key).await?.key.spec.rights.kind() == KeyKind::Management {
            return Err(Error::NotFound("key").into());
        }
        settled(self.control().delete_key(caller, key, &patient()).await?).map(drop)
    }

    /// Refuses an address that has failed too often lately.
    fn throttled(&self, incoming: &Incoming) -> Result<(), Error> {
        let common = self.state.common();
        let wait = |address| common.throttle.wait_seconds(address, common.clock.boot_ns());
        match incoming.origin.address.and_then(wait) {
            Some(retry_after_seconds) => Err(Error::Throttled { retry_after_seconds }),
            None => Ok(()),
        }
    }

    fn note_failure(&self, incoming: &Incoming, failed: bool) {
        let common = self.state.common();
        if let Some(address) = incoming.origin.address.filter(|_| failed) {
            common.throttle.failed(address, common.clock.boot_ns());
        }
    }
}

impl Incoming {
    /// A header that was sent once, without the white space around it.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.parts.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?.trim();
        values.next().is_none().then_some(value)
    }

    /// The text of a header that carries a credential.
    pub(super) fn credential(&self, name: &str) -> Option<Secret> {
        self.header(name).filter(|text| !text.is_empty()).map(Secret::new)
    }
}

/// What every write of these wires asks for.
pub(super) fn patient() -> WriteOptions {
    WriteOptions { wait: Some(ENFORCE_WAIT), ..WriteOptions::default() }
}

/// A write that is in force, or only gives: one that takes access away and may not be in force yet is no success.
pub(super) fn settled<T>(answer: Answer<T>) -> Result<Done<T>, Failed> {
    let done = answer.done()?;
    match done.enforced {
        Enforced::All | Enforced::Pending { takes_away: false } => Ok(done),
        Enforced::Pending { takes_away: true } => Err(Failed::NotYetEnforced),
    }
}

/// Logs what the vendor's answer will not say.
pub(super) fn log(wire: &'static str, error: &Error) {
    if let Error::Internal(source) | Error::Unavailable(source) | Error::OutcomeUnknown(source) = error {
        tracing::error!(wire, error = %error, source = %source, "a dialect's call failed");
    }
}

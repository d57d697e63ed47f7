//! One call of `/v1/feed`, and its answer a line at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keywright_model::admin::Reach;
use keywright_model::feed::{Line, Scope};
use keywright_model::revision::RevisionToken;
use reqwest::Response;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::http::{Body, Transport};

/// No line is longer: a write of a thousand keys is a few megabytes.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the head of a snapshot may take: the node reads all of it before it says anything.
const SNAPSHOT_HEAD: Duration = Duration::from_mins(2);
/// How much longer than it waits an answer's head may take.
const HEAD: Duration = Duration::from_secs(3);
/// How long nothing may come of an answer.
const STALLED: Duration = Duration::from_secs(30);

/// What is asked for each time.
pub(super) struct Asking {
    transport: Arc<Transport>,
    digest_key: Zeroizing<String>,
    keyspaces: Mutex<Vec<String>>,
}

#[derive(Serialize)]
struct FeedRequest<'a> {
    digest_key: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    keyspaces: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<RevisionToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_seconds: Option<u64>,
}

impl Asking {
    pub(super) fn new(transport: Arc<Transport>, digest_key: &[u8; 32], keyspaces: Vec<String>) -> Self {
        Self {
            transport,
            digest_key: Zeroizing::new(hex::encode(digest_key)),
            keyspaces: Mutex::new(keyspaces),
        }
    }

    /// Asks from now on for what is left of the keyspaces that are named, by their identifiers. False when nothing is.
    pub(super) fn named(&self, scope: &Scope) -> bool {
        let mut named = self.keyspaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let (false, Reach::Only(left)) = (named.is_empty(), &scope.keyspaces) {
            if left.is_empty() {
                return false;
            }
            *named = left.iter().map(ToString::to_string).collect();
        }
        true
    }

    /// Asks for everything.
    pub(super) async fn snapshot(&self) -> Result<Lines, Error> {
        self.open(None, 0, SNAPSHOT_HEAD).await
    }

    /// Asks for what came after a revision, waiting so many seconds for it.
    pub(super) async fn after(
        &self,
        after: RevisionToken,
        history: &str,
        wait_seconds: u64,
    ) -> Result<Lines, Error> {
        self.open(Some((after, history)), wait_seconds, HEAD + Duration::from_secs(wait_seconds)).await
    }

    async fn open(
        &self,
        after: Option<(RevisionToken, &str)>,
        wait_seconds: u64,
        head: Duration,
    ) -> Result<Lines, Error> {
        let keyspaces = self.keyspaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (digest_key, keyspaces) = (self.digest_key.as_str(), keyspaces.as_slice());
        let wait_seconds = Some(wait_seconds).filter(|seconds| *seconds > 0);
        let (after, history) = after.unzip();
        let body = Body::json(&FeedRequest { digest_key, keyspaces, after, history, wait_seconds })?;
        let response = self.transport.open(&["feed"], &body, head).await?;
        Ok(Lines {
            transport: Arc::clone(&self.transport),
            response,
            buffer: Vec::new(),
            looked_at: 0,
            too_long: false,
        })
    }
}

/// An answer, a line at a time.
pub(super) struct Lines {
    transport: Arc<Transport>,
    response: Response,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no end of a line.
    looked_at: usize,
    /// Whether a line was longer than any may be.
    too_long: bool,
}

impl Lines {
    /// The next line. An answer that ends before its last line was cut off, which is an error.
    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        loop {
            let fresh = self.buffer.get(self.looked_at..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.looked_at + at).collect();
                self.looked_at = 0;
                return serde_json::from_slice(&line).map_err(|_| self.foreign());
            }
            self.looked_at = self.buffer.len();
            match self.transport.piece(&mut self.response, STALLED).await? {
                Some(piece) if self.buffer.len() + piece.len() <= LINE_BYTES_MAX => {
                    self.buffer.extend_from_slice(&piece);
                }
                rest => {
                    self.too_long = rest.is_some();
                    return Err(self.foreign());
                }
            }
        }
    }

    /// Whether it ended with a line that is longer than any may be.
    pub(super) const fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The answer is none of this API's.
    pub(super) fn foreign(&self) -> Error {
        self.transport.foreign(self.response.status())
    }
}

//! `POST /v1/feed`: what followers answer by, one line of JSON each (`application/x-ndjson`).
//!
//! A call that asks after a revision waits a moment for what comes next and then ends; the next call goes on from there, so
//! that nothing is kept for a follower between calls and its right to hear is tested each time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use hyper::body::Frame;
use keywright_control::feed::{FeedQuery, FeedSnapshot, Position};
use keywright_model::digest::Pepper;
use keywright_model::document::Fields;
use keywright_model::feed::Line;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::call::Call;
use super::problem::{FEED_GONE, INTERNAL, Problem};

/// One line of JSON each.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// How many keyspaces one follower may name.
pub(crate) const KEYSPACES_MAX: usize = 100;
/// How long a call may wait for something new, and so how long a server that stops may wait for a follower.
const WAIT_SECONDS_MAX: u64 = 5;
/// How many lines are made ahead of a follower that takes them slowly.
const LINES_AHEAD: usize = 4;
/// How long a follower may leave a line lying before it is cut off.
const STALLED: Duration = Duration::from_secs(30);
/// How long all of a snapshot may take.
const TOLD_WITHIN: Duration = Duration::from_mins(2);
/// After how many lines the right to hear more is tested again.
const LINES_A_RIGHT: usize = 128;

/// How long the text of a history may be.
pub(crate) const HISTORY_MAX: usize = 100;

const KNOWN: &[&str] = &["digest_key", "keyspaces", "after", "history", "wait_seconds"];

/// What a follower asks for.
struct FeedCall {
    query: FeedQuery,
    after: Option<Position>,
    wait: Duration,
}

/// Tells a follower everything, or what came after a revision.
pub async fn follow(call: Call) -> Result<Response, Problem> {
    let FeedCall { query, after, wait } = call.asked.fields(KNOWN, read)?;
    let Some(after) = after else {
        let snapshot = call.control.feed_snapshot(&call.caller, &query).await?;
        return Ok(respond(stream(call, query, snapshot)));
    };
    let told = call.control.feed_after(&call.caller, &query, &after, wait).await?;
    let lines = told.ok_or_else(|| {
        Problem::new(FEED_GONE).detail("the feed does not reach back to this revision: ask without `after`")
    })?;
    let mut body = Vec::new();
    for line in &lines {
        write(&mut body, line)?;
    }
    Ok(respond(body.into()))
}

fn read(fields: &mut Fields<'_>) -> FeedCall {
    fields.required("digest_key");
    let text = fields.text("digest_key").unwrap_or_default();
    let mut key = Zeroizing::new([0; 32]);
    if hex::decode_to_slice(text, key.as_mut_slice()).is_err() && fields.value("digest_key").is_some() {
        fields.fault("digest_key", "invalid_key", "must be 64 hex digits");
    }
    fields.not_empty("keyspaces", "leave it out to follow every keyspace that this key reaches");
    let keyspaces =
        fields.parsed_list("keyspaces", KEYSPACES_MAX, "invalid_name", |text| Ok(text.to_owned()));
    let after = fields.text("after").map(str::parse);
    if matches!(after, Some(Err(_))) {
        fields.fault("after", "invalid_revision", "not a revision that this installation gave out");
    }
    // What was applied says nothing without the history that it is of.
    if after.is_some() {
        fields.required("history");
    }
    let history = fields.label("history", HISTORY_MAX).unwrap_or_default();
    let after = after.and_then(Result::ok).map(|revision| Position { revision, history });
    let wait = fields.whole("wait_seconds", WAIT_SECONDS_MAX).unwrap_or(0);
    FeedCall {
        query: FeedQuery { keyspaces, digest_key: Pepper::new(&key) },
        after,
        wait: Duration::from_secs(wait),
    }
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}

fn write(body: &mut Vec<u8>, line: &Line) -> Result<(), Problem> {
    serde_json::to_writer(&mut *body, line).map_err(|error| {
        tracing::error!(%error, "a line of the feed could not be written as JSON");
        Problem::new(INTERNAL)
    })?;
    body.push(b'\n');
    Ok(())
}

/// Makes lines as they are taken. A follower that stops taking them, or takes them too slowly, is cut off, so that it holds
/// no snapshot in memory and nobody else up.
fn stream(call: Call, query: FeedQuery, snapshot: FeedSnapshot) -> Body {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    tokio::spawn(async move {
        if tokio::time::timeout(TOLD_WITHIN, tell(call, query, snapshot, sender)).await.is_err() {
            tracing::warn!("a follower took too long to take its snapshot and is cut off");
        }
    });
    Body::new(Lines(lines))
}

async fn tell(call: Call, query: FeedQuery, mut snapshot: FeedSnapshot, sender: mpsc::Sender<Bytes>) {
    for count in 1_usize.. {
        let made = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            let line = snapshot.next()?;
            write(&mut text, &line).ok()?;
            Some((text, snapshot))
        });
        let Ok(Some((text, rest))) = made.await else { return };
        snapshot = rest;
        match sender.send_timeout(Bytes::from(text), STALLED).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                tracing::warn!("a follower does not take its snapshot and is cut off");
                return;
            }
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return,
        }
        if count.is_multiple_of(LINES_A_RIGHT)
            && !call.control.may_go_on(&call.caller, &query, &snapshot).await
        {
            return;
        }
    }
}

/// A body of lines that are still being made.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

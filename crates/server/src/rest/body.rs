//! Taking a body in: its type, its size and its time, all tested before it is parsed.

use std::borrow::Cow;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;

use super::problem::{BODY_TOO_LARGE, INVALID_JSON, Place, Problem, REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE};

/// The largest body of a write.
pub const WRITE_BYTES_MAX: usize = 256 * 1024;
/// The largest body of a verification.
pub const VERIFY_BYTES_MAX: usize = 8 * 1024;
/// The largest body of a batch of verifications.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// What is read and thrown away of a body that is too large, so that its sender gets to read the answer.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;

const JSON: &str = "application/json";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const PATCH_TYPES: &str = "application/merge-patch+json, application/json-patch+json";

/// How a change is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 7396.
    Merge,
    /// RFC 6902.
    Operations,
}

/// Takes a body of at most `limit` bytes in, within a time.
pub async fn take(body: Body, headers: &HeaderMap, limit: usize, within: Duration) -> Result<Bytes, Problem> {
    let mut taking = std::pin::pin!(collect(body, headers, limit));
    // Nearly every body came with its headers, and needs no timer.
    if let Poll::Ready(taken) = poll_fn(|context| Poll::Ready(taking.as_mut().poll(context))).await {
        return taken;
    }
    let taken = tokio::time::timeout(within, taking).await;
    taken.unwrap_or_else(|_| {
        let seconds = within.as_secs();
        Err(closing(Problem::new(REQUEST_TIMEOUT).detail(format!("the body must arrive within {seconds} s"))))
    })
}

async fn collect(mut body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        // A client that waits for `100 Continue` has sent nothing yet.
        if !headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| closing(Problem::new(INVALID_JSON).detail("the body ended before its end")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            discard(&mut body).await;
            return Err(too_large(limit));
        }
        // Nearly every body is one frame, which is then not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn discard(body: &mut Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(remaining) = left.checked_sub(length) else { return };
        left = remaining;
    }
}

fn too_large(limit: usize) -> Problem {
    closing(Problem::new(BODY_TOO_LARGE).detail(format!("at most {limit} bytes")))
}

/// What is left of such a body must not be taken for the next request.
fn closing(problem: Problem) -> Problem {
    problem.header(CONNECTION, HeaderValue::from_static("close"))
}

/// Tests that a body is said to be JSON.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    require_plain(headers)?;
    match media_type(headers).as_deref() {
        Some(JSON) => Ok(()),
        given => Err(unsupported(given, "application/json")),
    }
}

/// Tests that a body is said to be a change, and of which kind.
pub fn require_patch(headers: &HeaderMap) -> Result<PatchType, Problem> {
    require_plain(headers)?;
    match media_type(headers).as_deref() {
        Some("application/merge-patch+json") => Ok(PatchType::Merge),
        Some("application/json-patch+json") => Ok(PatchType::Operations),
        given => {
            Err(unsupported(given, PATCH_TYPES).header(ACCEPT_PATCH, HeaderValue::from_static(PATCH_TYPES)))
        }
    }
}

fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let place = Place::Header("Content-Encoding".to_owned());
            Err(Problem::new(UNSUPPORTED_MEDIA_TYPE).error(
                place,
                "unsupported_encoding",
                "bodies are read uncompressed",
            ))
        }
        _ => Ok(()),
    }
}

fn unsupported(given: Option<&str>, expected: &str) -> Problem {
    let given = given.unwrap_or("no type");
    let place = Place::Header("Content-Type".to_owned());
    let detail = format!("the body must be {expected} in UTF-8, not {given}");
    Problem::new(UNSUPPORTED_MEDIA_TYPE).error(place, "unsupported_media_type", detail)
}

/// The media type in lower case; with its parameters when one of them is not `charset=utf-8`.
fn media_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    if value == JSON {
        return Some(value.into());
    }
    let mut parts = value.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let utf8 = |parameter: &str| {
        let parameter = parameter.to_ascii_lowercase().replace('"', "");
        parameter.is_empty() || parameter == "charset=utf-8"
    };
    Some(if parts.all(utf8) { name } else { value.to_ascii_lowercase() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: Option<&'static str>) -> HeaderMap {
        let value = content_type.map(|text| (CONTENT_TYPE, HeaderValue::from_static(text)));
        value.into_iter().collect()
    }

    #[track_caller]
    fn check_json(content_type: Option<&'static str>, accepted: bool) {
        assert_eq!(require_json(&headers(content_type)).is_ok(), accepted, "{content_type:?}");
    }

    #[test]
    fn json_may_say_that_it_is_utf_8_and_nothing_else() {
        check_json(Some("application/json"), true);
        check_json(Some("Application/JSON; charset=UTF-8"), true);
        check_json(Some("application/json;charset=\"utf-8\""), true);
        check_json(Some("application/json; charset=latin1"), false);
        check_json(Some("application/json; version=2"), false);
        check_json(Some("application/jsonx"), false);
        check_json(Some("text/plain"), false);
        check_json(None, false);
    }

    #[test]
    fn a_change_says_its_kind_or_is_told_the_kinds() {
        assert_eq!(require_patch(&headers(Some("application/merge-patch+json"))).unwrap(), PatchType::Merge);
        assert_eq!(
            require_patch(&headers(Some("application/json-patch+json"))).unwrap(),
            PatchType::Operations
        );
        let refused = require_patch(&headers(Some("application/json"))).unwrap_err();
        let id = super::super::request_id::RequestId::new("x").unwrap();
        let response = refused.respond(&id);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[ACCEPT_PATCH]),
            (415, &HeaderValue::from_static(PATCH_TYPES))
        );
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let mut headers = headers(Some("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(require_json(&headers).unwrap_err().kind(), UNSUPPORTED_MEDIA_TYPE);
    }

    /// A body of frames that are there already.
    struct Chunks(usize, usize);

    impl hyper::body::Body for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            let size = self.1;
            let left = self.0.checked_sub(1).inspect(|left| self.0 = *left);
            Poll::Ready(left.map(|_| Ok(hyper::body::Frame::data(Bytes::from(vec![b'x'; size])))))
        }
    }

    fn streamed(chunks: usize, size: usize) -> Body {
        Body::new(Chunks(chunks, size))
    }

    #[tokio::test]
    async fn a_streamed_body_is_cut_off_one_byte_past_its_limit() {
        let within = Duration::from_secs(5);
        let taken = take(streamed(8, 1024), &HeaderMap::new(), 8 * 1024, within).await.unwrap();
        assert_eq!(taken.len(), 8 * 1024);
        let refused = take(streamed(9, 1024), &HeaderMap::new(), 9 * 1024 - 1, within).await.unwrap_err();
        assert_eq!(refused.kind(), BODY_TOO_LARGE);
    }

    #[tokio::test]
    async fn an_announced_length_is_enough_to_refuse() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("8193"));
        let refused = take(Body::empty(), &headers, 8 * 1024, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused.kind(), BODY_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        struct Never;

        impl hyper::body::Body for Never {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
                Poll::Pending
            }
        }

        let taken = take(Body::new(Never), &HeaderMap::new(), 10, Duration::from_millis(20)).await;
        assert_eq!(taken.unwrap_err().kind(), REQUEST_TIMEOUT);
    }
}

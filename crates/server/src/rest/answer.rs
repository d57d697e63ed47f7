//! What calls are answered with.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use keywright_control::keys::KeyWithSecret;
use keywright_control::{Answer, Done, Enforced, Plan};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::headers::{
    IDEMPOTENT_REPLAYED, KEYWRIGHT_ENFORCED, KEYWRIGHT_REVISION, PREFER, PREFERENCE_APPLIED,
    preference_applied, preferred_wait,
};
use super::problem::{INTERNAL, Problem};

/// What a write shows when it is done.
#[derive(Debug)]
pub struct Shown {
    status: StatusCode,
    body: Option<Value>,
    headers: HeaderMap,
}

impl Shown {
    /// A noun.
    pub fn noun(view: Map<String, Value>) -> Self {
        let mut headers = HeaderMap::new();
        put(&mut headers, ETAG, text_of(&view, "etag"));
        Self { status: StatusCode::OK, body: Some(Value::Object(view)), headers }
    }

    /// A key together with its secret, which only this answer carries.
    pub fn key_with_secret(made: KeyWithSecret) -> Self {
        let mut shown = Self::noun(made.record.view);
        let secret = made.secret.as_ref().map(keywright_model::secret::Secret::expose);
        shown.body = Some(json!({"key": shown.body, "secret": secret}));
        shown
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, headers: HeaderMap::new() }
    }

    /// Something that did not exist before, and where it is.
    #[must_use]
    pub fn created(mut self, location: &str) -> Self {
        self.status = StatusCode::CREATED;
        put(&mut self.headers, LOCATION, location);
        self
    }
}

/// The answer to a write.
pub fn written<T>(
    asked: &HeaderMap,
    answer: Answer<T>,
    show: impl FnOnce(T) -> Shown,
) -> Result<Response, Problem> {
    match answer {
        Answer::Planned(plan) => planned(&plan),
        Answer::Done(done) => committed(asked, done, show),
    }
}

fn planned(plan: &Plan) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct DryRun<'a> {
        dry_run: bool,
        #[serde(flatten)]
        plan: &'a Plan,
    }
    ok(&DryRun { dry_run: true, plan })
}

fn committed<T>(
    asked: &HeaderMap,
    done: Done<T>,
    show: impl FnOnce(T) -> Shown,
) -> Result<Response, Problem> {
    let Done { value, revision, enforced, replayed } = done;
    let Shown { mut status, body, mut headers } = show(value);
    let revision = revision.to_string();
    put(&mut headers, KEYWRIGHT_REVISION, &revision);
    let enforced_text = if enforced == Enforced::All { "all" } else { "pending" };
    headers.insert(KEYWRIGHT_ENFORCED, HeaderValue::from_static(enforced_text));
    if enforced == (Enforced::Pending { takes_away: true }) {
        status = StatusCode::ACCEPTED;
        put(&mut headers, LINK, &format!("</v1/revisions/{revision}>; rel=\"monitor\""));
    }
    if replayed {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    if asked.contains_key(PREFER) {
        headers.extend(preferred_wait(asked).map(|wait| (PREFERENCE_APPLIED, preference_applied(wait))));
    }
    let mut response = match body {
        Some(body) => json_response(status, &body)?,
        None => status.into_response(),
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

/// 200 with a value.
pub fn ok(value: &impl Serialize) -> Result<Response, Problem> {
    json_response(StatusCode::OK, value)
}

/// 201 with a value that is no noun.
pub fn created(value: &impl Serialize) -> Result<Response, Problem> {
    json_response(StatusCode::CREATED, value)
}

/// 204.
pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A noun that was only looked at.
pub fn noun(view: Map<String, Value>) -> Result<Response, Problem> {
    let Shown { status, body, headers } = Shown::noun(view);
    let mut response = json_response(status, &body)?;
    response.headers_mut().extend(headers);
    Ok(response)
}

/// A page of a list.
pub fn page(items: Vec<Value>, next_cursor: Option<String>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Page {
        items: Vec<Value>,
        next_cursor: Option<String>,
    }
    ok(&Page { items, next_cursor })
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::new(INTERNAL)
    })?;
    Ok((status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
}

fn text_of<'v>(view: &'v Map<String, Value>, name: &str) -> &'v str {
    view.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Where a noun that was just made is.
pub fn location(collection: &str, view: &Map<String, Value>) -> String {
    format!("{collection}/{}", text_of(view, "id"))
}

//! What went wrong, as RFC 9457 has it: one kind a `code`, each with its status. Nothing here repeats a secret.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use keywright_model::fault::Faults;
use serde::Serialize;
use serde_json::{Map, Value};

use super::request_id::RequestId;

/// One kind of problem: what its `type`, `title`, `status` and `code` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The HTTP status.
    pub status: u16,
    /// Stable, in `snake_case`.
    pub code: &'static str,
    /// The same for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal, $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Kind = Kind { status: $status, code: $code, title: $title };)*
        /// Every kind, for the OpenAPI document.
        pub const KINDS: &[Kind] = &[$($name,)*];
    };
}

kinds! {
    INVALID_JSON = 400, "invalid_json", "The body cannot be read as JSON";
    DUPLICATE_NAME = 400, "duplicate_name", "The body gives a name twice in one object";
    TOO_DEEP = 400, "too_deep", "The body is nested too deeply";
    UNKNOWN_PARAMETER = 400, "unknown_parameter", "The call has no such query parameter";
    DUPLICATE_PARAMETER = 400, "duplicate_parameter", "A query parameter is given twice";
    INVALID_PARAMETER = 400, "invalid_parameter", "A query parameter has no usable value";
    INVALID_CURSOR = 400, "invalid_cursor", "The cursor does not belong to this list";
    INVALID_HEADER = 400, "invalid_header", "A header has no usable value";
    UNAUTHENTICATED = 401, "unauthenticated", "The call needs a valid key";
    AMBIGUOUS_REQUEST = 403, "ambiguous_request", "The request can be read in more than one way";
    FORBIDDEN = 403, "forbidden", "The key may not do this";
    BEYOND_GRANTABLE = 403, "beyond_grantable", "The change gives more than the caller may hand out";
    NOT_FOUND = 404, "not_found", "There is nothing here";
    METHOD_NOT_ALLOWED = 405, "method_not_allowed", "The method cannot be used here";
    REQUEST_TIMEOUT = 408, "request_timeout", "The body took too long to arrive";
    CONFLICT = 409, "conflict", "Other writes kept getting in between";
    KEY_REVOKED = 409, "key_revoked", "The key was revoked, for ever";
    TAKEN = 409, "taken", "Another one has this value already";
    IN_USE = 409, "in_use", "Something still refers to it";
    IDEMPOTENCY_IN_PROGRESS = 409, "idempotency_in_progress", "The same call is still being answered";
    FEED_GONE = 410, "feed_gone", "The feed does not reach back that far";
    PRECONDITION_FAILED = 412, "precondition_failed", "It is not the version that If-Match names";
    BODY_TOO_LARGE = 413, "body_too_large", "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = 415, "unsupported_media_type", "The body's type cannot be read here";
    INVALID_BODY = 422, "invalid_body", "The body is not valid";
    IDEMPOTENCY_MISMATCH = 422, "idempotency_mismatch", "This Idempotency-Key was used for another call";
    GRANTS_TOO_COMPLEX = 422, "grants_too_complex", "The grants are too complex to compare";
    PRECONDITION_REQUIRED = 428, "precondition_required", "The call needs If-Match";
    TOO_MANY_REQUESTS = 429, "too_many_requests", "Too many calls failed from this address";
    RATE_LIMITED = 429, "rate_limited", "A limit of the key has no room";
    QUOTA_EXCEEDED = 429, "quota_exceeded", "The key's quota is used up";
    HEADERS_TOO_LARGE = 431, "headers_too_large", "The headers are too many or too large";
    INTERNAL = 500, "internal", "Something broke inside";
    VERIFIER_NOT_CURRENT = 503, "verifier_not_current", "This node cannot answer by a recent enough state";
    REVISION_NOT_APPLIED = 503, "revision_not_applied", "This node has not applied the revision yet";
    NOT_IN_MEMORY = 503, "not_in_memory", "A follower cannot decide this from its memory: ask a node";
    STORE_UNAVAILABLE = 503, "store_unavailable", "The store cannot be reached";
}

/// Where in a request something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A JSON Pointer into the body.
    Pointer(String),
    /// A query parameter.
    Parameter(String),
    /// A header.
    Header(String),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The rule that was broken.
    pub code: &'static str,
    /// The rule in words.
    pub detail: String,
}

/// An answer that says what went wrong.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: Kind,
    detail: Option<String>,
    errors: Vec<Item>,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Map<String, Value>,
}

/// The beginning of every problem's `type`.
pub const TYPE_PREFIX: &str = "urn:keywright:problem:";

impl Problem {
    /// A problem of a kind, without more to say.
    pub fn new(kind: Kind) -> Self {
        let parts =
            Parts { kind, detail: None, errors: Vec::new(), headers: Vec::new(), extensions: Map::new() };
        Self(Box::new(parts))
    }

    /// Whether it is of a kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.0.kind == kind
    }

    /// A problem whose code says more than its kind.
    pub fn with_code(kind: Kind, code: &'static str) -> Self {
        Self::new(Kind { code, ..kind })
    }

    /// A body that does not validate, with all that is wrong with it.
    pub fn invalid_body(faults: &Faults) -> Self {
        let items = faults.as_slice().iter();
        let errors = items.map(|fault| Item {
            place: Place::Pointer(fault.pointer.clone()),
            code: fault.code,
            detail: fault.detail.clone(),
        });
        Self::new(INVALID_BODY).errors(errors)
    }

    /// An error of a list: what it calls a field of the body was a query parameter.
    pub fn of_query(error: keywright_control::Error) -> Self {
        let keywright_control::Error::Invalid(faults) = error else { return error.into() };
        faults.as_slice().iter().fold(Self::new(INVALID_PARAMETER), |problem, fault| {
            let name = fault.pointer.trim_start_matches('/').to_owned();
            problem.error(Place::Parameter(name), fault.code, fault.detail.clone())
        })
    }

    /// A fault of a query parameter, which is also the problem's code.
    pub fn parameter(kind: Kind, name: &str, detail: impl Into<String>) -> Self {
        Self::new(kind).error(Place::Parameter(name.to_owned()), kind.code, detail)
    }

    /// A header with a value that cannot be used.
    pub fn header_fault(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(INVALID_HEADER).error(Place::Header(name.to_owned()), code, detail)
    }

    /// A missing or bad credential (RFC 6750 §3): `error` is left out when none was given at all.
    pub fn unauthenticated(error: Option<&'static str>, detail: impl Into<String>) -> Self {
        let challenge = match error {
            None => HeaderValue::from_static("Bearer realm=\"keywright\""),
            Some("invalid_request") => {
                HeaderValue::from_static("Bearer realm=\"keywright\", error=\"invalid_request\"")
            }
            Some(_) => HeaderValue::from_static("Bearer realm=\"keywright\", error=\"invalid_token\""),
        };
        Self::new(UNAUTHENTICATED).detail(detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// A method that a path does not have.
    pub fn method_not_allowed(allow: &str) -> Self {
        let value = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static(""));
        Self::new(METHOD_NOT_ALLOWED).detail(format!("this path has {allow}")).header(ALLOW, value)
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Says what happened in words.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds one thing that is wrong.
    #[must_use]
    pub fn error(self, place: Place, code: &'static str, detail: impl Into<String>) -> Self {
        self.errors([Item { place, code, detail: detail.into() }])
    }

    /// Adds things that are wrong.
    #[must_use]
    pub fn errors(mut self, errors: impl IntoIterator<Item = Item>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn extension(mut self, name: &str, value: Value) -> Self {
        self.0.extensions.insert(name.to_owned(), value);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The things that are wrong.
    pub fn items(&self) -> &[Item] {
        &self.0.errors
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body of the answer to a request.
    pub fn body(&self, request_id: &str) -> Value {
        let Kind { status, code, title } = self.0.kind;
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("{TYPE_PREFIX}{code}").into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), status.into());
        body.insert("code".to_owned(), code.into());
        if let Some(detail) = &self.0.detail {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        if !self.0.errors.is_empty() {
            body.insert("errors".to_owned(), serde_json::to_value(&self.0.errors).unwrap_or_default());
        }
        body.extend(self.0.extensions.clone());
        body.insert("request_id".to_owned(), request_id.into());
        Value::Object(body)
    }

    /// The answer to a request.
    pub fn respond(self, request_id: &RequestId) -> Response {
        let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let body = self.body(request_id.as_str()).to_string();
        let mut response = (self.status(), content_type, body).into_response();
        response.headers_mut().extend(self.0.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_one_status() {
        for (index, kind) in KINDS.iter().enumerate() {
            assert!(KINDS.iter().take(index).all(|earlier| earlier.code != kind.code), "{}", kind.code);
            assert!((400..600).contains(&kind.status), "{}", kind.code);
        }
    }

    #[test]
    fn a_problem_names_every_fault_with_its_place() {
        let mut faults = Faults::one("/ip_allowlist/2", "invalid_cidr", "not an address");
        faults.add("/name", "missing_field", "must be given");
        let body = Problem::invalid_body(&faults).body("r-1");
        assert_eq!(
            (&body["status"], &body["code"], &body["request_id"]),
            (&422.into(), &"invalid_body".into(), &"r-1".into())
        );
        assert_eq!(body["type"], "urn:keywright:problem:invalid_body");
        assert_eq!(body["errors"][0]["pointer"], "/ip_allowlist/2");
        assert_eq!(body["errors"][1]["code"], "missing_field");
        let parameter = Problem::parameter(UNKNOWN_PARAMETER, "limt", "did you mean `limit`?").body("r");
        assert_eq!(parameter["errors"][0]["parameter"], "limt");
    }

    #[test]
    fn a_missing_credential_is_challenged() {
        let response = Problem::unauthenticated(None, "no key").respond(&RequestId::new("x").unwrap());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"keywright\"");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let bad =
            Problem::unauthenticated(Some("invalid_token"), "no").respond(&RequestId::new("x").unwrap());
        assert!(bad.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("error=\"invalid_token\""));
    }

    #[test]
    fn refusals_carry_their_headers() {
        let id = RequestId::new("x").unwrap();
        assert_eq!(Problem::method_not_allowed("GET, POST").respond(&id).headers()[ALLOW], "GET, POST");
        assert_eq!(Problem::new(TOO_MANY_REQUESTS).retry_after(7).respond(&id).headers()[RETRY_AFTER], "7");
    }
}

//! The one table of REST: every route with what it takes, who may call it and what it answers.
//!
//! The router, the OpenAPI document, 405 and its `Allow`, the metrics and the tests that walk every route all read
//! [`all`], so that a route cannot exist without being in it.

mod table;

use http::Method;
use keywright_model::admin::AdminAction;

use crate::rest::body::{BATCH_BYTES_MAX, VERIFY_BYTES_MAX, WRITE_BYTES_MAX};
use crate::rest::call::{Answering, Call, OpenCall, SelfCall};
use crate::rest::verify::VerifyCall;

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path; `{name}` is a segment.
    pub path: &'static str,
    /// Its OpenAPI operation id, also its name in metrics.
    pub id: &'static str,
    /// The group that it is documented in.
    pub tag: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Who may call it, and what answers.
    pub access: Access,
    /// What body it takes.
    pub body: Body,
    /// The status of its success.
    pub status: u16,
    /// The schema of its success; empty for an answer that is no JSON.
    pub reply: &'static str,
    /// The query parameters that it knows.
    pub query: &'static [&'static [Parameter]],
}

/// The methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `GET`; answers `HEAD` too.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

/// Who may call a route, and what answers.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Anybody.
    Open(fn(OpenCall) -> Answering),
    /// The root key, and management keys that may do this.
    Management(AdminAction, fn(Call) -> Answering),
    /// The root key and every management key.
    Authenticated(fn(Call) -> Answering),
    /// Whoever holds the key that the call is about.
    KeyItself(fn(SelfCall) -> Answering),
    /// As [`Access::Management`] with `keys.verify`, answered from memory.
    Verify(fn(VerifyCall) -> Answering),
}

/// What body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    None,
    /// A JSON object of this schema.
    Json(&'static str),
    /// The same, or nothing at all.
    Optional(&'static str),
    /// A change of a noun of this schema: RFC 7396 or RFC 6902.
    Patch(&'static str),
    /// One verification of this schema.
    Verify(&'static str),
    /// A list of verifications of this schema.
    Batch(&'static str),
}

/// A query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; with a final `.` every name that begins so.
    pub name: &'static str,
    /// What values it has.
    pub values: Values,
    /// What it does.
    pub description: &'static str,
}

/// What values a query parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number in these bounds.
    Whole(u32, u32),
    /// An RFC 3339 time.
    Time,
    /// One of these words.
    Words(&'static [&'static str]),
}

impl Parameter {
    /// A parameter with any text.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Values::Text, description)
    }

    const fn new(name: &'static str, values: Values, description: &'static str) -> Self {
        Self { name, values, description }
    }
}

impl Verb {
    /// As HTTP spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request's method is this one.
    pub fn matches(self, method: &Method) -> bool {
        method.as_str() == self.as_str() || (self == Self::Get && method == Method::HEAD)
    }
}

impl Body {
    /// The largest body in bytes; `None` when none is read.
    pub const fn limit(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Json(_) | Self::Optional(_) | Self::Patch(_) => Some(WRITE_BYTES_MAX),
            Self::Verify(_) => Some(VERIFY_BYTES_MAX),
            Self::Batch(_) => Some(BATCH_BYTES_MAX),
        }
    }

    /// The schema of the body.
    pub const fn schema(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json(schema)
            | Self::Optional(schema)
            | Self::Patch(schema)
            | Self::Verify(schema)
            | Self::Batch(schema) => Some(schema),
        }
    }
}

impl Route {
    /// Whether it writes, and so takes `If-Match`, `Idempotency-Key`, `Prefer` and `dry_run`.
    pub fn writes(&self) -> bool {
        self.query.contains(&table::WRITE)
    }

    /// The names of the segments in its path.
    pub fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// Every route.
pub fn all() -> impl Iterator<Item = &'static Route> {
    table::TABLE.iter().flat_map(|group| group.iter())
}

/// The methods of a path, as `Allow` lists them.
pub fn allow<'r>(routes: impl IntoIterator<Item = &'r Route>) -> String {
    let mut verbs: Vec<Verb> = routes.into_iter().map(|route| route.verb).collect();
    verbs.sort_unstable();
    let names = verbs.into_iter().flat_map(|verb| match verb {
        Verb::Get => ["GET", "HEAD"].as_slice().iter().copied(),
        Verb::Post => ["POST"].as_slice().iter().copied(),
        Verb::Put => ["PUT"].as_slice().iter().copied(),
        Verb::Patch => ["PATCH"].as_slice().iter().copied(),
        Verb::Delete => ["DELETE"].as_slice().iter().copied(),
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_stands_once_under_one_name() {
        let routes: Vec<&Route> = all().collect();
        for (index, route) in routes.iter().enumerate() {
            for earlier in routes.iter().take(index) {
                assert_ne!(earlier.id, route.id);
                assert_ne!((earlier.verb, earlier.path), (route.verb, route.path));
            }
            assert!(!route.summary.is_empty() && !route.tag.is_empty(), "{}", route.id);
        }
        assert!(routes.len() > 50, "{}", routes.len());
    }

    #[test]
    fn what_changes_something_can_be_tried_first() {
        for route in all().filter(|route| route.path.starts_with("/v1/")) {
            // These ask, or reveal, with a body. A lease is bookkeeping: it takes no revision.
            let asks = ["lookupKey", "revealSecret", "verify", "verifyBatch", "feed"].contains(&route.id)
                || route.tag == "leases";
            assert_eq!(route.writes(), route.verb != Verb::Get && !asks, "{}", route.id);
        }
    }

    #[test]
    fn allow_lists_the_methods_in_one_order() {
        let of = |path: &'static str| allow(all().filter(move |route| route.path == path));
        assert_eq!(of("/v1/keys"), "GET, HEAD, POST");
        assert_eq!(of("/v1/keys/{id}"), "GET, HEAD, PUT, PATCH, DELETE");
        assert_eq!(of("/v1/keys/lookup"), "POST");
    }

    #[test]
    fn only_what_needs_no_key_is_open() {
        let open: Vec<_> =
            all().filter(|route| matches!(route.access, Access::Open(_))).map(|route| route.path).collect();
        assert_eq!(open, ["/openapi.json", "/docs", "/docs/{file}", "/healthz", "/readyz", "/metrics"]);
    }
}

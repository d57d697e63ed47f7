//! What the gateway was asked, from the headers in which it says so: `X-Original-*` (nginx) or `X-Forwarded-*` (Caddy,
//! Traefik).
//!
//! A gateway writes one family and passes on what the client sent of the other, so both at once are refused.

use super::once;
use super::target::Ambiguous;
use crate::rest::problem::Problem;

use super::answer::{ambiguous, misconfigured};

/// A request as the gateway got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original<'a> {
    pub(super) method: &'a str,
    /// Path and query, as they came.
    pub(super) target: &'a str,
    pub(super) host: &'a str,
}

/// Headers by which some upstreams let a client ask something else than the request line says.
const OVERRIDES: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

impl<'a> Original<'a> {
    pub(super) fn read(headers: &[(&'a str, &'a str)]) -> Result<Self, Problem> {
        let once = |name: &str| {
            once(headers, name)
                .map_err(|_| ambiguous(Ambiguous("a header that says what was asked came twice")))
        };
        let original = (once("x-original-method")?, once("x-original-uri")?);
        let forwarded = (once("x-forwarded-method")?, once("x-forwarded-uri")?);
        let (method, target, host) = match (original, forwarded) {
            ((Some(method), Some(target)), (None, None)) => (method, target, once("x-original-host")?),
            ((None, None), (Some(method), Some(target))) => (method, target, once("x-forwarded-host")?),
            ((None, _) | (_, None), (None, _) | (_, None)) => return Err(misconfigured()),
            _ => {
                return Err(ambiguous(Ambiguous(
                    "X-Original-* and X-Forwarded-* both say what was asked: the gateway must clear what it does not set",
                )));
            }
        };
        if OVERRIDES.iter().any(|name| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))) {
            return Err(ambiguous(Ambiguous("a header asks for another method or path than the request")));
        }
        let host = host.or(once("host")?).unwrap_or_default();
        Ok(Self { method, target, host })
    }

    /// A gateway passes no body on. A TC3 signature covers the body, so here it proves the request only where there is none,
    /// or where the client has left it out of the signature.
    pub(super) fn require_signed_whole(&self, headers: &[(&str, &str)]) -> Result<(), Problem> {
        use keywright_model::signing::tc3::{SCHEME, UNSIGNED_PAYLOAD};
        let header = |name: &str| once(headers, name).ok().flatten();
        let scheme = header("authorization").and_then(|text| text.split_once(' ')).map(|(scheme, _)| scheme);
        let is_tc3 = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let has_body = header("transfer-encoding").is_some()
            || header("content-length").is_some_and(|length| length != "0");
        let has_none = matches!(self.method, "GET" | "HEAD") && !has_body;
        if !is_tc3 || has_none || header("x-tc-content-sha256") == Some(UNSIGNED_PAYLOAD) {
            return Ok(());
        }
        let detail = "the signature covers a body that a gateway does not show: send X-TC-Content-SHA256: UNSIGNED-PAYLOAD";
        Err(Problem::unauthenticated(Some("invalid_token"), detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Result<(&str, &str, &str), &str>) {
        let read = Original::read(headers);
        let shown = read.as_ref().map(|original| (original.method, original.target, original.host));
        assert_eq!(shown.map_err(|problem| problem.kind().code), expected, "{headers:?}");
    }

    const NGINX: [(&str, &str); 3] =
        [("x-original-method", "GET"), ("x-original-uri", "/a?b"), ("host", "keywright")];
    const CADDY: [(&str, &str); 3] =
        [("x-forwarded-method", "PUT"), ("x-forwarded-uri", "/c"), ("x-forwarded-host", "api.example")];

    #[test]
    fn either_family_says_what_was_asked_and_not_both() {
        check(&NGINX, Ok(("GET", "/a?b", "keywright")));
        check(&CADDY, Ok(("PUT", "/c", "api.example")));
        check(
            &[&NGINX[..], &[("x-original-host", "api.example")]].concat(),
            Ok(("GET", "/a?b", "api.example")),
        );
        for forged in CADDY.iter().take(2) {
            let both = [&NGINX[..], &CADDY[..2]].concat();
            check(&both, Err("ambiguous_request"));
            let one = [&NGINX[..], &[*forged]].concat();
            check(&one, Err("ambiguous_request"));
        }
        check(&[&CADDY[..], &[("x-original-uri", "/x")]].concat(), Err("ambiguous_request"));
    }

    #[test]
    fn what_is_said_twice_or_half_or_overridden_is_refused() {
        check(&[&NGINX[..], &[("X-Original-URI", "/b")]].concat(), Err("ambiguous_request"));
        check(&NGINX[..1], Err("invalid_header"));
        check(&NGINX[1..], Err("invalid_header"));
        check(&[], Err("invalid_header"));
        for name in OVERRIDES {
            check(&[&NGINX[..], &[(name, "DELETE")]].concat(), Err("ambiguous_request"));
        }
    }

    #[test]
    fn a_tc3_signature_counts_only_where_no_signed_body_is_hidden() {
        let tc3 = ("authorization", "TC3-HMAC-SHA256 Credential=x");
        let whole = |method: &'static str, headers: &[(&str, &str)]| {
            let original = Original { method, target: "/", host: "" };
            original.require_signed_whole(&[&[tc3], headers].concat()).is_ok()
        };
        assert!(whole("GET", &[]) && whole("HEAD", &[]) && whole("GET", &[("content-length", "0")]));
        assert!(!whole("POST", &[]) && !whole("DELETE", &[]));
        assert!(
            !whole("GET", &[("content-length", "3")]) && !whole("GET", &[("transfer-encoding", "chunked")])
        );
        assert!(whole("POST", &[("x-tc-content-sha256", "UNSIGNED-PAYLOAD"), ("content-length", "3")]));
        let hmac = Original { method: "POST", target: "/", host: "" };
        assert!(
            hmac.require_signed_whole(&[("authorization", "hmac id=\"x\"")]).is_ok(),
            "it covers no body anyway"
        );
    }
}

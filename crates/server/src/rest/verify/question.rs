//! Reading what is asked: borrowed from the body where it can be, strictly and with every fault where it cannot.

use std::net::IpAddr;

use keywright_model::access::CheckedRequest;
use keywright_model::document::Fields;
use keywright_model::fault::Faults;
use keywright_model::limit::LIMIT_MAX;
use keywright_model::signing::SignedRequest;
use keywright_verifier::{Check, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::gateway::credential::{self, Carried};
use crate::gateway::readings::Readings;
use crate::rest::json;
use crate::rest::problem::Problem;

/// How many questions a batch may hold.
pub(crate) const BATCH_MAX: usize = 1_000;
/// How many checks one question may hold.
pub(crate) const CHECKS_MAX: usize = 100;

const KNOWN: &[&str] = &[
    "secret",
    "access_id",
    "signed",
    "map_request",
    "keyspace",
    "action",
    "resource",
    "checks",
    "ip",
    "cost",
];

/// A body as it was sent. A text with an escape in it cannot be borrowed, and a signed request is not worth it: those are
/// read from the document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow, default)]
    secret: Option<&'a str>,
    #[serde(borrow, default)]
    access_id: Option<&'a str>,
    #[serde(skip)]
    signed: Option<Signed<'a>>,
    #[serde(skip)]
    map_request: bool,
    #[serde(borrow, default)]
    keyspace: Option<&'a str>,
    #[serde(borrow, default)]
    action: Option<&'a str>,
    #[serde(borrow, default)]
    resource: Option<&'a str>,
    #[serde(borrow, default)]
    checks: Option<Vec<WireCheck<'a>>>,
    #[serde(borrow, default)]
    ip: Option<&'a str>,
    #[serde(default)]
    cost: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCheck<'a> {
    #[serde(borrow)]
    action: &'a str,
    #[serde(borrow, default)]
    resource: Option<&'a str>,
}

/// A signed request that somebody forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    method: &'a str,
    host: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body_sha256: Option<[u8; 32]>,
}

impl<'a> Signed<'a> {
    /// A request with these headers.
    pub(crate) const fn new(
        method: &'a str,
        host: &'a str,
        target: &'a str,
        headers: Vec<(&'a str, &'a str)>,
        body_sha256: Option<[u8; 32]>,
    ) -> Self {
        Self { method, host, target, headers, body_sha256 }
    }

    /// As the signing schemes read it.
    pub(crate) fn request(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: self.method,
            host: self.host,
            target: self.target,
            headers: &self.headers,
            parameters: &[],
            body_sha256: self.body_sha256,
        }
    }
}

/// What proves who somebody is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    /// A secret.
    Secret(&'a str),
    /// A secret with the public half of its key.
    Pair {
        /// The public half.
        access_id: &'a str,
        /// The secret.
        secret: &'a str,
    },
    /// A signed request.
    Signed(Signed<'a>),
}

/// What is to be checked, without a list of its own where there is at most one thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checks<'a> {
    /// Nothing.
    None,
    /// One thing.
    One([Check<'a>; 1]),
    /// Several, all of which must hold.
    All(Vec<Check<'a>>),
}

impl<'a> Checks<'a> {
    /// As a list.
    pub(crate) fn as_slice(&self) -> &[Check<'a>] {
        match self {
            Self::None => &[],
            Self::One(check) => check,
            Self::All(checks) => checks,
        }
    }
}

/// One question, valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    /// What proves who somebody is.
    pub presented: Presented<'a>,
    /// In which keyspace, by name or identifier.
    pub keyspace: Option<&'a str>,
    /// What they want to do.
    pub checks: Checks<'a>,
    /// What the request itself asks for, in place of `checks`.
    pub readings: Option<Readings>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// For how many units.
    pub cost: u64,
}

impl Question<'_> {
    /// The check that a verdict says has failed first.
    pub(crate) fn failed(&self, verdict: &Verdict) -> Option<Check<'_>> {
        let index = verdict.check_failed?;
        match &self.readings {
            Some(readings) => Some(readings.plain.check()),
            None => self.checks.as_slice().get(index).copied(),
        }
    }
}

/// A body that was read the slow way, for questions to borrow from.
#[derive(Debug, Default)]
pub(crate) struct Document(Value);

/// Reads one question.
pub(crate) fn one<'a>(body: &'a [u8], document: &'a mut Document) -> Result<Question<'a>, Problem> {
    let mut faults = Faults::new();
    let wire = if let Ok(wire) = serde_json::from_slice::<Wire<'_>>(body) {
        wire
    } else {
        document.0 = Value::Object(json::read_object(body)?);
        read(&document.0, "", &mut faults)
    };
    finished(faults, |faults| wire.question("", faults))
}

/// Reads a list of questions. One fault is enough to refuse all, since nothing may be consumed then.
pub(crate) fn many<'a>(body: &'a [u8], document: &'a mut Document) -> Result<Vec<Question<'a>>, Problem> {
    let mut faults = Faults::new();
    let wires = if let Ok(wires) = serde_json::from_slice::<Vec<Wire<'_>>>(body) {
        wires
    } else {
        document.0 = json::read(body)?;
        let Value::Array(items) = &document.0 else {
            return Err(Problem::invalid_body(&Faults::one(
                "",
                "invalid_type",
                "must be a list of questions",
            )));
        };
        let items = items.iter().take(BATCH_MAX + 1).enumerate();
        items.map(|(index, item)| read(item, &format!("/{index}"), &mut faults)).collect()
    };
    if wires.len() > BATCH_MAX {
        return Err(Problem::invalid_body(&Faults::one(
            "",
            "too_many",
            format!("at most {BATCH_MAX} questions"),
        )));
    }
    finished(faults, |faults| {
        // Every one is read, so that every fault is named.
        let questions: Vec<_> =
            wires.into_iter().enumerate().map(|(index, wire)| wire.question_at(index, faults)).collect();
        questions.into_iter().collect()
    })
}

fn finished<T>(mut faults: Faults, read: impl FnOnce(&mut Faults) -> Option<T>) -> Result<T, Problem> {
    let value = read(&mut faults);
    match (value, faults.is_empty()) {
        (Some(value), true) => Ok(value),
        _ => Err(Problem::invalid_body(&faults)),
    }
}

fn read<'a>(item: &'a Value, at: &str, faults: &mut Faults) -> Wire<'a> {
    let Some(map) = item.as_object() else {
        faults.add(at, "invalid_type", "must be an object");
        return Wire::default();
    };
    let fields = &mut Fields::new(map, at, KNOWN, faults);
    let signed = signed(map, fields);
    let said = map.get("map_request").is_some_and(|flag| !flag.is_null());
    let map_request = said && fields.flag("map_request", false);
    let checks = map.get("checks").filter(|checks| !checks.is_null()).map(|_| checks(map, fields));
    // The fields note the faults; what is borrowed comes from the document itself.
    let mut text = |name: &str| {
        fields.text(name);
        map.get(name).and_then(Value::as_str)
    };
    Wire {
        secret: text("secret"),
        access_id: text("access_id"),
        signed,
        map_request,
        keyspace: text("keyspace"),
        action: text("action"),
        resource: text("resource"),
        checks,
        ip: text("ip"),
        cost: map.get("cost").filter(|cost| !cost.is_null()).map(|cost| cost.as_u64().unwrap_or(u64::MAX)),
    }
}

fn checks<'a>(map: &'a Map<String, Value>, fields: &mut Fields<'_>) -> Vec<WireCheck<'a>> {
    fields.nested_list("checks", CHECKS_MAX, &["action", "resource"], |check| {
        check.required("action");
        check.text("action");
        check.text("resource");
    });
    let items = map.get("checks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |item: &'a Value, name: &str| item.get(name).and_then(Value::as_str);
    // An action of the wrong type has its fault already; any valid one stands in for it.
    items
        .iter()
        .map(|item| WireCheck {
            action: text(item, "action").unwrap_or("x"),
            resource: text(item, "resource"),
        })
        .collect()
}

fn signed<'a>(map: &'a Map<String, Value>, fields: &mut Fields<'_>) -> Option<Signed<'a>> {
    fields.object("signed");
    let map = map.get("signed").and_then(Value::as_object)?;
    fields.nested("signed", &["method", "host", "target", "headers", "body_sha256"], |signed| {
        for name in ["method", "host", "target", "headers"] {
            signed.required(name);
        }
        for name in ["method", "host", "target"] {
            signed.text(name);
        }
        signed.nested("headers", &header_names(map), |headers| {
            for name in header_names(map) {
                headers.text(name);
            }
        });
        if signed.value("body_sha256").is_some() && body_digest(map).is_none() {
            signed.fault("body_sha256", "invalid_digest", "must be SHA-256 in 64 hexadecimal digits");
        }
    });
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let headers = map.get("headers").and_then(Value::as_object);
    let headers = headers
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    Some(Signed {
        method: text("method"),
        host: text("host"),
        target: text("target"),
        headers,
        body_sha256: body_digest(map),
    })
}

fn header_names(signed: &Map<String, Value>) -> Vec<&str> {
    signed
        .get("headers")
        .and_then(Value::as_object)
        .map(|headers| headers.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

fn body_digest(signed: &Map<String, Value>) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let text = signed.get("body_sha256").and_then(Value::as_str)?;
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}

impl<'a> Wire<'a> {
    fn question_at(self, index: usize, faults: &mut Faults) -> Option<Question<'a>> {
        self.question(&format!("/{index}"), faults)
    }

    /// Tests what the fields mean together. `None` has left a fault.
    fn question(self, at: &str, faults: &mut Faults) -> Option<Question<'a>> {
        let ip = self.ip.map(str::parse::<IpAddr>);
        if let Some(Err(_)) = ip {
            faults.add(format!("{at}/ip"), "invalid_ip", "must be an IPv4 or IPv6 address");
        }
        let cost = self.cost.unwrap_or(1);
        if cost > LIMIT_MAX {
            faults.add(
                format!("{at}/cost"),
                "out_of_range",
                format!("must be a whole number from 0 to {LIMIT_MAX}"),
            );
        }
        let checks = self.checked(at, faults);
        let (keyspace, map_request) = (self.keyspace, self.map_request);
        if map_request && !matches!(checks, Checks::None) {
            faults.add(
                format!("{at}/map_request"),
                "conflicting_fields",
                "stands in place of `action`, `resource` and `checks`",
            );
        }
        let presented = self.presented(at, faults)?;
        let (presented, readings) = opened(presented, map_request, at, faults)?;
        Some(Question { presented, keyspace, checks, readings, ip: ip.and_then(Result::ok), cost })
    }

    fn presented(self, at: &str, faults: &mut Faults) -> Option<Presented<'a>> {
        match (self.secret, self.access_id, self.signed) {
            (Some(secret), None, None) => Some(Presented::Secret(secret)),
            (Some(secret), Some(access_id), None) => Some(Presented::Pair { access_id, secret }),
            (None, None, Some(signed)) => Some(Presented::Signed(signed)),
            (None, _, None) => {
                let place = format!("{at}/secret");
                // One that is there and no text has been told already.
                if !faults.as_slice().iter().any(|fault| fault.pointer == place) {
                    faults.add(place, "missing_field", "must be given, or `signed` in its place");
                }
                None
            }
            (_, _, Some(_)) => {
                faults.add(
                    format!("{at}/signed"),
                    "conflicting_fields",
                    "stands in place of `secret` and `access_id`",
                );
                None
            }
        }
    }

    fn checked(&self, at: &str, faults: &mut Faults) -> Checks<'a> {
        if let Some(checks) = &self.checks {
            return self.checked_list(checks, at, faults);
        }
        let Some(action) = self.action else {
            if self.resource.is_some() {
                faults.add(format!("{at}/resource"), "action_required", "needs `action` with it");
            }
            return Checks::None;
        };
        Checks::One([check(action, self.resource, at, faults)])
    }

    fn checked_list(&self, checks: &[WireCheck<'a>], at: &str, faults: &mut Faults) -> Checks<'a> {
        if self.action.is_some() || self.resource.is_some() {
            faults.add(
                format!("{at}/checks"),
                "conflicting_fields",
                "stands in place of `action` and `resource`",
            );
        }
        if checks.is_empty() {
            faults.add(
                format!("{at}/checks"),
                "empty",
                "must hold at least one check; leave it out to check none",
            );
        }
        if checks.len() > CHECKS_MAX {
            faults.add(format!("{at}/checks"), "too_many", format!("at most {CHECKS_MAX} entries"));
            return Checks::None;
        }
        let checks = checks.iter().enumerate();
        Checks::All(
            checks
                .map(|(index, one)| check(one.action, one.resource, &format!("{at}/checks/{index}"), faults))
                .collect(),
        )
    }
}

/// Takes a secret out of the headers of the request that carries it, and says what the request asks for.
fn opened<'a>(
    presented: Presented<'a>,
    map_request: bool,
    at: &str,
    faults: &mut Faults,
) -> Option<(Presented<'a>, Option<Readings>)> {
    let Presented::Signed(signed) = presented else {
        if map_request {
            faults.add(format!("{at}/map_request"), "signed_required", "needs `signed` with it");
        }
        return Some((presented, None));
    };
    let Ok(carried) = credential::carried(&signed.headers) else {
        faults.add(
            format!("{at}/signed/headers"),
            "conflicting_credentials",
            credential::Conflict.to_string(),
        );
        return None;
    };
    let vendor = if let Carried::Secret { vendor, .. } = carried { vendor } else { None };
    let readings = map_request.then(|| Readings::of(signed.method, signed.target, vendor)).transpose();
    let readings = readings
        .map_err(|why| faults.add(format!("{at}/signed/target"), "ambiguous_request", why.to_string()))
        .ok()?;
    match carried {
        Carried::Secret { secret, .. } => Some((Presented::Secret(secret), readings)),
        // Whether it is signed at all is found out with the signature.
        Carried::Signed | Carried::Nothing => Some((Presented::Signed(signed), readings)),
    }
}

fn check<'a>(action: &'a str, resource: Option<&'a str>, at: &str, faults: &mut Faults) -> Check<'a> {
    if let Err(error) = CheckedRequest::new(action, resource) {
        // The action alone says whose fault it is.
        let place = if CheckedRequest::new(action, None).is_err() { "action" } else { "resource" };
        faults.add(format!("{at}/{place}"), error.code(), error.to_string());
    }
    Check { action, resource: resource.unwrap_or_default() }
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;

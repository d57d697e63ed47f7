//! Figures for Prometheus. No label holds anything that a client can choose.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The type that [`Metrics::text`] is written in.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From 50 µs to 5 s.
const BUCKETS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

/// What this node has done since it started.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    verdicts: Family<Code, Counter>,
    throttled: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("keywright");
        let requests = Family::default();
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (verdicts, throttled) = (Family::default(), Counter::default());
        registry.register("http_requests", "Requests answered, by route and status", requests.clone());
        registry.register("http_request_seconds", "How long a request took, by route", seconds.clone());
        registry.register("verdicts", "Verifications answered, by code", verdicts.clone());
        registry.register("throttled", "Calls refused after failed authentications", throttled.clone());
        Self { registry, requests, seconds, verdicts, throttled }
    }
}

impl Metrics {
    /// Notes an answered request.
    pub fn answered(&self, route: &'static str, status: u16, nanoseconds: u64) {
        self.requests.get_or_create(&Request { route, status }).inc();
        #[expect(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
        self.seconds.get_or_create(&RouteLabel { route }).observe(nanoseconds as f64 / 1e9);
    }

    /// Notes a verification.
    pub fn verified(&self, code: &'static str) {
        self.verdicts.get_or_create(&Code { code }).inc();
    }

    /// Notes a call that was refused for failed authentications before it.
    pub fn throttled(&self) {
        self.throttled.inc();
    }

    /// Everything, in the `OpenMetrics` text format, `more` (a name, help and value each) included.
    pub fn text(&self, more: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        for (name, help, value) in more {
            text.push_str(&format_gauge(name, help, *value));
        }
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn format_gauge(name: &str, help: &str, value: u64) -> String {
    format!("# HELP keywright_{name} {help}.\n# TYPE keywright_{name} gauge\nkeywright_{name} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_and_the_text_ends_as_it_must() {
        let metrics = Metrics::default();
        metrics.answered("getKey", 200, 1_500_000);
        metrics.answered("getKey", 404, 90_000);
        metrics.verified("allowed");
        metrics.throttled();
        let text = metrics.text(&[("revision", "The newest revision applied", 42)]);
        for line in [
            "keywright_revision 42",
            "keywright_http_requests_total{route=\"getKey\",status=\"200\"} 1",
            "keywright_http_request_seconds_count{route=\"getKey\"} 2",
            "keywright_verdicts_total{code=\"allowed\"} 1",
            "keywright_throttled_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

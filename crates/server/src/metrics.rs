//! Figures for Prometheus. No label holds anything that a client can choose.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

/// The type that [`Metrics::text`] is written in.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From 50 µs to 5 s, as nanoseconds and as seconds; then all that took longer.
const BUCKETS: [(u64, f64); 12] = [
    (50_000, 0.000_05),
    (100_000, 0.000_1),
    (250_000, 0.000_25),
    (500_000, 0.000_5),
    (1_000_000, 0.001),
    (5_000_000, 0.005),
    (25_000_000, 0.025),
    (100_000_000, 0.1),
    (500_000_000, 0.5),
    (1_000_000_000, 1.0),
    (5_000_000_000, 5.0),
    (u64::MAX, f64::INFINITY),
];

/// How long requests took. Everybody adds at once; the library's own histogram would make them wait for each other.
#[derive(Clone, Debug, Default)]
struct Durations(Arc<DurationCells>);

#[derive(Debug, Default)]
struct DurationCells {
    counts: [AtomicU64; BUCKETS.len()],
    nanoseconds: AtomicU64,
}

impl Durations {
    fn observe(&self, nanoseconds: u64) {
        let place = BUCKETS.iter().position(|(most, _)| nanoseconds <= *most);
        if let Some(count) = place.and_then(|place| self.0.counts.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    #[expect(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = BUCKETS.iter().zip(counts).map(|((_, most), count)| (*most, count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The figures of one route, found once instead of at each request.
#[derive(Debug)]
pub(crate) struct RouteFigures {
    route: &'static str,
    /// The status of its success, whose counter is kept too.
    success: u16,
    successes: OnceLock<Counter>,
    seconds: OnceLock<Durations>,
}

impl RouteFigures {
    pub(crate) const fn new(route: &'static str, success: u16) -> Self {
        Self { route, success, successes: OnceLock::new(), seconds: OnceLock::new() }
    }
}

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
    seconds: Family<RouteLabel, Durations>,
    verdicts: Family<Code, Counter>,
    allowed: OnceLock<Counter>,
    throttled: Counter,
    enforcement: Durations,
}

/// Figures that somebody else keeps: a name, a help and a value each.
pub type Gauges = Box<dyn Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("keywright");
        let requests = Family::default();
        let seconds = Family::default();
        let (verdicts, throttled) = (Family::default(), Counter::default());
        registry.register("http_requests", "Requests answered, by route and status", requests.clone());
        registry.register("http_request_seconds", "How long a request took, by route", seconds.clone());
        registry.register("verdicts", "Verifications answered, by code", verdicts.clone());
        registry.register("throttled", "Calls refused after failed authentications", throttled.clone());
        let enforcement = Durations::default();
        registry.register(
            "enforcement_seconds",
            "How long a write waited to be enforced",
            enforcement.clone(),
        );
        Self { registry, requests, seconds, verdicts, allowed: OnceLock::new(), throttled, enforcement }
    }
}

impl Metrics {
    /// Notes an answered request.
    pub(crate) fn answered(&self, figures: &RouteFigures, status: u16, nanoseconds: u64) {
        let RouteFigures { route, success, successes, seconds } = figures;
        let requests = || self.requests.get_or_create_owned(&Request { route, status });
        if status == *success {
            successes.get_or_init(requests).inc();
        } else {
            requests().inc();
        }
        seconds.get_or_init(|| self.seconds.get_or_create_owned(&RouteLabel { route })).observe(nanoseconds);
    }

    /// Notes a verification.
    pub fn verified(&self, code: &'static str) {
        let verdicts = || self.verdicts.get_or_create_owned(&Code { code });
        if code == "allowed" {
            self.allowed.get_or_init(verdicts).inc();
        } else {
            verdicts().inc();
        }
    }

    /// What is to be told how many nanoseconds a write waited to be enforced.
    pub fn enforcement(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let enforcement = self.enforcement.clone();
        move |nanoseconds| enforcement.observe(nanoseconds)
    }

    /// Notes a call that was refused for failed authentications before it.
    pub fn throttled(&self) {
        self.throttled.inc();
    }

    /// Everything, in the `OpenMetrics` text format, `more` (a name, help and value each) included. A name that ends in
    /// `_total` counts up.
    pub fn text(&self, more: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        for (name, help, value) in more {
            text.push_str(&format_figure(name, help, *value));
        }
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn format_figure(name: &str, help: &str, value: u64) -> String {
    let (family, kind) = name.strip_suffix("_total").map_or((name, "gauge"), |family| (family, "counter"));
    format!("# HELP keywright_{family} {help}.\n# TYPE keywright_{family} {kind}\nkeywright_{name} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_and_the_text_ends_as_it_must() {
        let metrics = Metrics::default();
        let figures = RouteFigures::new("getKey", 200);
        metrics.answered(&figures, 200, 1_500_000);
        metrics.answered(&figures, 404, 100_000);
        metrics.answered(&figures, 200, 100_001);
        metrics.answered(&figures, 200, 6_000_000_000);
        metrics.verified("allowed");
        metrics.throttled();
        let text = metrics
            .text(&[("revision", "The newest revision applied", 42), ("limiter_calls_total", "Calls", 7)]);
        for line in [
            "keywright_revision 42",
            "# TYPE keywright_limiter_calls counter",
            "keywright_limiter_calls_total 7",
            "keywright_http_requests_total{route=\"getKey\",status=\"200\"} 3",
            "keywright_http_requests_total{route=\"getKey\",status=\"404\"} 1",
            "keywright_http_request_seconds_count{route=\"getKey\"} 4",
            "keywright_http_request_seconds_sum{route=\"getKey\"} 6.001700001",
            "keywright_http_request_seconds_bucket{le=\"0.0001\",route=\"getKey\"} 1",
            "keywright_http_request_seconds_bucket{le=\"0.00025\",route=\"getKey\"} 2",
            "keywright_http_request_seconds_bucket{le=\"5.0\",route=\"getKey\"} 3",
            "keywright_http_request_seconds_bucket{le=\"+Inf\",route=\"getKey\"} 4",
            "keywright_verdicts_total{code=\"allowed\"} 1",
            "keywright_throttled_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

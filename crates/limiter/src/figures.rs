//! What a limiter has done, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Limiter;

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    calls: AtomicU64,
    failures: AtomicU64,
    waits: AtomicU64,
    units: AtomicU64,
    full: AtomicU64,
    away: AtomicU64,
    nodes: AtomicU64,
    meters: AtomicU64,
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl Figures {
    pub(crate) fn called(&self) {
        add(&self.calls, 1);
    }

    pub(crate) fn waited(&self) {
        add(&self.waits, 1);
    }

    pub(crate) fn leased(&self, units: u64) {
        add(&self.units, units);
    }

    pub(crate) fn refused_full(&self) {
        add(&self.full, 1);
    }

    pub(crate) fn failed(&self) {
        add(&self.failures, 1);
        self.away.store(1, Ordering::Relaxed);
    }

    pub(crate) fn reached(&self, nodes: u32) {
        self.away.store(0, Ordering::Relaxed);
        self.nodes.store(u64::from(nodes), Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, meters: usize) {
        self.meters.store(u64::try_from(meters).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Limiter {
    /// Name, help and value of each figure. A name that ends in `_total` counts up.
    pub fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let figures = self.figures_in();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            ("limiter_away", "Whether what counts limits for all nodes is out of reach", read(&figures.away)),
            ("limiter_nodes", "Nodes that share limits, as far as this one knows", read(&figures.nodes)),
            ("limiter_limits", "Limits that were used in the last seconds", read(&figures.meters)),
            ("limiter_calls_total", "Calls to what counts limits for all nodes", read(&figures.calls)),
            ("limiter_failures_total", "Those of them that came to nothing", read(&figures.failures)),
            ("limiter_waits_total", "Verifications that waited for units", read(&figures.waits)),
            ("limiter_units_total", "Units taken ahead of use", read(&figures.units)),
            ("limiter_full_total", "Verifications refused for too many limits at once", read(&figures.full)),
        ]
    }
}

//! What happens beside serving: uses are written down, what has run out goes, and at the end what was borrowed is
//! given back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use keywright_store::{QuotaSubject, Use};
use tokio::time::{MissedTickBehavior, interval};

use super::assembled::Node;
use crate::ambient::now;

/// How often last uses are written down: at most so much of them is lost by a crash.
const FLUSH: Duration = Duration::from_secs(2);
/// How often what has run out is let go.
const SWEEP: Duration = Duration::from_mins(1);
/// How many uses are written in one transaction.
const USES_PER_WRITE: usize = 10_000;

/// Runs until `stop`, then leaves everything as it should be found.
pub(super) async fn run(node: Arc<Node>, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut flush = interval(FLUSH);
    let mut sweep = interval(SWEEP);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = flush.tick() => node.flush_uses().await,
            _ = sweep.tick() => node.sweep().await,
        }
        if let Some(reason) = node.cannot_go_on() {
            // Without it no write would ever be enforced again: a supervisor's restart is better.
            tracing::error!(reason, "stopping");
            node.give_up().await;
            bail!(reason);
        }
    }
    node.flush_uses().await;
    node.return_quotas().await;
    Ok(())
}

impl Node {
    async fn flush_uses(&self) {
        let mut uses = Vec::new();
        self.verifier
            .drain_uses(&mut |used| uses.push(Use { key: used.key, secret: used.secret, at: used.at }));
        for some in uses.chunks(USES_PER_WRITE) {
            if let Err(error) = self.control.record_uses(some).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    uses = some.len(),
                    "last uses could not be written down"
                );
            }
        }
    }

    async fn sweep(&self) {
        let ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        if let Err(error) = self.control.sweep(now().plus_ms(ms.saturating_neg())).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what has run out could not be let go");
        }
    }

    /// Units that were reserved and not spent are not lost by an orderly end.
    async fn return_quotas(&self) {
        for unspent in self.verifier.unspent_quota() {
            let subject = subject(unspent.subject);
            if let Err(error) = self.store.return_quota(subject, unspent.period_start, unspent.units).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a quota's units could not be given back"
                );
            }
        }
    }
}

fn subject(subject: keywright_verifier::QuotaSubject) -> QuotaSubject {
    match subject {
        keywright_verifier::QuotaSubject::Key(key) => QuotaSubject::Key(key),
        keywright_verifier::QuotaSubject::PlanOfKey(plan, key) => QuotaSubject::PlanOfKey(plan, key),
        keywright_verifier::QuotaSubject::Principal(principal) => QuotaSubject::Principal(principal),
    }
}

//! Saying how far the index has come.

use std::sync::Arc;
use std::time::Duration;

use keywright_model::id::NodeId;
use keywright_model::revision::Revision;
use tokio::sync::watch;

use super::RETRY;
use crate::follower::Applied;
use crate::membership::Reports;

/// How much later than its signal a report is written: under load one row then says several steps.
const REPORT_LAG: Duration = Duration::from_millis(5);

/// Tells how far the index has come, after it answers by it: at once whoever waits, then the store, the newest only.
pub(super) async fn report(
    reports: Arc<dyn Reports>,
    mut life: watch::Receiver<Option<NodeId>>,
    mut loads: watch::Receiver<Option<Applied>>,
) {
    let Ok(loaded) = loads.wait_for(Option::is_some).await.map(|loaded| loaded.clone()) else { return };
    let Some(applied) = loaded else { return };
    let mut progress = applied.changes();
    let mut reported = None;
    loop {
        let (id, now) = (*life.borrow_and_update(), *progress.borrow_and_update());
        let new = id.filter(|id| reported != Some((*id, now)));
        let moved = match new {
            None => tokio::select! {
                changed = life.changed() => changed.is_ok(),
                changed = progress.changed() => changed.is_ok(),
            },
            Some(id) => {
                let lag = reports.signal(id, now).then_some(REPORT_LAG);
                let row = report_row(&*reports, id, &applied, lag);
                tokio::pin!(row);
                loop {
                    tokio::select! {
                        done = &mut row => {
                            reported = Some((id, done));
                            break true;
                        }
                        // Another life: what the one before has still to say is nobody's business.
                        changed = life.changed() => break changed.is_ok(),
                        changed = progress.changed() => {
                            if changed.is_err() {
                                break false;
                            }
                            reports.signal(id, *progress.borrow_and_update());
                        }
                    }
                }
            }
        };
        if !moved {
            return;
        }
    }
}

/// Reports until it is done; says up to where.
async fn report_row(reports: &dyn Reports, id: NodeId, applied: &Applied, lag: Option<Duration>) -> Revision {
    if let Some(lag) = lag {
        tokio::time::sleep(lag).await;
    }
    loop {
        let now = applied.revision();
        match reports.report(id, now).await {
            Ok(()) => return now,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a report was lost");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

//! The end of a run: everything is healed, what was acknowledged is looked for, and the record is judged.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::campaign::{Campaign, Key};
use super::check::{check, with_a_stale_read};
use super::followers::{self, Part};
use super::summary::{Judged, Percentiles, Summary, Writes};
use super::{Arguments, reader, writer};
use crate::out::complain;

const HEALED_MAX: Duration = Duration::from_mins(1);
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// How many stale reads are put into the history to try the checker.
const INJECTED: usize = 5;
/// So many receipts are looked at, evenly over the run: an hour's would take an hour.
const RECEIPTS_MAX: usize = 3_000;

/// What was found at the end.
pub(super) struct Closed {
    judged: Judged,
    followers: Option<Part>,
    lost: u64,
    receipts: (u64, u64),
    took_us: u64,
}

/// Ends the run and judges it.
pub(super) async fn close(run: &Arc<Campaign>) -> anyhow::Result<Closed> {
    run.cluster.wait_until_all_answer(HEALED_MAX).await?;
    let took_us = run.recorder.now_us();
    run.end();
    run.settle().await;
    run.cluster.wait_until_all_answer(HEALED_MAX).await?;
    reader::ask_about_everything(run).await;
    run.settle().await;
    let mut lost = 0;
    for key in run.keys() {
        lost += u64::from(!is_as_it_was_left(run, &key).await);
    }
    let receipts = look_at_receipts(run).await;
    run.cluster.stop().await?;
    let history = run.recorder.take();
    let (faults, words) = check(&history);
    for words in words {
        complain(format_args!("chaos: {words}"));
    }
    let injected: Vec<_> = (0..INJECTED).filter_map(|seed| with_a_stale_read(&history, seed * 7)).collect();
    let found = injected.iter().filter(|injected| check(injected).0.all() > faults.all()).count();
    let judged = Judged {
        writes: history.writes.len(),
        reads: history.reads.len(),
        faults,
        injected: injected.len() as u64,
        injected_found: found as u64,
    };
    let followers = followers::judge(run, &history, took_us);
    Ok(Closed { judged, followers, lost, receipts, took_us })
}

/// Whether the database still has the key's last write, and every one before it.
async fn is_as_it_was_left(run: &Campaign, key: &Key) -> bool {
    let Some((_, node)) = run.cluster.addresses().first().copied() else { return false };
    let shown = run.cluster.rest.get(node, &format!("/v1/keys/{}", key.id), LOOK_WAIT).await;
    let Ok(reply) = shown else { return false };
    let version = reply.body.get("version").and_then(Value::as_u64);
    let as_left = reply.status == 200 && version == Some(key.version) && key.state.is_shown_by(&reply.body);
    if !as_left {
        complain(format_args!("chaos: {key:?} is shown as {} {}", reply.status, reply.body));
    }
    as_left
}

/// How many receipts were looked at, and how many of them are not complete.
async fn look_at_receipts(run: &Campaign) -> (u64, u64) {
    let receipts = run.counts().receipts.clone();
    let step = receipts.len().div_ceil(RECEIPTS_MAX).max(1);
    let (mut looked_at, mut incomplete) = (0, 0);
    for (place, (revision, token)) in receipts.iter().step_by(step).enumerate() {
        let addresses = run.cluster.addresses();
        let Some((_, node)) = addresses.get(place % addresses.len().max(1)).copied() else { break };
        let receipt = run.cluster.rest.get(node, &format!("/v1/revisions/{token}"), LOOK_WAIT).await;
        looked_at += 1;
        if !receipt.as_ref().is_ok_and(writer::is_enforced) {
            incomplete += 1;
            complain(format_args!("chaos: the receipt of {revision} is {receipt:?}"));
        }
    }
    (looked_at, incomplete)
}

/// The run in figures.
pub(super) fn summary(run: &Campaign, arguments: &Arguments, seed: u64, closed: Closed) -> Summary {
    let counts = run.counts().clone();
    Summary {
        scenario: arguments.scenario.name(),
        control: arguments.control,
        seed,
        nodes: arguments.nodes,
        seconds: closed.took_us / 1_000_000,
        max_staleness_ms: arguments.max_staleness_ms,
        writes: Writes::of(&counts, closed.lost, closed.receipts),
        faults: counts.faults,
        after_acknowledgement: counts.after,
        readers: counts.readers,
        followers: closed.followers,
        stale: closed.judged.faults.stale(),
        history: closed.judged,
        acknowledged_ms: Percentiles::of(counts.waits_ms),
        while_away: None,
        unexpected: counts.unexpected,
    }
}

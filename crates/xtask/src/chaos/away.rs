//! The database away for longer than the lease: what nodes and followers answer meanwhile, to the moment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::campaign::{Campaign, Key};
use crate::cluster::{Dice, Node};

/// Without contact for so long, answers say that they are not current.
const CURRENT: Duration = Duration::from_secs(3);
/// A lease counts from before its renewal was sent, and is renewed at least this often.
const RENEWAL: Duration = Duration::from_millis(500);
/// What a busy machine may be late by.
const SLACK: Duration = Duration::from_millis(700);
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_WAIT: Duration = Duration::from_secs(2);

/// How they answered while the database was away.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Answers {
    pub(super) current: u64,
    /// `"current": false` with an age.
    pub(super) marked: u64,
    /// 503.
    pub(super) refused: u64,
}

/// Takes the database away for so long and asks every node and follower all the time. What is not as `max_staleness` says is an error.
pub(super) async fn go_away(
    run: &Arc<Campaign>,
    mut dice: Dice,
    time: Duration,
    max_staleness: Duration,
) -> anyhow::Result<Answers> {
    if time < max_staleness + SLACK {
        bail!("away for {time:?} shows nothing about a lease of {max_staleness:?}");
    }
    let key = steady_key(run, &mut dice).await?;
    let database = run.cluster.database();
    run.note_fault("database_away");
    let going = Instant::now();
    database.kill().await?;
    let gone = Instant::now();
    let asked = run.cluster.verifiers().map(|node| {
        let (run, node, key) = (Arc::clone(run), Arc::clone(node), key.clone());
        tokio::spawn(
            async move { ask_meanwhile(&run, &node, &key, (going, gone), time, max_staleness).await },
        )
    });
    let mut sum = Answers::default();
    for asked in asked.collect::<Vec<_>>() {
        let answers = asked.await.context("a question ended in a panic")??;
        sum.current += answers.current;
        sum.marked += answers.marked;
        sum.refused += answers.refused;
    }
    database.start().await?;
    run.cluster.wait_until_all_answer(Duration::from_mins(1)).await?;
    if sum.marked == 0 || sum.refused == 0 || sum.current == 0 {
        bail!("not every kind of answer was seen: {sum:?}");
    }
    Ok(sum)
}

/// A key that nobody changes meanwhile: it is taken and never given back.
async fn steady_key(run: &Campaign, dice: &mut Dice) -> anyhow::Result<Key> {
    for _ in 0..200 {
        match run.take_key(dice) {
            Some(key) if key.state.enabled && !key.state.revoked => return Ok(key),
            Some(key) => run.put_back(key),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("no key was good for long enough")
}

async fn ask_meanwhile(
    run: &Campaign,
    node: &Node,
    key: &Key,
    (going, gone): (Instant, Instant),
    time: Duration,
    max_staleness: Duration,
) -> anyhow::Result<Answers> {
    let secret = key.secrets.get(key.state.secret).context("a key without a secret")?;
    let body = json!({"secret": secret, "action": "get", "resource": "devices/7"});
    let mut answers = Answers::default();
    while gone.elapsed() < time {
        let address = node.address().context("a verifier ended while the database was away")?;
        let before = gone.elapsed();
        let asked = run.cluster.rest.verify(address, &body, &[], ASK_WAIT).await;
        // The last renewal came at some moment while the database went.
        let after = going.elapsed();
        let reply = asked.ok().with_context(|| format!("verifier {} did not answer", node.index()))?;
        let age = reply.body.get("age_ms").and_then(Value::as_u64).map(Duration::from_millis);
        let current = reply.body.get("current").and_then(Value::as_bool);
        let allowed = reply.body.get("allowed").and_then(Value::as_bool);
        let right = match (reply.status, allowed, current, age) {
            (200, Some(true), Some(true), Some(age)) => {
                answers.current += 1;
                age < CURRENT && before < CURRENT
            }
            (200, Some(true), Some(false), Some(age)) => {
                answers.marked += 1;
                age >= CURRENT && before < max_staleness && age <= after + RENEWAL + SLACK
            }
            (503, ..) => {
                answers.refused += 1;
                reply.code() == "verifier_not_current" && after + RENEWAL + SLACK > max_staleness
            }
            _ => false,
        };
        if !right {
            bail!("verifier {} answered {} {} after {before:?}", node.index(), reply.status, reply.body);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(answers)
}

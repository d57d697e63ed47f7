//! Writers: each changes a key through some node, repeats the call until its end is known, and has every node asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::campaign::{Campaign, Key};
use super::history::Write;
use super::keys::{Act, State, grants};
use crate::cluster::{Dice, Enforced, Reply, number_of};

/// Longer than a node waits for others by itself. A node that is held is not waited for: the same call goes to another.
const WRITE_WAIT: Duration = Duration::from_secs(5);
/// How much longer a caller waits who has asked for it.
const PATIENT_WAIT: Duration = Duration::from_secs(10);
const LOOK_WAIT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(50);

struct Call {
    method: Method,
    path: String,
    body: Value,
    /// Its `Idempotency-Key`.
    name: String,
}

/// A write that was done.
struct Done {
    reply: Reply,
    token: String,
    revision: u64,
    invoked_us: u64,
    answered_us: u64,
    attempts: u64,
}

/// Changes keys until the run ends.
pub(super) async fn write(run: Arc<Campaign>, mut dice: Dice) {
    while !run.has_ended() {
        let Some(key) = run.take_key(&mut dice) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match dice.pick(key.state.acts()).copied() {
            Some(act) => change(&run, key, act, &mut dice).await,
            // A revoked key is final: another takes its turn.
            None => make(&run, &mut dice).await,
        }
    }
}

/// Makes a key.
pub(super) async fn make(run: &Arc<Campaign>, dice: &mut Dice) {
    let number = run.next_key_number();
    let body = json!({"name": format!("chaos {number}"), "grants": grants(true)});
    let call = Call { method: Method::POST, path: "/v1/keys".to_owned(), body, name: run.next_call_name() };
    let Some(done) = perform(run, &call, Act::Create, dice).await else { return };
    let made = done.reply.body.pointer("/key/id").and_then(Value::as_str).zip(secret_in(&done.reply));
    let Some((id, secret)) = made else {
        run.note_unexpected("a created key without id and secret".to_owned());
        return;
    };
    let key = Key { number, id: id.to_owned(), secrets: vec![secret], state: State::NEW, version: 1 };
    finish(run, key, Act::Create, &call, done, dice).await;
}

async fn change(run: &Arc<Campaign>, mut key: Key, act: Act, dice: &mut Dice) {
    let call = call_of(&key, act, run.next_call_name());
    let Some(done) = perform(run, &call, act, dice).await else { return };
    key.state = key.state.after(act);
    key.version += 1;
    if act == Act::Rotate {
        let Some(secret) = secret_in(&done.reply) else {
            run.note_unexpected("a rotated key without a secret".to_owned());
            return;
        };
        key.secrets.push(secret);
    }
    finish(run, key, act, &call, done, dice).await;
}

fn call_of(key: &Key, act: Act, name: String) -> Call {
    let path = |verb: &str| format!("/v1/keys/{}{verb}", key.id);
    let (method, path, body) = match act {
        Act::Create => (Method::POST, "/v1/keys".to_owned(), json!({})),
        Act::Narrow => (Method::PATCH, path(""), json!({"grants": grants(false)})),
        Act::Widen => (Method::PATCH, path(""), json!({"grants": grants(true)})),
        Act::Rotate => (Method::POST, path("/rotate"), json!({"overlap_seconds": 0})),
        Act::Disable => (Method::POST, path("/disable"), json!({})),
        Act::Enable => (Method::POST, path("/enable"), json!({})),
        Act::Revoke => (Method::POST, path("/revoke"), json!({"reason": "chaos"})),
    };
    Call { method, path, body, name }
}

fn secret_in(reply: &Reply) -> Option<String> {
    reply.body.get("secret").and_then(Value::as_str).map(str::to_owned)
}

/// Sends a write until an answer says that it is done. The same name goes with every attempt, so that it is done once.
async fn perform(run: &Arc<Campaign>, call: &Call, act: Act, dice: &mut Dice) -> Option<Done> {
    let invoked_us = run.recorder.now_us();
    let mut attempts = 0;
    while !run.is_given_up() {
        let Some(node) = any_node(run, dice) else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        attempts += 1;
        let reply = send(run, node, call, dice).await;
        let answered_us = run.recorder.now_us();
        match reply {
            Some(reply) if (200..300).contains(&reply.status) => {
                let done = done(reply, invoked_us, answered_us, attempts);
                if done.is_none() {
                    run.note_unexpected(format!("{act:?} was answered without a revision"));
                }
                return done;
            }
            Some(reply) if reply.status == 503 => run.counts().writes_refused += 1,
            Some(reply) if reply.status == 404 && run.may_read_a_replaced_primary() => {
                run.counts().writes_refused += 1;
            }
            Some(reply) if reply.code() == "idempotency_in_progress" => {}
            Some(reply) => {
                run.note_unexpected(format!("{act:?} was answered {} {}", reply.status, reply.body));
                return None;
            }
            None => {}
        }
        tokio::time::sleep(RETRY).await;
    }
    run.counts().unknown += 1;
    None
}

fn done(reply: Reply, invoked_us: u64, answered_us: u64, attempts: u64) -> Option<Done> {
    let token = reply.token.clone()?;
    let revision = number_of(&token)?;
    Some(Done { reply, token, revision, invoked_us, answered_us, attempts })
}

fn any_node(run: &Campaign, dice: &mut Dice) -> Option<SocketAddr> {
    dice.pick(&run.cluster.addresses()).map(|(_, address)| *address)
}

async fn send(run: &Campaign, node: SocketAddr, call: &Call, dice: &mut Dice) -> Option<Reply> {
    // Some callers are content with a receipt, some would rather wait.
    let prefer = dice.pick(&["", "", "wait=1", "wait=8", "respond-async"]).copied().unwrap_or_default();
    let headers = [("idempotency-key", call.name.as_str()), ("prefer", prefer)];
    let headers = if prefer.is_empty() { headers.get(..1).unwrap_or_default() } else { &headers };
    let wait = if prefer == "wait=8" { PATIENT_WAIT } else { WRITE_WAIT };
    run.cluster.rest.send(call.method.clone(), node, &call.path, &call.body, headers, wait).await.ok()
}

/// Records it, has every node asked once it is enforced, and gives the key back.
async fn finish(run: &Arc<Campaign>, key: Key, act: Act, call: &Call, done: Done, dice: &mut Dice) {
    let all = done.reply.enforced == Some(Enforced::All);
    run.recorder.wrote(Write {
        key: key.number,
        revision: done.revision,
        invoked_us: done.invoked_us,
        answered_us: done.answered_us,
        enforced_us: all.then_some(done.answered_us),
        state: key.state,
    });
    count(run, act, &done, all);
    run.note_newest(done.revision, &done.token);
    run.make_known(&key);
    if all {
        super::reader::ask_all(run, &key, act).await;
        run.put_back(key);
        return;
    }
    let (beside, mut dice) = (Arc::clone(run), dice.split());
    let repeat = Call {
        method: call.method.clone(),
        path: call.path.clone(),
        body: call.body.clone(),
        name: call.name.clone(),
    };
    run.beside(async move {
        if follow(&beside, &repeat, &done.token, &mut dice).await {
            beside.recorder.enforced(done.revision);
            beside.counts().pending_enforced += 1;
            super::reader::ask_all(&beside, &key, act).await;
        }
        beside.put_back(key);
    });
}

fn count(run: &Campaign, act: Act, done: &Done, all: bool) {
    let mut counts = run.counts();
    *counts.acts.entry(act).or_default() += 1;
    counts.receipts.push((done.revision, done.token.clone()));
    counts.repeated += u64::from(done.attempts > 1);
    counts.replayed += u64::from(done.reply.replayed);
    if all {
        counts.acknowledged += 1;
        if done.attempts == 1 {
            let waited_us = u32::try_from(done.answered_us - done.invoked_us).unwrap_or(u32::MAX);
            counts.waits_ms.push(f64::from(waited_us) / 1_000.0);
        }
    } else {
        counts.pending += 1;
    }
}

/// Waits until a node says that a pending write is enforced: its receipt does, or the same call once more.
async fn follow(run: &Campaign, call: &Call, token: &str, dice: &mut Dice) -> bool {
    let path = format!("/v1/revisions/{token}");
    while !run.is_given_up() {
        tokio::time::sleep(dice.millis(20, 150)).await;
        let Some(node) = any_node(run, dice) else { continue };
        let enforced = if dice.percent(30) {
            let again = send(run, node, call, dice).await;
            again.is_some_and(|reply| reply.status < 300 && reply.enforced == Some(Enforced::All))
        } else {
            let receipt = run.cluster.rest.get(node, &path, LOOK_WAIT).await;
            receipt.is_ok_and(|reply| is_enforced(&reply))
        };
        if enforced {
            return true;
        }
    }
    false
}

/// Whether a receipt says that every verifier answers by the write.
pub(super) fn is_enforced(receipt: &Reply) -> bool {
    receipt.status == 200 && receipt.body.get("enforced").and_then(Value::as_str) == Some("all")
}

/// Makes the keys that the run begins with, and the one that readers ask with. Everything before the first of them is not the run's.
pub(super) async fn make_first(run: &Arc<Campaign>, count: usize, dice: &mut Dice) -> anyhow::Result<()> {
    let node = any_node(run, dice).context("no node runs")?;
    run.cluster.rest.make_asker(node, PATIENT_WAIT).await?;
    for _ in 0..count {
        let (beside, mut dice) = (Arc::clone(run), dice.split());
        run.beside(async move { make(&beside, &mut dice).await });
    }
    run.settle().await;
    let first = run.counts().receipts.iter().map(|(revision, _)| *revision).min();
    run.recorder.set_before(first.context("no key could be made")?.saturating_sub(1));
    Ok(())
}

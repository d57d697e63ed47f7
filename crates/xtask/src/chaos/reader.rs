//! Verifications: every node and follower at once after a write is acknowledged, and all the time in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::campaign::{Campaign, Key};
use super::history::Read;
use super::keys::{Act, Probe, Verdict};
use crate::cluster::Dice;

/// Who is held answers when it goes on: such late answers matter most.
const VERIFY_WAIT: Duration = Duration::from_secs(10);
/// How long a writer waits for the answers before it goes on; later ones are recorded all the same.
const ANSWERS_WAIT: Duration = Duration::from_millis(250);

/// A question to one verifier.
struct Question {
    key: usize,
    secret: String,
    probe: Probe,
    at_least: Option<(u64, String)>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    AfterAcknowledgement,
    Reader,
}

/// Asks every node and follower about what the act has changed. The moment before is after the acknowledgement.
pub(super) async fn ask_all(run: &Arc<Campaign>, key: &Key, act: Act) {
    let probe = key.state.probe_of(act);
    let Some(secret) = key.secrets.get(probe.secret) else { return };
    let (answered, mut answers) = mpsc::channel::<()>(1);
    for verifier in run.cluster.verifiers() {
        let question = Question { key: key.number, secret: secret.clone(), probe, at_least: None };
        let (run_beside, verifier, answered) = (Arc::clone(run), Arc::clone(verifier), answered.clone());
        run.beside(async move {
            let whom = (verifier.index(), verifier.address());
            ask(&run_beside, whom, question, Asker::AfterAcknowledgement).await;
            drop(answered);
        });
    }
    drop(answered);
    // Nothing is ever sent: the channel closes with the last answer.
    let _ = tokio::time::timeout(ANSWERS_WAIT, answers.recv()).await;
}

/// Asks about anything until the run ends.
pub(super) async fn read(run: Arc<Campaign>, mut dice: Dice) {
    while !run.has_ended() {
        tokio::time::sleep(dice.millis(2, 12)).await;
        let (Some(known), Some((verifier, address))) =
            (run.any_known(&mut dice), dice.pick(&run.cluster.verifiers_addresses()).copied())
        else {
            continue;
        };
        // The current secret or the one before it.
        let place = known.secrets.len().saturating_sub(1 + dice.below(2));
        let Some(secret) = known.secrets.get(place).cloned() else { continue };
        let probe = Probe { secret: place, wide: dice.percent(50) };
        let at_least = run.newest().filter(|_| dice.percent(25));
        let question = Question { key: known.number, secret, probe, at_least };
        let beside = Arc::clone(&run);
        run.beside(async move { ask(&beside, (verifier, Some(address)), question, Asker::Reader).await });
    }
}

/// Asks every verifier about every key that nobody writes to, when all is healed. What was answered is in the record.
pub(super) async fn ask_about_everything(run: &Arc<Campaign>) {
    for key in run.keys() {
        ask_all(run, &key, Act::Narrow).await;
        ask_all(run, &key, Act::Rotate).await;
    }
}

async fn ask(
    run: &Campaign,
    (verifier, address): (usize, Option<SocketAddr>),
    question: Question,
    by: Asker,
) {
    let Question { key, secret, probe, at_least } = question;
    let action = if probe.wide { "put" } else { "get" };
    let body = json!({"secret": secret, "action": action, "resource": "devices/7/gps"});
    let token = at_least.as_ref().map(|(_, token)| ("keywright-at-least", token.as_str()));
    let headers = token.as_slice();
    let begun_us = run.recorder.now_us();
    let reply = match address {
        Some(address) => run.cluster.rest.verify(address, &body, headers, VERIFY_WAIT).await.ok(),
        None => None,
    };
    let ended_us = run.recorder.now_us();
    let mut counts = run.counts();
    let asked = match (by, verifier < run.cluster.nodes.len()) {
        (Asker::AfterAcknowledgement, true) => &mut counts.after,
        (Asker::Reader, true) => &mut counts.readers,
        (Asker::AfterAcknowledgement, false) => &mut counts.followers.after,
        (Asker::Reader, false) => &mut counts.followers.readers,
    };
    match reply.as_ref().map(|reply| (reply.status, Verdict::parse(reply.code()), reply.revision())) {
        None => asked.unreachable += 1,
        Some((503, ..)) => asked.refused += 1,
        Some((200, Some(verdict), Some(revision))) => {
            let allowed = verdict == Verdict::Allowed;
            *(if allowed { &mut asked.allowed } else { &mut asked.denied }) += 1;
            drop(counts);
            let at_least = at_least.map_or(0, |(revision, _)| revision);
            run.recorder.read(Read { key, verifier, probe, begun_us, ended_us, revision, at_least, verdict });
        }
        Some((status, ..)) => {
            drop(counts);
            let body = reply.map(|reply| reply.body.to_string()).unwrap_or_default();
            run.note_unexpected(format!("a verification was answered {status} {body}"));
        }
    }
}

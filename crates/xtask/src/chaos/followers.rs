//! Followers in a run: which node each follows, who starts them again, and their part of what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::campaign::{Asked, Campaign};
use super::check::{Faults, check};
use super::history::History;
use super::nemesis;
use crate::cluster::{Dice, Node};

/// How soon it is seen that a node cannot verify: sometimes at once, sometimes after a short lease is over.
const LOOK_EVERY_MS: (u64, u64) = (100, 1_500);

/// The part of followers in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    pub(super) after_acknowledgement: Asked,
    pub(super) readers: Asked,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How many verifications each has answered while things went wrong. Once all is healed, each would answer something.
    pub(super) answers: Vec<u64>,
    /// What their answers alone are judged to be.
    pub(super) judged: Faults,
}

/// Leads every follower to a node that is ready, and starts it again when it has ended by itself, until the run is over.
pub(super) fn look_after(run: &Arc<Campaign>, dice: &mut Dice) {
    for follower in &run.cluster.followers {
        run.beside(lead(Arc::clone(run), Arc::clone(follower), dice.split()));
        // Each alone: one cannot start until nodes are there again, and must hold up nobody meanwhile.
        run.beside(nemesis::supervise(Arc::clone(run), vec![Arc::clone(follower)]));
    }
}

/// A balancer: a follower stays with its node as long as that is ready.
async fn lead(run: Arc<Campaign>, follower: Arc<Node>, mut dice: Dice) {
    while !run.has_ended() {
        tokio::time::sleep(dice.millis(LOOK_EVERY_MS.0, LOOK_EVERY_MS.1)).await;
        if !run.cluster.is_ready(follower.link().target()).await {
            lead_elsewhere(&run, &follower, &mut dice);
        }
    }
}

/// Leads a follower to another node than its own. A node stays where it is.
pub(super) fn lead_elsewhere(run: &Campaign, follower: &Node, dice: &mut Dice) {
    if !follower.is_follower() {
        return;
    }
    let mut others = run.cluster.addresses();
    others.retain(|(_, node)| *node != follower.link().target());
    if let Some((_, node)) = dice.pick(&others) {
        run.note_fault_of(follower, "led_elsewhere");
        follower.link().lead_to(*node);
    }
}

/// What followers have come to until `ended_us`; `None` where there were none.
pub(super) fn judge(run: &Campaign, history: &History, ended_us: u64) -> Option<Part> {
    let (nodes, followers) = (run.cluster.nodes.len(), run.cluster.followers.len());
    let counts = run.counts().followers.clone();
    (followers > 0).then(|| Part {
        after_acknowledgement: counts.after,
        readers: counts.readers,
        faults: counts.faults,
        answers: (nodes..nodes + followers).map(|verifier| answers_of(history, verifier, ended_us)).collect(),
        judged: check(&answered_from(history, nodes)).0,
    })
}

fn answers_of(history: &History, verifier: usize, ended_us: u64) -> u64 {
    let its = |read: &&super::history::Read| read.verifier == verifier && read.ended_us < ended_us;
    history.reads.iter().filter(its).count() as u64
}

/// The history with the answers of all from `verifier` on alone.
fn answered_from(history: &History, verifier: usize) -> History {
    let mut history = history.clone();
    history.reads.retain(|read| read.verifier >= verifier);
    history
}

#[cfg(test)]
mod tests {
    use super::super::history::{Read, Write};
    use super::super::keys::{Act, State, Verdict};
    use super::*;

    /// Narrowed at 100; asked afterwards, of a node and a follower.
    fn history(by_follower: (u64, Verdict)) -> History {
        let narrow = State::NEW.after(Act::Narrow);
        let write = |revision, at_us, state| Write {
            key: 0,
            revision,
            invoked_us: at_us,
            answered_us: at_us + 10,
            enforced_us: Some(at_us + 10),
            state,
        };
        let read = |verifier, (revision, verdict)| Read {
            key: 0,
            verifier,
            probe: narrow.probe_of(Act::Narrow),
            begun_us: 120,
            ended_us: 130,
            revision,
            at_least: 0,
            verdict,
        };
        History {
            before: 4,
            writes: vec![write(5, 0, State::NEW), write(6, 100, narrow)],
            reads: vec![read(0, (6, Verdict::InsufficientPermission)), read(1, by_follower)],
        }
    }

    #[test]
    fn a_stale_answer_of_a_follower_is_found_among_its_own_and_a_node_s_is_not() {
        let stale = history((5, Verdict::Allowed));
        let judged = |from| check(&answered_from(&stale, from)).0.stale();
        assert_eq!((judged(0), judged(1), judged(2)), (2, 2, 0));
        let good = history((6, Verdict::InsufficientPermission));
        assert_eq!(check(&answered_from(&good, 1)).0, Faults::default());
    }

    #[test]
    fn answers_count_for_who_gave_them_and_until_the_end_only() {
        let history = history((6, Verdict::InsufficientPermission));
        assert_eq!(answers_of(&history, 1, 131), 1);
        assert_eq!(answers_of(&history, 1, 130), 0);
        assert_eq!(answers_of(&history, 2, 131), 0);
    }
}

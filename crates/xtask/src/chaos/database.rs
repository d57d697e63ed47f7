//! Faults of the database alone, under load: killed again and again, away for long, replaced by its standby.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::campaign::Campaign;
use crate::cluster::{Dice, Postgres};

/// How long writers go on, after the first are acknowledged again, before the next fault.
const LOAD_BETWEEN: Duration = Duration::from_millis(600);
/// How long a cluster may take to write again after its database is back.
const BACK_MAX: Duration = Duration::from_mins(1);

/// `kill -9` of all its processes, so many times.
pub(super) async fn kill_again_and_again(
    run: &Arc<Campaign>,
    mut dice: Dice,
    rounds: u32,
) -> anyhow::Result<()> {
    for _ in 0..rounds {
        wait_for_writes(run).await?;
        tokio::time::sleep(dice.millis(200, 800)).await;
        run.note_fault("database_kill");
        let database = run.cluster.database();
        database.kill().await?;
        tokio::time::sleep(dice.millis(0, 500)).await;
        database.start().await?;
    }
    wait_for_writes(run).await
}

/// Waits until writers have got some more writes acknowledged, and for a while.
async fn wait_for_writes(run: &Campaign) -> anyhow::Result<()> {
    let known = run.counts().acknowledged;
    let more = async {
        while run.counts().acknowledged < known + 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let late = || format!("nothing was written in {BACK_MAX:?}: {}", run.cluster.last_words());
    tokio::time::timeout(BACK_MAX, more).await.with_context(late)?;
    tokio::time::sleep(LOAD_BETWEEN).await;
    Ok(())
}

/// What every standby calls itself, so that whichever follows is the one that commits wait for.
const STANDBY: &str = "keywright_standby";
/// Longer than a statement may take: then the server gives up waiting for its standby, and shows what it has not got.
const OLD_PRIMARY_LIVES_MS: (u64, u64) = (10_000, 13_000);

/// The primary hangs or dies, its synchronous standby is promoted and the nodes are led there, but for one, which is left
/// with the old primary when that comes back to life. So many times, each with a new standby.
pub(super) async fn switch_over(
    run: &Arc<Campaign>,
    mut standby: Postgres,
    mut dice: Dice,
    rounds: u32,
) -> anyhow::Result<Postgres> {
    for round in 1..=rounds {
        wait_for_writes(run).await?;
        run.note_fault("switchover");
        run.primary_is_replaced();
        let old = run.cluster.database();
        let dies = round % 2 == 0;
        if dies {
            old.kill().await?;
        } else {
            old.freeze(Signal::SIGSTOP).await;
        }
        standby.promote().await?;
        let left_behind = (!dies).then(|| dice.below(run.cluster.nodes.len()));
        for node in run.cluster.nodes.iter().filter(|node| Some(node.index()) != left_behind) {
            node.link().lead_to(standby.address());
        }
        let primary = Arc::new(standby);
        run.cluster.set_database(Arc::clone(&primary));
        if let Some(left_behind) = left_behind {
            run.note_fault("old_primary_lives");
            old.freeze(Signal::SIGCONT).await;
            tokio::time::sleep(dice.millis(OLD_PRIMARY_LIVES_MS.0, OLD_PRIMARY_LIVES_MS.1)).await;
            for node in run.cluster.nodes.iter().filter(|node| node.index() == left_behind) {
                node.link().lead_to(primary.address());
            }
            old.kill().await?;
        }
        standby = follow(&primary, run.cluster.scratch(), &format!("database-{}", round + 1)).await?;
    }
    wait_for_writes(run).await?;
    // Without it no commit would ever end again.
    Ok(standby)
}

/// Gives a primary a standby that its commits wait for.
pub(super) async fn follow(primary: &Postgres, scratch: &Path, folder: &str) -> anyhow::Result<Postgres> {
    let standby = primary.standby(scratch, folder, STANDBY).await?;
    standby.start().await?;
    primary.query(&format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")).await?;
    primary.query("SELECT pg_reload_conf()").await?;
    let following = async {
        let asked = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while primary.query(asked).await.is_ok_and(|count| count != "1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BACK_MAX, following).await.context("the standby does not follow")?;
    Ok(standby)
}

//! `cargo xtask chaos`: the promise "acknowledged means enforced" on real processes, with everything going wrong.
//!
//! Writers change keys through any node; after each acknowledgement every node and follower is asked at once; faults go
//! on all the time. The record of it is then judged. It must not know the inside of the service: it calls REST and sends signals.

mod away;
mod campaign;
mod check;
mod closing;
mod database;
mod followers;
mod history;
mod keys;
mod nemesis;
mod reader;
mod summary;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;
use crate::canary;
use crate::cluster::{self, Cluster, Dice, Lease, Postgres, Scratch, Shape};
use crate::out::{complain, say};
use crate::workspace::Workspace;
use campaign::Campaign;
use summary::Summary;

const WRITERS: usize = 12;
const READERS: usize = 2;
const KEYS_PER_WRITER: usize = 4;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// Processes held and killed, links cut and slow, wrong clocks, the database killed: at random
    Faults,
    /// The database's processes are killed with -9, `--rounds` times
    DatabaseKill,
    /// The database is away for `--seconds`
    DatabaseAway,
    /// The database is replaced by its synchronous standby, `--rounds` times
    Switchover,
}

impl Scenario {
    const fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::DatabaseKill => "database-kill",
            Self::DatabaseAway => "database-away",
            Self::Switchover => "switchover",
        }
    }
}

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What goes wrong
    #[arg(long, value_enum, default_value = "faults")]
    scenario: Scenario,
    /// How long faults go on, or the database is away
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How often the database is killed or replaced
    #[arg(long, default_value_t = 25)]
    rounds: u32,
    /// How many server processes
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// How many followers of them, each with a lease
    #[arg(long, default_value_t = 1)]
    followers: usize,
    /// How long a node may answer without its database, in milliseconds; followers in whole seconds
    #[arg(long, default_value_t = 2_000)]
    max_staleness_ms: u64,
    /// Let nodes and followers ignore their leases: stale answers must be found, or this could not find any
    #[arg(long)]
    control: bool,
    /// Chooses the same faults again
    #[arg(long)]
    seed: Option<u64>,
    /// The server to try; a debug build for `--control`
    #[arg(long, env = "KEYWRIGHT_TEST_BIN")]
    bin: Option<PathBuf>,
}

/// How often the control is run, with other dice, before it is believed that it cannot find anything: now and then no
/// write falls into the moments in which a node is cut off.
const CONTROL_TRIES: u32 = 3;

/// Runs it and prints one line of JSON, of a control one for each try.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &Arguments,
    kept: Option<PathBuf>,
) -> anyhow::Result<Outcome> {
    let kept = kept.filter(|folder| folder.join(canary::ARTIFACTS).exists());
    let bin = cluster::server(arguments.bin.clone(), &workspace.target)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut summary = runtime.block_on(try_out(arguments, bin.clone(), kept.clone()))?;
    let tries = if arguments.control && arguments.seed.is_none() { CONTROL_TRIES } else { 1 };
    for _ in 1..tries {
        if summary.has_found_stale() {
            break;
        }
        say(serde_json::to_string(&summary)?);
        summary = runtime.block_on(try_out(arguments, bin.clone(), kept.clone()))?;
    }
    say(serde_json::to_string(&summary)?);
    let complaints = summary.complaints();
    for words in &complaints {
        complain(format_args!("chaos: {words}"));
    }
    Ok(if complaints.is_empty() { Outcome::Passed } else { Outcome::Failed })
}

async fn told_to_stop() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn try_out(arguments: &Arguments, bin: PathBuf, kept: Option<PathBuf>) -> anyhow::Result<Summary> {
    let seed = arguments.seed.unwrap_or_else(Dice::fresh_seed);
    let dice = Dice::new(seed);
    let max_staleness = Duration::from_millis(arguments.max_staleness_ms);
    let shape = Shape {
        bin,
        nodes: arguments.nodes,
        followers: arguments.followers,
        // Nodes end by themselves when another server took over: what they say then must do.
        named: arguments.scenario != Scenario::Switchover,
        max_staleness,
        by_proxy: true,
        some_deaf: true,
        lease: if arguments.control { Lease::Ignored } else { Lease::Tested },
        failover: if arguments.scenario == Scenario::Switchover { "sync_standby" } else { "none" },
    };
    let scratch = Scratch::new(kept)?;
    let database = Postgres::make(scratch.path(), "database-0").await?;
    database.start().await?;
    let standby = match arguments.scenario {
        Scenario::Switchover => Some(database::follow(&database, scratch.path(), "database-1").await?),
        Scenario::Faults | Scenario::DatabaseKill | Scenario::DatabaseAway => None,
    };
    let cluster = Cluster::start(&shape, scratch, database).await?;
    let run = Campaign::new(cluster, seed);
    let judged = tokio::select! {
        judged = under_way(&run, arguments, standby, dice) => judged,
        stopped = told_to_stop() => stopped.and_then(|()| bail!("stopped before the end")),
    };
    if judged.is_err() {
        run.end();
        run.cluster.stop().await?;
    }
    let (closed, while_away) = judged?;
    Ok(Summary { while_away, ..closing::summary(&run, arguments, seed, closed) })
}

/// Writers and readers at work, faults, and the end.
async fn under_way(
    run: &Arc<Campaign>,
    arguments: &Arguments,
    standby: Option<Postgres>,
    mut dice: Dice,
) -> anyhow::Result<(closing::Closed, Option<away::Answers>)> {
    writer::make_first(run, WRITERS * KEYS_PER_WRITER, &mut dice).await?;
    for _ in 0..WRITERS {
        run.beside(writer::write(Arc::clone(run), dice.split()));
    }
    for _ in 0..READERS {
        run.beside(reader::read(Arc::clone(run), dice.split()));
    }
    run.beside(nemesis::supervise(Arc::clone(run), run.cluster.nodes.clone()));
    followers::look_after(run, &mut dice);
    let seconds = Duration::from_secs(arguments.seconds);
    let (mut while_away, mut last_standby) = (None, None);
    match arguments.scenario {
        Scenario::Faults => nemesis::harm(run, dice, seconds).await?,
        Scenario::DatabaseKill => database::kill_again_and_again(run, dice, arguments.rounds).await?,
        Scenario::DatabaseAway => {
            let lease = Duration::from_millis(arguments.max_staleness_ms);
            while_away = Some(away::go_away(run, dice, seconds, lease).await?);
        }
        Scenario::Switchover => {
            let standby = standby.context("a switchover needs a standby")?;
            last_standby = Some(database::switch_over(run, standby, dice, arguments.rounds).await?);
        }
    }
    let closed = closing::close(run).await.context("the run could not be closed")?;
    if let Some(standby) = last_standby {
        standby.kill().await?;
    }
    Ok((closed, while_away))
}

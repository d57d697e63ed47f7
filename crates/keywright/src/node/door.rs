//! The door to durable state, whichever it is: a data directory of this process's own, or a database that many share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use keywright_control::bootstrap::FirstStart;
use keywright_model::revision::Incarnation;
use keywright_store::audit::{AuditKey, AuditReport, Progress};
use keywright_store::postgres::{self, Failover, PostgresDatabase, PostgresShares, Signals, Timeline};
use keywright_store::sqlite::{SqliteFile, SqliteMembers};
use keywright_store::{Installation, Members, Store, WrappedKey};

use super::assembled::fresh_id;
use super::data::entropy;
use super::master;
use crate::settings::{DATABASE, POSTGRES_FAILOVER, Settings, is_postgres, without_password};

/// The history of data that nothing takes over from, or only on the same storage.
const ONE_HISTORY: &str = "1";

/// A door that is open, before the key that the audit is chained under is known.
#[derive(Debug)]
pub(super) enum Door {
    /// A data directory that this process has taken.
    Sqlite(Box<SqliteFile>),
    /// A database that other nodes may be connected to.
    Postgres(Box<PostgresDatabase>),
}

/// What a node works with.
pub(super) struct Started {
    pub(super) store: Arc<dyn Store>,
    /// Who verifies.
    pub(super) members: Arc<dyn Members>,
    /// This node's own row, over connections of its own; `None` where nobody else verifies.
    pub(super) lease: Option<Arc<dyn Members>>,
    /// The history of the database that this process is part of.
    pub(super) timeline: Option<Timeline>,
    /// What nodes tell each other directly; `None` where there is one, or this one is deaf.
    pub(super) signals: Option<Signals>,
    /// How limits are divided among nodes; `None` where there is one.
    pub(super) shares: Option<PostgresShares>,
}

/// Whether there is an installation now, and who made it.
pub(super) enum Made {
    /// This process did.
    Here,
    /// Another one was faster.
    Elsewhere,
}

impl Door {
    /// Opens what the settings name, and brings it up to this program's schema.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        match settings.text(&DATABASE) {
            Some(url) if is_postgres(url) => {
                let database = PostgresDatabase::open(url).await?;
                database.check_failover(failover(settings)).await?;
                Ok(Self::Postgres(Box::new(database)))
            }
            _ => Ok(Self::Sqlite(Box::new(SqliteFile::open(&master::data_dir(settings))?))),
        }
    }

    /// What the installation is, if there is one.
    pub(super) async fn installation(&self) -> anyhow::Result<Option<Installation>> {
        match self {
            Self::Sqlite(file) => Ok(file.installation()?),
            Self::Postgres(database) => Ok(database.installation().await?),
        }
    }

    /// The keyring, every version.
    pub(super) async fn keyring(&self) -> anyhow::Result<Vec<WrappedKey>> {
        match self {
            Self::Sqlite(file) => Ok(file.keyring()?),
            Self::Postgres(database) => Ok(database.keyring().await?),
        }
    }

    /// Makes an installation, unless another process has just made one.
    pub(super) async fn initialise(&mut self, first: &FirstStart, key: &AuditKey) -> anyhow::Result<Made> {
        let FirstStart { installation, keyring, first, .. } = first;
        let first = vec![first.clone()];
        match self {
            Self::Sqlite(file) => {
                file.initialise(installation, keyring, first, key, entropy())?;
                Ok(Made::Here)
            }
            Self::Postgres(database) => {
                match database.initialise(installation, keyring, &first, key, entropy()).await? {
                    postgres::FirstStart::Made => Ok(Made::Here),
                    postgres::FirstStart::AlreadyThere => Ok(Made::Elsewhere),
                }
            }
        }
    }

    /// Compares the whole audit with itself, with the rows and with the feed. `progress` hears how far it is.
    pub(super) async fn verify_audit(
        self,
        key: AuditKey,
        progress: Progress<'_>,
    ) -> anyhow::Result<AuditReport> {
        match self {
            Self::Sqlite(file) => Ok(file.start(key, entropy())?.audit_verify().await?),
            Self::Postgres(database) => {
                let store = database.start(key, entropy(), None).await?;
                Ok(store.audit_verify_with(progress).await?)
            }
        }
    }

    /// Starts to write and to read. With `signals` nodes tell each other directly what they have written and applied.
    pub(super) async fn start(
        self,
        key: AuditKey,
        incarnation: Incarnation,
        signals: Option<SocketAddr>,
    ) -> anyhow::Result<Started> {
        match self {
            Self::Sqlite(file) => {
                let store = file.start(key, entropy())?;
                let members = Arc::new(SqliteMembers::of(Arc::clone(&store)).await?);
                Ok(Started { store, members, lease: None, timeline: None, signals: None, shares: None })
            }
            Self::Postgres(database) => {
                let timeline = database.timeline();
                let signals = match signals {
                    Some(address) => {
                        let history = format!("{} {}", history(Some(&timeline)), incarnation.0);
                        Some(hear(address, key.clone(), history).await?)
                    }
                    None => None,
                };
                let (members, lease) =
                    (database.listening_members(signals.clone()), database.members(signals.clone()));
                let shares = Some(database.shares(fresh_id()));
                let store = database.start(key, entropy(), signals.clone()).await?;
                Ok(Started {
                    store,
                    members: Arc::new(members),
                    lease: Some(Arc::new(lease)),
                    timeline: Some(timeline),
                    signals,
                    shares,
                })
            }
        }
    }
}

async fn hear(address: SocketAddr, key: AuditKey, history: String) -> anyhow::Result<Signals> {
    let bound = Signals::bind(address, key, history).await;
    bound.with_context(|| {
        format!("signals cannot be taken at {address}: --signals names another address, or `off`")
    })
}

/// The history of the data that a process is part of, as a text to be compared.
pub(super) fn history(timeline: Option<&Timeline>) -> String {
    timeline.and_then(Timeline::text).unwrap_or_else(|| ONE_HISTORY.to_owned())
}

/// What takes over for the database, as the operator says.
pub(super) fn failover(settings: &Settings) -> Failover {
    match settings.text(&POSTGRES_FAILOVER) {
        Some("none") => Failover::Nothing,
        Some("sync_standby") => Failover::SyncStandby,
        Some("managed_storage") => Failover::ManagedStorage,
        _ => Failover::Undeclared,
    }
}

/// Where durable state is, in words.
pub(super) fn place(settings: &Settings) -> String {
    match settings.text(&DATABASE) {
        Some(url) if is_postgres(url) => without_password(url),
        _ => master::data_dir(settings).display().to_string(),
    }
}

/// Whether the settings name a data directory.
pub(super) fn is_directory(settings: &Settings) -> bool {
    !settings.text(&DATABASE).is_some_and(is_postgres)
}

/// Refuses what can be done to a data directory alone.
pub(super) fn directory(settings: &Settings, instead: &str) -> anyhow::Result<PathBuf> {
    if is_directory(settings) {
        return Ok(master::data_dir(settings));
    }
    anyhow::bail!("this is for data in a directory, and `database` names PostgreSQL: {instead}")
}

//! Opening a database: whether it is one that can be used, and by this program.

use super::connect::{Connector, Purpose};
use super::link::Link;
use super::migrate;
use super::url::Address;
use crate::{Migrated, StoreError};

/// The oldest server that is good enough, as it counts its versions.
const SERVER_MIN: i32 = 150_000;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL does not say what it must.
    #[error("the database's URL cannot be used: {0}")]
    Url(String),
    /// Nobody answers there, or we are not let in.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It only repeats what another server says.
    #[error("the database is a read-only standby: name its primary")]
    Standby,
    /// It was promoted or restored since this process began.
    #[error(
        "the database is on another timeline than when this process began: another server took over, or a backup"
    )]
    OtherTimeline,
    /// Older than what Keywright is tested with.
    #[error("the database is PostgreSQL {0}, and Keywright needs 15 or newer")]
    TooOld(String),
    /// Texts are kept in another encoding.
    #[error(
        "the database keeps texts in {0}, and Keywright needs UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// What is acknowledged would not be durable.
    #[error(
        "synchronous_commit is off for this role or database: acknowledged writes could be lost. Switch it on"
    )]
    NotDurable,
    /// A newer program has migrated it.
    #[error(
        "the database was written by a newer keywright (schema {found}, this one knows {known}): \
         install that version again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database's schema.
        found: usize,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// There are tables in it, but not ours.
    #[error(
        "the schema {0} of the database holds tables of another program: give Keywright a database of its own"
    )]
    NotOurs(String),
    /// A copy into it was broken off.
    #[error(
        "the database is half a copy of an installation: run `keywright copy` from the same source again to finish it, or \
         make the database anew (DROP DATABASE, CREATE DATABASE)"
    )]
    HalfCopied,
    /// What takes over for the server is not what was declared.
    #[error("{0}")]
    Failover(&'static str),
    /// Already initialised, or not yet.
    #[error("{0}")]
    State(&'static str),
    /// The database refuses, or a stored value does not read back.
    #[error("the database cannot be opened")]
    Store(#[from] StoreError),
}

/// Connects, makes sure that the database can be used, and brings its schema up to this program's.
pub(super) async fn open(url: &str) -> Result<(Connector, Link), OpenError> {
    let (connector, link, _) = open_and_migrate(url).await?;
    Ok((connector, link))
}

/// The same, and says from which step of the schema to which it was brought.
pub(super) async fn open_and_migrate(url: &str) -> Result<(Connector, Link, Migrated), OpenError> {
    let (connector, link, migrated) = connect(url).await?;
    if migrate::is_half_copied(&link).await? {
        return Err(OpenError::HalfCopied);
    }
    Ok((connector, link, migrated))
}

/// For whoever makes a whole copy of it.
pub(super) async fn open_even_half_copied(url: &str) -> Result<Link, OpenError> {
    let (_, link, _) = connect(url).await?;
    Ok(link)
}

async fn connect(url: &str) -> Result<(Connector, Link, Migrated), OpenError> {
    let connector = Connector::new(Address::parse(url)?);
    let link = connector.open(Purpose::Schema, None).await?;
    check_server(&link).await?;
    let migrated = migrate::migrate(&link).await?;
    Ok((connector, link, migrated))
}

async fn check_server(link: &Link) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
               pg_encoding_to_char(encoding), current_setting('synchronous_commit'), current_setting('fsync') \
               FROM pg_database WHERE datname = current_database()";
    let row = link.client().query_one(sql, &[]).await?;
    if row.try_get::<_, i32>(0)? < SERVER_MIN {
        return Err(OpenError::TooOld(row.try_get(1)?));
    }
    let encoding: String = row.try_get(2)?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    if row.try_get::<_, &str>(3)? == "off" {
        return Err(OpenError::NotDurable);
    }
    if row.try_get::<_, &str>(4)? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: a power failure can lose or damage everything");
    }
    Ok(())
}

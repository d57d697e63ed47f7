//! Connections to the server: how they are opened, what they are told at once, and what the server says besides answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Config, Connection, NoTls, Notification};

use super::link::Link;
use super::open::OpenError;
use super::timeline::Timeline;
use super::url::{Address, Tls};
use crate::StoreError;

/// How long making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before a connection counts as lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(8);
/// After how long without traffic a connection is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// How many notifications wait for a listener; what is more is dropped, and the listener looks by itself.
const NOTIFICATIONS_MAX: usize = 256;

/// What a connection is for, which sets how long one of its statements may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Short reads and writes.
    Statements,
    /// One read of everything.
    LongRead,
    /// Changes of the schema.
    Schema,
    /// Waiting for notifications.
    Listen,
    /// Who verifies: leases and fences.
    Members,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Statements => "keywright",
            Self::LongRead => "keywright long read",
            Self::Schema => "keywright schema",
            Self::Listen => "keywright listen",
            Self::Members => "keywright members",
        }
    }

    /// The server's own bounds, in milliseconds: for a statement, and for waiting for a lock.
    const fn bounds(self) -> (u32, u32) {
        match self {
            Self::Statements | Self::Listen | Self::Members => (8_000, 5_000),
            Self::LongRead => (1_800_000, 10_000),
            Self::Schema => (600_000, 60_000),
        }
    }

    /// After how many milliseconds without a statement the server ends an open transaction: between the statements of a
    /// write only this process's own work lies, and while it holds the newest revision every other writer waits for it.
    const fn idle_ms(self) -> u32 {
        match self {
            Self::Statements | Self::Listen | Self::Members => 2_000,
            Self::LongRead | Self::Schema => self.bounds().0,
        }
    }

    /// How long this side waits for an answer: longer than the server's own bound, for when it is the network that is gone.
    pub(super) const fn patience(self) -> Duration {
        Duration::from_millis(self.bounds().0 as u64 + 2_000)
    }
}

/// Opens connections to the database, all alike.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    address: Arc<Address>,
    timeline: Timeline,
}

impl Connector {
    pub(super) fn new(address: Address) -> Self {
        Self { address: Arc::new(address), timeline: Timeline::default() }
    }

    /// The same database, whatever its history is.
    pub(super) fn of_any_timeline(&self) -> Self {
        Self { address: Arc::clone(&self.address), timeline: Timeline::default() }
    }

    /// The history that every connection must be part of.
    pub(super) const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// A new connection that nobody else uses.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Link, StoreError> {
        Ok(self.open(purpose, None).await?)
    }

    /// A new connection, and what is notified on it.
    pub(crate) async fn listen(
        &self,
        purpose: Purpose,
    ) -> Result<(Link, mpsc::Receiver<Notification>), StoreError> {
        let (send, receive) = mpsc::channel(NOTIFICATIONS_MAX);
        Ok((self.open(purpose, Some(send)).await?, receive))
    }

    /// As [`Self::connect`], with a reason that an operator can act on.
    pub(super) async fn open(
        &self,
        purpose: Purpose,
        notifications: Option<mpsc::Sender<Notification>>,
    ) -> Result<Link, OpenError> {
        let config = self.config(purpose);
        let connecting = async {
            let heard = Heard { warnings: Arc::default(), notifications };
            let warnings = Arc::clone(&heard.warnings);
            let (client, driver) = match &self.address.tls {
                Tls::Off => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, tokio::spawn(drive(connection, heard)))
                }
                Tls::On(tls) => {
                    let (client, connection) = config.connect(tls.clone()).await?;
                    (client, tokio::spawn(drive(connection, heard)))
                }
            };
            let link = Link::new(client, driver, warnings, purpose.patience());
            refuse_standby(&link).await?;
            self.timeline.check(&link).await?;
            Ok(link)
        };
        match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(OpenError::Unreachable("no answer in time".into())),
        }
    }

    fn config(&self, purpose: Purpose) -> Config {
        let mut config = self.address.config.clone();
        let (statement_ms, lock_ms) = purpose.bounds();
        let idle_ms = purpose.idle_ms();
        let own = format!(
            "-c statement_timeout={statement_ms} -c lock_timeout={lock_ms} \
             -c idle_in_transaction_session_timeout={idle_ms} -c client_min_messages=warning \
             -c default_transaction_isolation=read\\ committed"
        );
        // What the operator set comes first, so that these hold.
        let options = config.get_options().map_or_else(|| own.clone(), |theirs| format!("{theirs} {own}"));
        config.options(options).application_name(purpose.name()).connect_timeout(CONNECT_MAX);
        config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE).tcp_user_timeout(UNACKNOWLEDGED_MAX);
        config
    }
}

/// Only a primary is written to, and only what it says is the newest.
async fn refuse_standby(link: &Link) -> Result<(), OpenError> {
    let row = link.client().query_one("SELECT pg_is_in_recovery()", &[]).await?;
    let standby: bool = row.try_get(0)?;
    if standby { Err(OpenError::Standby) } else { Ok(()) }
}

/// What the server says besides answers.
struct Heard {
    warnings: Arc<AtomicU64>,
    notifications: Option<mpsc::Sender<Notification>>,
}

impl Heard {
    fn take(&self, message: AsyncMessage) {
        match message {
            AsyncMessage::Notice(notice) => self.notice(&notice),
            AsyncMessage::Notification(notification) => {
                // A full queue loses one, and the listener looks by itself soon.
                let _taken = self.notifications.as_ref().map(|send| send.try_send(notification));
            }
            _ => {}
        }
    }

    fn notice(&self, notice: &DbError) {
        let warning = notice.parsed_severity() == Some(tokio_postgres::error::Severity::Warning);
        if warning {
            // Counted before the answer behind it is handed on: whoever reads that answer sees the count.
            self.warnings.fetch_add(1, Ordering::Release);
        }
        tracing::warn!(code = notice.code().code(), notice = notice.message(), "PostgreSQL gave notice");
    }
}

/// Moves bytes until the connection ends.
async fn drive<S, T>(mut connection: Connection<S, T>, heard: Heard)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(message)) => heard.take(message),
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to PostgreSQL ended");
                return;
            }
            None => return,
        }
    }
}

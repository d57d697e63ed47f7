//! A link between a store and its database that can go wrong: it swallows everything, or loses exactly the answer to `COMMIT`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::postgres::Database;

const CHUNK_BYTES: usize = 64 * 1024;
/// As it is sent, and as the server says that it is done.
const COMMIT: &[u8] = b"COMMIT\0";
/// Said by the connection that writes nouns, before its `COMMIT`. Others commit too: reads, shares of limits.
const OF_A_WRITE: &[u8] = b"INSERT INTO feed";

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Everything.
    All,
    /// Nothing, and nobody is told: as behind a cut cable.
    Nothing,
    /// Everything until the next `COMMIT`, whose connection ends before it arrives; then everything.
    NoCommit,
    /// Everything until the next `COMMIT` is done, whose connection ends in place of the answer; then everything.
    NoAnswerToCommit,
    /// The same, and then nothing.
    NoAnswerToCommitThenNothing,
}

/// A link to one database server.
#[derive(Debug)]
pub struct Link {
    port: u16,
    passing: watch::Sender<Passing>,
    acceptor: JoinHandle<()>,
}

impl Link {
    /// Leads to a port of this machine, and lets everything pass.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let passing = watch::Sender::new(Passing::All);
        let acceptor = tokio::spawn(accept(listener, (Ipv4Addr::LOCALHOST, port).into(), passing.clone()));
        Self { port: own, passing, acceptor }
    }

    /// What passes from now on.
    pub fn set(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }

    /// The same database as it is reached through this.
    pub fn through(&self, database: &Database) -> Database {
        let through = |url: &str| {
            let (before, port) = url.rsplit_once(':').expect("a URL has a port");
            let (_, path) = port.split_once('/').expect("a URL has a database");
            format!("{before}:{}/{path}", self.port)
        };
        Database {
            name: database.name.clone(),
            url: through(&database.url),
            admin_url: through(&database.admin_url),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, passing: watch::Sender<Passing>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(relay(client, target, passing.clone()));
    }
}

/// Ends, and with it both connections, when either side has ended.
async fn relay(client: TcpStream, target: SocketAddr, passing: watch::Sender<Passing>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let has_written = AtomicBool::new(false);
    let writes_nouns = || has_written.load(Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &passing, |passing, piece| {
            if contains(piece, OF_A_WRITE) {
                has_written.store(true, Ordering::Relaxed);
            }
            (passing == Passing::NoCommit && writes_nouns()).then_some(Passing::All)
        }) => {}
        () = pump(from_server, to_client, &passing, |passing, _| match passing {
            Passing::NoAnswerToCommit if writes_nouns() => Some(Passing::All),
            Passing::NoAnswerToCommitThenNothing if writes_nouns() => Some(Passing::Nothing),
            _ => None,
        }) => {}
    }
}

/// Hands bytes on. Where `ends` says what is next, a `COMMIT` is swallowed and is the end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passing: &watch::Sender<Passing>,
    ends: impl Fn(Passing, &[u8]) -> Option<Passing>,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let mut now = passing.subscribe();
        let Ok(now) = now.wait_for(|passing| *passing != Passing::Nothing).await.map(|passing| *passing)
        else {
            return;
        };
        let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else { return };
        if let Some(next) = ends(now, piece)
            && contains(piece, COMMIT)
        {
            passing.send_replace(next);
            return;
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

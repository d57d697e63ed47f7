//! Listening: the accept loop over TCP and TLS, with bounds on everything that a client can keep open.
//!
//! hyper is used directly because `axum::serve` has no time-out for headers and no bound on connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::dispatch::HEADER_BYTES_MAX;
use crate::tls;

/// Where a request comes from: an extension of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate to serve TLS with.
    pub tls: Option<TlsFiles>,
    /// Whether plain HTTP may be served to other machines.
    pub plaintext_ok: bool,
    /// The bounds.
    pub bounds: Bounds,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What a client can keep open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long a handshake, and a request's headers, may take; also how long a connection may idle.
    pub header_timeout: Duration,
    /// How many connections there may be at once; more wait to be accepted.
    pub connections_max: usize,
    /// How long open requests may take to finish at the end.
    pub drain_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            connections_max: 10_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// How many requests one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 200;
/// How long to wait after the system refused to accept, which it does when it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why it does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Keys would cross a network in clear.
    #[error(
        "{0} is reached from other machines: give --tls-cert and --tls-key, or --plaintext-ok if something in front of it does TLS"
    )]
    Plaintext(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[from] tls::TlsError),
}

/// A listener that is bound and does not accept yet.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    bounds: Bounds,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// Binds an address.
pub async fn bind(listen: Listen) -> Result<Listener, ListenError> {
    let Listen { address, tls, plaintext_ok, bounds } = listen;
    if tls.is_none() && !plaintext_ok && !address.ip().to_canonical().is_loopback() {
        return Err(ListenError::Plaintext(address));
    }
    let tls = tls.map(|files| tls::acceptor(&files)).transpose()?;
    let failed = |source| ListenError::Bind { address, source };
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    let address = tcp.local_addr().map_err(failed)?;
    Ok(Listener { tcp, tls, address, bounds })
}

impl Listener {
    /// The address, with the port that was taken.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it serves TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `shutdown`, then lets open requests finish, within a time.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()> + Send) {
        let Self { tcp, tls, address: _, bounds } = self;
        let places = Arc::new(Semaphore::new(bounds.connections_max));
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&tcp, &places) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, peer, place)) = accepted else { continue };
            let connection = Connection { peer, router: router.clone(), bounds, place };
            tokio::spawn(connection.serve(stream, tls.clone(), graceful.watcher()));
        }
        drop(tcp);
        if tokio::time::timeout(bounds.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time and are cut off");
        }
    }
}

async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match tcp.accept().await {
        Ok((stream, peer)) => {
            // An answer is one small write; without this it may wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection and its place among those that may be open.
struct Connection {
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let Some(tls) = tls else { return self.serve_http(stream, watcher).await };
        match tokio::time::timeout(self.bounds.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %self.peer, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "a TLS handshake took too long"),
        }
    }

    async fn serve_http<S>(self, stream: S, watcher: hyper_util::server::graceful::Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, router, bounds, place: _place } = self;
        // hyper's own time-out begins with the version's first bytes; one that sends none would stay for ever.
        let patience = Patience::new(bounds.header_timeout);
        let running_out = patience.clone();
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            patience.forget();
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let builder = builder(bounds.header_timeout, running_out.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            biased;
            ended = watcher.watch(connection) => {
                if let Err(error) = ended {
                    tracing::debug!(error, %peer, "a connection ended badly");
                }
            }
            () = running_out.run_out(bounds.header_timeout) => {
                tracing::debug!(%peer, "a connection asked nothing for too long");
            }
        }
    }
}

/// How long a connection may still take to ask something. hyper sets it before each request and would make a timer of the
/// runtime for each; here a connection has one timer, which looks when its time has come whether there is still time.
#[derive(Clone)]
struct Patience(Arc<Ends>);

struct Ends {
    opened: Instant,
    /// In nanoseconds after the opening; [`NEVER`] while a request is being answered.
    after: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Patience {
    fn new(at_first: Duration) -> Self {
        let patience = Self(Arc::new(Ends { opened: Instant::now(), after: AtomicU64::new(NEVER) }));
        patience.set(patience.0.opened + at_first);
        patience
    }

    fn set(&self, end: Instant) {
        let after = end.saturating_duration_since(self.0.opened).as_nanos();
        self.0.after.store(u64::try_from(after).unwrap_or(NEVER), Ordering::Relaxed);
    }

    fn forget(&self) {
        self.0.after.store(NEVER, Ordering::Relaxed);
    }

    fn end(&self) -> Option<Instant> {
        let after = self.0.after.load(Ordering::Relaxed);
        (after != NEVER).then(|| self.0.opened + Duration::from_nanos(after))
    }

    /// Returns when the end is past. An end that is set while this sleeps is `each` after that moment, so none is missed.
    async fn run_out(self, each: Duration) {
        loop {
            let now = Instant::now();
            let end = self.end().unwrap_or(now + each);
            if end <= now {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.set(deadline.into());
        Box::pin(Waiting(self.clone()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }

    fn reset(&self, _waiting: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        self.set(deadline.into());
    }
}

/// What hyper holds while it waits for a request. It never wakes: [`Patience::run_out`] ends the connection.
struct Waiting(Patience);

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.forget();
    }
}

fn builder(header_timeout: Duration, patience: Patience) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(patience)
        .header_read_timeout(header_timeout)
        // A request line and the headers fit; hyper answers 431 to more.
        .max_buf_size(HEADER_BYTES_MAX + 8 * 1024)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX) + 4 * 1024)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(header_timeout))
        .keep_alive_timeout(header_timeout);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_millis(20);

    /// Whether the time runs out within five times what each request has.
    async fn runs_out(patience: &Patience) -> bool {
        tokio::time::timeout(EACH * 5, patience.clone().run_out(EACH)).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_asks_nothing_is_given_up_and_whoever_is_being_answered_is_not() {
        let patience = Patience::new(EACH);
        assert!(runs_out(&patience).await, "nothing was ever asked");
        patience.forget();
        assert!(!runs_out(&patience).await, "a request is being answered");
        let mut waiting = patience.sleep(EACH);
        assert!(runs_out(&patience).await, "no request came after the first");
        patience.reset(&mut waiting, (Instant::now() + EACH * 10).into());
        assert!(!runs_out(&patience).await, "there is more time");
        drop(waiting);
        assert_eq!(patience.end(), None, "a request came");
    }
}

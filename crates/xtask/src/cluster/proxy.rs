//! What stands between a node and its database, or a follower and its node: a TCP relay that can hold, slow or break what
//! passes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 16 * 1024;

/// How bytes go in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Pass,
    /// Nothing passes and nobody is told, as on a cut link. What was sent arrives once it passes again.
    Hold,
    /// Each piece passes so much later.
    Slow(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Gate {
    forth: Flow,
    back: Flow,
    target: SocketAddr,
    /// Grows when every connection is to be broken.
    resets: u64,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Forth,
    Back,
}

/// One process's link.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    gate: watch::Sender<Gate>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr().context("a proxy without an address")?;
        let (gate, gates) = watch::channel(Gate { forth: Flow::Pass, back: Flow::Pass, target, resets: 0 });
        let acceptor = tokio::spawn(accept(listener, gates));
        Ok(Self { address, gate, acceptor })
    }

    /// Where the process finds what it stands on.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How bytes go towards the target, and how they come back.
    pub(crate) fn set(&self, forth: Flow, back: Flow) {
        self.gate.send_modify(|gate| (gate.forth, gate.back) = (forth, back));
    }

    /// Breaks every connection.
    pub(crate) fn reset(&self) {
        self.gate.send_modify(|gate| gate.resets += 1);
    }

    /// Where it leads.
    pub(crate) fn target(&self) -> SocketAddr {
        self.gate.borrow().target
    }

    /// Leads elsewhere from now on, and breaks what led to the one before.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.gate.send_modify(|gate| {
            gate.target = target;
            gate.resets += 1;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, gates: watch::Receiver<Gate>) {
    loop {
        match listener.accept().await {
            Ok((caller, _)) => drop(tokio::spawn(relay(caller, gates.clone()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Ends, and with it both connections, when either side has ended and the other was told, or at a reset.
async fn relay(caller: TcpStream, mut gates: watch::Receiver<Gate>) {
    let begun = *gates.borrow();
    let Ok(target) = TcpStream::connect(begun.target).await else { return };
    // Small messages wait for nothing: the delay is the proxy's to choose.
    let _ = (caller.set_nodelay(true), target.set_nodelay(true));
    let (from_caller, to_caller) = caller.into_split();
    let (from_target, to_target) = target.into_split();
    tokio::select! {
        () = pump(from_caller, to_target, gates.clone(), Direction::Forth) => {}
        () = pump(from_target, to_caller, gates.clone(), Direction::Back) => {}
        _ = gates.wait_for(|gate| gate.resets != begun.resets) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut gates: watch::Receiver<Gate>,
    direction: Direction,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        // The end of a connection is news too, which a cut link does not bring.
        let Some(flow) = let_through(&mut gates, direction).await else { return };
        if let Flow::Slow(by) = flow {
            tokio::time::sleep(by).await;
        }
        let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else { return };
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// Waits until something may pass; `None` when the proxy is gone.
async fn let_through(gates: &mut watch::Receiver<Gate>, direction: Direction) -> Option<Flow> {
    let flow_of = |gate: &Gate| match direction {
        Direction::Forth => gate.forth,
        Direction::Back => gate.back,
    };
    gates.wait_for(|gate| flow_of(gate) != Flow::Hold).await.ok().map(|gate| flow_of(&gate))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const A_WHILE: Duration = Duration::from_millis(100);

    /// A server that says back what it is told, and a proxy before it.
    async fn echo() -> (Proxy, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (Proxy::start(address).await.unwrap(), address)
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) {
        stream.write_all(word).await.unwrap();
    }

    async fn hear(stream: &mut TcpStream) -> [u8; 4] {
        let mut heard = [0; 4];
        timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        heard
    }

    #[tokio::test]
    async fn a_cut_link_says_nothing_and_brings_everything_once_it_is_healed() {
        for (to, from) in [(Flow::Hold, Flow::Pass), (Flow::Pass, Flow::Hold), (Flow::Hold, Flow::Hold)] {
            let (proxy, _) = echo().await;
            let mut node = TcpStream::connect(proxy.address()).await.unwrap();
            say(&mut node, b"one.").await;
            assert_eq!(&hear(&mut node).await, b"one.");
            proxy.set(to, from);
            say(&mut node, b"two.").await;
            let mut heard = [0; 4];
            assert!(timeout(A_WHILE, node.read_exact(&mut heard)).await.is_err(), "{to:?} {from:?}");
            proxy.set(Flow::Pass, Flow::Pass);
            assert_eq!(&hear(&mut node).await, b"two.");
        }
    }

    #[tokio::test]
    async fn a_slow_link_is_slow_both_ways() {
        let (proxy, _) = echo().await;
        let mut node = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Flow::Slow(A_WHILE), Flow::Slow(A_WHILE));
        let begun = tokio::time::Instant::now();
        say(&mut node, b"slow").await;
        assert_eq!(&hear(&mut node).await, b"slow");
        assert!(begun.elapsed() >= 2 * A_WHILE);
    }

    #[tokio::test]
    async fn a_reset_breaks_what_is_open_and_the_next_connection_goes_where_it_is_led() {
        let (proxy, _) = echo().await;
        let (_other, elsewhere) = echo().await;
        let mut node = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut node, b"one.").await;
        assert_eq!(&hear(&mut node).await, b"one.");
        proxy.lead_to(elsewhere);
        let ended = timeout(SOON, node.read(&mut [0; 4])).await.unwrap();
        assert!(ended.map_or(true, |read| read == 0));
        let mut node = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut node, b"two.").await;
        assert_eq!(&hear(&mut node).await, b"two.");
    }
}

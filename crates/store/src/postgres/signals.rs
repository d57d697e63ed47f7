//! What nodes tell each other directly, over UDP: "this is committed", and back "I answer by it".
//!
//! Nothing rests on them but time. Both say what the database says as well, where a commit is notified and read, and a report
//! stands in a row that is looked at; so a datagram may be lost, repeated or late. It is believed because only who holds the
//! installation's audit key can make it, and a repeated one says only what is still so: revisions grow, and each life has an
//! identifier of its own.
//!
//! Invariant: what is believed was said in this node's own history of the data. A server whose standby is cut off may show a
//! commit that the promoted standby has never got: who has applied that has not applied what stands in its place.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keywright_model::id::NodeId;
use keywright_model::revision::Revision;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::audit::AuditKey;
use crate::members::{Report, report_channel};

/// What a datagram begins with.
const MAGIC: &[u8; 4] = b"KWs1";
/// A magic, a kind, a life, a revision, and what vouches for them.
const BODY: usize = 4 + 1 + 16 + 8;
const BYTES: usize = BODY + 32;
/// How many who wait for this node are remembered; the oldest is forgotten, and looks.
const WAITING_MAX: usize = 64;

/// How long nothing is taken after an error.
const RETRY: Duration = Duration::from_millis(50);

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// A revision is committed; whoever sends it waits until this node answers by it.
    Committed(Revision),
    /// A life answers by a revision.
    Applied(NodeId, Revision),
}

/// A node's ear and voice. Cheap to clone; the last handle closes it.
#[derive(Clone, Debug)]
pub struct Signals {
    shared: Arc<Shared>,
    _task: Arc<Listening>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    key: AuditKey,
    /// The history that this node is part of: the timeline, and the life of the data.
    history: String,
    /// Where the other nodes are, as their rows say.
    peers: Mutex<Vec<SocketAddr>>,
    own: Mutex<Own>,
    /// The newest revision that was heard of.
    heard: watch::Sender<Revision>,
    reports: broadcast::Sender<Report>,
    /// How many were believed.
    taken: AtomicU64,
}

/// What this node has said of itself, and who waits for more.
#[derive(Debug, Default)]
struct Own {
    said: Option<(NodeId, Revision)>,
    waiting: Vec<(Revision, SocketAddr)>,
}

#[derive(Debug)]
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Signals {
    /// Takes signals of one history at an address; its port may be 0 for any free one.
    pub async fn bind(address: SocketAddr, key: AuditKey, history: String) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        // What is sent before that is known is dropped.
        socket.writable().await?;
        let shared = Arc::new(Shared {
            socket,
            key,
            history,
            peers: Mutex::default(),
            own: Mutex::default(),
            heard: watch::Sender::default(),
            reports: report_channel(),
            taken: AtomicU64::new(0),
        });
        let task = Arc::new(Listening(tokio::spawn(Arc::clone(&shared).listen())));
        Ok(Self { shared, _task: task })
    }

    /// Where signals are taken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// How many signals of other nodes were taken so far.
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Tells the other nodes of a commit of this one, once it is durable.
    pub(super) fn committed(&self, revision: Revision) {
        let datagram = self.shared.datagram(Signal::Committed(revision));
        for peer in lock(&self.shared.peers).iter() {
            self.shared.send(&datagram, *peer);
        }
    }

    /// Tells whoever waits for it that a life of this node answers by a revision, once it does.
    pub(super) fn applied(&self, id: NodeId, revision: Revision) {
        let told: Vec<SocketAddr> = {
            let mut own = lock(&self.shared.own);
            own.said = Some((id, revision));
            own.waiting.extract_if(.., |(wanted, _)| *wanted <= revision).map(|(_, who)| who).collect()
        };
        // Nobody may be listening, and that is well.
        let _heard = self.shared.reports.send(Some((id, revision)));
        let datagram = self.shared.datagram(Signal::Applied(id, revision));
        for who in told {
            self.shared.send(&datagram, who);
        }
    }

    /// Where the other nodes are from now on.
    pub(super) fn meet(&self, mut peers: Vec<(NodeId, SocketAddr)>) {
        let own = (lock(&self.shared.own).said.map(|(id, _)| id), self.address().ok());
        peers.retain(|(id, at)| Some(*id) != own.0 && Some(*at) != own.1);
        // A socket that takes both kinds of address sends to both by one.
        let both = self.address().is_ok_and(|own| own.is_ipv6());
        let reached = |at: SocketAddr| match at.ip() {
            IpAddr::V4(ip) if both => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
            _ => at,
        };
        *lock(&self.shared.peers) = peers.into_iter().map(|(_, at)| reached(at)).collect();
    }

    /// Hears of commits of other nodes.
    pub(super) fn heard(&self) -> watch::Receiver<Revision> {
        self.shared.heard.subscribe()
    }

    /// Where reports are told, those that come by other ways too.
    pub(super) fn reports(&self) -> broadcast::Sender<Report> {
        self.shared.reports.clone()
    }
}

impl Shared {
    async fn listen(self: Arc<Self>) {
        let mut buffer = [0; BYTES + 1];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    if let Some(signal) = buffer.get(..length).and_then(|datagram| self.read(datagram)) {
                        self.take(signal, from);
                    }
                }
                // What came back of a datagram to a node that is gone.
                Err(error) => {
                    tracing::debug!(%error, "a signal was not taken");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn take(&self, signal: Signal, from: SocketAddr) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        match signal {
            Signal::Committed(revision) => {
                self.heard.send_if_modified(|heard| {
                    let newer = *heard < revision;
                    *heard = (*heard).max(revision);
                    newer
                });
                let mut own = lock(&self.own);
                if let Some((id, applied)) = own.said.filter(|(_, applied)| *applied >= revision) {
                    self.send(&self.datagram(Signal::Applied(id, applied)), from);
                    return;
                }
                if own.waiting.len() >= WAITING_MAX {
                    // One of the same node, where there is one: nobody pushes out the others.
                    let oldest = own.waiting.iter().position(|(_, who)| *who == from).unwrap_or(0);
                    own.waiting.remove(oldest);
                }
                own.waiting.push((revision, from));
            }
            Signal::Applied(id, revision) => {
                let _heard = self.reports.send(Some((id, revision)));
            }
        }
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) {
        // Whoever does not hear it looks.
        if let Err(error) = self.socket.try_send_to(datagram, to) {
            tracing::debug!(%error, "a signal was not sent");
        }
    }

    fn datagram(&self, signal: Signal) -> Vec<u8> {
        let (kind, id, revision) = match signal {
            Signal::Committed(revision) => (1, 0, revision),
            Signal::Applied(id, revision) => (2, id.bits(), revision),
        };
        let mut datagram = [&MAGIC[..], &[kind], &id.to_be_bytes(), &revision.0.to_be_bytes()].concat();
        let mac = self.key.mac("signal", &[self.history.as_bytes(), &datagram]);
        datagram.extend(mac);
        datagram
    }

    fn read(&self, datagram: &[u8]) -> Option<Signal> {
        let (body, mac) = datagram.split_at_checked(BODY)?;
        let ours = datagram.len() == BYTES && body.starts_with(MAGIC);
        if !ours || !self.key.vouches("signal", &[self.history.as_bytes(), body], mac) {
            return None;
        }
        let (head, revision) = body.split_last_chunk()?;
        let (head, id) = head.split_last_chunk()?;
        let revision = Revision(u64::from_be_bytes(*revision));
        match (head.strip_prefix(MAGIC)?, u128::from_be_bytes(*id)) {
            ([1], _) => Some(Signal::Committed(revision)),
            ([2], id) => Some(Signal::Applied(NodeId::from_bits(id), revision)),
            _ => None,
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn node(key: u8) -> Signals {
        node_of(key, "1").await
    }

    async fn node_of(key: u8, history: &str) -> Signals {
        let here = ([127, 0, 0, 1], 0).into();
        Signals::bind(here, AuditKey::new(&[key; 32]), history.to_owned()).await.unwrap()
    }

    fn introduced(writer: &Signals, others: &[&Signals]) {
        let peers = others.iter().enumerate();
        writer.meet(peers.map(|(n, one)| (life(n as u128 + 10), one.address().unwrap())).collect());
    }

    fn life(n: u128) -> NodeId {
        NodeId::from_bits(n)
    }

    async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), awaited).await.unwrap()
    }

    async fn told(reports: &mut broadcast::Receiver<Report>) -> (NodeId, Revision) {
        in_time(reports.recv()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_writer_hears_of_each_node_that_answers_by_its_commit_whichever_comes_first() {
        let (writer, early, late) = (node(1).await, node(1).await, node(1).await);
        introduced(&writer, &[&early, &late]);
        let mut reports = writer.reports().subscribe();
        early.applied(life(10), Revision(7));
        writer.committed(Revision(7));
        assert_eq!(told(&mut reports).await, (life(10), Revision(7)));
        let mut heard = late.heard();
        in_time(heard.wait_for(|heard| *heard == Revision(7))).await.unwrap();
        late.applied(life(11), Revision(6));
        late.applied(life(11), Revision(8));
        assert_eq!(told(&mut reports).await, (life(11), Revision(8)), "6 was not waited for");
    }

    #[tokio::test]
    async fn what_was_not_made_with_the_installations_key_is_not_believed() {
        let (ours, stranger) = (node(1).await, node(2).await);
        let mut heard = ours.heard();
        introduced(&stranger, &[&ours]);
        stranger.committed(Revision(9));
        for length in [0, 1, BODY, BYTES, BYTES + 1, 1_400] {
            let to = ours.address().unwrap();
            stranger.shared.socket.send_to(&vec![b'K'; length], to).await.unwrap();
        }
        let datagram = ours.shared.datagram(Signal::Applied(life(1), Revision(3)));
        for at in 0..BYTES {
            let mut forged = datagram.clone();
            forged[at] ^= 1;
            assert_eq!(ours.shared.read(&forged), None, "{at}");
        }
        assert_eq!(ours.shared.read(&datagram), Some(Signal::Applied(life(1), Revision(3))));
        let friend = node(1).await;
        introduced(&friend, &[&ours]);
        friend.committed(Revision(5));
        in_time(heard.changed()).await.unwrap();
        assert_eq!(*heard.borrow(), Revision(5));
    }

    #[tokio::test]
    async fn a_node_that_listens_everywhere_reaches_one_that_has_an_old_address() {
        let Ok(everywhere) =
            Signals::bind("[::]:0".parse().unwrap(), AuditKey::new(&[1; 32]), "1".to_owned()).await
        else {
            return;
        };
        let old = node(1).await;
        let mut heard = old.heard();
        introduced(&everywhere, &[&old]);
        everywhere.committed(Revision(4));
        in_time(heard.changed()).await.unwrap();
        old.applied(life(5), Revision(4));
        let mut reports = everywhere.reports().subscribe();
        everywhere.committed(Revision(4));
        assert_eq!(told(&mut reports).await, (life(5), Revision(4)));
    }

    #[tokio::test]
    async fn what_was_applied_in_another_history_is_no_report_in_this_one() {
        let (ours, theirs) = (node_of(1, "7.00000002").await, node_of(1, "7.00000001").await);
        let mut reports = ours.reports().subscribe();
        introduced(&ours, &[&theirs]);
        theirs.applied(life(10), Revision(9));
        ours.committed(Revision(8));
        let said = theirs.shared.datagram(Signal::Applied(life(10), Revision(9)));
        theirs.shared.socket.send_to(&said, ours.address().unwrap()).await.unwrap();
        let friend = node_of(1, "7.00000002").await;
        introduced(&ours, &[&friend]);
        friend.applied(life(11), Revision(8));
        ours.committed(Revision(8));
        assert_eq!(told(&mut reports).await, (life(11), Revision(8)));
        assert_eq!((ours.taken(), theirs.taken()), (1, 0));
    }

    #[tokio::test]
    async fn those_who_wait_are_bounded_and_the_newest_are_told() {
        let (writer, node) = (node(1).await, node(1).await);
        let mut reports = writer.reports().subscribe();
        let from = writer.address().unwrap();
        for revision in 1..=WAITING_MAX as u64 + 10 {
            node.shared.take(Signal::Committed(Revision(revision)), from);
        }
        assert_eq!(lock(&node.shared.own).waiting.len(), WAITING_MAX);
        node.applied(life(3), Revision(1_000));
        assert_eq!(told(&mut reports).await, (life(3), Revision(1_000)));
        assert!(lock(&node.shared.own).waiting.is_empty());
    }
}

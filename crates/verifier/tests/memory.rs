//! Publishing, the lease and a verification's reads, in every order in which memory may show them.
//!
//! `lease.rs` and `published.rs` are compiled here as they ship, over loom's atomics in place of the processor's. loom runs
//! each test once for every interleaving and for every value that a load may return under the C11 rules. arc-swap cannot
//! run in it: in its place is a pointer that a load acquires and a store releases, which is the least that arc-swap's own
//! documentation promises (it does both sequentially consistent). So arc-swap's inside is not shown here, nor are the
//! clock and the network between a report and an acknowledgement: a flag that is released and acquired stands for them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![expect(
    clippy::duplicate_mod,
    reason = "once as it ships, and once for each way to break what is below it"
)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

/// A pointer as arc-swap's, by its documentation or weaker.
mod pointer {
    use std::sync::{Arc, Mutex};

    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// What was published, oldest first, and which of it is pointed at. The lock is not loom's: it orders nothing.
    pub(crate) struct Pointer<S, const RELAXED: bool> {
        published: Mutex<Vec<Arc<S>>>,
        newest: AtomicUsize,
    }

    impl<S, const RELAXED: bool> Pointer<S, RELAXED> {
        pub(crate) fn from_pointee(first: S) -> Self {
            Self { published: Mutex::new(vec![Arc::new(first)]), newest: AtomicUsize::new(0) }
        }

        pub(crate) fn load_full(&self) -> Arc<S> {
            let at = self.newest.load(if RELAXED { Ordering::Relaxed } else { Ordering::Acquire });
            Arc::clone(&self.published.lock().unwrap()[at])
        }

        pub(crate) fn load(&self) -> Arc<S> {
            self.load_full()
        }

        pub(crate) fn store(&self, next: Arc<S>) {
            let at = {
                let mut published = self.published.lock().unwrap();
                published.push(next);
                published.len() - 1
            };
            self.newest.store(at, if RELAXED { Ordering::Relaxed } else { Ordering::Release });
        }
    }

    pub(crate) type Guard<T> = T;
}

/// Orders that order nothing, by the names of those that do.
mod nothing {
    use loom::sync::atomic::Ordering as Real;

    pub(crate) struct Ordering;

    #[expect(non_upper_case_globals, reason = "the names of the real ones")]
    impl Ordering {
        pub(crate) const Acquire: Real = Real::Relaxed;
        pub(crate) const Release: Real = Real::Relaxed;
        pub(crate) const AcqRel: Real = Real::Relaxed;
    }
}

/// All that a verifier answers by. loom finds it when it is read before it is there.
struct Index(AtomicU64);

fn index(revision: u64) -> Index {
    Index(AtomicU64::new(revision))
}

/// A node, over one of the modules below.
trait Node: Send + Sync + 'static {
    /// It answers by revision 1, and holds no lease.
    fn loaded() -> Self;
    fn publish(&self, revision: u64);
    fn renew(&self, deadline: u64);
    fn drop_lease(&self);
    /// As it ships: the deadline and the revision.
    fn read(&self) -> (u64, u64);
    /// The other way round.
    fn read_state_first(&self) -> (u64, u64);
}

macro_rules! node {
    ($name:ident, $pointer:ty, $ordering:path) => {
        #[path = "."]
        mod $name {
            mod sync {
                pub(crate) use loom::sync::atomic::AtomicU64;

                pub(crate) use crate::pointer::Guard;
                pub(crate) use $ordering;
                pub(crate) type ArcSwap<S> = $pointer;
            }

            #[path = "../src/lease.rs"]
            #[expect(dead_code, unreachable_pub, reason = "as it ships, where others use more of it")]
            mod lease;
            #[path = "../src/published.rs"]
            #[expect(dead_code, reason = "as it ships, where others use more of it")]
            mod published;

            pub(crate) type ThisNode = published::Published<super::Index>;

            impl super::Node for ThisNode {
                fn loaded() -> Self {
                    Self::new(lease::Lease::none(), super::index(1))
                }

                fn publish(&self, revision: u64) {
                    published::Published::publish(self, super::index(revision));
                }

                fn renew(&self, deadline: u64) {
                    self.lease().renew(deadline, deadline);
                }

                fn drop_lease(&self) {
                    self.lease().drop_now();
                }

                fn read(&self) -> (u64, u64) {
                    let (lease, state) = published::Published::read(self);
                    (lease.valid_until(None), state.0.load(super::Ordering::Relaxed))
                }

                fn read_state_first(&self) -> (u64, u64) {
                    let state = self.newest();
                    (self.lease().read().valid_until(None), state.0.load(super::Ordering::Relaxed))
                }
            }
        }
    };
}

node!(ships, crate::pointer::Pointer<S, false>, loom::sync::atomic::Ordering);
node!(with_a_relaxed_pointer, crate::pointer::Pointer<S, true>, loom::sync::atomic::Ordering);
node!(with_a_relaxed_lease, crate::pointer::Pointer<S, false>, crate::nothing::Ordering);

/// When the first lease ends, and the second.
const FIRST: u64 = 10;
const SECOND: u64 = 30;

/// A node is fenced while a writer waits for its lease, and joins anew with the write before the next lease. A verification
/// that begins once the write is acknowledged answers by it or not at all.
fn fenced_and_back<N: Node>(read: fn(&N) -> (u64, u64)) {
    loom::model(move || {
        let node = Arc::new(N::loaded());
        node.renew(FIRST);
        let clock = Arc::new(AtomicU64::new(FIRST - 1));
        let acknowledged = Arc::new(AtomicBool::new(false));
        let keeper = thread::spawn({
            let node = Arc::clone(&node);
            move || {
                node.drop_lease();
                node.publish(2);
                node.renew(SECOND);
            }
        });
        let verification = thread::spawn({
            let (node, clock, acknowledged) =
                (Arc::clone(&node), Arc::clone(&clock), Arc::clone(&acknowledged));
            move || {
                let after = acknowledged.load(Ordering::Acquire);
                let (deadline, revision) = read(&node);
                if after && clock.load(Ordering::Acquire) < deadline {
                    assert_eq!(revision, 2, "an old answer");
                }
            }
        });
        // The writer has waited until the first lease is over.
        clock.store(FIRST, Ordering::Release);
        acknowledged.store(true, Ordering::Release);
        keeper.join().unwrap();
        verification.join().unwrap();
    });
}

/// A node publishes a write and then reports it, while verifications go on.
fn published_and_reported<N: Node>(publish: fn(&N, &AtomicBool)) {
    loom::model(move || {
        let node = Arc::new(N::loaded());
        node.renew(SECOND);
        let reported = Arc::new(AtomicBool::new(false));
        let follower = thread::spawn({
            let (node, reported) = (Arc::clone(&node), Arc::clone(&reported));
            move || publish(&node, &reported)
        });
        let after = reported.load(Ordering::Acquire);
        let (deadline, revision) = node.read();
        assert_eq!(deadline, SECOND);
        assert!(revision == 2 || (revision == 1 && !after), "an old answer: {revision}");
        follower.join().unwrap();
    });
}

fn publish_then_report<N: Node>(node: &N, reported: &AtomicBool) {
    node.publish(2);
    reported.store(true, Ordering::Release);
}

#[test]
fn a_node_that_was_fenced_and_is_back_answers_by_what_was_acknowledged_meanwhile_or_not_at_all() {
    fenced_and_back::<ships::ThisNode>(Node::read);
}

#[test]
fn what_was_reported_is_what_verifications_read_and_they_read_it_whole() {
    published_and_reported::<ships::ThisNode>(publish_then_report);
}

#[test]
#[should_panic(expected = "an old answer")]
fn reading_the_state_before_the_lease_is_found() {
    fenced_and_back::<ships::ThisNode>(Node::read_state_first);
}

#[test]
#[should_panic(expected = "an old answer")]
fn a_lease_that_orders_nothing_is_found() {
    fenced_and_back::<with_a_relaxed_lease::ThisNode>(Node::read);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_pointer_that_orders_nothing_is_found() {
    published_and_reported::<with_a_relaxed_pointer::ThisNode>(publish_then_report);
}

#[test]
#[should_panic(expected = "an old answer")]
fn reporting_before_publishing_is_found() {
    published_and_reported::<ships::ThisNode>(|node, reported| {
        reported.store(true, Ordering::Release);
        Node::publish(node, 2);
    });
}

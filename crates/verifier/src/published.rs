//! The two things that a verification reads, in the one order in which it may read them.

use std::sync::Arc;

use super::lease::{Lease, LeaseRead};
use super::sync::{ArcSwap, Guard};

/// The right to answer, and what is answered by.
pub(crate) struct Published<S> {
    lease: Lease,
    state: ArcSwap<S>,
}

impl<S> Published<S> {
    pub(crate) fn new(lease: Lease, first: S) -> Self {
        Self { lease, state: ArcSwap::from_pointee(first) }
    }

    /// What one verification goes by.
    ///
    /// The other way round a node that was fenced and has joined anew in between would answer by the state from before
    /// under the lease from after.
    pub(crate) fn read(&self) -> (LeaseRead, Guard<Arc<S>>) {
        // Invariant: the lease is read before the state. A lease that a new life was given comes after what that life
        // has caught up to, so that the state read here holds it.
        let lease = self.lease.read();
        (lease, self.state.load())
    }

    /// The newest state, for whoever answers nothing by it.
    pub(crate) fn newest(&self) -> Guard<Arc<S>> {
        self.state.load()
    }

    /// The same, to build on.
    pub(crate) fn newest_full(&self) -> Arc<S> {
        self.state.load_full()
    }

    /// The next verification answers by this.
    pub(crate) fn publish(&self, next: S) {
        self.state.store(Arc::new(next));
    }

    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
    }
}

//! What a verifying node tells the installation's store about itself. The binary adapts a store to it.

use async_trait::async_trait;
use keywright_model::id::NodeId;
use keywright_model::revision::{Incarnation, Revision};

use crate::source::SourceError;

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease may run on from the moment before the renewal was sent.
    Renewed {
        /// The newest revision then.
        head: Revision,
        /// The life of the data then.
        incarnation: Incarnation,
    },
    /// No lease is given to this life any more.
    Refused,
}

/// A node's row in the store. Each call is durable when it returns, as durable as a write.
#[async_trait]
pub trait Membership: Send + 'static {
    /// Registers a life that nobody waits for yet.
    async fn join(&mut self, id: NodeId) -> Result<(), SourceError>;
    /// Lets writers wait for it from now on, and then, in a snapshot taken after that is committed, reads the newest
    /// revision. `None` when this life was ended meanwhile.
    async fn go_live(&mut self, id: NodeId, applied: Revision) -> Result<Option<Revision>, SourceError>;
    /// Asks for the lease to run on.
    async fn renew(&mut self, id: NodeId) -> Result<Renewal, SourceError>;
    /// Ends a life: it answers nothing any more.
    async fn leave(&mut self, id: NodeId) -> Result<(), SourceError>;
}

/// Where a node says how far it has come. Unlike a renewal this need not be durable.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// Tells those who wait for it at once that a life answers by this revision, where there is a way to; it may be lost.
    /// Whether there is one: then [`Self::report`] may come a little later.
    fn signal(&self, _id: NodeId, _applied: Revision) -> bool {
        false
    }
    /// Says that a life answers by this revision.
    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), SourceError>;
}

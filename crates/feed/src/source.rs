//! Where batches come from. The binary adapts a store to it.

use std::sync::Arc;

use async_trait::async_trait;
use keywright_model::change::{Batch, Change};
use keywright_model::revision::{Incarnation, Revision};
use tokio::sync::broadcast;

/// Everything at one revision, in an order in which an index can take it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The life of the data.
    pub incarnation: Incarnation,
    /// The revision that it shows.
    pub revision: Revision,
    /// Every noun as a change.
    pub changes: Vec<Change>,
}

/// Something was committed. `Some` carries the batch, so that nothing needs to be read; `None` says only "look".
pub type Hint = Option<Arc<Batch>>;

/// A source could not be read. Trying again later may work.
#[derive(Debug, thiserror::Error)]
#[error("the source of changes cannot be read")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where batches come from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Everything at one revision.
    async fn snapshot(&self) -> Result<Snapshot, SourceError>;
    /// The batches after a revision, oldest first, at most `limit`; `None` when they no longer reach back that far.
    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, SourceError>;
    /// Hints, sent after each commit. They may be lost, repeated or out of order.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}

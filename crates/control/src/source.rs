//! A store as the feed sees it.

use std::sync::Arc;

use async_trait::async_trait;
use keywright_feed::{Hint, Snapshot, Source, SourceError};
use keywright_model::change::Batch;
use keywright_model::revision::Revision;
use keywright_store::{Store, StoreError};
use tokio::sync::broadcast;

/// Adapts a store to the feed's [`Source`].
pub struct StoreSource {
    store: Arc<dyn Store>,
}

impl StoreSource {
    /// Follows `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

fn failed(error: StoreError) -> SourceError {
    SourceError(error.into())
}

#[async_trait]
impl Source for StoreSource {
    async fn snapshot(&self) -> Result<Snapshot, SourceError> {
        let keywright_store::Snapshot { incarnation, revision, changes } =
            self.store.snapshot().await.map_err(failed)?;
        Ok(Snapshot { incarnation, revision, changes })
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, SourceError> {
        self.store.batches_after(revision, limit).await.map_err(failed)
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.store.committed()
    }
}

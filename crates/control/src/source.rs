//! A store as the feed sees it.

use std::sync::Arc;

use async_trait::async_trait;
use keywright_feed::{Hint, Snapshot, Source, SourceError};
use keywright_model::change::Batch;
use keywright_model::revision::Revision;
use keywright_store::{Store, StoreError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many hints a slow follower may lag behind before it is told to look for itself.
const HINTS_MAX: usize = 1_024;

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
        let mut committed = self.store.committed();
        let (hints, receiver) = broadcast::channel(HINTS_MAX);
        // Ends with the store, or with the follower.
        tokio::spawn(async move {
            loop {
                let hint = match committed.recv().await {
                    Ok(batch) => Some(batch),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                if hints.send(hint).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

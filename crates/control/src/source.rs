//! A store as the feed sees it: where batches come from, and where a node's row is.

use std::sync::Arc;

use async_trait::async_trait;
use keywright_feed::{Hint, Membership, Renewal, Reports, Snapshot, Source, SourceError};
use keywright_model::change::{Batch, Change};
use keywright_model::id::NodeId;
use keywright_model::revision::Revision;
use keywright_store::{Members, NewMember, Store, StoreError};
use tokio::sync::broadcast;

use crate::Vault;

/// Adapts a store to the feed's [`Source`].
pub struct StoreSource {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
}

impl StoreSource {
    /// Follows `store`. Data keys that other nodes made are taken up into `vault` before the changes that need them.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>) -> Self {
        Self { store, vault }
    }

    async fn take_up_data_keys(&self, changes: impl Iterator<Item = &Change>) -> Result<(), SourceError> {
        let unknown = |change: &Change| matches!(change, Change::KeyspaceChanged(keyspace) if !self.vault.has_data_key(keyspace.id));
        if !changes.into_iter().any(unknown) {
            return Ok(());
        }
        for wrapped in self.store.keyring().await.map_err(failed)? {
            self.vault.adopt(&wrapped).map_err(|error| SourceError(error.into()))?;
        }
        Ok(())
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
        self.take_up_data_keys(changes.iter()).await?;
        Ok(Snapshot { incarnation, revision, changes })
    }

    async fn batches_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Vec<Batch>>, SourceError> {
        let batches = self.store.batches_after(revision, limit).await.map_err(failed)?;
        let changes = batches.iter().flatten().flat_map(|batch| &batch.changes);
        self.take_up_data_keys(changes).await?;
        Ok(batches)
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.store.committed()
    }
}

/// Where a node's row is, as the feed sees it.
pub struct StoreMembership {
    members: Arc<dyn Members>,
    row: NewMember,
}

impl StoreMembership {
    /// Keeps the row of a node that `row` describes; each life of it has an identifier of its own.
    pub fn new(members: Arc<dyn Members>, row: NewMember) -> Self {
        Self { members, row }
    }
}

#[async_trait]
impl Membership for StoreMembership {
    async fn join(&mut self, id: NodeId) -> Result<(), SourceError> {
        self.row.id = id;
        self.members.register(&self.row).await.map_err(failed)
    }

    async fn go_live(&mut self, id: NodeId, applied: Revision) -> Result<Option<Revision>, SourceError> {
        self.members.go_live(id, applied).await.map_err(failed)
    }

    async fn renew(&mut self, id: NodeId) -> Result<Renewal, SourceError> {
        match self.members.renew(id).await.map_err(failed)? {
            keywright_store::Renewal::Renewed { head, incarnation } => {
                Ok(Renewal::Renewed { head, incarnation })
            }
            keywright_store::Renewal::Refused => Ok(Renewal::Refused),
        }
    }

    async fn leave(&mut self, id: NodeId) -> Result<(), SourceError> {
        self.members.bury(id).await.map(|_| ()).map_err(failed)
    }
}

/// Where a node says how far it has come.
pub struct StoreReports(pub Arc<dyn Members>);

#[async_trait]
impl Reports for StoreReports {
    fn signal(&self, id: NodeId, applied: Revision) -> bool {
        self.0.signal(id, applied)
    }

    async fn report(&self, id: NodeId, applied: Revision) -> Result<(), SourceError> {
        self.0.report(id, applied).await.map_err(failed)
    }
}

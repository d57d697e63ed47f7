//! The contract on PostgreSQL, and what only PostgreSQL has.

use std::sync::Arc;

use async_trait::async_trait;
use keywright_testkit::postgres::{Database, shared};

use super::*;
use crate::contract::{Backend, fixture};

/// A database of its own.
pub(super) struct PostgresBackend {
    pub(super) database: Database,
}

pub(super) fn audit_key() -> AuditKey {
    AuditKey::new(&[4; 32])
}

impl PostgresBackend {
    /// Nothing, where there is no PostgreSQL.
    pub(super) fn new() -> Option<Self> {
        Some(Self { database: shared()?.database() })
    }

    pub(super) async fn start(&self) -> Arc<PostgresStore> {
        let database = PostgresDatabase::open(&self.database.url).await.unwrap();
        let entropy = || Arc::new(fixture::Counting::default());
        if database.installation().await.unwrap().is_none() {
            let keyring = [fixture::wrapped("pepper", 1)];
            let made =
                database.initialise(&fixture::installation(), &keyring, &[], &audit_key(), entropy()).await;
            assert_eq!(made.unwrap(), FirstStart::Made);
        }
        database.start(audit_key(), entropy(), None).await.unwrap()
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    async fn open(&self) -> Arc<dyn Store> {
        self.start().await
    }
}

crate::store_contract!(contract, PostgresBackend::new);

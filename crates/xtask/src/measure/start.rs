//! How long a node takes until it answers, with many keys.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

use super::key;
use crate::cluster::Cluster;

/// A start may take this long.
const READY_MAX: Duration = Duration::from_mins(5);

/// A start with many keys, against copying their rows out.
#[derive(Debug, Serialize)]
pub(super) struct Start {
    keys: u32,
    ready_s: f64,
    copy_s: f64,
    ratio: f64,
}

/// Makes so many keys out of one, in SQL, and starts the node anew.
///
/// The copies are in no audit: the node loads rows and reads no audit, which is what is measured.
pub(super) async fn measure(cluster: &Cluster, keys: u32) -> anyhow::Result<Start> {
    let (_, address) = cluster.addresses().first().copied().context("no node")?;
    key(&cluster.rest, address, 0).await?;
    let node = cluster.nodes.first().context("no node")?;
    node.kill().await;
    let database = cluster.database();
    database.query(&copies(keys)).await.context("the keys were not made")?;
    database.query(SECRETS).await.context("the secrets were not made")?;
    database.query("VACUUM ANALYZE").await?;
    let begun = Instant::now();
    for rows in ["COPY (SELECT * FROM keys k JOIN secrets s ON s.key_id = k.id) TO STDOUT"] {
        database.run_to_nowhere(rows).await?;
    }
    let copy_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    node.start(1.0).await?;
    cluster.wait_until_all_answer(READY_MAX).await?;
    let ready_s = begun.elapsed().as_secs_f64();
    Ok(Start { keys, ready_s, copy_s, ratio: ready_s / copy_s })
}

fn copies(keys: u32) -> String {
    format!(
        "INSERT INTO keys SELECT gen_random_uuid(), org_id, keyspace_id, number + copy, kind, NULL, NULL, name, owner_id, \
         enabled, not_before, expires_at, revoked_at, deleted_at, created_at, created_by, updated_at, updated_by, version, \
         body FROM keys, generate_series(1, {keys}) AS copy WHERE number = (SELECT max(number) FROM keys)"
    )
}

/// A secret like the first key's for each key that has none, with a digest of its own.
const SECRETS: &str = "INSERT INTO secrets SELECT k.id, gen_random_uuid(), s.position, s.hint, s.recoverable, s.custom, \
     s.created_at, s.expires_at, sha256(k.id::text::bytea), s.pepper_version, s.hash_sealed, s.secret_sealed, s.argon2, \
     s.last_used_at FROM keys k, (SELECT secrets.* FROM secrets JOIN keys ON keys.id = key_id ORDER BY number DESC LIMIT 1) s \
     WHERE NOT EXISTS (SELECT FROM secrets WHERE key_id = k.id)";

//! Keys by access id: for custom secrets, which are never found by digest, and for signed requests.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use keywright_model::digest::Digest;
use keywright_model::id::SecretId;
use zeroize::Zeroizing;

use crate::table::Record;

const SHARDS: usize = 64;

/// One of a key's secrets, as its access id leads to it.
#[derive(Clone, Debug)]
pub(crate) struct PairSecret {
    pub(crate) id: SecretId,
    pub(crate) record: Record,
    /// Of a generated secret.
    pub(crate) digest: Option<Digest>,
    /// Of a custom one.
    pub(crate) weak: Option<Arc<Weak>>,
    /// The secret itself, where it signs requests.
    pub(crate) signing: Option<Arc<SigningSecret>>,
}

/// A secret in clear, zeroed when the last index that has it is gone.
pub(crate) struct SigningSecret(pub(crate) Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// A custom secret: what proves it slowly, and what proves it fast once it was proven since the start.
pub(crate) struct Weak {
    pub(crate) argon2: Arc<str>,
    /// Under the per-boot key; set once, since one secret is the right one.
    pub(crate) proven: OnceLock<[u8; 32]>,
}

impl std::fmt::Debug for Weak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Weak(..)")
    }
}

type Shard = HashMap<Box<str>, Arc<[PairSecret]>>;

/// All keys that have an access id. A write copies one of 64 shards.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    hasher: RandomState,
    shards: Arc<[Arc<Shard>; SHARDS]>,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: Arc::new(std::array::from_fn(|_| Arc::default())) }
    }
}

impl Pairs {
    fn shard(&self, access_id: &str) -> usize {
        usize::try_from(self.hasher.hash_one(access_id) % SHARDS as u64).unwrap_or_default()
    }

    /// The secrets of the key with this access id, newest first.
    pub(crate) fn secrets(&self, access_id: &str) -> Option<&Arc<[PairSecret]>> {
        self.shards.get(self.shard(access_id))?.get(access_id)
    }

    pub(crate) fn set(&mut self, access_id: &str, secrets: Option<Arc<[PairSecret]>>) {
        let shard = self.shard(access_id);
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(shard).map(Arc::make_mut) else { return };
        match secrets {
            Some(secrets) => shard.insert(access_id.into(), secrets),
            None => shard.remove(access_id),
        };
    }
}

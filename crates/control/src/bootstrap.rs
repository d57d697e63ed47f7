//! What a new installation begins with.

use std::sync::Arc;

use keywright_model::change::{Change, NounRef};
use keywright_model::id::{KeyspaceId, OrgId};
use keywright_model::noun::{Actor, KeyPolicy, Keyspace, KeyspaceSpec, Meta, Org, OrgSpec};
use keywright_model::revision::Incarnation;
use keywright_model::seal::SealingKey;
use keywright_model::secret::{Entropy, Secret};
use keywright_model::time::Timestamp;
use keywright_store::{AuditContext, Commit, Installation, WrappedKey};

use crate::{Vault, VaultError};

/// The name of the organization and of the keyspace that a new installation has.
pub const DEFAULT: &str = "default";

/// What a root key begins with when an operator has not chosen it.
pub const ROOT_PREFIX: &str = "kwroot";

/// How many characters a root key has at least.
pub const ROOT_KEY_CHARACTERS_MIN: usize = 32;

/// What is written when an installation is made.
#[derive(Debug)]
pub struct FirstStart {
    /// The installation itself.
    pub installation: Installation,
    /// Its keyring, wrapped under the master key.
    pub keyring: Vec<WrappedKey>,
    /// The organization and the keyspace `default`, as the first write.
    pub first: Commit,
    /// The root key that was made; printed once.
    pub root_key: Secret,
}

/// Decides what a new installation is. `root_key` is the operator's own, of at least [`ROOT_KEY_CHARACTERS_MIN`] characters.
pub fn first_start(
    master: &SealingKey,
    root_key: Option<Secret>,
    now: Timestamp,
    entropy: &Arc<dyn Entropy>,
) -> Result<FirstStart, VaultError> {
    let mut keyring = Vault::create(master, entropy.as_ref());
    let vault = Vault::open(master.clone(), &keyring, Arc::clone(entropy))?;
    let root_key = root_key.unwrap_or_else(|| Secret::generate(ROOT_PREFIX, entropy.as_ref()));
    let random = || {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    };
    let meta = Meta::new(now, Actor::System);
    let org =
        Org { id: OrgId::new(now.unix_ms(), random()), spec: OrgSpec { name: DEFAULT.to_owned() }, meta };
    let keyspace = Keyspace {
        id: KeyspaceId::new(now.unix_ms(), random()),
        org: org.id,
        spec: KeyspaceSpec {
            name: DEFAULT.to_owned(),
            secret_prefix: "kw".to_owned(),
            recoverable_secrets: false,
            allow_custom_secrets: false,
            require_if_match: false,
            max_staleness_seconds: None,
            key_policy: KeyPolicy::default(),
        },
        meta,
    };
    keyring.push(vault.new_data_key(keyspace.id));
    let mut incarnation = [0; 8];
    entropy.fill(&mut incarnation);
    Ok(FirstStart {
        installation: Installation {
            incarnation: Incarnation(u64::from_le_bytes(incarnation)),
            master_fingerprint: Vault::fingerprint(master),
            root_digest: Some(vault.digest(&root_key)),
            master_exported_at: None,
        },
        keyring,
        first: Commit {
            expect: Vec::new(),
            audit: AuditContext {
                at: now,
                actor: Actor::System,
                org: org.id,
                wire: "bootstrap",
                verb: "installation.create",
                subject: NounRef::Org(org.id),
                address: None,
                request_id: None,
            },
            changes: vec![Change::OrgChanged(org.into()), Change::KeyspaceChanged(keyspace.into())],
            idempotency: None,
            wrapped_keys: Vec::new(),
        },
        root_key,
    })
}

//! The keyring: the pepper, the audit's key and a data key for each keyspace, unwrapped in memory and nowhere else.
//!
//! The master key wraps only these, so that rotating it is a re-wrap. Losing it would end every key.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use argon2::PasswordVerifier as _;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use keywright_model::digest::{Digest, Pepper, SecretHash};
use keywright_model::id::{KeyspaceId, SecretId};
use keywright_model::key::{Key, KeySecret, SecretMaterial};
use keywright_model::seal::{Purpose, SealContext, SealError, Sealed, SealingKey};
use keywright_model::secret::{Entropy, Secret};
use keywright_store::WrappedKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const PEPPER: &str = "pepper";
const AUDIT: &str = "audit";
const REPLAY: &str = "replay";

/// The only version of the pepper so far.
const PEPPER_VERSION: u32 = 1;

/// Holds what seals and digests secrets.
pub struct Vault {
    master: SealingKey,
    /// By purpose and version. Older versions stay, for what they sealed.
    ring: RwLock<BTreeMap<(String, u32), SealingKey>>,
    pepper: Pepper,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// Why a keyring does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The master key is another one than the one that wrapped the keyring.
    #[error("the master key does not open this installation's keyring")]
    WrongMasterKey,
    /// A key that every installation has is not there.
    #[error("the keyring lacks its `{0}` key")]
    Incomplete(&'static str),
}

impl Vault {
    /// Makes the keyring of a new installation.
    pub fn create(master: &SealingKey, entropy: &dyn Entropy) -> Vec<WrappedKey> {
        [PEPPER, AUDIT, REPLAY]
            .iter()
            .map(|purpose| wrap(master, purpose, 1, &SealingKey::generate(entropy), entropy))
            .collect()
    }

    /// Unwraps a keyring.
    pub fn open(
        master: SealingKey,
        keyring: &[WrappedKey],
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let mut ring = BTreeMap::new();
        for wrapped in keyring {
            let key = unwrap(&master, wrapped).map_err(|_| VaultError::WrongMasterKey)?;
            ring.insert((wrapped.purpose.clone(), wrapped.version), key);
        }
        for purpose in [AUDIT, REPLAY] {
            newest(&ring, purpose).ok_or(VaultError::Incomplete(purpose))?;
        }
        let pepper = ring.get(&(PEPPER.to_owned(), PEPPER_VERSION)).ok_or(VaultError::Incomplete(PEPPER))?;
        let pepper = Pepper::new(pepper.as_bytes());
        Ok(Self { master, ring: RwLock::new(ring), pepper, entropy })
    }

    /// The fingerprint by which people tell master keys apart: 16 hex digits.
    pub fn fingerprint(master: &SealingKey) -> String {
        let hash =
            Sha256::new().chain_update(b"keywright master key").chain_update(master.as_bytes()).finalize();
        hex::encode(hash.get(..8).unwrap_or_default())
    }

    /// The keyring wrapped under another master key, every version. This vault goes on with the old one: open another.
    pub fn rewrap(&self, master: &SealingKey) -> Vec<WrappedKey> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let rewrapped = ring
            .iter()
            .map(|((purpose, version), key)| wrap(master, purpose, *version, key, self.entropy.as_ref()));
        rewrapped.collect()
    }

    /// The peppers with their versions, for the verifier.
    pub fn peppers(&self) -> Vec<(u32, Pepper)> {
        vec![(PEPPER_VERSION, self.pepper.clone())]
    }

    /// A hash that nothing matches, with the parameters of real ones: what an unknown access id is compared with.
    pub fn dummy_argon2(&self) -> Option<String> {
        let mut random = [0; 32];
        self.entropy.fill(&mut random);
        self.argon2(&SecretHash::from_bytes(random))
    }

    /// The key of the audit's chain, for the store.
    pub fn audit_key(&self) -> [u8; 32] {
        self.newest(AUDIT).map(|(_, key)| *key.as_bytes()).unwrap_or_default()
    }

    /// What a strong secret is found by.
    pub fn digest(&self, secret: &Secret) -> Digest {
        self.pepper.digest(&SecretHash::of(secret))
    }

    /// A data key for a keyspace that is being made. It counts once its write is committed and it is taken up.
    pub fn new_data_key(&self, keyspace: KeyspaceId) -> WrappedKey {
        let key = SealingKey::generate(self.entropy.as_ref());
        wrap(&self.master, &data_purpose(keyspace), 1, &key, self.entropy.as_ref())
    }

    /// Whether the data key of a keyspace was taken up.
    pub fn has_data_key(&self, keyspace: KeyspaceId) -> bool {
        self.newest(&data_purpose(keyspace)).is_some()
    }

    /// Takes up a key of the ring that was read from the store, or was just committed to it.
    pub fn adopt(&self, wrapped: &WrappedKey) -> Result<(), VaultError> {
        let key = unwrap(&self.master, wrapped).map_err(|_| VaultError::WrongMasterKey)?;
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.entry((wrapped.purpose.clone(), wrapped.version)).or_insert(key);
        Ok(())
    }

    /// What is kept of a secret: its digest, its hash sealed, the secret sealed when `keep`, and for a custom one
    /// Argon2id over the hash in place of the digest. Slow for custom ones: call it off the runtime's threads.
    pub fn protect(
        &self,
        keyspace: KeyspaceId,
        id: SecretId,
        secret: &Secret,
        custom: bool,
        keep: bool,
    ) -> Option<SecretMaterial> {
        let hash = SecretHash::of(secret);
        let seal = |purpose, plain: &[u8]| self.seal(keyspace, id, purpose, plain);
        let argon2 = if custom { Some(self.argon2(&hash)?) } else { None };
        Some(SecretMaterial {
            digest: (!custom).then(|| self.pepper.digest(&hash)),
            pepper_version: PEPPER_VERSION,
            hash_sealed: seal(Purpose::SecretHash, hash.as_bytes())?,
            secret_sealed: if keep { Some(seal(Purpose::Secret, secret.expose().as_bytes())?) } else { None },
            argon2,
        })
    }

    fn argon2(&self, hash: &SecretHash) -> Option<String> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        let phc: PasswordHash =
            argon2::Argon2::default().hash_password_with_salt(hash.as_bytes(), &salt).ok()?;
        Some(phc.to_string())
    }

    /// Whether a weak secret's hash is the one that Argon2id was run over. Slow: call it off the runtime's threads.
    pub fn is_weak_secret(phc: &str, hash: &SecretHash) -> bool {
        let parsed = PasswordHash::new(phc);
        parsed.is_ok_and(|parsed| argon2::Argon2::default().verify_password(hash.as_bytes(), &parsed).is_ok())
    }

    fn seal(&self, keyspace: KeyspaceId, id: SecretId, purpose: Purpose, plain: &[u8]) -> Option<Sealed> {
        let (key_version, key) = self.newest(&data_purpose(keyspace))?;
        let (scope, id) = (keyspace.to_string(), id.to_string());
        Some(key.seal(
            &SealContext { purpose, scope: &scope, id: &id, key_version },
            plain,
            self.entropy.as_ref(),
        ))
    }

    /// A secret in clear, if it was kept.
    pub fn reveal(&self, key: &Key, secret: &KeySecret) -> Option<Secret> {
        let sealed = secret.material.as_ref()?.secret_sealed.as_ref()?;
        let data_key = self.ring_key(&data_purpose(key.keyspace), sealed.key_version)?;
        let (scope, id) = (key.keyspace.to_string(), secret.id.to_string());
        let context =
            SealContext { purpose: Purpose::Secret, scope: &scope, id: &id, key_version: sealed.key_version };
        let plain = data_key.open(&context, sealed).ok()?;
        std::str::from_utf8(&plain).ok().map(Secret::new)
    }

    /// What a follower finds a secret by: its hash under the follower's own key. `None` for a custom secret, which no fast
    /// hash may stand for, and for one that was let go.
    pub fn digest_under(&self, own: &Pepper, key: &Key, secret: &KeySecret) -> Option<Digest> {
        let material = secret.material.as_ref()?;
        material.digest?;
        let sealed = &material.hash_sealed;
        let data_key = self.ring_key(&data_purpose(key.keyspace), sealed.key_version)?;
        let (scope, id) = (key.keyspace.to_string(), secret.id.to_string());
        let (purpose, key_version) = (Purpose::SecretHash, sealed.key_version);
        let plain =
            data_key.open(&SealContext { purpose, scope: &scope, id: &id, key_version }, sealed).ok()?;
        let hash: [u8; 32] = plain.as_slice().try_into().ok()?;
        Some(own.digest(&SecretHash::from_bytes(hash)))
    }

    /// Seals a secret for the replay of the call that made it.
    pub fn seal_replay(&self, scope: &[u8; 32], secret: &Secret) -> Option<Sealed> {
        let (key_version, key) = self.newest(REPLAY)?;
        let id = hex::encode(scope);
        let context = SealContext { purpose: Purpose::Replay, scope: REPLAY, id: &id, key_version };
        Some(key.seal(&context, secret.expose().as_bytes(), self.entropy.as_ref()))
    }

    /// Opens what [`Self::seal_replay`] made.
    pub fn open_replay(&self, scope: &[u8; 32], sealed: &Sealed) -> Option<Secret> {
        let key = self.ring_key(REPLAY, sealed.key_version)?;
        let id = hex::encode(scope);
        let context =
            SealContext { purpose: Purpose::Replay, scope: REPLAY, id: &id, key_version: sealed.key_version };
        let plain = key.open(&context, sealed).ok()?;
        std::str::from_utf8(&plain).ok().map(Secret::new)
    }

    fn newest(&self, purpose: &str) -> Option<(u32, SealingKey)> {
        newest(&self.ring.read().unwrap_or_else(PoisonError::into_inner), purpose)
    }

    fn ring_key(&self, purpose: &str, version: u32) -> Option<SealingKey> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.get(&(purpose.to_owned(), version)).cloned()
    }
}

fn newest(ring: &BTreeMap<(String, u32), SealingKey>, purpose: &str) -> Option<(u32, SealingKey)> {
    let versions = (purpose.to_owned(), 0)..=(purpose.to_owned(), u32::MAX);
    ring.range(versions).next_back().map(|((_, version), key)| (*version, key.clone()))
}

fn data_purpose(keyspace: KeyspaceId) -> String {
    format!("data:{keyspace}")
}

fn wrap(
    master: &SealingKey,
    purpose: &str,
    version: u32,
    key: &SealingKey,
    entropy: &dyn Entropy,
) -> WrappedKey {
    let wrapped = master.seal(&keyring_context(purpose, version), key.as_bytes(), entropy);
    WrappedKey { purpose: purpose.to_owned(), version, wrapped }
}

fn unwrap(master: &SealingKey, wrapped: &WrappedKey) -> Result<SealingKey, SealError> {
    let plain: Zeroizing<Vec<u8>> =
        master.open(&keyring_context(&wrapped.purpose, wrapped.version), &wrapped.wrapped)?;
    let bytes: [u8; 32] = plain.as_slice().try_into().map_err(|_| SealError)?;
    Ok(SealingKey::from_bytes(bytes))
}

const fn keyring_context(purpose: &str, version: u32) -> SealContext<'_> {
    SealContext { purpose: Purpose::Keyring, scope: "keyring", id: purpose, key_version: version }
}

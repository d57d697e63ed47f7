//! The keyring: another master key, sealed values, and what is only good for one place.

use std::sync::Arc;

use keywright_control::{NounKind, Vault, VaultError};
use keywright_model::id::{KeyspaceId, SecretId};
use keywright_model::key::Key;
use keywright_model::seal::SealingKey;
use keywright_model::secret::Secret;
use keywright_store::{InstallationChange, Store as _, WrappedKey};
use keywright_testkit::{SeededEntropy, TestNode};
use serde_json::json;

use crate::setup::{by_id, create, noun, secret_of, update_noun};

fn master(byte: u8) -> SealingKey {
    SealingKey::from_bytes([byte; 32])
}

fn entropy() -> Arc<SeededEntropy> {
    Arc::new(SeededEntropy::new(5))
}

fn open(with: u8, keyring: &[WrappedKey]) -> Result<Vault, VaultError> {
    Vault::open(master(with), keyring, entropy())
}

/// A vault with a data key for one keyspace.
fn with_data_key() -> (Vault, KeyspaceId, Vec<WrappedKey>) {
    let keyspace = KeyspaceId::new(1, 1);
    let mut keyring = Vault::create(&master(1), &*entropy());
    keyring.push(open(1, &keyring).unwrap().new_data_key(keyspace));
    (open(1, &keyring).unwrap(), keyspace, keyring)
}

#[test]
fn a_keyring_opens_with_its_own_master_key_and_whole_only() {
    let (_, _, keyring) = with_data_key();
    assert_eq!(open(2, &keyring).err(), Some(VaultError::WrongMasterKey));
    for missing in ["pepper", "audit", "replay"] {
        let rest: Vec<WrappedKey> = keyring.iter().filter(|key| key.purpose != missing).cloned().collect();
        assert!(matches!(open(1, &rest), Err(VaultError::Incomplete(purpose)) if purpose == missing));
    }
    // A key of the ring that was put in another's place, or that was given another version, does not open.
    for changed in [
        WrappedKey { purpose: "audit".to_owned(), ..keyring[0].clone() },
        WrappedKey { version: 2, ..keyring[0].clone() },
    ] {
        assert_eq!(open(1, &[&keyring[1..], &[changed]].concat()).err(), Some(VaultError::WrongMasterKey));
    }
    assert_ne!(Vault::fingerprint(&master(1)), Vault::fingerprint(&master(2)));
    assert_eq!(Vault::fingerprint(&master(1)).len(), 16);
}

#[test]
fn a_rewrapped_keyring_holds_the_same_keys_under_the_other_master_key() {
    let (vault, keyspace, _) = with_data_key();
    let rewrapped = vault.rewrap(&master(2));
    assert_eq!(open(1, &rewrapped).err(), Some(VaultError::WrongMasterKey));
    let other = open(2, &rewrapped).unwrap();
    let secret = Secret::new("a secret");
    assert_eq!(other.digest(&secret), vault.digest(&secret));
    assert_eq!(other.audit_key(), vault.audit_key());
    let sealed = vault.seal_replay(&[7; 32], &secret).unwrap();
    assert_eq!(other.open_replay(&[7; 32], &sealed).unwrap().expose(), "a secret");
    assert!(vault.open_replay(&[8; 32], &sealed).is_none());
    assert!(other.has_data_key(keyspace) && !other.has_data_key(KeyspaceId::new(1, 2)));
}

#[test]
fn older_versions_of_a_key_stay_in_the_ring() {
    let (vault, _, mut keyring) = with_data_key();
    let sealed = vault.seal_replay(&[7; 32], &Secret::new("a secret")).unwrap();
    // A second version of the key for replays: made as the first was, under its own name.
    let context = keywright_model::seal::SealContext {
        purpose: keywright_model::seal::Purpose::Keyring,
        scope: "keyring",
        id: "replay",
        key_version: 2,
    };
    let wrapped = master(1).seal(&context, &[9; 32], &*entropy());
    keyring.push(WrappedKey { purpose: "replay".to_owned(), version: 2, wrapped });
    let newer = open(1, &keyring).unwrap();
    assert_eq!(newer.seal_replay(&[7; 32], &Secret::new("x")).unwrap().key_version, 2);
    assert_eq!(newer.open_replay(&[7; 32], &sealed).unwrap().expose(), "a secret");
    assert_eq!(newer.rewrap(&master(2)).len(), keyring.len());
}

#[tokio::test]
async fn a_sealed_secret_opens_in_its_own_place_only() {
    let node = TestNode::start().await;
    let root = node.root().await;
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"recoverable_secrets": true}))
        .await
        .unwrap();
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let key = &made.value.record.key;
    let secret = &key.secrets[0];
    assert_eq!(node.vault.reveal(key, secret).unwrap().expose(), secret_of(&made));
    let mut moved = secret.clone();
    moved.id = SecretId::new(1, 1);
    assert!(node.vault.reveal(key, &moved).is_none());
    let elsewhere = Key { keyspace: KeyspaceId::new(1, 1), ..Key::clone(key) };
    assert!(node.vault.reveal(&elsewhere, secret).is_none());
}

#[tokio::test]
async fn a_new_keyspaces_data_key_is_there_for_its_first_key_and_after_a_restart() {
    let node = TestNode::start().await;
    let root = node.root().await;
    let body = json!({"name": "live", "recoverable_secrets": true});
    noun(&node, &root, NounKind::Keyspace, body).await.unwrap();
    let made = create(&node, &root, json!({"name": "k", "keyspace": "live"})).await.unwrap();
    let id = made.value.record.key.secrets[0].id;
    let node = node.restarted(3).await;
    let shown = node.control.reveal_secret(&node.root().await, &by_id(&made.value), id).await.unwrap();
    assert_eq!(shown.expose(), secret_of(&made));
}

#[tokio::test]
async fn another_master_key_is_a_rewrap_and_every_key_goes_on() {
    let node = TestNode::start().await;
    let root = node.root().await;
    update_noun(&node, &root, (NounKind::Keyspace, "default"), json!({"recoverable_secrets": true}))
        .await
        .unwrap();
    let made = create(&node, &root, json!({"name": "k"})).await.unwrap();
    let key = Arc::clone(&made.value.record.key);
    let keyring = node.vault.rewrap(&master(9));
    let change = InstallationChange::Rewrap { keyring, master_fingerprint: Vault::fingerprint(&master(9)) };
    node.store.reconfigure(change).await.unwrap();
    let stored = node.store.keyring().await.unwrap();
    assert_eq!(open(7, &stored).err(), Some(VaultError::WrongMasterKey));
    let vault = open(9, &stored).unwrap();
    assert_eq!(vault.reveal(&key, &key.secrets[0]).unwrap().expose(), secret_of(&made));
    assert_eq!(
        vault.digest(&Secret::new(secret_of(&made))),
        node.vault.digest(&Secret::new(secret_of(&made)))
    );
    assert_eq!(node.store.installation().await.unwrap().master_fingerprint, Vault::fingerprint(&master(9)));
    // A ring that lacks a key that was made meanwhile is refused: what it sealed would be lost.
    let short = InstallationChange::Rewrap {
        keyring: vault.rewrap(&master(8))[1..].to_vec(),
        master_fingerprint: String::new(),
    };
    assert!(node.store.reconfigure(short).await.is_err());
}

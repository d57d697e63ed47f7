//! `keywright master-key …`: taking the master key out, encrypted to somebody, and making another one.

use std::path::Path;

use anyhow::{Context as _, bail};
use keywright_control::Vault;
use keywright_model::seal::SealingKey;
use keywright_store::InstallationChange;
use serde_json::json;

use super::data::Data;
use super::door::Started;
use super::master::{self, Place};
use crate::ambient::{SystemEntropy, now};
use crate::cli::data::MasterKeyCommand;
use crate::commands::{Outcome, Session};

/// Exports or rotates the master key.
pub(crate) async fn master_key(session: &Session, command: &MasterKeyCommand) -> anyhow::Result<Outcome> {
    match command {
        MasterKeyCommand::Export { to, out } => export(session, to, out.as_deref()).await,
        MasterKeyCommand::Rotate { out } => rotate(session, out.as_deref()).await,
    }
}

async fn export(session: &Session, recipient: &str, out: Option<&Path>) -> anyhow::Result<Outcome> {
    let data = Data::open(&session.settings).await?;
    let fingerprint = data.master.fingerprint();
    let armored = encrypt(recipient, &data.master.key)?;
    match out {
        Some(path) => master::write_private(path, &armored)?,
        None if session.output.json => {
            session.output.say_json(&json!({"master_fingerprint": fingerprint, "age": armored}));
        }
        None => session.output.say(armored.trim_end()),
    }
    // Only what is out counts as exported.
    let (started, _, _) = data.start(None).await?;
    started.store.reconfigure(InstallationChange::MasterExported(now())).await?;
    session.output.note(&format!("exported the master key {fingerprint}; keep it, and the identity that opens it, apart from the server"));
    Ok(Outcome::Done)
}

/// An age file in its armored form, holding the 64 hex digits.
fn encrypt(recipient: &str, key: &SealingKey) -> anyhow::Result<String> {
    let recipient: age::x25519::Recipient = recipient.parse().map_err(|what: &str| {
        anyhow::anyhow!(
            "`{recipient}` is no age recipient ({what}): it looks like age1…, and `age-keygen` makes one"
        )
    })?;
    age::encrypt_and_armor(&recipient, master::text(key).as_bytes())
        .context("the master key cannot be encrypted")
}

async fn rotate(session: &Session, out: Option<&Path>) -> anyhow::Result<Outcome> {
    let data = Data::open(&session.settings).await?;
    let (old, directory) = (data.master.clone(), data.directory.clone());
    let new = SealingKey::generate(&SystemEntropy);
    let fingerprint = Vault::fingerprint(&new);
    // The new key is durable before anything is wrapped under it, and the old one stays until that is committed.
    match (&old.place, out) {
        (Place::Beside(_), None) => master::prepare_next(&directory, &new)?,
        (Place::Setting | Place::Named(_), Some(path)) => master::write_new(path, &new)?,
        (Place::Beside(path), Some(_)) => {
            bail!("--out is for a master key that is kept elsewhere; this one is in {}", path.display())
        }
        (place, None) => bail!(
            "the master key comes from {place}, which this command cannot change: say --out FILE, and put what it writes there"
        ),
    }
    let (started, vault, _) = data.start(None).await?;
    refuse_beside_nodes(&started).await?;
    let store = started.store;
    let keyring = vault.rewrap(&new);
    store
        .reconfigure(InstallationChange::Rewrap { keyring, master_fingerprint: fingerprint.clone() })
        .await?;
    drop(store);
    if let Place::Beside(_) = old.place {
        master::put_in_place(&directory)?;
    }
    if session.output.json {
        session
            .output
            .say_json(&json!({"master_fingerprint": fingerprint, "old_fingerprint": old.fingerprint()}));
    } else {
        session
            .output
            .say(&format!("the master key is now {fingerprint}, in place of {}", old.fingerprint()));
    }
    if let Some(path) = out {
        session.output.warn(&format!(
            "put the key from {} where {} was, then remove the file",
            path.display(),
            old.place
        ));
    }
    session.output.note("older backups still open only with the old one; export the new one with `keywright master-key export`");
    Ok(Outcome::Done)
}

/// A node that runs would go on wrapping new data keys under the old master key, and they would be lost.
async fn refuse_beside_nodes(started: &Started) -> anyhow::Result<()> {
    // No server runs beside a command that holds an embedded store's directory; its rows outlive it.
    if started.lease.is_none() {
        return Ok(());
    }
    // Followers wrap nothing.
    let nodes = started.members.members().await?.iter().filter(|one| one.scope.is_none()).count();
    if nodes == 0 {
        return Ok(());
    }
    bail!(
        "{nodes} nodes run on this database: stop them first, and start them again with the new master key. One that is dead \
         goes with `keywright nodes forget`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn an_export_opens_with_the_identity_and_holds_the_digits() {
        let identity = age::x25519::Identity::generate();
        let armored =
            encrypt(&identity.to_public().to_string(), &SealingKey::from_bytes([0xab; 32])).unwrap();
        assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{armored}");
        let reader = age::armor::ArmoredReader::new(armored.as_bytes());
        let mut opened = String::new();
        let decryptor = age::Decryptor::new(reader).unwrap();
        decryptor
            .decrypt(std::iter::once(&identity as &dyn age::Identity))
            .unwrap()
            .read_to_string(&mut opened)
            .unwrap();
        assert_eq!(opened, format!("{}\n", "ab".repeat(32)));
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        let refused = encrypt("age1nothing", &SealingKey::from_bytes([1; 32])).unwrap_err().to_string();
        assert!(refused.contains("age-keygen"), "{refused}");
    }
}

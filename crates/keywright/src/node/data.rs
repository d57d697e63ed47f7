//! Opening durable state: its installation, its keyring, its master key; and making a new one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use keywright_control::{Vault, bootstrap};
use keywright_model::secret::{Entropy, Secret};
use keywright_store::Installation;
use keywright_store::audit::{AuditKey, AuditReport, Progress};
use keywright_store::sqlite::SqliteReader;

use super::door::{self, Door, Made, Started};
use super::master::{self, Master};
use crate::ambient::{SystemEntropy, now};
use crate::settings::{ROOT_KEY, Settings};

/// Durable state that is open.
#[derive(Debug)]
pub(super) struct Data {
    door: Door,
    pub(super) installation: Installation,
    pub(super) vault: Arc<Vault>,
    pub(super) master: Master,
    /// Where the master key is beside the data.
    pub(super) directory: PathBuf,
    /// The root key that was made with a new installation; `None` when the operator gave one, or later.
    pub(super) new_root_key: Option<Secret>,
    pub(super) is_new: bool,
}

impl Data {
    /// Opens data that holds an installation. A data directory is refused while a server runs on it.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let directory = master::data_dir(settings);
        if door::is_directory(settings) && !directory.join(keywright_store::sqlite::DATABASE).exists() {
            bail!(
                "there is no keywright data in {}: `keywright serve` makes it, --data-dir names another",
                directory.display()
            );
        }
        let door = Door::open(settings).await?;
        let installation = door.installation().await?.with_context(|| {
            format!("{} was never served from: start `keywright serve`", door::place(settings))
        })?;
        Self::existing(settings, door, installation).await
    }

    /// Makes an installation where there is none, or opens the one that is there.
    pub(super) async fn open_or_make(settings: &Settings, mut door: Door) -> anyhow::Result<Self> {
        if let Some(installation) = door.installation().await? {
            return Self::existing_for_root(settings, door, installation).await;
        }
        let directory = master::data_dir(settings);
        // A start that was killed before its database was whole left a master key that nothing is sealed under yet.
        let (master, created) = match master::find(settings)? {
            Some(master) => (master, false),
            None => (master::create(&directory)?, true),
        };
        let entropy = entropy();
        let given = settings.text(&ROOT_KEY).map(Secret::new);
        let made = bootstrap::first_start(&master.key, given.clone(), now(), &entropy)?;
        let vault = Vault::open(master.key.clone(), &made.keyring, Arc::clone(&entropy))?;
        let audit_key = AuditKey::new(&vault.audit_key());
        if let Made::Elsewhere = door.initialise(&made, &audit_key).await? {
            if created {
                // Nothing is sealed under it: the installation is another node's, under another master key.
                master::remove(&master)?;
            }
            let installation =
                door.installation().await?.context("an installation that was just made is gone")?;
            return Self::existing_for_root(settings, door, installation).await;
        }
        let new_root_key = given.is_none().then_some(made.root_key);
        let installation = made.installation;
        Ok(Self { door, installation, vault: Arc::new(vault), master, directory, new_root_key, is_new: true })
    }

    async fn existing_for_root(
        settings: &Settings,
        door: Door,
        installation: Installation,
    ) -> anyhow::Result<Self> {
        let data = Self::existing(settings, door, installation).await?;
        data.compare_root_key(settings)?;
        Ok(data)
    }

    async fn existing(settings: &Settings, door: Door, installation: Installation) -> anyhow::Result<Self> {
        let master = master::find_for(settings, &installation.master_fingerprint)?;
        let vault = Arc::new(Vault::open(master.key.clone(), &door.keyring().await?, entropy())?);
        let directory = master::data_dir(settings);
        Ok(Self { door, installation, vault, master, directory, new_root_key: None, is_new: false })
    }

    /// A root key that is set must be the one in force: whoever sets another believes that it is.
    fn compare_root_key(&self, settings: &Settings) -> anyhow::Result<()> {
        let Some(given) = settings.text(&ROOT_KEY) else { return Ok(()) };
        let given = self.vault.digest(&Secret::new(given));
        match self.installation.root_digest {
            Some(stored) if stored == given => Ok(()),
            Some(_) => bail!(
                "KEYWRIGHT_ROOT_KEY is another root key than the one in force. Leave it out to go on with that one, or run \
                 `keywright root rotate` with it to put it in force"
            ),
            None => bail!(
                "KEYWRIGHT_ROOT_KEY is set, but the root key was disabled. Leave it out, or run `keywright root rotate` with \
                 it to put it in force"
            ),
        }
    }

    /// Compares the whole audit with itself, with the rows and with the feed.
    pub(super) async fn verify_audit(self, progress: Progress<'_>) -> anyhow::Result<AuditReport> {
        let audit_key = AuditKey::new(&self.vault.audit_key());
        self.door.verify_audit(audit_key, progress).await
    }

    /// Starts the store; the rest stays usable. A node takes `signals` of others at an address.
    pub(super) async fn start(
        self,
        signals: Option<SocketAddr>,
    ) -> anyhow::Result<(Started, Arc<Vault>, Installation)> {
        let audit_key = AuditKey::new(&self.vault.audit_key());
        let started = self.door.start(audit_key, self.installation.incarnation, signals).await?;
        Ok((started, self.vault, self.installation))
    }
}

/// The operating system's randomness, shared.
pub(super) fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

/// A data directory that is only read: a server may be running on it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) reader: SqliteReader,
    pub(super) installation: Installation,
}

impl Reading {
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let directory =
            door::directory(settings, "PostgreSQL has tools of its own, see docs/operate/cluster.md")?;
        let reader = SqliteReader::open(&directory)?;
        let installation = reader.installation()?;
        let installation =
            installation.with_context(|| format!("{} was never served from", directory.display()))?;
        Ok(Self { reader, installation })
    }

    /// What the audit is chained under.
    pub(super) fn audit_key(&self, settings: &Settings) -> anyhow::Result<AuditKey> {
        let master = master::find_for(settings, &self.installation.master_fingerprint)?;
        let vault = Vault::open(master.key, &self.reader.keyring()?, entropy())?;
        Ok(AuditKey::new(&vault.audit_key()))
    }
}

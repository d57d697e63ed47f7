//! A whole node without a wire: store, keyring, index, feed and use cases, in a directory of its own.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keywright_control::source::StoreSource;
use keywright_control::{Barrier, Caller, Control, Origin, Parts, REST, Settings, Vault, bootstrap};
use keywright_feed::Follower;
use keywright_model::key::{Key, KeySecret};
use keywright_model::seal::SealingKey;
use keywright_model::secret::{Entropy, Secret};
use keywright_store::audit::AuditKey;
use keywright_store::sqlite::{SqliteFile, SqliteMembers, SqliteStore};
use keywright_store::{Store, Use};
use keywright_verifier::{Lease, Now, Options, Verifier};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::{ManualClock, SeededEntropy, Watched, canary};

/// The root key of every test node. Long enough, and obviously no real one.
pub const ROOT: &str = "root-key-of-the-tests-0123456789abcdef";

/// The history of every test node's database.
pub const HISTORY: &str = "1";

/// A node of a test.
pub struct TestNode {
    /// The use cases.
    pub control: Control,
    /// The index.
    pub verifier: Arc<Verifier>,
    /// The clock that the test sets.
    pub clock: Arc<ManualClock>,
    /// Durable state.
    pub store: Arc<SqliteStore>,
    /// What the use cases take for the store.
    pub watched: Arc<Watched>,
    /// The keyring.
    pub vault: Arc<Vault>,
    follower: Option<Follower>,
    /// Waits for followers that hold a lease.
    waiting: Waiting,
    directory: Arc<Scratch>,
}

impl TestNode {
    /// A new installation.
    pub async fn start() -> Self {
        let directory = TempDir::new().expect("a scratch folder");
        Self::start_in(Arc::new(Scratch(directory)), Arc::new(ManualClock::default()), 1).await
    }

    /// Stops this node and starts one on the same data, with other randomness.
    pub async fn restarted(self, seed: u64) -> Self {
        let (directory, clock) = (Arc::clone(&self.directory), Arc::clone(&self.clock));
        let Self { control, store, watched, follower, waiting, .. } = self;
        drop((control, watched, follower, waiting));
        // The writer's thread holds the directory's lock until the last handle is gone.
        drop(store);
        for _ in 0..200 {
            match SqliteFile::open(directory.0.path()) {
                Ok(file) => {
                    drop(file);
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        Self::start_in(directory, clock, seed).await
    }

    async fn start_in(directory: Arc<Scratch>, clock: Arc<ManualClock>, seed: u64) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let master = SealingKey::from_bytes([7; 32]);
        let mut file = SqliteFile::open(directory.0.path()).expect("the data directory opens");
        if file.installation().expect("the installation reads").is_none() {
            initialise(&mut file, &master, &clock, &entropy);
        }
        let keyring = file.keyring().expect("the keyring reads");
        let vault = Arc::new(Vault::open(master, &keyring, Arc::clone(&entropy)).expect("the keyring opens"));
        let audit_key = AuditKey::new(&vault.audit_key());
        let store = file.start(audit_key, Arc::clone(&entropy)).expect("the store starts");
        let verifier = Arc::new(Verifier::new(options(&vault, &entropy)));
        let shared: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        let source = Arc::new(StoreSource::new(Arc::clone(&shared), Arc::clone(&vault)));
        let follower = Follower::start(source, Arc::clone(&verifier)).await.expect("the index loads");
        let watched = Arc::new(Watched::new(shared));
        let members = SqliteMembers::of(Arc::clone(&store)).await.expect("the members read");
        let (applied, clock_too) = (follower.applied(), Arc::<ManualClock>::clone(&clock));
        let barrier = Barrier::new(Arc::new(members), applied, clock_too);
        let waiting = Waiting(tokio::spawn(barrier.clone().run()));
        let control = Control::new(Parts {
            store: Arc::<Watched>::clone(&watched),
            vault: Arc::clone(&vault),
            barrier,
            clock: Arc::<ManualClock>::clone(&clock),
            entropy,
            history: HISTORY.to_owned(),
            contact: contact(&verifier, &clock),
            settings: Settings { enforce_timeout: Duration::from_secs(3) },
        });
        let follower = Some(follower);
        Self { control, verifier, clock, store, watched, vault, follower, waiting, directory }
    }

    /// Another index of the same data, loaded whole and not followed.
    pub async fn loaded_verifier(&self) -> Verifier {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(77));
        let verifier = Verifier::new(options(&self.vault, &entropy));
        let snapshot = self.store.snapshot().await.expect("a snapshot reads");
        verifier.load(snapshot.changes, snapshot.revision, snapshot.incarnation);
        verifier
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.0.path()
    }

    /// Keeps the index current no longer, as if the feed had stalled.
    #[must_use]
    pub fn stalled(self) -> Self {
        Self { follower: None, ..self }
    }

    /// Writes down which secrets were used, as a serving node does every few seconds.
    pub async fn flush_uses(&self) {
        let mut uses = Vec::new();
        self.verifier
            .drain_uses(&mut |used| uses.push(Use { key: used.key, secret: used.secret, at: used.at }));
        self.control.record_uses(&uses).await.expect("uses are written down");
    }

    /// Whether the index is still kept current.
    pub fn is_following(&self) -> bool {
        self.follower.as_ref().is_some_and(Follower::is_running)
    }

    /// The moment, as the verifier wants it.
    pub fn now(&self) -> Now {
        use keywright_control::Clock as _;
        Now { wall: self.clock.now(), boot_ns: self.clock.boot_ns() }
    }

    /// The root key as a caller.
    pub async fn root(&self) -> Caller {
        self.caller(ROOT).await
    }

    /// Whoever holds this secret, as a caller through REST.
    pub async fn caller(&self, secret: &str) -> Caller {
        self.control.authenticate(secret, None, origin()).await.expect("the caller is known")
    }
}

/// Where the tests' calls come from.
pub fn origin() -> Origin {
    let address: IpAddr = [127, 0, 0, 1].into();
    Origin { wire: REST, address: Some(address), request_id: Some("test".to_owned()) }
}

/// A task that ends with its node, since it holds the store.
struct Waiting(JoinHandle<()>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A data directory that is looked through for leaked secrets before it goes.
struct Scratch(TempDir);

impl Drop for Scratch {
    fn drop(&mut self) {
        let name = self.0.path().file_name().unwrap_or_default().to_string_lossy();
        canary::keep(self.0.path(), &name);
    }
}

fn initialise(
    file: &mut SqliteFile,
    master: &SealingKey,
    clock: &Arc<ManualClock>,
    entropy: &Arc<dyn Entropy>,
) {
    use keywright_control::Clock as _;
    let first =
        bootstrap::first_start(master, Some(Secret::new(ROOT)), clock.now(), entropy).expect("a first start");
    let vault =
        Vault::open(master.clone(), &first.keyring, Arc::clone(entropy)).expect("the new keyring opens");
    let audit_key = AuditKey::new(&vault.audit_key());
    canary::note_secret(ROOT);
    file.initialise(&first.installation, &first.keyring, vec![first.first], &audit_key, Arc::clone(entropy))
        .expect("the installation is made");
}

fn contact(verifier: &Arc<Verifier>, clock: &Arc<ManualClock>) -> keywright_control::Contact {
    use keywright_control::Clock as _;
    let (verifier, clock) = (Arc::clone(verifier), Arc::clone(clock));
    Arc::new(move || Some(verifier.lease().current_age_ns(clock.boot_ns())? / 1_000_000))
}

fn options(vault: &Arc<Vault>, entropy: &Arc<dyn Entropy>) -> Options {
    let mut boot_key = Zeroizing::new([0; 32]);
    entropy.fill(boot_key.as_mut_slice());
    let unsealing = Arc::clone(vault);
    let unseal = move |key: &Key, secret: &KeySecret| {
        key.access_id.as_ref()?;
        let secret = unsealing.reveal(key, secret)?;
        Some(Zeroizing::new(secret.expose().as_bytes().to_vec()))
    };
    Options {
        peppers: vault.peppers(),
        boot_key,
        dummy_argon2: vault.dummy_argon2().expect("Argon2id runs").into(),
        unseal: Box::new(unseal),
        lease: Lease::embedded(),
    }
}

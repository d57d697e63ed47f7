//! Where the master key is: in the environment, in a file that is named, or beside the database.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use keywright_control::Vault;
use keywright_model::seal::SealingKey;
use zeroize::Zeroizing;

use super::door;
use crate::ambient::SystemEntropy;
use crate::settings::{DATA_DIR, MASTER_KEY, MASTER_KEY_FILE, Settings};

/// Beside the database.
pub(super) const FILE: &str = "master.key";
/// What a new master key is called until the keyring is wrapped under it.
const NEXT_FILE: &str = "master.key.next";
/// No file with a master key is longer.
const FILE_BYTES_MAX: u64 = 1_024;

/// Where a master key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `KEYWRIGHT_MASTER_KEY`, or `master-key` in keywright.toml.
    Setting,
    /// The file that `master-key-file` names.
    Named(PathBuf),
    /// `master.key` in the data directory.
    Beside(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting => f.write_str("the setting `master-key`"),
            Self::Named(path) | Self::Beside(path) => path.display().fmt(f),
        }
    }
}

/// A master key and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) key: SealingKey,
    pub(super) place: Place,
}

impl Master {
    pub(super) fn fingerprint(&self) -> String {
        Vault::fingerprint(&self.key)
    }
}

/// The folder that the settings name.
pub(super) fn data_dir(settings: &Settings) -> PathBuf {
    settings.path(&DATA_DIR).unwrap_or_default()
}

/// The master key that the settings lead to; `None` when none is named and none lies beside the database.
pub(super) fn find(settings: &Settings) -> anyhow::Result<Option<Master>> {
    let inline = settings.text(&MASTER_KEY);
    let named = settings.path(&MASTER_KEY_FILE);
    match (inline, named) {
        (Some(_), Some(_)) => bail!("both `master-key` and `master-key-file` are set: set one"),
        (Some(text), None) => {
            Ok(Some(Master { key: parse(text).context("`master-key`")?, place: Place::Setting }))
        }
        (None, Some(path)) => {
            let key = read(&path)?.with_context(|| {
                format!("{}, which `master-key-file` names, is not there", path.display())
            })?;
            Ok(Some(Master { key, place: Place::Named(path) }))
        }
        (None, None) => {
            let path = data_dir(settings).join(FILE);
            Ok(read(&path)?.map(|key| Master { key, place: Place::Beside(path) }))
        }
    }
}

/// The master key for data that is there already, with words for what to do when it is not the one.
pub(super) fn find_for(settings: &Settings, fingerprint: &str) -> anyhow::Result<Master> {
    let (directory, place) = (data_dir(settings), door::place(settings));
    let beside = directory.join(FILE);
    let Some(master) = find(settings)? else {
        bail!(
            "there is no master key, and the data in {} opens only with the one whose fingerprint is {fingerprint}.\n       \
             Put it back as {}, or set KEYWRIGHT_MASTER_KEY or KEYWRIGHT_MASTER_KEY_FILE. If it was exported: \
             `age -d -i IDENTITY master-key.age > {}`",
            place,
            beside.display(),
            beside.display()
        );
    };
    if master.fingerprint() == fingerprint {
        return Ok(master);
    }
    if let Some(next) = finish_rotation(&master, &directory, fingerprint)? {
        return Ok(next);
    }
    bail!(
        "the master key in {} is the wrong one: its fingerprint is {}, and the data in {} opens only with {fingerprint}.\n       \
         Give the right one: {} comes first if it is set, then KEYWRIGHT_MASTER_KEY_FILE, then {}",
        master.place,
        master.fingerprint(),
        place,
        "KEYWRIGHT_MASTER_KEY",
        beside.display()
    )
}

/// A rotation that was killed after the keyring was wrapped anew left the new key under its temporary name.
fn finish_rotation(master: &Master, directory: &Path, fingerprint: &str) -> anyhow::Result<Option<Master>> {
    let Place::Beside(path) = &master.place else { return Ok(None) };
    let next = directory.join(NEXT_FILE);
    match read(&next)? {
        Some(key) if Vault::fingerprint(&key) == fingerprint => {
            put_in_place(directory)?;
            Ok(Some(Master { key, place: Place::Beside(path.clone()) }))
        }
        _ => Ok(None),
    }
}

/// Makes the master key of a new installation beside the database.
pub(super) fn create(directory: &Path) -> anyhow::Result<Master> {
    make_private_folder(directory)?;
    let key = SealingKey::generate(&SystemEntropy);
    let path = directory.join(FILE);
    write_new(&path, &key)?;
    Ok(Master { key, place: Place::Beside(path) })
}

/// Takes back a master key that [`create`] has just made and that nothing is sealed under.
pub(super) fn remove(master: &Master) -> anyhow::Result<()> {
    match &master.place {
        Place::Beside(path) => {
            std::fs::remove_file(path).with_context(|| format!("{} cannot be removed", path.display()))
        }
        Place::Setting | Place::Named(_) => Ok(()),
    }
}

/// Writes the key that will take `master.key`'s place.
pub(super) fn prepare_next(directory: &Path, key: &SealingKey) -> anyhow::Result<()> {
    let path = directory.join(NEXT_FILE);
    // One of a rotation that never came to wrapping anything.
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    write_new(&path, key)
}

/// Gives the prepared key its name.
pub(super) fn put_in_place(directory: &Path) -> anyhow::Result<()> {
    let (next, path) = (directory.join(NEXT_FILE), directory.join(FILE));
    std::fs::rename(&next, &path).with_context(|| format!("{} cannot be put in place", next.display()))?;
    sync_folder(directory)
}

/// A node on PostgreSQL has no data directory until it needs one for this.
fn make_private_folder(directory: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("{} cannot be made", directory.display()))
}

/// Writes a master key to a new file that only its owner can read, durably.
pub(super) fn write_new(path: &Path, key: &SealingKey) -> anyhow::Result<()> {
    write_private(path, &text(key))
}

/// A master key as text: 64 hex digits.
pub(super) fn text(key: &SealingKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(hex::encode(key.as_bytes()));
    text.push('\n');
    text
}

/// Writes a new file that only its owner can read, durably.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("{} cannot be made", path.display()))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("{} cannot be written", path.display()))?;
    sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("{} cannot be written", folder.display()))
}

fn read(path: &Path) -> anyhow::Result<Option<SealingKey>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", path.display())),
    };
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    parse(text.trim()).map(Some).with_context(|| format!("{} holds no master key", path.display()))
}

fn parse(text: &str) -> anyhow::Result<SealingKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    // The error would name the character that is wrong, so it is not passed on.
    hex::decode_to_slice(text, bytes.as_mut_slice())
        .map_err(|_| anyhow::anyhow!("a master key is 64 hex digits"))?;
    Ok(SealingKey::from_bytes(*bytes))
}

/// Whether others than its owner can read a file.
pub(super) fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, load};

    fn settings(directory: &Path, environment: &[(&str, &str)]) -> Settings {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let flags = [("data-dir".to_owned(), vec![directory.display().to_string()])].into();
        load(&Sources { flags, environment, config: None }).unwrap()
    }

    #[test]
    fn the_key_beside_the_database_is_its_owners_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(&settings(folder.path(), &[])).unwrap().is_none());
        let made = create(folder.path()).unwrap();
        let found = find(&settings(folder.path(), &[])).unwrap().unwrap();
        assert_eq!(
            (found.fingerprint(), &found.place),
            (made.fingerprint(), &Place::Beside(folder.path().join(FILE)))
        );
        assert!(!is_open_to_others(&folder.path().join(FILE)));
        assert!(create(folder.path()).is_err());
    }

    #[test]
    fn a_setting_beats_the_file_and_two_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let hex = "ab".repeat(32);
        let found = find(&settings(folder.path(), &[("KEYWRIGHT_MASTER_KEY", &hex)])).unwrap().unwrap();
        assert_eq!((found.place, *found.key.as_bytes()), (Place::Setting, [0xab; 32]));
        let both = [("KEYWRIGHT_MASTER_KEY", hex.as_str()), ("KEYWRIGHT_MASTER_KEY_FILE", "x")];
        assert!(find(&settings(folder.path(), &both)).is_err());
        let missing = find(&settings(folder.path(), &[("KEYWRIGHT_MASTER_KEY_FILE", "no/such/file")]));
        assert!(missing.unwrap_err().to_string().contains("is not there"));
    }

    #[test]
    fn a_missing_or_wrong_key_is_refused_with_both_fingerprints() {
        let folder = tempfile::tempdir().unwrap();
        let missing = find_for(&settings(folder.path(), &[]), "0123456789abcdef").unwrap_err().to_string();
        assert!(missing.contains("0123456789abcdef") && missing.contains("Put it back as"), "{missing}");
        let made = create(folder.path()).unwrap().fingerprint();
        let wrong = find_for(&settings(folder.path(), &[]), "0123456789abcdef").unwrap_err().to_string();
        assert!(wrong.contains("0123456789abcdef") && wrong.contains(&made), "{wrong}");
        assert!(find_for(&settings(folder.path(), &[]), &made).is_ok());
    }

    #[test]
    fn a_killed_rotation_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let next = SealingKey::from_bytes([7; 32]);
        prepare_next(folder.path(), &next).unwrap();
        let fingerprint = Vault::fingerprint(&next);
        for _ in 0..2 {
            assert_eq!(
                find_for(&settings(folder.path(), &[]), &fingerprint).unwrap().fingerprint(),
                fingerprint
            );
        }
        assert!(!folder.path().join(NEXT_FILE).exists());
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "zz-hidden").unwrap();
        let error = format!("{:#}", find(&settings(folder.path(), &[])).unwrap_err());
        assert!(error.contains("64 hex digits") && !error.contains("hidden"), "{error}");
    }
}

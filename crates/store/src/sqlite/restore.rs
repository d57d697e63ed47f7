//! Putting a backup in the place of a data directory's database: a new life of the data, and nothing that was ended
//! since comes back unnoticed.

use std::fs::File;
use std::path::{Path, PathBuf};

use keywright_model::id::{KeyId, SecretId};
use keywright_model::revision::Incarnation;
use keywright_model::time::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::backup::{BackupError, Manifest, check_integrity, checked_manifest, io};
use super::nouns::all;
use super::open::{DATABASE, lock_directory, private_file};
use super::value::{column, count, id, id_column};
use super::{migrate, set_incarnation};

/// What a new database is called until it is whole.
const UNFINISHED: &str = "keywright.db.restoring";

/// Something that is ended now and would verify again after a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revival {
    /// The key.
    pub key: KeyId,
    /// Its name in the backup.
    pub name: String,
    /// What became of it since.
    pub ended: Ended,
}

/// How something was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The key was revoked.
    Revoked,
    /// The key was deleted.
    Deleted,
    /// The key's record is gone.
    Purged,
    /// The key was disabled.
    Disabled,
    /// One of its secrets was rotated out or expired by hand.
    Superseded(SecretId),
}

/// How a restore is to be done.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup's directory.
    pub backup: PathBuf,
    /// The data directory. Its server must not be running.
    pub directory: PathBuf,
    /// The restored data's new life.
    pub incarnation: Incarnation,
    /// What the present database is called afterwards, such as `keywright.db.2027-01-01T00-00-00Z`.
    pub aside: String,
    /// Now.
    pub now: Timestamp,
    /// Whether [`Revival`]s are accepted. The caller has shown them.
    pub revivals: Revivals,
    /// How long a lease is at most, in milliseconds.
    pub lease_ms_max: u64,
}

/// What to do about keys that would be valid again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revivals {
    /// Do not restore.
    Refuse,
    /// Restore all the same.
    Accept,
}

/// Lists what a restore would bring back: live in the backup, ended now. A data directory without a database ends
/// nothing.
pub fn restore_check(backup: &Path, directory: &Path, now: Timestamp) -> Result<Vec<Revival>, BackupError> {
    checked_manifest(backup)?;
    let present = directory.join(DATABASE);
    if !present.exists() {
        return Ok(Vec::new());
    }
    // Read first: it refuses a database of a newer program, and finishes what a killed server left in the log.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&present, flags)?;
    migrate::check(&connection)?;
    let uri = file_uri(&backup.join(DATABASE), "mode=ro&immutable=1");
    connection.execute("ATTACH DATABASE ?1 AS backup", [uri])?;
    let mut found = ended_keys(&connection, now)?;
    found.extend(ended_secrets(&connection, now)?);
    Ok(found)
}

/// A database's file, and how it is opened: `immutable`, where nobody writes to it, without making a log beside it.
fn file_uri(path: &Path, how: &str) -> String {
    let escaped: String = path.to_string_lossy().chars().fold(String::new(), |mut uri, character| {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            other => uri.push(other),
        }
        uri
    });
    format!("file:{escaped}?{how}")
}

/// What of the backup's keys verifies at a moment, as far as the key itself decides.
const LIVE: &str = "b.revoked_at IS NULL AND b.deleted_at IS NULL AND b.enabled = 1 \
     AND (b.expires_at IS NULL OR b.expires_at > ?1)";

fn ended_keys(connection: &Connection, now: Timestamp) -> Result<Vec<Revival>, BackupError> {
    let sql = format!(
        "SELECT b.id, b.name, CASE WHEN k.id IS NULL THEN 0 WHEN k.deleted_at IS NOT NULL THEN 1 \
         WHEN k.revoked_at IS NOT NULL THEN 2 ELSE 3 END \
         FROM backup.keys b LEFT JOIN main.keys k ON k.id = b.id WHERE {LIVE} AND (k.id IS NULL \
         OR k.deleted_at IS NOT NULL OR k.revoked_at IS NOT NULL OR k.enabled = 0 OR k.expires_at <= ?1) ORDER BY b.id"
    );
    let found = all(connection, &sql, [now.unix_ms()], |row| {
        let ended = match column::<i64>(row, 2)? {
            0 => Ended::Purged,
            1 => Ended::Deleted,
            2 => Ended::Revoked,
            _ => Ended::Disabled,
        };
        Ok(Revival { key: KeyId::from_bits(id_column(row, 0)?), name: column(row, 1)?, ended })
    })?;
    Ok(found)
}

fn ended_secrets(connection: &Connection, now: Timestamp) -> Result<Vec<Revival>, BackupError> {
    let sql = format!(
        "SELECT b.id, b.name, o.id FROM backup.secrets o JOIN backup.keys b ON b.id = o.key_id \
         JOIN main.keys k ON k.id = b.id AND k.revoked_at IS NULL AND k.deleted_at IS NULL \
         LEFT JOIN main.secrets s ON s.key_id = o.key_id AND s.id = o.id \
         WHERE {LIVE} AND (o.expires_at IS NULL OR o.expires_at > ?1) \
         AND (s.id IS NULL OR s.expires_at <= ?1) ORDER BY b.id, o.id"
    );
    let found = all(connection, &sql, [now.unix_ms()], |row| {
        let ended = Ended::Superseded(SecretId::from_bits(id_column(row, 2)?));
        Ok(Revival { key: KeyId::from_bits(id_column(row, 0)?), name: column(row, 1)?, ended })
    })?;
    Ok(found)
}

/// What a restore came to.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup's.
    pub manifest: Manifest,
    /// Whether the present database said who may hold a lease. Otherwise the server waits for the longest that there may be.
    pub leases_known: bool,
}

/// Puts a backup in the present database's place, which is kept aside. After a crash at any point one of the two is
/// there, whole.
pub fn restore(wanted: &Restore) -> Result<Restored, BackupError> {
    let _lock = lock_directory(&wanted.directory)?;
    let manifest = checked_manifest(&wanted.backup)?;
    let revivals = restore_check(&wanted.backup, &wanted.directory, wanted.now)?;
    if !revivals.is_empty() && wanted.revivals == Revivals::Refuse {
        return Err(BackupError::WouldRevive(revivals.len()));
    }
    let unfinished = wanted.directory.join(UNFINISHED);
    let leases_known = prepare(wanted, &manifest, &unfinished)?;
    let present = wanted.directory.join(DATABASE);
    let aside = wanted.directory.join(&wanted.aside);
    if present.exists() {
        fold_log(&present)?;
        std::fs::hard_link(&present, &aside).map_err(io(&aside))?;
    } else {
        // The log of a database that was taken away would be played back into the restored one.
        for journal in JOURNALS {
            rename_if_there(&beside(&present, journal), &beside(&aside, journal))?;
        }
    }
    std::fs::rename(&unfinished, &present).map_err(io(&present))?;
    File::open(&wanted.directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io(&wanted.directory))?;
    Ok(Restored { manifest, leases_known })
}

/// What SQLite may leave beside a database whose process was killed.
const JOURNALS: [&str; 3] = ["-wal", "-shm", "-journal"];

fn beside(database: &Path, journal: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(journal);
    path.into()
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), BackupError> {
    if from.exists() { std::fs::rename(from, to).map_err(io(from)) } else { Ok(()) }
}

/// Copies the backup and gives the copy its new life. Says whether it is known who may hold a lease.
fn prepare(wanted: &Restore, manifest: &Manifest, unfinished: &Path) -> Result<bool, BackupError> {
    let database = &wanted.backup.join(DATABASE);
    // Of a restore that was killed, which may have been of another backup.
    let left = JOURNALS.map(|journal| beside(unfinished, journal));
    for path in left.iter().map(PathBuf::as_path).chain([unfinished]).filter(|path| path.exists()) {
        std::fs::remove_file(path).map_err(io(path))?;
    }
    let mut copy = private_file(unfinished)?;
    let copied = File::open(database).and_then(|mut source| std::io::copy(&mut source, &mut copy));
    copied.map_err(io(unfinished))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(unfinished, flags)?;
    check_integrity(&connection)?;
    migrate::migrate(&mut connection)?;
    set_incarnation(&connection, wanted.incarnation)?;
    let leases_known = carry_leases(&connection, wanted, manifest)?;
    connection.close().map_err(|(_, error)| error)?;
    copy.sync_all().map_err(io(unfinished))?;
    Ok(leases_known)
}

/// Has the restored data wait for whoever may still answer by what was before, under a lease that it holds: the present
/// database knows them, if it is what the backup was taken of, and went on from it. Otherwise somebody may, for as long as a
/// lease is at most.
fn carry_leases(connection: &Connection, wanted: &Restore, manifest: &Manifest) -> Result<bool, BackupError> {
    connection.execute("DELETE FROM members", [])?;
    let present = wanted.directory.join(DATABASE);
    let known = present.exists()
        && {
            connection.execute("ATTACH DATABASE ?1 AS present", [file_uri(&present, "mode=ro")])?;
            let went_on = "SELECT count(*) FROM present.installation, present.head WHERE incarnation = ?1 AND revision >= ?2";
            let incarnation = i64::from_ne_bytes(manifest.incarnation.0.to_ne_bytes());
            let asked = params![incarnation, count(manifest.revision.0)];
            connection.query_row(went_on, asked, |row| row.get::<_, bool>(0))?
        };
    if !known {
        let sql = "INSERT INTO members (id, status, lease_ms, address, version, changed_at) \
                   VALUES (?1, 'fenced', ?2, 'whoever held a lease before the restore', '', ?3)";
        let own = id(wanted.incarnation.0.into());
        connection.execute(sql, params![own, count(wanted.lease_ms_max), wanted.now.unix_ms()])?;
        return Ok(false);
    }
    let has_members = "SELECT count(*) FROM present.sqlite_schema WHERE name = 'members'";
    if connection.query_row(has_members, [], |row| row.get::<_, bool>(0))? {
        // What they have applied is of another life of the data, whose revisions say nothing about this one's.
        connection.execute(
            "INSERT INTO members (id, name, scope, status, lease_ms, address, version, changed_at) \
             SELECT id, name, scope, 'fenced', lease_ms, address, version, changed_at FROM present.members \
             WHERE status IN ('live', 'fenced')",
            [],
        )?;
    }
    Ok(true)
}

/// Writes the log back into the database and removes it, so that it cannot be taken for the restored one's.
fn fold_log(present: &Path) -> Result<(), BackupError> {
    let connection = Connection::open_with_flags(present, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

//! What the leak sweep of `cargo xtask test` searches for, and where.
//!
//! Every secret that a test is given is written to `$KEYWRIGHT_CANARY_DIR/secrets`; databases, logs and metrics are left
//! under `$KEYWRIGHT_CANARY_DIR/artifacts`. Without the variable nothing is kept.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn directory() -> Option<PathBuf> {
    std::env::var_os("KEYWRIGHT_CANARY_DIR").map(PathBuf::from)
}

/// Notes a secret that was issued or presented.
pub fn note_secret(secret: &str) {
    let Some(directory) = directory() else { return };
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("secrets"))
        .expect("the canary file opens");
    // One write, so that lines of tests that run at once stay whole.
    file.write_all(format!("{secret}\n").as_bytes()).expect("the canary file takes a line");
}

/// Keeps a copy of a file or directory for the sweep.
pub fn keep(path: &Path, name: &str) {
    let Some(directory) = directory() else { return };
    let artifacts = directory.join("artifacts").join(format!("{}-{name}", std::process::id()));
    copy(path, &artifacts);
}

/// Keeps a text for the sweep: a log, metrics, an error.
pub fn keep_text(text: &str, name: &str) {
    let Some(directory) = directory() else { return };
    let artifacts = directory.join("artifacts");
    fs::create_dir_all(&artifacts).expect("the artifacts' folder is made");
    let path = artifacts.join(format!("{}-{name}", std::process::id()));
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("an artifact opens");
    file.write_all(text.as_bytes()).expect("an artifact takes a text");
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("an artifact's folder is made");
        for entry in fs::read_dir(from).expect("a folder of the test is read").flatten() {
            // The master key is no issued secret, and it must not leave its directory.
            if entry.file_name() != "master.key" {
                copy(&entry.path(), &to.join(entry.file_name()));
            }
        }
    } else if from.exists() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).expect("an artifact's folder is made");
        }
        // SQLite takes its own files away when the last connection closes.
        match fs::copy(from, to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => _ = copied.expect("an artifact is copied"),
        }
    }
}

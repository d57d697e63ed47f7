//! Commands on a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keywright backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server may go on running. The master key is not in the backup, only its fingerprint: keep it elsewhere, see
`keywright master-key export`.

Example:
  keywright backup ./backup-2026-11-22")]
pub(crate) struct BackupArgs {
    /// The folder to write; it must be empty or not exist.
    #[arg(value_name = "FOLDER")]
    pub to: PathBuf,
}

/// `keywright restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server must be stopped. The database that is there is kept beside the restored one. Keys that were revoked, deleted or
disabled after the backup, and secrets that were rotated out, would be good again: they are listed, and nothing is done
unless --revive says that this is meant. Revisions and cursors from before a restore mean nothing after it.

Example:
  keywright restore ./backup-2026-11-22")]
pub(crate) struct RestoreArgs {
    /// The backup's folder.
    #[arg(value_name = "FOLDER")]
    pub from: PathBuf,
    /// Keys that were revoked after the backup shall be good again.
    #[arg(long)]
    pub revive: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// `keywright copy`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server of the data directory must be stopped, and no server starts on it meanwhile. The database must be empty. Broken off
at any point, the same command goes on where it was; until it is done no server starts on half a copy. What arrives is another
life of the data: revisions from before mean nothing there. The data directory is left as it is: never serve from both.
A password in an argument can be read by every process of the machine: put the URL into KEYWRIGHT_DATABASE.

Example:
  export KEYWRIGHT_DATABASE='postgres://keywright:…@db.example.org/keywright?sslmode=verify-full'
  keywright copy --from sqlite:./keywright-data")]
pub(crate) struct CopyArgs {
    /// What to copy: `sqlite:DIR`, a data directory. Without it, the one that the settings name.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Where to: `postgres://USER@HOST/DATABASE`. Without it, the database that the settings name.
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
}

/// `keywright root …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Make a new root key and print it once. With `KEYWRIGHT_ROOT_KEY` that one is taken. The server must be stopped.
    Rotate,
    /// Let no root key be good until `root rotate` makes one. The server must be stopped.
    Disable,
}

/// `keywright master-key …`.
#[derive(Debug, Subcommand)]
pub(crate) enum MasterKeyCommand {
    /// Write the master key to a file that only the holder of an age identity can open.
    #[command(after_help = "\
Example:
  age-keygen -o ~/keywright-recovery.txt          # keep this file apart from the server
  keywright master-key export --to age1… --out master-key.age
  age -d -i ~/keywright-recovery.txt master-key.age")]
    Export {
        /// Whom it is for: an age recipient, `age1…`.
        #[arg(long, value_name = "RECIPIENT")]
        to: String,
        /// The file to write, in place of standard output; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a new master key and wrap the keyring under it. The server must be stopped.
    Rotate {
        /// Where to write the new key when the present one comes from the environment or a file of its own.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `keywright nodes …`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// Show who verifies in a cluster, how far each has come, and what holds a write up.
    List,
    /// Say that a node is dead, so that no write waits for its lease to end.
    Forget {
        /// The node, as `nodes list` shows it.
        #[arg(value_name = "NODE")]
        id: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

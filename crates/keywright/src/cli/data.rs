//! Commands on a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keywright backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server may go on running. The master key is not in the backup, only its fingerprint: keep it elsewhere, see
`keywright master-key export`.

Example:
  keywright backup ./keywright-2026-11-22.backup")]
pub(crate) struct BackupArgs {
    /// The file to write; it must not exist.
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}

/// `keywright restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
The data directory named by --data-dir must be empty or not exist, or be the one to take the place of with --replace. What
is there is kept beside it. Keys that were revoked after the backup would be good again: they are listed, and nothing is
done unless --revive says that this is meant.

Example:
  keywright restore ./keywright-2026-11-22.backup --replace")]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub from: PathBuf,
    /// Take the place of the data that is there; it is kept beside it.
    #[arg(long)]
    pub replace: bool,
    /// Keys that were revoked after the backup shall be good again.
    #[arg(long)]
    pub revive: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// `keywright root …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Make a new root key and print it once. With KEYWRIGHT_ROOT_KEY that one is taken. The server must be stopped.
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
    Rotate,
}

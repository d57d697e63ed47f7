//! The command line: what can be said, and how the help explains it.

pub(crate) mod data;
pub(crate) mod keys;
pub(crate) mod nouns;
mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::ColorChoice;
use crate::settings::{Sources, UsedBy};

pub(crate) use settings::{command, read, sources};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; `verify`: allowed
  1  a no: `verify` denied it, `audit verify` or `doctor` found something, or you answered no
  2  wrong usage, or anything else that went wrong (for `verify`: every error)
  3  refused: the key is not good, or may not do that (401, 403)
  4  not found (404)
  5  changed meanwhile, or its state does not allow it (409, 412, 428)
  6  the server cannot be reached, or cannot answer now

Examples:
  keywright serve
  export KEYWRIGHT_KEY=kw_…
  keywright keys create --name 'gps uploader' --grant 'get,put on devices/7/**' --expires 30d
  keywright keys update 3245 --remove-grant 'put on devices/7/**' --dry-run
  echo \"$SECRET\" | keywright verify --action get --resource devices/7";

const FOLLOW_HELP: &str = "\
The key needs `feed.read` in what is followed; whoever asks needs `keys.verify` and a key of a keyspace that is followed.

Example:
  KEYWRIGHT_KEY=kw_… keywright follow --server https://keys.example.com --follow-keyspaces orders --listen 127.0.0.1:7702";

/// Self-hosted API keys: make, change, revoke and verify them, and see a change before it is made.
#[derive(Debug, Parser)]
#[command(name = "keywright", version, about, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// A file of settings, in place of ./keywright.toml [env: `KEYWRIGHT_CONFIG`].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Colours; `auto` is on a terminal, unless `NO_COLOR` is set.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Everywhere"
    )]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve REST, dialects and metrics, in one process.
    Serve,
    /// Follow a node, and answer verifications from memory beside your application.
    #[command(after_help = FOLLOW_HELP)]
    Follow,
    /// Make, show, change and end keys.
    #[command(subcommand)]
    Keys(Box<keys::KeysCommand>),
    /// Ask whether a secret may do something.
    Verify(VerifyArgs),
    /// Organizations: tenants that see nothing of each other.
    #[command(subcommand)]
    Orgs(nouns::NounCommand<nouns::OrgArgs>),
    /// Keyspaces: one API or environment of an organization each.
    #[command(subcommand)]
    Keyspaces(nouns::NounCommand<nouns::KeyspaceArgs>),
    /// Principals: who owns keys.
    #[command(subcommand)]
    Principals(nouns::NounCommand<nouns::PrincipalArgs>),
    /// Roles: grants with a name.
    #[command(subcommand)]
    Roles(nouns::NounCommand<nouns::RoleArgs>),
    /// Plans: limits with a name.
    #[command(subcommand)]
    Plans(nouns::NounCommand<nouns::PlanArgs>),
    /// Who did what.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show whose key this is and what it may do.
    Whoami,
    /// Copy the database while it is in use.
    Backup(data::BackupArgs),
    /// Put a backup in place as a new data directory.
    Restore(data::RestoreArgs),
    /// Copy an installation from a data directory into PostgreSQL, or go on with a copy that was broken off.
    Copy(data::CopyArgs),
    /// Bring the database's tables up to this version, without serving.
    Migrate,
    /// Look for what is wrong with an installation.
    Doctor,
    /// The root key.
    #[command(subcommand)]
    Root(data::RootCommand),
    /// The master key, without which nothing that is sealed opens.
    #[command(subcommand)]
    MasterKey(data::MasterKeyCommand),
    /// Show who verifies in a cluster, and forget one that is dead.
    #[command(subcommand)]
    Nodes(data::NodesCommand),
    /// The settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write completions for a shell to standard output.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// `keywright verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
The secret comes from standard input, or from KEYWRIGHT_SECRET. Exit codes: 0 allowed, 1 denied, 2 everything else.

Examples:
  echo \"$SECRET\" | keywright verify
  KEYWRIGHT_SECRET=kw_… keywright verify --action get --resource devices/7 --ip 10.1.2.3
  keywright verify --check 'get on devices/7' --check 'put on devices/8' < secret.txt")]
pub(crate) struct VerifyArgs {
    /// What is to be done; without it, permission is not tested.
    #[arg(long)]
    pub action: Option<String>,
    /// To which resource; without it, the root, which only `**` covers.
    #[arg(long, requires = "action")]
    pub resource: Option<String>,
    /// An action and a resource, `get on devices/7`; can be repeated, then all must hold.
    #[arg(long, value_name = "CHECK", conflicts_with = "action")]
    pub check: Vec<String>,
    /// From which address.
    #[arg(long)]
    pub ip: Option<String>,
    /// In which keyspace, if the calling key has several.
    #[arg(long)]
    pub keyspace: Option<String>,
    /// The access id that goes with a custom secret.
    #[arg(long)]
    pub access_id: Option<String>,
    /// How many units of the limits it costs.
    #[arg(long)]
    pub cost: Option<u64>,
}

/// `keywright audit …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who did what, newest first.
    List(AuditListArgs),
    /// Compare the audit in the data directory with itself and with the database. Works beside a running server.
    Verify,
}

/// `keywright audit list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keywright audit list --subject key_01JD… --since 7d
  keywright audit list --verb key.reveal --all --json")]
pub(crate) struct AuditListArgs {
    /// About this noun, by id.
    #[arg(long)]
    pub subject: Option<String>,
    /// By this key, `root` or `system`.
    #[arg(long)]
    pub actor: Option<String>,
    /// With this verb, such as `key.update`.
    #[arg(long)]
    pub verb: Option<String>,
    /// At or after this: a time, a day, or `7d` ago.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Before this: a time, a day, or `7d` ago.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// How much of it.
    #[command(flatten)]
    pub page: PageArgs,
}

/// How much of a list is shown.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PageArgs {
    /// How many at most.
    #[arg(long = "first", value_name = "N", default_value_t = 50, conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..))]
    pub first: u32,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

/// `keywright config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with the settings, if anything.
    Check,
    /// Print each setting with where it came from; secrets are not shown.
    Show,
    /// Write docs/configuration.md to standard output.
    #[command(hide = true)]
    Reference,
}

/// Which settings a command has flags for.
const fn uses(command: &str) -> &'static [UsedBy] {
    match command.as_bytes() {
        b"serve" => &[UsedBy::Data, UsedBy::Listen, UsedBy::Serve],
        b"follow" => &[UsedBy::Client, UsedBy::Listen, UsedBy::Follow],
        b"backup" | b"restore" | b"copy" | b"migrate" | b"doctor" | b"root" | b"master-key" => {
            &[UsedBy::Data]
        }
        b"audit" => &[UsedBy::Client, UsedBy::Data],
        b"config" => &[UsedBy::Client, UsedBy::Data, UsedBy::Listen, UsedBy::Serve, UsedBy::Follow],
        b"completions" | b"help" => &[],
        _ => &[UsedBy::Client],
    }
}

/// What the command line says about settings, with the environment.
pub(crate) fn all_sources(cli: &Cli, matches: &clap::ArgMatches) -> Sources {
    Sources {
        flags: sources(matches),
        environment: crate::ambient::environment(),
        config: cli.config.clone(),
    }
}

//! `keywright keys …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::PageArgs;

/// What can be done to keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key. Its secret is printed once, to standard output.
    Create(Box<CreateArgs>),
    /// Show a key.
    Get(KeyArgs),
    /// List keys, newest first.
    List(Box<ListArgs>),
    /// Change some fields of a key.
    Update(Box<UpdateArgs>),
    /// Give a key a new secret; the older ones go on for the overlap.
    Rotate(RotateArgs),
    /// End a key for ever.
    Revoke(RevokeArgs),
    /// Switch a key on.
    Enable(KeyWriteArgs),
    /// Switch a key off.
    Disable(KeyWriteArgs),
    /// End a key and hide it; its record can come back for 30 days.
    Delete(KeyWriteArgs),
    /// Bring the record of a deleted key back, revoked.
    Undelete(KeyWriteArgs),
    /// Find the key that a secret belongs to. The secret comes from standard input or `KEYWRIGHT_SECRET`.
    Lookup,
    /// Show a recoverable secret again. The audit keeps who asked.
    Reveal(SecretArgs),
    /// End one secret of a key now.
    ExpireSecret(ExpireSecretArgs),
    /// End the key whose secret comes from standard input or `KEYWRIGHT_SECRET`: found a leaked key, end it.
    RevokeSelf(RevokeSelfArgs),
}

/// Which key.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key: its id, its number, `access:<access id>` or `external:<external id>`.
    #[arg(id = "named_key", value_name = "KEY")]
    pub key: String,
}

/// How a write is made.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Write")]
pub(crate) struct WriteArgs {
    /// Only if it still has this version.
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<String>,
    /// Names the call, so that making it again does nothing twice. One is made up otherwise.
    #[arg(long, value_name = "NAME")]
    pub idempotency_key: Option<String>,
    /// Write nothing; print what would change, and the access gained and lost.
    #[arg(long)]
    pub dry_run: bool,
    /// How many seconds to wait until every verifier answers by it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=30))]
    pub wait: Option<u32>,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// The writable fields of a key.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Fields")]
pub(crate) struct FieldArgs {
    /// What people read: 1 to 200 characters.
    #[arg(long)]
    pub name: Option<String>,
    /// More of that; an empty one clears it.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// When it ends: a time, a day, `30d` from now, or `never`.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// When it begins: a time, a day, `2h` from now, or `none`.
    #[arg(long, value_name = "WHEN")]
    pub not_before: Option<String>,
    /// The only addresses and networks it may be used from, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "any_ip")]
    pub ip: Vec<String>,
    /// It may be used from anywhere.
    #[arg(long)]
    pub any_ip: bool,
    /// What it may do, `get,put on devices/7/**`; can be repeated. Takes the place of all its grants.
    #[arg(long, value_name = "GRANT")]
    pub grant: Vec<String>,
    /// What it may not do, whatever else allows it; goes with --grant.
    #[arg(long, value_name = "GRANT")]
    pub deny: Vec<String>,
    /// Its grants as JSON: inline, a file, or `-`; `null` is what its owner's roles give.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["grant", "deny"])]
    pub grants_json: Option<String>,
    /// Whether it is switched on.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub enabled: Option<bool>,
    /// A role, by name or id; can be repeated; `none` for no role. Takes the place of all its roles.
    #[arg(long)]
    pub role: Vec<String>,
    /// Where its roles count, as resources separated by commas; `none` is everywhere.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub scope: Vec<String>,
    /// A label, `team=fleet`; can be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Notes of your own as a JSON object: inline, a file, or `-`.
    #[arg(long, value_name = "JSON")]
    pub metadata_json: Option<String>,
    /// Who owns it: a principal's id, `external:user_42` (made if there is none), or `none`.
    #[arg(long)]
    pub owner: Option<String>,
    /// A limit, `burst=100/1s`; can be repeated; `none` for no limit. Takes the place of all its limits.
    #[arg(long)]
    pub limit: Vec<String>,
    /// A quota, `1000/day` or `1000/month@Europe/Berlin`, or `none`.
    #[arg(long)]
    pub quota: Option<String>,
    /// A plan, by name or id; can be repeated; `none` for no plan. Takes the place of all its plans.
    #[arg(long)]
    pub plan: Vec<String>,
    /// Management keys: an action it may do, such as `keys.read`, or `*`; can be repeated.
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    pub admin_action: Vec<String>,
    /// Management keys: an organization it may do that in, or `*`.
    #[arg(long, value_name = "ORG", value_delimiter = ',')]
    pub admin_org: Vec<String>,
    /// Management keys: a keyspace it may do that in, or `*`.
    #[arg(long, value_name = "KEYSPACE", value_delimiter = ',')]
    pub admin_keyspace: Vec<String>,
    /// Management keys: the most that it may hand out, `get on devices/**`; can be repeated; `none` for nothing.
    #[arg(long, value_name = "GRANT")]
    pub grantable: Vec<String>,
}

/// `keywright keys create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keywright keys create --name 'gps uploader' --grant 'get,put on devices/7/**' --expires 30d
  SECRET=$(keywright keys create --name ci --grant 'get on builds/**')
  keywright keys create --name ops --kind management --admin-action keys.read,keys.verify --admin-org default --admin-keyspace '*'
  keywright keys create --body-json key.json --secret-file ./secret")]
pub(crate) struct CreateArgs {
    /// In which keyspace, by name or id.
    #[arg(long)]
    pub keyspace: Option<String>,
    /// `api` or `management`, for ever.
    #[arg(long, value_parser = ["api", "management"])]
    pub kind: Option<String>,
    /// The public half of a key that signs requests.
    #[arg(long, value_name = "ID")]
    pub access_id: Option<String>,
    /// Your own name for it, once in a keyspace.
    #[arg(long, value_name = "ID")]
    pub external_id: Option<String>,
    /// Take the secret from standard input or `KEYWRIGHT_SECRET`; the keyspace must allow it.
    #[arg(long)]
    pub custom_secret: bool,
    /// The whole body as JSON: inline, a file, or `-`; the other flags are added to it.
    #[arg(long, value_name = "JSON")]
    pub body_json: Option<String>,
    /// Write the secret to a new file that only you can read, not to standard output.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The fields.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `keywright keys update`.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, what the key would no longer be able to do is shown, and asked about, before it is written.

Examples:
  keywright keys update 3245 --expires never --label team=fleet
  keywright keys update key_01JD… --add-ip 10.0.0.0/8 --remove-grant 'put on devices/7/**' --dry-run
  keywright keys get key_01JD… --json > key.json && $EDITOR key.json && keywright keys update key_01JD… --set-json key.json
  echo '[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"x\"}]' | keywright keys update key_01JD… --patch-json -")]
pub(crate) struct UpdateArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// The fields.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// Add addresses or networks, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["ip", "any_ip"], help_heading = "Fields")]
    pub add_ip: Vec<String>,
    /// Take addresses or networks away, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["ip", "any_ip"], help_heading = "Fields")]
    pub remove_ip: Vec<String>,
    /// Add a grant, `get on devices/8/**`, or `deny get on devices/8/x`; can be repeated.
    #[arg(long, value_name = "GRANT", conflicts_with_all = ["grant", "deny", "grants_json"], help_heading = "Fields")]
    pub add_grant: Vec<String>,
    /// Take away a grant, as `keys get` shows it, or some actions of the one on those resources; can be repeated.
    #[arg(long, value_name = "GRANT", conflicts_with_all = ["grant", "deny", "grants_json"], help_heading = "Fields")]
    pub remove_grant: Vec<String>,
    /// Take a label away; can be repeated.
    #[arg(long, value_name = "NAME", help_heading = "Fields")]
    pub remove_label: Vec<String>,
    /// Replace the whole key by this JSON, as `keys get --json` shows it: inline, a file, or `-`.
    #[arg(long, value_name = "JSON", conflicts_with = "patch_json")]
    pub set_json: Option<String>,
    /// Apply this JSON: an object to merge (RFC 7396) or a list of operations (RFC 6902); inline, a file, or `-`.
    #[arg(long, value_name = "JSON")]
    pub patch_json: Option<String>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `keywright keys list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keywright keys list --state active --label team=fleet
  keywright keys list --can 'put on devices/7' --all --json
  keywright keys list --last-used-before 90d --expires-before 30d")]
pub(crate) struct ListArgs {
    /// In this keyspace, by name or id.
    #[arg(long)]
    pub keyspace: Option<String>,
    /// In this state now.
    #[arg(long, value_parser = ["active", "disabled", "scheduled", "expired", "revoked"])]
    pub state: Option<String>,
    /// Of this kind.
    #[arg(long, value_parser = ["api", "management"])]
    pub kind: Option<String>,
    /// Owned by this principal.
    #[arg(long)]
    pub owner: Option<String>,
    /// With this role, by name or id.
    #[arg(long)]
    pub role: Option<String>,
    /// Bound to this plan, by name or id.
    #[arg(long)]
    pub plan: Option<String>,
    /// With this number.
    #[arg(long)]
    pub number: Option<u32>,
    /// With this access id.
    #[arg(long, value_name = "ID")]
    pub access_id: Option<String>,
    /// With this external id.
    #[arg(long, value_name = "ID")]
    pub external_id: Option<String>,
    /// Whose name begins so, whose id is this, or with this in a hint.
    #[arg(long, value_name = "TEXT")]
    pub q: Option<String>,
    /// With this label; can be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// That end before this: a time, a day, or `30d` from now.
    #[arg(long, value_name = "WHEN")]
    pub expires_before: Option<String>,
    /// Used last before this, or never: a time, a day, or `90d` ago.
    #[arg(long, value_name = "WHEN")]
    pub last_used_before: Option<String>,
    /// Changed since this: a time, a day, or `7d` ago.
    #[arg(long, value_name = "WHEN")]
    pub updated_since: Option<String>,
    /// Made by this key, `root` or `system`.
    #[arg(long, value_name = "ACTOR")]
    pub created_by: Option<String>,
    /// That can do this now: `put on devices/7`.
    #[arg(long, value_name = "CHECK")]
    pub can: Option<String>,
    /// That can be used from this address.
    #[arg(long, value_name = "IP")]
    pub can_ip: Option<String>,
    /// How many.
    #[command(flatten)]
    pub page: PageArgs,
}

/// `keywright keys rotate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keywright keys rotate 3245 --overlap 1h
  keywright keys rotate 3245 --overlap 0s --secret-file ./secret    # the old secret ends now")]
pub(crate) struct RotateArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// How long the older secrets go on: `0s` ends them now, at most `30d`.
    #[arg(long, value_name = "DURATION", value_parser = crate::parse::duration::parse_seconds)]
    pub overlap: u64,
    /// Take the secret from standard input or `KEYWRIGHT_SECRET`; the keyspace must allow it.
    #[arg(long)]
    pub custom_secret: bool,
    /// Write the secret to a new file that only you can read, not to standard output.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `keywright keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Why; kept with the key.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `keywright keys revoke-self`.
#[derive(Debug, Args)]
pub(crate) struct RevokeSelfArgs {
    /// Why; kept with the key.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A key, and how it is written.
#[derive(Debug, Args)]
pub(crate) struct KeyWriteArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// One secret of a key.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// The secret's id; the current one when left out.
    #[arg(long, value_name = "SECRET_ID")]
    pub secret_id: Option<String>,
}

/// `keywright keys expire-secret`.
#[derive(Debug, Args)]
pub(crate) struct ExpireSecretArgs {
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// The secret's id, as `keys get` shows it.
    #[arg(value_name = "SECRET_ID")]
    pub secret_id: String,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArgs,
}

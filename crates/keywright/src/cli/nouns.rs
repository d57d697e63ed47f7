//! `keywright orgs|keyspaces|principals|roles|plans …`: five nouns, one grammar.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::PageArgs;
use super::keys::WriteArgs;
use crate::parse::grant::parse_grant;
use crate::parse::limit::{parse_limit, parse_quota};

/// What can be done to such a noun.
#[derive(Debug, Subcommand)]
pub(crate) enum NounCommand<F: NounArgs> {
    /// Make one.
    Create {
        /// Its fields.
        #[command(flatten)]
        fields: F,
        /// The body as JSON: inline, a file, or `-`; the flags are added to it.
        #[arg(long, value_name = "JSON")]
        body_json: Option<String>,
        /// How it is written.
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Show one.
    Get {
        /// Its id or name.
        id: String,
    },
    /// List them, oldest first.
    List {
        /// How many.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Change some fields of one.
    Update {
        /// Its id or name.
        id: String,
        /// Its fields.
        #[command(flatten)]
        fields: F,
        /// Replace the whole of it by this JSON: inline, a file, or `-`.
        #[arg(long, value_name = "JSON", conflicts_with = "patch_json")]
        set_json: Option<String>,
        /// Apply this JSON: an object to merge or a list of operations; inline, a file, or `-`.
        #[arg(long, value_name = "JSON")]
        patch_json: Option<String>,
        /// How it is written.
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Delete one that nothing refers to.
    Delete {
        /// Its id or name.
        id: String,
        /// How it is written.
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// The writable fields of a noun as flags.
pub(crate) trait NounArgs: Args + std::fmt::Debug {
    /// Those that were given, as the API takes them.
    fn document(&self) -> Result<Map<String, Value>, String>;

    /// The roles that were named, by name or id.
    fn roles(&self) -> &[String] {
        &[]
    }
}

fn document(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A list given by repeating a flag; `none` empties it.
pub(crate) fn list<T: serde::Serialize>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Value>, String> {
    match texts {
        [] => Ok(None),
        [only] if only == "none" => Ok(Some(json!([]))),
        texts => Ok(Some(json!(texts.iter().map(|text| parse(text)).collect::<Result<Vec<T>, String>>()?))),
    }
}

/// A quota, or `none`.
pub(crate) fn quota(text: Option<&str>) -> Result<Option<Value>, String> {
    match text {
        None => Ok(None),
        Some("none") => Ok(Some(Value::Null)),
        Some(text) => parse_quota(text).map(|quota| Some(json!(quota))),
    }
}

/// An organization's fields.
#[derive(Debug, Args)]
pub(crate) struct OrgArgs {
    /// Its name: a-z, 0-9, `_` and `-`.
    #[arg(long)]
    name: Option<String>,
}

impl NounArgs for OrgArgs {
    fn document(&self) -> Result<Map<String, Value>, String> {
        Ok(document([("name", self.name.as_ref().map(|name| json!(name)))]))
    }
}

/// A keyspace's fields.
#[derive(Debug, Args)]
pub(crate) struct KeyspaceArgs {
    /// Its name: a-z, 0-9, `_` and `-`.
    #[arg(long)]
    name: Option<String>,
    /// What its secrets begin with: `kw` unless said otherwise.
    #[arg(long, value_name = "PREFIX")]
    secret_prefix: Option<String>,
    /// Whether secrets are kept sealed, so that they can be shown again.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    recoverable_secrets: Option<bool>,
    /// Whether callers may choose secrets.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_custom_secrets: Option<bool>,
    /// Whether every write needs --if-match.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    require_if_match: Option<bool>,
    /// When nodes that cannot reach the store stop answering for it: `30s`, or `none`.
    #[arg(long, value_name = "DURATION")]
    max_staleness: Option<String>,
    /// Whether its keys must have an end.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    require_expiry: Option<bool>,
    /// How far away that end may be: `90d`, or `none`.
    #[arg(long, value_name = "DURATION")]
    max_lifetime: Option<String>,
    /// Whether grants may not hold `*` or `**`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    forbid_wildcards: Option<bool>,
}

impl NounArgs for KeyspaceArgs {
    fn document(&self) -> Result<Map<String, Value>, String> {
        let flag = |flag: Option<bool>| flag.map(Value::from);
        let seconds = |text: &Option<String>| match text.as_deref() {
            None => Ok(None),
            Some("none") => Ok(Some(Value::Null)),
            Some(text) => crate::parse::duration::parse_seconds(text).map(|seconds| Some(json!(seconds))),
        };
        let policy = document([
            ("require_expiry", flag(self.require_expiry)),
            ("max_lifetime_seconds", seconds(&self.max_lifetime)?),
            ("forbid_wildcards", flag(self.forbid_wildcards)),
        ]);
        Ok(document([
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("secret_prefix", self.secret_prefix.as_ref().map(|prefix| json!(prefix))),
            ("recoverable_secrets", flag(self.recoverable_secrets)),
            ("allow_custom_secrets", flag(self.allow_custom_secrets)),
            ("require_if_match", flag(self.require_if_match)),
            ("max_staleness_seconds", seconds(&self.max_staleness)?),
            ("key_policy", (!policy.is_empty()).then(|| policy.into())),
        ]))
    }
}

/// A principal's fields.
#[derive(Debug, Args)]
pub(crate) struct PrincipalArgs {
    /// What people read.
    #[arg(long)]
    name: Option<String>,
    /// Your own name for it.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A person or a program.
    #[arg(long, value_parser = ["user", "bot"])]
    kind: Option<String>,
    /// A role, by name or id; can be repeated; `none` for no role: the most that its keys may do.
    #[arg(long)]
    role: Vec<String>,
    /// Whether its keys verify.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    enabled: Option<bool>,
    /// A limit that its keys share, `burst=100/1s`; can be repeated; `none` for no limit.
    #[arg(long)]
    limit: Vec<String>,
    /// A quota that its keys share, `1000/day`, or `none`.
    #[arg(long)]
    quota: Option<String>,
}

impl NounArgs for PrincipalArgs {
    fn document(&self) -> Result<Map<String, Value>, String> {
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        Ok(document([
            ("name", text(&self.name)),
            ("external_id", text(&self.external_id)),
            ("kind", text(&self.kind)),
            ("enabled", self.enabled.map(Value::from)),
            ("limits", list(&self.limit, parse_limit)?),
            ("quota", quota(self.quota.as_deref())?),
        ]))
    }

    fn roles(&self) -> &[String] {
        &self.role
    }
}

/// A role's fields.
#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// What it gives, `get,put on devices/7/**`; can be repeated; `none` for nothing.
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// What it takes, whatever else allows it; goes with --grant.
    #[arg(long, value_name = "GRANT")]
    deny: Vec<String>,
}

impl NounArgs for RoleArgs {
    fn document(&self) -> Result<Map<String, Value>, String> {
        let name = self.name.as_ref().map(|name| json!(name));
        Ok(document([("name", name), ("grants", grants(&self.grant, &self.deny)?)]))
    }
}

/// Grants and denies as one list; `None` when neither was given.
pub(crate) fn grants(allow: &[String], deny: &[String]) -> Result<Option<Value>, String> {
    if allow.is_empty() && deny.is_empty() {
        return Ok(None);
    }
    let allow = if matches!(allow, [only] if only == "none") { &[] } else { allow };
    let allowed = allow.iter().map(|text| parse_grant(text, "allow"));
    let denied = deny.iter().map(|text| parse_grant(text, "deny"));
    Ok(Some(json!(allowed.chain(denied).collect::<Result<Vec<_>, String>>()?)))
}

/// A plan's fields.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// A limit, `burst=100/1s`; can be repeated; `none` for no limit. Counted for each key apart.
    #[arg(long)]
    limit: Vec<String>,
    /// A quota, `1000/day`, or `none`. Counted for each key apart.
    #[arg(long)]
    quota: Option<String>,
}

impl NounArgs for PlanArgs {
    fn document(&self) -> Result<Map<String, Value>, String> {
        Ok(document([
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("limits", list(&self.limit, parse_limit)?),
            ("quota", quota(self.quota.as_deref())?),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_sent() {
        let keyspace = KeyspaceArgs {
            name: Some("live".to_owned()),
            secret_prefix: None,
            recoverable_secrets: Some(true),
            allow_custom_secrets: None,
            require_if_match: None,
            max_staleness: Some("30s".to_owned()),
            require_expiry: None,
            max_lifetime: Some("none".to_owned()),
            forbid_wildcards: None,
        };
        let expected = json!({"name":"live","recoverable_secrets":true,"max_staleness_seconds":30,"key_policy":{"max_lifetime_seconds":null}});
        assert_eq!(Value::from(keyspace.document().unwrap()), expected);
    }

    #[test]
    fn none_empties_a_list_and_nothing_leaves_it() {
        assert_eq!(list(&[], parse_limit), Ok(None));
        assert_eq!(list(&["none".to_owned()], parse_limit), Ok(Some(json!([]))));
        assert!(list(&["none".to_owned(), "x=1/1s".to_owned()], parse_limit).is_err());
        assert_eq!((quota(None), quota(Some("none"))), (Ok(None), Ok(Some(Value::Null))));
        let denied = grants(&["none".to_owned()], &["get on a".to_owned()]).unwrap().unwrap();
        assert_eq!(denied, json!([{"effect":"deny","actions":["get"],"resources":["a"]}]));
    }
}

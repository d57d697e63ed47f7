//! The flags of a key's fields, as the API takes them.

use keywright_client::Client;
use keywright_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::super::nouns::{plan_ids, role_ids};
use super::super::{json as read_json, json_object, usage};
use crate::ambient::now;
use crate::cli::keys::FieldArgs;
use crate::cli::nouns::{grants, list, quota};
use crate::parse::expiry::parse_moment;
use crate::parse::grant::parse_grant;
use crate::parse::limit::parse_limit;
use crate::parse::pair::parse_pair;

/// Only what was given, with roles and plans by their identifiers.
pub(super) async fn document(client: &Client, args: &FieldArgs) -> anyhow::Result<Map<String, Value>> {
    let mut document = plain(args, now()).map_err(usage)?;
    if let Some(source) = &args.grants_json {
        document.insert("grants".to_owned(), read_json(source)?);
    }
    if let Some(source) = &args.metadata_json {
        document.insert("metadata".to_owned(), json_object(source)?.into());
    }
    for (name, ids) in
        [("roles", role_ids(client, &args.role).await?), ("plans", plan_ids(client, &args.plan).await?)]
    {
        document.extend(ids.map(|ids| (name.to_owned(), ids)));
    }
    Ok(document)
}

/// All that needs neither a file nor the server.
fn plain(args: &FieldArgs, now: Timestamp) -> Result<Map<String, Value>, String> {
    let moment = |text: &Option<String>| {
        text.as_deref().map(|text| parse_moment(text, now).map(|at| json!(at))).transpose()
    };
    let labels = args.label.iter().map(|text| parse_pair(text)).collect::<Result<Vec<_>, String>>()?;
    let labels: Map<String, Value> = labels.into_iter().map(|(name, value)| (name, value.into())).collect();
    let fields = [
        ("name", args.name.as_ref().map(|name| json!(name))),
        (
            "description",
            args.description.as_ref().map(|text| if text.is_empty() { Value::Null } else { json!(text) }),
        ),
        ("owner", args.owner.as_deref().map(owner)),
        ("scope", scope(&args.scope)),
        ("enabled", args.enabled.map(Value::from)),
        ("not_before", moment(&args.not_before)?),
        ("expires_at", moment(&args.expires)?),
        ("ip_allowlist", if args.any_ip { Some(Value::Null) } else { some_list(&args.ip) }),
        ("grants", grants(&args.grant, &args.deny)?),
        ("admin", admin(args)?),
        ("grantable", list(&args.grantable, |text| parse_grant(text, "allow"))?),
        ("limits", list(&args.limit, parse_limit)?),
        ("quota", quota(args.quota.as_deref())?),
        ("labels", (!labels.is_empty()).then(|| labels.into())),
    ];
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn owner(text: &str) -> Value {
    match (text, text.strip_prefix("external:")) {
        ("none", _) => Value::Null,
        (_, Some(external_id)) => json!({"external_id": external_id}),
        (id, None) => json!(id),
    }
}

fn scope(resources: &[String]) -> Option<Value> {
    match resources {
        [only] if only == "none" => Some(Value::Null),
        resources => some_list(resources),
    }
}

fn some_list(items: &[String]) -> Option<Value> {
    (!items.is_empty()).then(|| json!(items.iter().map(|item| item.trim()).collect::<Vec<_>>()))
}

fn admin(args: &FieldArgs) -> Result<Option<Value>, String> {
    let lists = [&args.admin_action, &args.admin_org, &args.admin_keyspace];
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    if lists.iter().any(|list| list.is_empty()) {
        return Err(
            "--admin-action, --admin-org and --admin-keyspace go together: what, and where".to_owned()
        );
    }
    Ok(Some(json!({"actions": args.admin_action, "orgs": args.admin_org, "keyspaces": args.admin_keyspace})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &FieldArgs) -> Result<Value, String> {
        plain(args, "2026-11-22T10:00:00Z".parse().unwrap()).map(Value::from)
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn flags_become_the_apis_fields() {
        let args = FieldArgs {
            name: Some("x".into()),
            expires: Some("30d".into()),
            not_before: Some("none".into()),
            description: Some(String::new()),
            ip: texts(&["10.0.0.0/8", " ::1"]),
            grant: texts(&["get on a/**"]),
            deny: texts(&["put on a/b"]),
            limit: texts(&["burst=100/1s"]),
            quota: Some("1000/day".into()),
            label: texts(&["team=fleet"]),
            owner: Some("external:user_42".into()),
            scope: texts(&["none"]),
            enabled: Some(false),
            ..FieldArgs::default()
        };
        assert_eq!(
            of(&args).unwrap(),
            json!({
                "name": "x", "description": null, "owner": {"external_id": "user_42"}, "scope": null, "enabled": false,
                "not_before": null, "expires_at": "2026-12-22T10:00:00Z", "ip_allowlist": ["10.0.0.0/8", "::1"],
                "grants": [{"effect": "allow", "actions": ["get"], "resources": ["a/**"]},
                           {"effect": "deny", "actions": ["put"], "resources": ["a/b"]}],
                "limits": [{"name": "burst", "max": 100, "per_seconds": 1}],
                "quota": {"max": 1000, "period": "day", "time_zone": "UTC"}, "labels": {"team": "fleet"},
            })
        );
        assert_eq!(of(&FieldArgs::default()).unwrap(), json!({}));
        assert_eq!(
            of(&FieldArgs { any_ip: true, expires: Some("never".into()), ..FieldArgs::default() }).unwrap(),
            json!({"expires_at": null, "ip_allowlist": null})
        );
    }

    #[test]
    fn an_administrators_rights_are_what_and_where() {
        let mut args = FieldArgs { admin_action: texts(&["keys.read"]), ..FieldArgs::default() };
        assert!(of(&args).unwrap_err().contains("go together"));
        args.admin_org = texts(&["default"]);
        args.admin_keyspace = texts(&["*"]);
        args.grantable = texts(&["none"]);
        assert_eq!(
            of(&args).unwrap(),
            json!({"admin": {"actions": ["keys.read"], "orgs": ["default"], "keyspaces": ["*"]}, "grantable": []})
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(of(&FieldArgs { label: texts(&["team"]), ..FieldArgs::default() }).is_err());
        assert!(of(&FieldArgs { expires: Some("soon".into()), ..FieldArgs::default() }).is_err());
        assert!(of(&FieldArgs { grant: texts(&["get"]), ..FieldArgs::default() }).is_err());
    }
}

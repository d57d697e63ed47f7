//! What an update would do: each field as it is and as it would be, and the access gained and lost in words.

use keywright_client::{AccessRegion, DryRun, FieldChange, Grant, Limit, Quota};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::output::Paint;
use crate::parse::grant::show_grant;
use crate::parse::limit::{show_limit, show_quota};

/// The whole difference.
pub(crate) fn difference(plan: &DryRun, paint: Paint) -> String {
    let mut lines = Vec::new();
    for change in &plan.changes {
        field(change, paint, &mut lines);
    }
    access("can now", '+', &plan.access.gained, paint, &mut lines);
    access("can no longer", '-', &plan.access.lost, paint, &mut lines);
    if plan.changes.is_empty() && plan.access.gained.is_empty() && plan.access.lost.is_empty() {
        lines.push("nothing would change".to_owned());
    } else if plan.access.gained.is_empty() && plan.access.lost.is_empty() {
        lines.push(paint.dim("access: what it may do stays the same"));
    }
    lines.join("\n")
}

/// The access that would be lost, a line each; for asking before it is taken.
pub(crate) fn lost(plan: &DryRun, paint: Paint) -> String {
    let mut lines = Vec::new();
    access("can no longer", '-', &plan.access.lost, paint, &mut lines);
    lines.join("\n")
}

fn access(can: &str, sign: char, regions: &[AccessRegion], paint: Paint, lines: &mut Vec<String>) {
    for region in regions {
        let line = format!("{sign} {can} {region}");
        lines.push(if sign == '+' { paint.green(&line) } else { paint.red(&line) });
    }
}

fn field(change: &FieldChange, paint: Paint, lines: &mut Vec<String>) {
    let name = change.path.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
    lines.push(paint.bold(&name));
    let (from, to) = (shown(&name, &change.from), shown(&name, &change.to));
    let diff = TextDiff::from_lines(&from, &to);
    for line in diff.iter_all_changes() {
        let text = line.value().trim_end_matches('\n');
        lines.push(match line.tag() {
            ChangeTag::Delete => paint.red(&format!("- {text}")),
            ChangeTag::Insert => paint.green(&format!("+ {text}")),
            ChangeTag::Equal => format!("  {text}"),
        });
    }
}

/// A value in words, a line an item.
fn shown(name: &str, value: &Value) -> String {
    let lines = match value {
        Value::Null => vec![absent(name).to_owned()],
        Value::Array(items) if items.is_empty() => vec!["none".to_owned()],
        Value::Array(items) => items.iter().map(|item| one(name, item)).collect(),
        Value::Object(map) if map.is_empty() => vec!["none".to_owned()],
        Value::Object(map) if name != "quota" => {
            map.iter().map(|(name, value)| format!("{name}={}", one(name, value))).collect()
        }
        other => vec![one(name, other)],
    };
    lines.join("\n") + "\n"
}

/// What `null` means, field by field.
fn absent(name: &str) -> &'static str {
    match name {
        "expires_at" => "never",
        "ip_allowlist" => "any address",
        "grants" => "what the owner's roles give",
        "scope" => "everywhere",
        _ => "none",
    }
}

fn one(name: &str, value: &Value) -> String {
    let grant = || serde_json::from_value::<Grant>(value.clone()).ok().map(|grant| show_grant(&grant));
    let limit = || serde_json::from_value::<Limit>(value.clone()).ok().map(|limit| show_limit(&limit));
    let quota = || serde_json::from_value::<Quota>(value.clone()).ok().map(|quota| show_quota(&quota));
    let words = match name {
        "grants" | "grantable" => grant(),
        "limits" => limit(),
        "quota" => quota(),
        _ => None,
    };
    words.unwrap_or_else(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(changes: &Value, access: &Value) -> DryRun {
        serde_json::from_value(json!({"dry_run": true, "changes": changes, "access": access})).unwrap()
    }

    #[test]
    fn fields_and_access_are_told_in_words() {
        let plan = plan(
            &json!([
                {"path": "/expires_at", "from": null, "to": "2027-01-01T00:00:00Z"},
                {"path": "/ip_allowlist", "from": ["10.0.0.0/8", "127.0.0.1"], "to": ["10.0.0.0/8", "::1"]},
                {"path": "/grants", "from": [{"effect":"allow","actions":["get","put"],"resources":["devices/7/**"]}],
                 "to": [{"effect":"allow","actions":["get"],"resources":["devices/7/**"]}]},
                {"path": "/limits", "from": [], "to": [{"name":"burst","max":100,"per_seconds":1}]},
                {"path": "/quota", "from": {"max":5,"period":"day","time_zone":"UTC"}, "to": null},
                {"path": "/labels", "from": {"team":"fleet"}, "to": {}},
                {"path": "/enabled", "from": true, "to": false},
            ]),
            &json!({"gained": [], "lost": [{"actions":["put"],"resources":["devices/7/**"],"except_resources":["devices/7/x"]}]}),
        );
        assert_eq!(
            difference(&plan, Paint { on: false }),
            "\
expires_at
- never
+ 2027-01-01T00:00:00Z
ip_allowlist
  10.0.0.0/8
- 127.0.0.1
+ ::1
grants
- get,put on devices/7/**
+ get on devices/7/**
limits
- none
+ burst=100/1s
quota
- 5/day
+ none
labels
- team=fleet
+ none
enabled
- true
+ false
- can no longer put on devices/7/** except devices/7/x"
        );
    }

    #[test]
    fn the_same_access_is_said_to_be_the_same() {
        let renamed = plan(&json!([{"path": "/name", "from": "a", "to": "b"}]), &json!({}));
        assert_eq!(
            difference(&renamed, Paint { on: false }),
            "name\n- a\n+ b\naccess: what it may do stays the same"
        );
        assert_eq!(difference(&plan(&json!([]), &json!({})), Paint { on: false }), "nothing would change");
    }

    #[test]
    fn gains_are_green_and_losses_red() {
        let region = json!([{"actions": ["get"], "resources": ["a"]}]);
        let plan = plan(&json!([]), &json!({"gained": region, "lost": region}));
        assert_eq!(
            difference(&plan, Paint { on: true }),
            "\u{1b}[32m+ can now get on a\u{1b}[0m\n\u{1b}[31m- can no longer get on a\u{1b}[0m"
        );
        assert_eq!(lost(&plan, Paint { on: false }), "- can no longer get on a");
    }
}

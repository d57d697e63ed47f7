//! `keywright keys update`: what to change, what that does, and only then the change.

use anyhow::bail;
use keywright_client::{Answer, Client, Error, Grant, Key, OwnGrants, WriteOptions};
use serde_json::{Map, Value, json};

use super::super::nouns::if_match;
use super::super::{Outcome, Session, json as read_json, json_object, usage};
use super::{fields, find, find_id, shown};
use crate::cli::keys::UpdateArgs;
use crate::parse::grant::{parse_grant, same_grant, show_grant};
use crate::render;

/// What is sent.
enum Document {
    Replace(Map<String, Value>),
    Patch(Value),
}

/// Changes a key; on a terminal only after showing what would be lost.
pub(super) async fn update(session: &Session, client: &Client, args: &UpdateArgs) -> anyhow::Result<Outcome> {
    let mut options = args.write.options();
    let interactive = session.output.is_interactive() && !args.write.yes && !args.write.dry_run;
    let (id, document) = if args.is_relative() || interactive {
        // What is shown, and what is added to or taken from, must still be so when it is written.
        let key = find(client, &args.key.key).await?;
        options.if_match.get_or_insert_with(|| key.etag.clone());
        (key.id.clone(), document(client, args, Some(&key)).await?)
    } else {
        (find_id(client, &args.key.key).await?, document(client, args, None).await?)
    };
    if let Document::Replace(body) = &document {
        options.if_match = Some(if_match(&args.write, body)?);
    }
    if interactive {
        let plan = send(client, &id, &document, &WriteOptions { dry_run: true, ..options.clone() })
            .await?
            .planned()?;
        session.output.note(&render::diff::difference(&plan, session.output.paint_error));
        if !plan.access.lost.is_empty() && !session.output.confirm("Take this access away?") {
            return Ok(Outcome::No);
        }
    }
    let answer = send(client, &id, &document, &options).await?;
    Ok(session.tell(answer, |key| shown(session, key)))
}

async fn send(
    client: &Client,
    id: &str,
    document: &Document,
    options: &WriteOptions,
) -> Result<Answer<Key>, Error> {
    match document {
        Document::Replace(body) => client.keys().replace(id, body, options).await,
        Document::Patch(document) => client.keys().patch(id, document, options).await,
    }
}

impl UpdateArgs {
    /// Whether the change depends on what the key is now.
    fn is_relative(&self) -> bool {
        [&self.add_ip, &self.remove_ip, &self.add_grant, &self.remove_grant]
            .iter()
            .any(|list| !list.is_empty())
    }
}

async fn document(client: &Client, args: &UpdateArgs, key: Option<&Key>) -> anyhow::Result<Document> {
    let mut merged = fields::document(client, &args.fields).await?;
    remove_labels(&mut merged, &args.remove_label);
    if let Some(key) = key {
        relative(&mut merged, args, key).map_err(usage)?;
    }
    match (&args.set_json, &args.patch_json) {
        (Some(_), _) | (_, Some(_)) if !merged.is_empty() => {
            bail!("--set-json and --patch-json say everything: no other field goes with them")
        }
        (Some(source), _) => Ok(Document::Replace(json_object(source)?)),
        (_, Some(source)) => Ok(Document::Patch(read_json(source)?)),
        (None, None) if merged.is_empty() => bail!("nothing to change: name a field, see --help"),
        (None, None) => Ok(Document::Patch(merged.into())),
    }
}

/// Merging (RFC 7396) takes away what is `null`.
fn remove_labels(merged: &mut Map<String, Value>, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let labels = merged.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.extend(names.iter().map(|name| (name.clone(), Value::Null)));
    }
}

fn relative(merged: &mut Map<String, Value>, args: &UpdateArgs, key: &Key) -> Result<(), String> {
    if !args.add_ip.is_empty() || !args.remove_ip.is_empty() {
        merged.insert("ip_allowlist".to_owned(), addresses(args, key)?);
    }
    if !args.add_grant.is_empty() || !args.remove_grant.is_empty() {
        merged.insert("grants".to_owned(), json!(grants(args, key)?));
    }
    Ok(())
}

fn addresses(args: &UpdateArgs, key: &Key) -> Result<Value, String> {
    let mut list = key.ip_allowlist.clone().unwrap_or_default();
    for gone in args.remove_ip.iter().map(|text| text.trim()) {
        let before = list.len();
        list.retain(|entry| entry != gone);
        if list.len() == before {
            return Err(format!("{gone} is not in the key's list: it has {}", joined(&list, "no addresses")));
        }
    }
    for new in args.add_ip.iter().map(|text| text.trim().to_owned()) {
        if !list.contains(&new) {
            list.push(new);
        }
    }
    if list.is_empty() {
        return Err("no address would be left, and an empty list is refused: say --any-ip if it may be used from anywhere".to_owned());
    }
    Ok(json!(list))
}

fn grants(args: &UpdateArgs, key: &Key) -> Result<Vec<Grant>, String> {
    let mut list = match &key.grants {
        OwnGrants::Listed(grants) => grants.clone(),
        OwnGrants::OfOwner => {
            return Err("this key has what its owner's roles give: say --grant to give it grants of its own"
                .to_owned());
        }
        OwnGrants::Absent => {
            return Err("a management key has no grants: see --admin-action and --grantable".to_owned());
        }
    };
    for text in &args.remove_grant {
        remove_grant(&mut list, &parse_grant(text, "allow")?)?;
    }
    for text in &args.add_grant {
        let new = parse_grant(text, "allow")?;
        if !list.iter().any(|grant| same_grant(grant, &new)) {
            list.push(new);
        }
    }
    Ok(list)
}

/// Takes away a whole grant, or some actions of the one on the same resources. What grants mean together is the
/// server's business: the difference that it computes shows whether the access really went.
fn remove_grant(list: &mut Vec<Grant>, gone: &Grant) -> Result<(), String> {
    if let Some(at) = list.iter().position(|grant| same_grant(grant, gone)) {
        list.remove(at);
        return Ok(());
    }
    let same_place =
        |grant: &Grant| same_grant(&Grant { actions: gone.actions.clone(), ..grant.clone() }, gone);
    let part = list
        .iter_mut()
        .find(|grant| same_place(grant) && gone.actions.iter().all(|action| grant.actions.contains(action)));
    let Some(part) = part else {
        let has: Vec<String> = list.iter().map(show_grant).collect();
        return Err(format!("no grant is `{}`: the key has {}", show_grant(gone), joined(&has, "no grants")));
    };
    part.actions.retain(|action| !gone.actions.contains(action));
    Ok(())
}

fn joined(items: &[String], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { format!("`{}`", items.join("`, `")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<Grant> {
        texts.iter().map(|text| parse_grant(text, "allow").unwrap()).collect()
    }

    #[track_caller]
    fn check(before: &[&str], gone: &str, after: Result<&[&str], &str>) {
        let mut grants = list(before);
        let done = remove_grant(&mut grants, &parse_grant(gone, "allow").unwrap());
        match after {
            Ok(after) => assert_eq!((done, grants), (Ok(()), list(after))),
            Err(what) => assert!(done.unwrap_err().contains(what)),
        }
    }

    #[test]
    fn a_grant_goes_whole_or_in_part() {
        check(&["get,put on a/**", "get on b"], "put,get on a/**", Ok(&["get on b"]));
        check(&["get,put on a/**"], "put on a/**", Ok(&["get on a/**"]));
        check(&["get,put on a/**"], "delete on a/**", Err("the key has `get,put on a/**`"));
        check(&["deny get on a"], "get on a", Err("no grant is `get on a`"));
        check(&["deny get on a"], "deny get on a", Ok(&[]));
        check(&[], "get on a", Err("no grants"));
    }

    #[test]
    fn labels_go_by_being_null() {
        let mut merged = Map::new();
        remove_labels(&mut merged, &[]);
        assert!(merged.is_empty());
        merged.insert("labels".to_owned(), json!({"a": "b"}));
        remove_labels(&mut merged, &["team".to_owned()]);
        assert_eq!(Value::from(merged), json!({"labels": {"a": "b", "team": null}}));
    }
}

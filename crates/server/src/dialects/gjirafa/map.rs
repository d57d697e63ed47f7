//! Gjirafa's key and ours: start and end, one role, and projects as the scope within which the role counts.

use std::sync::Arc;

use keywright_control::Error;
use keywright_control::keys::{KeyEdit, SetFields};
use keywright_model::document::{KeyDraft, NewKeyDraft, decode_new_key};
use keywright_model::fault::Faults;
use keywright_model::grant::ResourcePattern;
use keywright_model::key::{Key, KeySpec, Rights};
use keywright_model::secret::Secret;
use keywright_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::error::of_create;
use super::roles::AskedRole;
use super::wire::{CreateBody, KeyObject, ListedKey, Project, UpdateBody, Validity};
use crate::dialects::fields::{self, masked, rfc3339};

/// The key that a create asks for.
pub(super) fn new_key(body: &CreateBody, role: AskedRole) -> Result<NewKeyDraft, Error> {
    let roles: Vec<_> = match role {
        AskedRole::Unsaid | AskedRole::NoRole => Vec::new(),
        AskedRole::Role(id) => vec![id],
    };
    let expires_at = expiry(&body.validity, None, ("userApiKey/expireDateTime", "userApiKey/hasExpireTime"))?;
    check_order(body.validity.start, expires_at, "userApiKey/expireDateTime")?;
    let fields = json!({
        "name": fields::name("userApiKey/apiName", &body.name)?,
        "roles": roles, "not_before": body.validity.start, "expires_at": expires_at,
    });
    let mut map = Map::from_iter(fields.as_object().cloned().unwrap_or_default());
    map.insert("scope".to_owned(), scope(body.projects.as_deref())?);
    decode_new_key(&map).map_err(|faults| of_create(faults.into()))
}

/// The change that an update asks for: the fields that the body has. A value that is what this wire shows changes
/// nothing, so that whoever sends back what they were shown loses nothing that it cannot show.
pub(super) fn edit(body: UpdateBody, role: AskedRole) -> Result<KeyEdit, Faults> {
    let UpdateBody { name, validity, .. } = body;
    let name = name.map(|name| fields::name("name", &name)).transpose()?;
    let set: SetFields = Arc::new(move |draft: &mut KeyDraft, key: &Key| {
        let spec = &mut draft.spec;
        if matches!(spec.rights, Rights::Management { .. }) {
            return Err(Faults::one("/id", "management_key", "names a key that this API does not manage"));
        }
        if let Some(name) = &name {
            spec.name.clone_from(name);
        }
        if let Some(start) = validity.start.filter(|start| *start != shown_start(key)) {
            spec.not_before = Some(start);
        }
        spec.expires_at = expiry(&validity, spec.expires_at, ("expireDate", "hasExpireTime"))?;
        check_order(spec.not_before, spec.expires_at, "expireDate")?;
        set_role(spec, role);
        Ok(())
    });
    Ok(KeyEdit::Set(set))
}

/// The key as this wire shows it.
pub(super) fn shown(key: &Key, secret: Option<&Secret>, role: u32) -> KeyObject {
    KeyObject {
        id: key.number,
        name: key.spec.name.clone(),
        api_key: secret.map_or_else(|| masked(key.current_secret()), |secret| secret.expose().to_owned()),
        start_date: rfc3339(shown_start(key), 3),
        expire_date: key.spec.expires_at.map(|at| rfc3339(at, 3)),
        has_expire_time: key.spec.expires_at.is_some(),
        role_id: role,
    }
}

/// The key as the list shows it: other names for the same, and the projects instead of the role.
pub(super) fn listed(key: &Key, secret: Option<&Secret>) -> ListedKey {
    let KeyObject { id, name, api_key, start_date, expire_date, has_expire_time, role_id: _ } =
        shown(key, secret, 0);
    let project = |pattern: &ResourcePattern| {
        let id = pattern.as_str().strip_prefix("projects/")?.strip_suffix("/**")?;
        let plain = !id.is_empty() && !id.contains(['/', '*']);
        plain.then(|| Project { public_id: id.to_owned(), name: id.to_owned() })
    };
    let projects_name_list = key.spec.scope.iter().flatten().filter_map(project).collect();
    ListedKey {
        api_key_id: id,
        api_key_name: name,
        api_key,
        start_date,
        expire_date,
        has_expire_time,
        projects_name_list,
    }
}

/// A key without a start is shown as good since it was made.
fn shown_start(key: &Key) -> Timestamp {
    key.spec.not_before.unwrap_or(key.meta.created_at)
}

/// When the key ends. `hasExpireTime` decides; a date without it means it, too.
fn expiry(
    validity: &Validity,
    before: Option<Timestamp>,
    names: (&str, &str),
) -> Result<Option<Timestamp>, Faults> {
    let (date, flag) = names;
    match (validity.has_expire_time, validity.expire) {
        (Some(false), _) => Ok(None),
        (_, Some(at)) => Ok(Some(at)),
        (None, None) => Ok(before),
        (Some(true), None) if before.is_some() => Ok(before),
        (Some(true), None) => Err(Faults::one(
            format!("/{date}"),
            "missing_field",
            format!("must be given with {}", flag.replace('/', ".")),
        )),
    }
}

fn check_order(start: Option<Timestamp>, end: Option<Timestamp>, field: &str) -> Result<(), Faults> {
    match start.zip(end) {
        Some((start, end)) if end <= start => {
            Err(Faults::one(format!("/{field}"), "invalid_validity", "must lie after the start"))
        }
        _ => Ok(()),
    }
}

/// This wire shows a key's first role. The others stay.
fn set_role(spec: &mut KeySpec, role: AskedRole) {
    match role {
        AskedRole::Unsaid => {}
        AskedRole::NoRole => drop(spec.roles.drain(..spec.roles.len().min(1))),
        AskedRole::Role(id) if spec.roles.first() == Some(&id) => {}
        AskedRole::Role(id) => {
            spec.roles.drain(..spec.roles.len().min(1));
            spec.roles.retain(|other| *other != id);
            spec.roles.insert(0, id);
        }
    }
}

/// Projects as patterns. No list is the whole organization; an empty one would be a key that can do nothing or
/// everything, and nobody says which.
fn scope(projects: Option<&[String]>) -> Result<Value, Faults> {
    let Some(projects) = projects else { return Ok(Value::Null) };
    if projects.is_empty() {
        let detail = "must name a project; leave it out for a key of the whole organization";
        return Err(Faults::one("/listProjectsId", "empty", detail));
    }
    let mut faults = Faults::new();
    let mut patterns = Vec::new();
    for (index, project) in projects.iter().enumerate() {
        let plain =
            !project.is_empty() && !project.contains(['/', '*']) && !project.chars().any(char::is_control);
        if !plain {
            faults.add(
                format!("/listProjectsId/{index}"),
                "invalid_value",
                "must be a name without `/` and `*`",
            );
        }
        let pattern = format!("projects/{project}/**");
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    faults.into_result().map(|()| json!(patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::fields::tests::key;
    use keywright_model::id::RoleId;

    fn at(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }

    fn update(validity: Validity) -> UpdateBody {
        UpdateBody { id: 1, name: None, validity, role_id: None }
    }

    /// What an update makes of a key's writable state.
    fn after(key: &Key, body: UpdateBody, role: AskedRole) -> Result<KeySpec, Faults> {
        let KeyEdit::Set(set) = edit(body, role)? else { panic!("sets fields") };
        let mut draft = KeyDraft { spec: key.spec.clone(), owner: None, reach: None };
        set(&mut draft, key).map(|()| draft.spec)
    }

    #[test]
    fn a_create_is_a_key_with_one_role_within_its_projects() {
        let role = RoleId::new(1, 7);
        let validity = Validity { start: at("2022-08-24T12:00:00Z"), ..Validity::default() };
        let projects = Some(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]);
        let body = CreateBody { name: "ci".to_owned(), validity, role_id: Some(1), projects };
        let spec = new_key(&body, AskedRole::Role(role)).unwrap().draft.spec;
        assert_eq!((spec.name.as_str(), spec.roles), ("ci", vec![role]));
        assert_eq!(json!(spec.scope), json!(["projects/a/**", "projects/b/**"]));
        assert_eq!((spec.not_before, spec.expires_at), (at("2022-08-24T12:00:00Z"), None));
        assert_eq!(spec.rights, Rights::Api { grants: Some(Vec::new()) });
    }

    #[test]
    fn projects_are_names_and_there_is_at_least_one() {
        for (projects, good) in
            [(vec![], false), (vec!["*"], false), (vec!["a/b"], false), (vec![""], false), (vec!["a"], true)]
        {
            let projects: Vec<_> = projects.into_iter().map(str::to_owned).collect();
            assert_eq!(scope(Some(&projects)).is_ok(), good, "{projects:?}");
        }
        assert_eq!(scope(None), Ok(Value::Null));
    }

    #[test]
    fn the_flag_decides_whether_a_key_ends() {
        let end = at("2030-01-01T00:00:00Z");
        let key = Key { spec: KeySpec { expires_at: end, ..key().spec }, ..key() };
        let said = |has_expire_time, expire| update(Validity { start: None, expire, has_expire_time });
        let ends = |key: &Key, body| after(key, body, AskedRole::Unsaid).map(|spec| spec.expires_at);
        assert_eq!(ends(&key, said(None, None)), Ok(end));
        assert_eq!(ends(&key, said(Some(false), at("2031-01-01T00:00:00Z"))), Ok(None));
        assert_eq!(ends(&key, said(Some(true), None)), Ok(end));
        assert_eq!(ends(&key, said(None, at("2031-01-01T00:00:00Z"))), Ok(at("2031-01-01T00:00:00Z")));
        let endless = fields::tests::key();
        assert_eq!(ends(&endless, said(Some(true), None)).unwrap_err().as_slice()[0].pointer, "/expireDate");
    }

    #[test]
    fn a_key_does_not_end_before_it_starts() {
        let validity =
            |expire| Validity { start: at("2030-01-01T00:00:00Z"), expire, has_expire_time: Some(true) };
        assert!(after(&key(), update(validity(at("2030-01-01T00:00:00Z"))), AskedRole::Unsaid).is_err());
        assert!(after(&key(), update(validity(at("2030-01-01T00:00:00.001Z"))), AskedRole::Unsaid).is_ok());
    }

    #[test]
    fn sending_back_what_was_shown_changes_nothing() {
        let key = key();
        let shown = shown(&key, None, 0);
        let validity = Validity { start: at(&shown.start_date), expire: None, has_expire_time: Some(false) };
        let body = UpdateBody { id: 1, name: Some(shown.name), validity, role_id: Some(0) };
        assert_eq!(after(&key, body, AskedRole::NoRole), Ok(key.spec));
    }

    #[test]
    fn the_first_role_is_replaced_and_the_others_stay() {
        let [a, b, c] = [1, 2, 3].map(|n| RoleId::new(1, n));
        let key = Key { spec: KeySpec { roles: vec![a, b], ..key().spec }, ..key() };
        for (asked, expected) in [
            (AskedRole::Unsaid, vec![a, b]),
            (AskedRole::Role(a), vec![a, b]),
            (AskedRole::Role(c), vec![c, b]),
            (AskedRole::Role(b), vec![b]),
            (AskedRole::NoRole, vec![b]),
        ] {
            assert_eq!(after(&key, update(Validity::default()), asked).unwrap().roles, expected, "{asked:?}");
        }
    }
}

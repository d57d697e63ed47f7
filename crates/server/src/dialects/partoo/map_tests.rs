use super::*;
use crate::dialects::fields::tests::key;
use keywright_model::key::KeySpec;
use serde_json::json;

/// Noon of 2026-11-22.
fn now() -> Timestamp {
    moment("2026-11-22T12:00:00Z")
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn expiring(date: &str) -> KeyBody {
    KeyBody { expiration_date: Said::Value(date.to_owned()), ..KeyBody::default() }
}

fn restricted(restriction: Restriction) -> KeyBody {
    KeyBody { restriction: Some(restriction), ..KeyBody::default() }
}

fn to(names: &[&str]) -> Restriction {
    Restriction::To(names.iter().map(|name| (*name).to_owned()).collect())
}

fn with_grants(grants: Value) -> Key {
    let grants: Option<Vec<Grant>> = serde_json::from_value(grants).unwrap();
    Key { spec: KeySpec { rights: Rights::Api { grants }, ..key().spec }, ..key() }
}

/// What an update makes of a key's writable state.
fn after(key: &Key, body: KeyBody) -> Result<KeySpec, Faults> {
    let KeyEdit::Set(set) = edit(body, Seen::All, now())? else { panic!("sets fields") };
    let mut draft = KeyDraft { spec: key.spec.clone(), owner: None, reach: None };
    set(&mut draft, key).map(|()| draft.spec)
}

#[track_caller]
fn check_rights(before: Value, restriction: Restriction, expected: &Value) {
    let Rights::Api { grants } = after(&with_grants(before), restricted(restriction)).unwrap().rights else {
        panic!()
    };
    assert_eq!(&json!(grants), expected);
}

#[test]
fn a_key_is_good_to_the_end_of_its_day_and_tomorrow_at_the_earliest() {
    let end = |date: &str| after(&key(), expiring(date)).map(|spec| spec.expires_at.unwrap().to_string());
    assert_eq!(end("2026-11-23"), Ok("2026-11-24T00:00:00Z".to_owned()));
    for date in ["2026-11-22", "2026-11-21", "2026-02-30", "20261123", "2026-11-23T", "2026-1-1", ""] {
        let faults = end(date).unwrap_err();
        assert_eq!(faults.as_slice()[0].pointer, "/expiration_date", "{date}");
    }
    let midnight = moment("2026-11-22T00:00:00Z");
    assert!(edit(expiring("2026-11-22"), Seen::All, midnight).is_err());
    assert!(edit(expiring("2026-11-22"), Seen::All, midnight.plus_ms(-1)).is_ok());
}

#[test]
fn the_same_day_again_keeps_the_time_of_day() {
    let at = moment("2026-11-30T08:00:00Z");
    let before = Key { spec: KeySpec { expires_at: Some(at), ..key().spec }, ..key() };
    assert_eq!(after(&before, expiring("2026-11-30")).unwrap().expires_at, Some(at));
    let next = Some(moment("2026-12-02T00:00:00Z"));
    assert_eq!(after(&before, expiring("2026-12-01")).unwrap().expires_at, next);
    let cleared = KeyBody { expiration_date: Said::Null, ..KeyBody::default() };
    assert_eq!(after(&before, cleared).unwrap().expires_at, None);
    assert_eq!(after(&before, KeyBody::default()), Ok(before.spec));
}

#[test]
fn permissions_are_the_actions_of_a_grant_on_everything() {
    let both = json!([{"effect": "allow", "actions": ["business_edit", "b"], "resources": ["**"]}]);
    check_rights(json!(null), to(&["business_edit", "b", "b"]), &both);
    check_rights(both.clone(), to(&[]), &json!([]));
    check_rights(both, Restriction::Unrestricted, &json!(null));
}

#[test]
fn what_is_not_shown_survives() {
    let deny = json!({"effect": "deny", "actions": ["a"], "resources": ["**"]});
    let other = json!({"effect": "allow", "actions": ["a"], "resources": ["devices/1/**"]});
    let before = json!([deny, other, {"effect": "allow", "actions": ["a", "x.*"], "resources": ["**"]}]);
    let wild = json!({"effect": "allow", "actions": ["x.*"], "resources": ["**"]});
    let new = json!({"effect": "allow", "actions": ["b"], "resources": ["**"]});
    check_rights(before.clone(), to(&["b"]), &json!([deny, other, wild, new]));
    let refused = after(&with_grants(before), restricted(Restriction::Unrestricted)).unwrap_err();
    assert_eq!(refused.as_slice()[0].pointer, "/has_restricted_permissions");
}

#[test]
fn a_pattern_is_no_permission() {
    for name in ["*", "business.*", "", "a b", "a/b"] {
        let faults = after(&key(), restricted(to(&[name]))).unwrap_err();
        assert_eq!(faults.as_slice()[0].pointer, "/permissions", "{name:?}");
    }
}

#[test]
fn no_address_is_anywhere() {
    let listed = |list: &[&str]| KeyBody {
        ip_whitelist: Some(list.iter().map(|text| (*text).to_owned()).collect()),
        ..KeyBody::default()
    };
    let spec = after(&key(), listed(&["172.16.0.0/12", "127.0.0.1", "::ffff:127.0.0.1"])).unwrap();
    assert_eq!(json!(spec.ip_allowlist), json!(["172.16.0.0/12", "127.0.0.1"]));
    let before = Key { spec, ..key() };
    assert_eq!(after(&before, listed(&[])).unwrap().ip_allowlist, None);
    assert!(after(&key(), listed(&["10.0.0.1/8"])).is_err());
    assert!(after(&key(), listed(&["nowhere"])).is_err());
}

#[test]
fn a_new_key_is_unrestricted_unless_it_says_otherwise_and_belongs_to_its_maker() {
    let owner = PrincipalId::new(1, 9);
    let body = KeyBody { label: Some("API key name".to_owned()), ..KeyBody::default() };
    let new = new_key(body, Some(owner), now()).unwrap();
    assert_eq!(new.draft.owner, Some(OwnerDraft::Id(owner)));
    assert_eq!(new.draft.spec.rights, Rights::Api { grants: None });
    assert_eq!(new_key(KeyBody::default(), None, now()).unwrap_err().as_slice()[0].pointer, "/label");
}

#[test]
fn moments_look_like_the_vendors_database() {
    assert_eq!(stamp(moment("2019-08-22T11:46:38.914Z")), "2019-08-22 11:46:38.914000+00");
    assert_eq!(day(moment("2026-11-24T00:00:00Z")), "2026-11-23");
    assert_eq!(day(moment("2026-11-24T00:00:00.001Z")), "2026-11-24");
}

#[test]
fn only_digits_name_a_key() {
    assert_eq!((number("3245"), number("0")), (Some(3245), Some(0)));
    for text in ["", "+1", "-1", "1.0", "key_1", "4294967296"] {
        assert_eq!(number(text), None, "{text}");
    }
}

#[test]
fn a_key_is_for_administrators_and_its_owner_only() {
    let (person, other) = (PrincipalId::new(1, 9), PrincipalId::new(1, 8));
    let owned = Key { spec: KeySpec { owner: Some(person), ..key().spec }, ..key() };
    let admin = serde_json::from_str(r#"{"actions":["*"],"orgs":["*"],"keyspaces":["*"]}"#).unwrap();
    let rights = Rights::Management { admin, grantable: vec![] };
    let management = Key { spec: KeySpec { rights, owner: Some(person), ..key().spec }, ..key() };
    for (seen, of_nobody, of_person) in [
        (Seen::All, Ok(()), Ok(())),
        (Seen::OwnedBy(person), Err(Unseen::NotTheirs), Ok(())),
        (Seen::OwnedBy(other), Err(Unseen::NotTheirs), Err(Unseen::NotTheirs)),
        (Seen::None, Err(Unseen::NotTheirs), Err(Unseen::NotTheirs)),
    ] {
        assert_eq!((seen.check(&key()), seen.check(&owned)), (of_nobody, of_person), "{seen:?}");
        assert_eq!(seen.check(&management), Err(Unseen::Management), "{seen:?}");
    }
}

#[test]
fn an_answer_says_when_the_key_was_used_last() {
    let view = Map::from_iter([("last_used_at".to_owned(), json!("2019-08-22T11:46:38.914Z"))]);
    let used = KeyRecord { key: Arc::new(key()), view };
    assert_eq!(
        shown(&used, &People::default(), false).last_used_at.as_deref(),
        Some("2019-08-22 11:46:38.914000+00")
    );
    let never = KeyRecord { view: Map::from_iter([("last_used_at".to_owned(), Value::Null)]), ..used };
    assert_eq!(shown(&never, &People::default(), false).last_used_at, None);
}

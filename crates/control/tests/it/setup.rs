//! Short ways to say what a test begins with.

use keywright_control::keys::{KeyEdit, KeyRecord, KeyRef, KeyWithSecret, NewKey, NewSecret, Rotation};
use keywright_control::{Answer, Caller, Done, Error, NounKind, NounRecord, Plan, WriteOptions};
use keywright_model::denial::Denial;
use keywright_model::document::{Edit, decode_new_key};
use keywright_model::id::OrgId;
use keywright_model::revision::Version;
use keywright_testkit::{TestNode, canary, origin};
use keywright_verifier::{Asked, Check, Credential, Decided, Request};
use serde_json::{Map, Value, json};

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn new_key(body: Value) -> Result<NewKey, Error> {
    let draft = decode_new_key(&object(body)).map_err(Error::Invalid)?;
    Ok(NewKey { draft, secret: NewSecret::Generated })
}

pub(crate) async fn create(
    node: &TestNode,
    caller: &Caller,
    body: Value,
) -> Result<Done<KeyWithSecret>, Error> {
    let done = node.control.create_key(caller, new_key(body)?, &WriteOptions::default()).await?.done()?;
    if let Some(secret) = &done.value.secret {
        canary::note_secret(secret.expose());
    }
    Ok(done)
}

/// What a creation would come to.
pub(crate) async fn planned_key(node: &TestNode, caller: &Caller, body: Value) -> Plan {
    planned(node.control.create_key(caller, new_key(body).unwrap(), &dry()).await.unwrap())
}

pub(crate) fn planned<T: std::fmt::Debug>(answer: Answer<T>) -> Plan {
    match answer {
        Answer::Planned(plan) => plan,
        Answer::Done(done) => panic!("not a dry run: {done:?}"),
    }
}

pub(crate) fn dry() -> WriteOptions {
    WriteOptions { dry_run: true, ..WriteOptions::default() }
}

pub(crate) fn if_match(version: u64) -> WriteOptions {
    WriteOptions { if_match: Some(Version(version)), ..WriteOptions::default() }
}

pub(crate) fn merge(body: Value) -> KeyEdit {
    KeyEdit::Document(Edit::Merge(object(body)))
}

pub(crate) async fn update(
    node: &TestNode,
    caller: &Caller,
    key: &KeyRef,
    body: Value,
) -> Result<Done<KeyRecord>, Error> {
    node.control.update_key(caller, key, &merge(body), &WriteOptions::default()).await?.done()
}

pub(crate) async fn rotate(
    node: &TestNode,
    caller: &Caller,
    key: &KeyRef,
    overlap_seconds: u64,
) -> Result<Done<KeyWithSecret>, Error> {
    let rotation = Rotation { overlap_seconds, custom: None, secret: NewSecret::Generated };
    let done = node.control.rotate_key(caller, key, &rotation, &WriteOptions::default()).await?.done()?;
    if let Some(secret) = &done.value.secret {
        canary::note_secret(secret.expose());
    }
    Ok(done)
}

pub(crate) async fn noun(
    node: &TestNode,
    caller: &Caller,
    of: NounKind,
    body: Value,
) -> Result<NounRecord, Error> {
    let options = WriteOptions::default();
    Ok(node.control.create_noun(caller, of, &object(body), &options).await?.done()?.value)
}

pub(crate) async fn update_noun(
    node: &TestNode,
    caller: &Caller,
    (of, id): (NounKind, &str),
    body: Value,
) -> Result<Done<NounRecord>, Error> {
    let edit = Edit::Merge(object(body));
    node.control.update_noun(caller, of, id, &edit, &WriteOptions::default()).await?.done()
}

/// The identifier of a noun that was just made.
pub(crate) fn id_of(record: &NounRecord) -> String {
    text(&record.view, "id")
}

pub(crate) fn text(view: &Map<String, Value>, field: &str) -> String {
    view.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("no {field} in {view:?}")).to_owned()
}

/// A management key's body with these actions, everywhere in `default`, that may hand out `grantable`.
pub(crate) fn management(actions: &[&str], grantable: &Value) -> Value {
    json!({
        "kind": "management", "name": "manager", "grantable": grantable,
        "admin": {"actions": actions, "orgs": ["default"], "keyspaces": ["*"]},
    })
}

/// Makes a management key as root and becomes it.
pub(crate) async fn manager(node: &TestNode, body: Value) -> Caller {
    let made = create(node, &node.root().await, body).await.unwrap();
    node.caller(secret_of(&made)).await
}

pub(crate) async fn caller_in(node: &TestNode, secret: &str, org: &str) -> Result<Caller, Error> {
    node.control.authenticate(secret, Some(org), origin()).await
}

pub(crate) fn secret_of(made: &Done<KeyWithSecret>) -> &str {
    made.value.secret.as_ref().unwrap().expose()
}

pub(crate) fn by_id(key: &KeyWithSecret) -> KeyRef {
    KeyRef::Id(key.record.key.id)
}

pub(crate) fn allow(action: &str, resource: &str) -> Value {
    json!([{"effect": "allow", "actions": [action], "resources": [resource]}])
}

/// What a verifier says to a bearer secret that wants to do something; `None` is allowed.
pub(crate) fn denial(
    node: &TestNode,
    org: OrgId,
    secret: &str,
    wants: Option<(&str, &str)>,
) -> Option<Denial> {
    let checks: Vec<Check<'_>> = wants.iter().map(|(action, resource)| Check { action, resource }).collect();
    let request = Request { keyspaces: Asked::whole(org), checks: &checks, ip: None, cost: 1 };
    match node.verifier.verify(&Credential::Bearer(secret), &request, node.now()) {
        Decided::Verdict(verdict) => verdict.denial,
        other => panic!("not decided: {other:?}"),
    }
}

/// The codes of the faults of a refused input, with their places.
#[track_caller]
pub(crate) fn faults<T: std::fmt::Debug>(refused: Result<T, Error>) -> Vec<(String, &'static str)> {
    match refused {
        Err(Error::Invalid(faults)) => {
            faults.as_slice().iter().map(|fault| (fault.pointer.clone(), fault.code)).collect()
        }
        other => panic!("not invalid: {other:?}"),
    }
}

//! Short ways to say what a test begins with.

use keywright_control::keys::{KeyEdit, KeyRef, KeyWithSecret, NewKey, NewSecret};
use keywright_control::{Caller, Done, Error, WriteOptions};
use keywright_model::denial::Denial;
use keywright_model::document::{Edit, decode_new_key};
use keywright_model::id::OrgId;
use keywright_testkit::{TestNode, canary};
use keywright_verifier::{Asked, Check, Credential, Decided, Request};
use serde_json::{Map, Value};

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) async fn create(
    node: &TestNode,
    caller: &Caller,
    body: Value,
) -> Result<Done<KeyWithSecret>, Error> {
    let draft = decode_new_key(&object(body)).map_err(Error::Invalid)?;
    let new = NewKey { draft, secret: NewSecret::Generated };
    let done = node.control.create_key(caller, new, &WriteOptions::default()).await?.done()?;
    if let Some(secret) = &done.value.secret {
        canary::note_secret(secret.expose());
    }
    Ok(done)
}

pub(crate) fn merge(body: Value) -> KeyEdit {
    KeyEdit::Document(Edit::Merge(object(body)))
}

pub(crate) fn by_id(key: &KeyWithSecret) -> KeyRef {
    KeyRef::Id(key.record.key.id)
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

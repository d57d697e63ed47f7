//! `DescribeApiKey` and `DescribeApiKeysStatus`: with secrets where the keyspace keeps them recoverable and the caller may
//! see them, else masked.

use std::collections::BTreeSet;

use keywright_control::keys::KeyRef;
use keywright_control::{Error, keys::KeyRecord};
use keywright_model::id::{KeyId, PlanId};
use keywright_model::key::Key;
use keywright_model::secret::Secret;
use serde_json::{Value, json};

use super::error::Refusal;
use super::list::{Filter, Of, Window, filters, keys};
use super::map;
use super::parameters::Parameters;
use super::signed::Call;
use crate::dialects::Wire;

/// Whether a key is one of those asked for.
type Test = Box<dyn Fn(&Key) -> bool + Sync + Send>;

const FILTERS: &[&str] =
    &["AccessKeyId", "AccessKeySecret", "SecretName", "NotUsagePlanId", "Status", "KeyWord"];

pub(super) async fn one(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(&["AccessKeyId"])?;
    let key = map::key_named(&parameters.required_text("AccessKeyId")?);
    let record = wire.control().key(&call.caller, &key).await?;
    map::is_pair(&record.key)?;
    let mut shown = shown(wire, call, &[record]).await?;
    Ok(shown.pop().unwrap_or_default())
}

pub(super) async fn some(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(&["Limit", "Offset", "Filters"])?;
    let window = Window::read(parameters)?;
    let mut tests: Vec<Test> = Vec::new();
    for filter in filters(parameters, FILTERS)? {
        tests.push(test(wire, call, filter).await?);
    }
    let tests: Vec<&(dyn Fn(&Key) -> bool + Sync)> = tests.iter().map(|test| &**test as _).collect();
    let found = keys(wire, call, window, Of::All(&tests)).await?;
    let set = shown(wire, call, &found.items).await?;
    Ok(json!({"TotalCount": found.total, "ApiKeySet": set}))
}

/// Names, ids and states fit as a whole, a key word as a part of a name or id, whatever its case.
async fn test(
    wire: &Wire,
    call: &Call,
    Filter { name, values }: Filter,
) -> Result<Box<dyn Fn(&Key) -> bool + Sync + Send>, Refusal> {
    Ok(match name.as_str() {
        "AccessKeyId" => Box::new(move |key| values.contains(&map::id_of(key))),
        "AccessKeySecret" => {
            let keys = keys_of(wire, call, values).await?;
            Box::new(move |key| keys.contains(&key.id))
        }
        "SecretName" => Box::new(move |key| values.contains(&key.spec.name)),
        "NotUsagePlanId" => Box::new(move |key| {
            let bound = |id: &String| id.parse::<PlanId>().is_ok_and(|id| key.spec.plans.contains(&id));
            values.iter().any(|id| !bound(id))
        }),
        "Status" => Box::new(move |key| values.contains(&map::status(key).to_string())),
        _ => {
            let words: Vec<String> = values.iter().map(|word| word.to_lowercase()).collect();
            Box::new(move |key| {
                let (name, id) = (key.spec.name.to_lowercase(), map::id_of(key).to_lowercase());
                words.iter().any(|word| name.contains(word) || id.contains(word))
            })
        }
    })
}

/// The keys whose present secrets these are.
async fn keys_of(wire: &Wire, call: &Call, secrets: Vec<String>) -> Result<BTreeSet<KeyId>, Refusal> {
    let mut keys = BTreeSet::new();
    for secret in secrets {
        let secret = KeyRef::Secret(Secret::new(secret));
        match wire.control().key(&call.caller, &secret).await {
            Ok(record) => drop(keys.insert(record.key.id)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(keys)
}

async fn shown(wire: &Wire, call: &Call, records: &[KeyRecord]) -> Result<Vec<Value>, Refusal> {
    let keys: Vec<&Key> = records.iter().map(|record| &*record.key).collect();
    let secrets = wire.control().reveal_current(&call.caller, &keys).await?;
    Ok(keys.iter().zip(&secrets).map(|(key, secret)| map::shown(key, secret.as_ref())).collect())
}

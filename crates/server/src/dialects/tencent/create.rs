//! `CreateApiKey`: a new key pair, of Keywright's making (`auto`) or the caller's (`manual`).

use keywright_control::keys::{NewKey, NewSecret};
use serde_json::Value;

use super::error::Refusal;
use super::map;
use super::parameters::Parameters;
use super::signed::{Call, once};
use crate::dialects::Wire;

const KNOWN: &[&str] = &["SecretName", "AccessKeyType", "AccessKeyId", "AccessKeySecret", "Tags"];

pub(super) async fn create(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(KNOWN)?;
    let asked = map::NewPair::read(parameters)?;
    let entropy = wire.entropy.as_ref();
    let secret = NewSecret::Given(map::secret(entropy));
    let new = NewKey { draft: asked.into_draft(entropy)?, secret };
    let made = once(wire.control().create_key(&call.caller, new, &call.options).await?)?;
    Ok(map::shown(&made.record.key, made.secret.as_ref()))
}

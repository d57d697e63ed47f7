//! `CreateApiKey`: a new key pair, of Keywright's making (`auto`) or the caller's (`manual`).

use keywright_control::keys::{NewKey, NewSecret};
use serde_json::Value;

use super::error::{Code, Refusal};
use super::map;
use super::parameters::Parameters;
use super::signed::Call;
use crate::dialects::Wire;
use crate::dialects::exchange::settled;

const KNOWN: &[&str] = &["SecretName", "AccessKeyType", "AccessKeyId", "AccessKeySecret", "Tags"];

pub(super) async fn create(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(KNOWN)?;
    let asked = map::NewPair::read(parameters)?;
    let entropy = wire.entropy.as_ref();
    let secret = NewSecret::Given(map::secret(entropy));
    let new = NewKey { draft: asked.into_draft(entropy)?, secret };
    let done = settled(wire.control().create_key(&call.caller, new, &call.options).await?)?;
    if done.replayed {
        return Err(Code::RequestLimitExceeded.into());
    }
    Ok(map::shown(&done.value.record.key, done.value.secret.as_ref()))
}

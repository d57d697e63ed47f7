//! `UpdateApiKey`: a new secret, and the end of the old one at once. Name, id and all else stay.

use keywright_control::keys::{NewSecret, Rotation};
use keywright_model::key::KeyKind;
use serde_json::Value;

use super::error::{Code, Refusal};
use super::map;
use super::parameters::Parameters;
use super::signed::Call;
use crate::dialects::Wire;
use crate::dialects::exchange::settled;

const KNOWN: &[&str] = &["AccessKeyId", "AccessKeySecret"];

pub(super) async fn update(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(KNOWN)?;
    let key = map::key_named(&parameters.required_text("AccessKeyId")?);
    let custom = parameters.text("AccessKeySecret")?.map(|text| map::custom_secret(&text)).transpose()?;
    let before = wire.control().key(&call.caller, &key).await?.key;
    if before.spec.rights.kind() == KeyKind::Management {
        return Err(Code::InvalidAccessKeyId.into());
    }
    if custom.is_none() && map::is_manual(&before) {
        return Err(Refusal::missing("AccessKeySecret"));
    }
    let secret = NewSecret::Given(map::secret(wire.entropy.as_ref()));
    let rotation = Rotation { overlap_seconds: 0, custom, secret };
    let done = settled(wire.control().rotate_key(&call.caller, &key, &rotation, &call.options).await?)?;
    if done.replayed {
        return Err(Code::RequestLimitExceeded.into());
    }
    Ok(map::shown(&done.value.record.key, done.value.secret.as_ref()))
}

//! `UpdateApiKey`: a new secret, and the end of the old one at once. Name, id and all else stay.

use keywright_control::keys::{NewSecret, Rotation};
use serde_json::Value;

use super::error::Refusal;
use super::map;
use super::parameters::Parameters;
use super::signed::{Call, once};
use crate::dialects::Wire;

const KNOWN: &[&str] = &["AccessKeyId", "AccessKeySecret"];

pub(super) async fn update(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(KNOWN)?;
    let key = map::key_named(&parameters.required_text("AccessKeyId")?);
    let custom = parameters.text("AccessKeySecret")?.map(|text| map::custom_secret(&text)).transpose()?;
    let before = wire.control().key(&call.caller, &key).await?.key;
    map::is_pair(&before)?;
    if custom.is_none() && map::is_manual(&before) {
        return Err(Refusal::missing("AccessKeySecret"));
    }
    let secret = NewSecret::Given(map::secret(wire.entropy.as_ref()));
    let rotation = Rotation { overlap_seconds: 0, custom, secret };
    let updated = once(wire.control().rotate_key(&call.caller, &key, &rotation, &call.options).await?)?;
    Ok(map::shown(&updated.record.key, updated.secret.as_ref()))
}

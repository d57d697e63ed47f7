//! `EnableApiKey` and `DisableApiKey`.

use keywright_control::Error;
use keywright_model::key::Key;
use serde_json::{Value, json};

use super::error::{Refusal, SWITCHED};
use super::map;
use super::parameters::Parameters;
use super::signed::{Call, once};
use crate::dialects::Wire;

pub(super) async fn switch(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
    on: bool,
) -> Result<Value, Refusal> {
    parameters.require_known(&["AccessKeyId"])?;
    let key = map::key_named(&parameters.required_text("AccessKeyId")?);
    let differs = |key: &Key| {
        map::is_pair(key)?;
        if key.spec.enabled == on {
            return Err(Error::WrongState { code: SWITCHED, detail: "the key is so already" });
        }
        Ok(())
    };
    let switched = wire.control().set_key_enabled_where(&call.caller, &key, on, &differs, &call.options);
    once(switched.await?)?;
    Ok(json!(true))
}

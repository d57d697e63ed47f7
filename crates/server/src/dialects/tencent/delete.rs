//! `DeleteApiKey`: only of a key that is off and bound to no plan.

use keywright_control::Error;
use keywright_model::key::Key;
use serde_json::{Value, json};

use super::error::{BOUND, ENABLED, Refusal};
use super::map;
use super::parameters::Parameters;
use super::signed::{Call, once};
use crate::dialects::Wire;

pub(super) async fn delete(wire: &Wire, call: &Call, parameters: &Parameters) -> Result<Value, Refusal> {
    parameters.require_known(&["AccessKeyId"])?;
    let key = map::key_named(&parameters.required_text("AccessKeyId")?);
    once(wire.control().delete_key_where(&call.caller, &key, &may_go, &call.options).await?)?;
    Ok(json!(true))
}

fn may_go(key: &Key) -> Result<(), Error> {
    map::is_pair(key)?;
    if key.spec.enabled {
        return Err(Error::WrongState { code: ENABLED, detail: "the key is enabled; disable it first" });
    }
    if !key.spec.plans.is_empty() {
        return Err(Error::WrongState { code: BOUND, detail: "the key is bound to a plan; unbind it first" });
    }
    Ok(())
}

//! `BindSecretIds` and `UnBindSecretIds`: all of the keys or none.

use keywright_control::Error;
use keywright_control::keys::Binding;
use keywright_model::key::Key;
use serde_json::{Value, json};

use super::super::error::{BOUND_ALREADY, Code, DISABLED, Refusal};
use super::super::map;
use super::super::parameters::Parameters;
use super::super::signed::{Call, once};
use super::plan_named;
use crate::dialects::Wire;

/// How many keys one call may name.
const KEYS_MAX: usize = 100;

pub(in super::super) async fn bind(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
    bound: bool,
) -> Result<Value, Refusal> {
    parameters.require_known(&["UsagePlanId", "AccessKeyIds"])?;
    let ids = parameters.required_texts("AccessKeyIds")?;
    if !(1..=KEYS_MAX).contains(&ids.len()) {
        return Err(Code::InvalidAccessKeyIds.into());
    }
    let plan = plan_named(parameters)?;
    let keys = ids.iter().map(|id| map::key_named(id)).collect();
    let may = |key: &Key| {
        map::is_pair(key)?;
        match bound {
            true if key.spec.plans.contains(&plan) => {
                Err(Error::WrongState { code: BOUND_ALREADY, detail: "a key is bound to it already" })
            }
            true if !key.spec.enabled => {
                Err(Error::WrongState { code: DISABLED, detail: "a key is disabled; enable it first" })
            }
            _ => Ok(()),
        }
    };
    let binding = Binding { plan, keys, bound };
    once(wire.control().bind_keys(&call.caller, &binding, &may, &call.options).await?)?;
    Ok(json!(true))
}

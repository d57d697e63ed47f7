//! `CreateUsagePlan`, `ModifyUsagePlan` and `DeleteUsagePlan`.

use keywright_control::{Error, NounKind, WriteOptions};
use keywright_model::document::Edit;
use keywright_model::limit::{Limit, Period, Quota};
use keywright_model::noun::{Plan, PlanSpec};
use serde_json::{Map, Value, json};

use super::super::error::{Code, Refusal};
use super::super::parameters::Parameters;
use super::super::signed::{Call, once};
use super::{
    LIMIT_NAME, MAX_REQUEST_NUM, MAX_REQUEST_NUM_PRE_SEC, OFF, info, is_per_second, is_total, plan_named,
    plan_of,
};
use crate::dialects::Wire;
use crate::dialects::fields;

/// How often a change is tried that others come in between of.
const ATTEMPTS_MAX: usize = 8;

/// What a call sets; `None` is what it says nothing of.
struct Asked {
    name: Option<String>,
    total: Option<i64>,
    per_second: Option<i64>,
}

impl Asked {
    fn read(parameters: &Parameters, out_of_range: Code) -> Result<Self, Refusal> {
        let name = parameters.text("UsagePlanName")?;
        parameters.text("UsagePlanDesc")?;
        let total = parameters.whole("MaxRequestNum")?;
        let per_second = parameters.whole("MaxRequestNumPreSec")?;
        let within = |number: Option<i64>, max| {
            number.is_none_or(|number| number == OFF || (1..=max).contains(&number))
        };
        if !within(total, MAX_REQUEST_NUM) {
            return Err(Refusal::about(out_of_range, "`MaxRequestNum`"));
        }
        if !within(per_second, MAX_REQUEST_NUM_PRE_SEC) {
            return Err(Refusal::format_error("MaxRequestNumPreSec"));
        }
        let name = name.map(|name| fields::name("UsagePlanName", &name)).transpose();
        let name = name.map_err(|_| Refusal::format_error("UsagePlanName"))?;
        Ok(Self { name, total, per_second })
    }

    /// The plan's writable state after it. What this wire does not show stays, unless it is put in its place.
    fn applied_to(&self, mut spec: PlanSpec) -> Result<Map<String, Value>, Refusal> {
        if let Some(name) = &self.name {
            spec.name.clone_from(name);
        }
        match self.total.map(u64::try_from) {
            None => {}
            Some(Ok(max))
                if spec
                    .quota
                    .as_ref()
                    .filter(|quota| is_total(quota))
                    .is_some_and(|quota| quota.max == max) => {}
            Some(Ok(max)) => {
                spec.quota = Some(Quota { max, period: Period::None, time_zone: "UTC".to_owned() });
            }
            Some(Err(_)) => spec.quota = spec.quota.filter(|quota| !is_total(quota)),
        }
        let place = spec.limits.iter().position(is_per_second);
        match (self.per_second.map(u64::try_from), place.and_then(|place| spec.limits.get_mut(place))) {
            (None, _) | (Some(Err(_)), None) => {}
            (Some(Ok(max)), Some(limit)) => limit.max = max,
            (Some(Ok(max)), None) => {
                spec.limits.push(Limit { name: LIMIT_NAME.to_owned(), max, per_seconds: 1 });
            }
            (Some(Err(_)), Some(_)) => spec.limits.retain(|limit| !is_per_second(limit)),
        }
        match serde_json::to_value(&spec) {
            Ok(Value::Object(map)) => Ok(map),
            _ => Err(Code::OssException.into()),
        }
    }
}

pub(in super::super) async fn create(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&[
        "UsagePlanName",
        "UsagePlanDesc",
        "MaxRequestNum",
        "MaxRequestNumPreSec",
        "Tags",
    ])?;
    let name = parameters.required_text("UsagePlanName")?;
    if !parameters.objects("Tags")?.is_empty() {
        return Err(Refusal::about(Code::UnsupportedOperation, "a usage plan has no tags"));
    }
    let asked = Asked::read(parameters, Code::InvalidMaxRequestNum)?;
    let body = asked.applied_to(PlanSpec { name, limits: Vec::new(), quota: None })?;
    let made = wire.control().create_noun(&call.caller, NounKind::Plan, &body, &call.options).await?;
    Ok(info(plan_of(&once(made)?.noun)?, Some(&[])))
}

pub(in super::super) async fn modify(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&[
        "UsagePlanId",
        "UsagePlanName",
        "UsagePlanDesc",
        "MaxRequestNum",
        "MaxRequestNumPreSec",
    ])?;
    let id = plan_named(parameters)?.to_string();
    let asked = Asked::read(parameters, Code::FormatError)?;
    for _ in 0..ATTEMPTS_MAX {
        let before = wire.control().noun(&call.caller, NounKind::Plan, &id).await?;
        let plan: &Plan = plan_of(&before.noun)?;
        let edit = Edit::Replace(asked.applied_to(plan.spec.clone())?);
        // The edit was made of this version: it must be the one that is written over.
        let options = WriteOptions { if_match: Some(plan.meta.version), ..call.options.clone() };
        match wire.control().update_noun(&call.caller, NounKind::Plan, &id, &edit, &options).await {
            Err(Error::PreconditionFailed { .. }) => {}
            changed => return Ok(info(plan_of(&once(changed?)?.noun)?, None)),
        }
    }
    Err(Code::OssException.into())
}

pub(in super::super) async fn delete(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&["UsagePlanId"])?;
    let id = plan_named(parameters)?.to_string();
    once(wire.control().delete_noun(&call.caller, NounKind::Plan, &id, &call.options).await?)?;
    Ok(json!(true))
}

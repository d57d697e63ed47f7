//! `DescribeUsagePlan`, `DescribeUsagePlansStatus` and `DescribeUsagePlanSecretIds`.

use keywright_control::NounKind;
use keywright_model::id::PlanId;
use keywright_model::noun::Plan;
use serde_json::{Value, json};

use super::super::error::Refusal;
use super::super::list::{Filter, Of, Window, filters, keys as keys_found};
use super::super::map;
use super::super::parameters::Parameters;
use super::super::signed::Call;
use super::{fields, info, plan_named, plan_of};
use crate::dialects::Wire;

const FILTERS: &[&str] = &["UsagePlanId", "UsagePlanName", "NotServiceId", "NotApiId", "Environment"];
/// How many plans are read at a time.
const PLANS_PAGE: usize = 200;

pub(in super::super) async fn one(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&["UsagePlanId"])?;
    let id = plan_named(parameters)?;
    let record = wire.control().noun(&call.caller, NounKind::Plan, &id.to_string()).await?;
    Ok(info(plan_of(&record.noun)?, Some(&bound(wire, call, id).await?)))
}

/// What the keys of a plan are called.
async fn bound(wire: &Wire, call: &Call, plan: PlanId) -> Result<Vec<String>, Refusal> {
    let found = keys_found(wire, call, Window::EVERYTHING, Of::Plan(plan)).await?;
    Ok(found.items.iter().map(|record| map::id_of(&record.key)).collect())
}

pub(in super::super) async fn some(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&["Limit", "Offset", "Filters"])?;
    let mut found = Window::read(parameters)?.empty();
    let filters = filters(parameters, FILTERS)?;
    let mut after = None;
    loop {
        let page = wire.control().nouns(&call.caller, NounKind::Plan, after, PLANS_PAGE).await?;
        for record in &page.items {
            let plan = plan_of(&record.noun)?;
            if filters.iter().all(|filter| fits(plan, filter)) {
                found.add(Value::Object(fields(plan)));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(json!({"TotalCount": found.total, "UsagePlanStatusSet": found.items}));
        }
    }
}

/// There are no services and environments here: no plan is bound to any.
fn fits(plan: &Plan, Filter { name, values }: &Filter) -> bool {
    match name.as_str() {
        "UsagePlanId" => values.contains(&plan.id.to_string()),
        "UsagePlanName" => values.contains(&plan.spec.name),
        "Environment" => false,
        _ => true,
    }
}

pub(in super::super) async fn keys(
    wire: &Wire,
    call: &Call,
    parameters: &Parameters,
) -> Result<Value, Refusal> {
    parameters.require_known(&["UsagePlanId", "Limit", "Offset"])?;
    let (id, window) = (plan_named(parameters)?, Window::read(parameters)?);
    wire.control().noun(&call.caller, NounKind::Plan, &id.to_string()).await?;
    let found = keys_found(wire, call, window, Of::Plan(id)).await?;
    let items = found.items.iter().map(|record| &record.key);
    let list: Vec<Value> = items
        .map(|key| {
            json!({"SecretName": key.spec.name, "AccessKeyId": map::id_of(key), "Status": map::status(key)})
        })
        .collect();
    Ok(json!({"TotalCount": found.total, "AccessKeyList": list}))
}

//! Usage plans are Keywright's plans: `MaxRequestNum` is their quota that never begins anew, `MaxRequestNumPreSec` their
//! limit of one second. Each is counted for each key apart. A plan is named by its id.

pub(super) mod bind;
pub(super) mod read;
pub(super) mod write;

use keywright_control::{Error, Noun};
use keywright_model::id::PlanId;
use keywright_model::limit::{Limit, Period, Quota};
use keywright_model::noun::Plan;
use serde_json::{Map, Value, json};

use super::error::{Code, Refusal};
use super::parameters::Parameters;
use crate::dialects::fields::rfc3339;

/// What stands for no limit.
const OFF: i64 = -1;
const MAX_REQUEST_NUM: i64 = 99_999_999;
const MAX_REQUEST_NUM_PRE_SEC: i64 = 2_000;
/// What the limit of one second is called that this wire makes.
const LIMIT_NAME: &str = "per_second";

/// The plan that a call names. Its name, by which REST finds it, too, is nothing here.
fn plan_named(parameters: &Parameters) -> Result<PlanId, Refusal> {
    let id = parameters.required_text("UsagePlanId")?;
    id.parse().map_err(|_| Code::InvalidUsagePlan.into())
}

fn plan_of(noun: &Noun) -> Result<&Plan, Error> {
    match noun {
        Noun::Plan(plan) => Ok(plan),
        Noun::Org(_) | Noun::Keyspace(_) | Noun::Principal(_) | Noun::Role(_) | Noun::Key(_) => {
            Err(Error::NotFound("plan"))
        }
    }
}

/// The limit that this wire shows: the first of one second.
fn is_per_second(limit: &Limit) -> bool {
    limit.per_seconds == 1
}

/// The quota that this wire shows.
fn is_total(quota: &Quota) -> bool {
    quota.period == Period::None
}

/// A plan's own fields, as every answer has them. What this wire cannot show stands as no limit.
fn fields(plan: &Plan) -> Map<String, Value> {
    let number = |max: Option<u64>| max.map_or_else(|| json!(OFF), |max| json!(max));
    let per_second = plan.spec.limits.iter().find(|limit| is_per_second(limit)).map(|limit| limit.max);
    let total = plan.spec.quota.as_ref().filter(|quota| is_total(quota)).map(|quota| quota.max);
    Map::from_iter([
        ("UsagePlanId".to_owned(), json!(plan.id.to_string())),
        ("UsagePlanName".to_owned(), json!(plan.spec.name)),
        ("UsagePlanDesc".to_owned(), Value::Null),
        ("MaxRequestNumPreSec".to_owned(), number(per_second)),
        ("MaxRequestNum".to_owned(), number(total)),
        ("CreatedTime".to_owned(), json!(rfc3339(plan.meta.created_at, 0))),
        ("ModifiedTime".to_owned(), json!(rfc3339(plan.meta.updated_at, 0))),
    ])
}

/// A plan as a whole. `bound` are the ids of its keys, where they were looked up.
fn info(plan: &Plan, bound: Option<&[String]>) -> Value {
    let mut fields = fields(plan);
    let environments = bound.map(|_| 0);
    fields.insert("BindSecretIdTotalCount".to_owned(), json!(bound.map(<[_]>::len)));
    fields.insert("BindSecretIds".to_owned(), json!(bound));
    fields.insert("BindEnvironmentTotalCount".to_owned(), json!(environments));
    fields.insert("BindEnvironments".to_owned(), json!(bound.map(|_| Vec::<Value>::new())));
    fields.insert("Tags".to_owned(), Value::Null);
    Value::Object(fields)
}

//! Tencent Cloud's API Gateway, version 2018-08-08: everything at `/`, as `docs/dialects/tencent.md` describes it.

mod action;
mod create;
mod delete;
mod describe;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod list;
mod map;
mod parameters;
mod plans;
mod request;
mod signed;
mod switch;
mod update;
mod wire;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use serde_json::Value;

use self::action::Action;
use self::error::{Code, Refusal};
use self::request::Asked;
use self::wire::Language;
use super::exchange::Incoming;
use super::pace::Limit;
use super::{Vendor, Wire};

/// Its name.
const WIRE: &str = "tencent";

/// How often a caller may ask for each action.
const LIMIT: Limit = Limit { requests: 20, window: Duration::from_secs(1) };

/// What is known of it elsewhere.
pub(super) const VENDOR: Vendor = Vendor {
    name: WIRE,
    router,
    limit: Some(LIMIT),
    // A key pair signs.
    key_header: None,
    // A key pair's rights are not said by path: what it may do is said with grants.
    meaning: |_| Vec::new(),
    #[cfg(feature = "fuzzing")]
    read: fuzzing::read,
};

/// Its one path, and the vendor's error for every other.
fn router() -> Router<Wire> {
    Router::new().route("/", any(answer)).fallback(answer)
}

async fn answer(State(wire): State<Wire>, request: Request) -> Response {
    let request_id = map::request_id(wire.entropy.as_ref());
    let incoming = match wire.take(WIRE, request).await {
        Ok(incoming) => incoming,
        Err(unread) => return wire::failure(&unread.into(), Language::default(), &request_id),
    };
    let asked = Asked::read(&incoming);
    let language = asked.as_ref().map_or_else(|_| request::language(&incoming), |asked| asked.language);
    let outcome = match asked {
        Ok(asked) => act(&wire, &incoming, &asked).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(result) => wire::success(&result, &request_id),
        Err(refusal) => wire::failure(&refusal, language, &request_id),
    }
}

/// Does what is asked, tested in the order in which the vendor's clients see its errors: what shall be done, who asks,
/// with which parameters, then the rules of the business.
async fn act(wire: &Wire, incoming: &Incoming, asked: &Asked) -> Result<Value, Refusal> {
    let action = asked.action()?;
    let call = signed::authenticate(wire, incoming, asked, action).await?;
    let who = call.caller.key().map_or(0, |key| key.id.bits());
    wire.paced(who, action.as_str()).map_err(|_| Code::RequestLimitExceeded)?;
    let parameters = &asked.parameters;
    match action {
        Action::CreateApiKey => create::create(wire, &call, parameters).await,
        Action::DescribeApiKey => describe::one(wire, &call, parameters).await,
        Action::DescribeApiKeysStatus => describe::some(wire, &call, parameters).await,
        Action::EnableApiKey => switch::switch(wire, &call, parameters, true).await,
        Action::DisableApiKey => switch::switch(wire, &call, parameters, false).await,
        Action::UpdateApiKey => update::update(wire, &call, parameters).await,
        Action::DeleteApiKey => delete::delete(wire, &call, parameters).await,
        Action::CreateUsagePlan => plans::write::create(wire, &call, parameters).await,
        Action::DescribeUsagePlan => plans::read::one(wire, &call, parameters).await,
        Action::DescribeUsagePlansStatus => plans::read::some(wire, &call, parameters).await,
        Action::ModifyUsagePlan => plans::write::modify(wire, &call, parameters).await,
        Action::DeleteUsagePlan => plans::write::delete(wire, &call, parameters).await,
        Action::BindSecretIds => plans::bind::bind(wire, &call, parameters, true).await,
        Action::UnBindSecretIds => plans::bind::bind(wire, &call, parameters, false).await,
        Action::DescribeUsagePlanSecretIds => plans::read::keys(wire, &call, parameters).await,
    }
}

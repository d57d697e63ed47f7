//! `keywright verify` and `keywright whoami`.

use keywright_client::{Check, Key, VerifyRequest};

use super::{Outcome, Session};
use crate::cli::VerifyArgs;
use crate::parse::grant::parse_check;
use crate::render;

/// Asks one question and answers with its exit code.
pub(crate) async fn verify(session: &Session, args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let client = session.client()?;
    let checks =
        args.check.iter().map(|text| parse_check(text)).map(|(action, resource)| Check { action, resource });
    let request = VerifyRequest {
        keyspace: args.keyspace.clone(),
        access_id: args.access_id.clone(),
        action: args.action.clone(),
        resource: args.resource.clone(),
        checks: checks.collect(),
        ip: args.ip.clone(),
        cost: args.cost,
        ..VerifyRequest::of(session.secret()?)
    };
    let verdict = client.verify(&request).await?;
    if session.output.json {
        session.output.say_json(&verdict);
    } else {
        session.output.say(&render::key::verdict(&verdict, session.layout()));
    }
    Ok(if verdict.allowed { Outcome::Done } else { Outcome::No })
}

/// Shows whose key the session calls with.
pub(crate) async fn whoami(session: &Session) -> anyhow::Result<Outcome> {
    let answer = session.client()?.whoami().await?;
    if session.output.json {
        session.output.say_json(&answer);
    } else {
        let key = answer.get("key").and_then(|key| serde_json::from_value::<Key>(key.clone()).ok());
        session.output.say(&match key {
            Some(key) => render::key::key(&key, session.layout()),
            None => render::noun::object(&answer, session.layout()),
        });
    }
    Ok(Outcome::Done)
}

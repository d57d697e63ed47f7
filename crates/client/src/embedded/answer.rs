//! Asking from memory, and the answer in the client's words.

use std::net::IpAddr;

use keywright_model::access::CheckedRequest;
use keywright_model::denial::Denial;
use keywright_model::id::KeyspaceId;
use keywright_model::limit::LIMIT_MAX;
use keywright_model::revision::RevisionToken;
use keywright_verifier::{Asked, Check, Credential, Decided, FoundKey, Request};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Embedded, Figures};
use crate::error::Error;
use crate::verify::{LimitState, OwnerRef, QuotaState, Verdict, VerifyRequest};

/// What asking from memory came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Local {
    /// An answer.
    Verdict(Box<Verdict>),
    /// Only a node can tell.
    AskNode,
    /// Memory is older than it may be: nothing is answered by it.
    NotCurrent {
        /// How long ago the node was last heard of, in milliseconds.
        age_ms: u64,
    },
}

impl Embedded {
    /// Asks from memory alone. No call is made, and nothing is waited for.
    pub fn verify(&self, request: &VerifyRequest) -> Local {
        let Some(question) = Question::of(request) else { return Local::AskNode };
        let held = self.held.borrow();
        let scope = &held.scope;
        let asked = Asked::within(scope.org, &scope.keyspaces);
        let keyspaces = match request.keyspace.as_deref() {
            None => asked,
            Some(named) => {
                named.parse::<KeyspaceId>().map_or_else(|_| asked.only_named(named), |id| asked.only(id))
            }
        };
        let Question { secret, checks, ip, cost } = &question;
        let request = Request { keyspaces, checks, ip: *ip, cost: *cost };
        match self.verifier.verify(&Credential::Bearer(secret), &request, self.now()) {
            // Invariant: the clock is read last, and compared with the deadline that the verification read first.
            Decided::Verdict(verdict) if verdict.holds_at(self.ambient.boot_ns()) => {
                Local::Verdict(Box::new(self.shown(&verdict)))
            }
            Decided::Verdict(verdict) => Local::NotCurrent { age_ms: verdict.age_ms },
            Decided::NotCurrent { age_ms } => Local::NotCurrent { age_ms },
            Decided::Deferred(_) => Local::AskNode,
        }
    }

    /// Asks from memory, and the node where memory cannot decide. The client's key then needs `keys.verify`.
    pub async fn ask(&self, request: &VerifyRequest) -> Result<Verdict, Error> {
        match self.verify(request) {
            Local::Verdict(verdict) => Ok(*verdict),
            Local::AskNode | Local::NotCurrent { .. } => {
                Figures::count(&self.figures.passed_on);
                self.client.verify(request).await
            }
        }
    }

    fn shown(&self, verdict: &keywright_verifier::Verdict) -> Verdict {
        let incarnation = self.verifier.position().map(|at| at.incarnation);
        let revision =
            incarnation.map(|incarnation| RevisionToken { incarnation, revision: verdict.revision });
        let key = verdict.key.as_ref();
        Verdict {
            allowed: verdict.allowed,
            code: verdict.denial.map_or("allowed", Denial::code).to_owned(),
            detail: None,
            authorized: verdict.authorized,
            key_id: key.map(|key| key.id().to_string()),
            org: key.map(|key| key.org_name().to_owned()),
            keyspace: key.map(|key| key.keyspace_name().to_owned()),
            owner: key.and_then(owner),
            expires_at: key.and_then(FoundKey::expires_at).as_ref().and_then(text),
            secret_status: key.map(FoundKey::secret_status).as_ref().and_then(text),
            labels: key.map(labels).unwrap_or_default(),
            metadata: key.map(|key| key.metadata().clone()).unwrap_or_default(),
            limits: verdict.limits.iter().map(limit).collect(),
            quota: verdict.quota.map(|quota| QuotaState {
                max: quota.max,
                remaining: quota.remaining,
                other: Map::new(),
            }),
            revision: revision.as_ref().map(ToString::to_string),
            current: Some(verdict.current),
            age_ms: Some(verdict.age_ms),
            other: Map::new(),
        }
    }
}

/// A question that memory can be asked.
struct Question<'a> {
    secret: &'a str,
    checks: Vec<Check<'a>>,
    ip: Option<IpAddr>,
    cost: u64,
}

impl<'a> Question<'a> {
    /// `None` for what only a node can tell: a pair of an access id and a secret, and what is not valid, since the node says
    /// what is wrong with it.
    fn of(request: &'a VerifyRequest) -> Option<Self> {
        let VerifyRequest { secret, keyspace: _, access_id, action, resource, checks, ip, cost } = request;
        if access_id.is_some()
            || (resource.is_some() && action.is_none())
            || (action.is_some() && !checks.is_empty())
        {
            return None;
        }
        let ip = ip.as_deref().map(|ip| ip.parse::<IpAddr>().ok()).map_or(Some(None), |ip| ip.map(Some))?;
        let cost = cost.unwrap_or(1);
        let alone = action.as_deref().map(|action| (action, resource.as_deref()));
        let several = checks.iter().map(|check| (check.action.as_str(), check.resource.as_deref()));
        let checked = alone.into_iter().chain(several).map(|(action, resource)| {
            CheckedRequest::new(action, resource).ok()?;
            Some(Check { action, resource: resource.unwrap_or_default() })
        });
        let checks = checked.collect::<Option<Vec<_>>>()?;
        (cost <= LIMIT_MAX).then_some(Self { secret: secret.expose(), checks, ip, cost })
    }
}

fn owner(key: &FoundKey) -> Option<OwnerRef> {
    let external_id = key.owner_external_id().map(str::to_owned);
    key.owner_id().map(|id| OwnerRef { id: id.to_string(), external_id })
}

fn labels(key: &FoundKey) -> Map<String, Value> {
    key.labels().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

fn limit(limit: &keywright_verifier::LimitState) -> LimitState {
    LimitState {
        name: limit.name.to_string(),
        max: limit.max,
        remaining: limit.remaining,
        reset_ms: Some(limit.reset_ms),
        // Whatever nodes do among each other, here this process counts alone.
        scope: Some("node".to_owned()),
        other: Map::new(),
    }
}

/// What is a text in JSON.
fn text(value: &impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

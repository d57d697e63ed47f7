//! Asking whether a credential may do something.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Client;
use crate::error::Error;
use crate::http::Body;
use crate::secret::Secret;

/// One question. Only the secret is required.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyRequest {
    /// What was presented.
    pub secret: Secret,
    /// The keyspace, if the caller has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// Goes with a custom secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_id: Option<String>,
    /// What is to be done; without it permission is not tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// To which resource; without it the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Several of both: all must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// How many units of the limits it costs; `None` is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
}

/// One action on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is to be done.
    pub action: String,
    /// To which resource; without it the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl VerifyRequest {
    /// Whether this secret is good at all.
    pub fn of(secret: Secret) -> Self {
        Self {
            secret,
            keyspace: None,
            access_id: None,
            action: None,
            resource: None,
            checks: Vec::new(),
            ip: None,
            cost: None,
        }
    }
}

/// The answer. `code` is open: what is not known is a denial, as `allowed` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it may.
    pub allowed: bool,
    /// `allowed`, or the first reason that applies.
    pub code: String,
    /// The reason in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// Whether the grants cover it; `None` when no action was named.
    #[serde(default)]
    pub authorized: Option<bool>,
    /// The key.
    #[serde(default)]
    pub key_id: Option<String>,
    /// Its organization.
    #[serde(default)]
    pub org: Option<String>,
    /// Its keyspace.
    #[serde(default)]
    pub keyspace: Option<String>,
    /// Who owns it.
    #[serde(default)]
    pub owner: Option<OwnerRef>,
    /// When it expires.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Whether the secret is the newest.
    #[serde(default)]
    pub secret_status: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// What is left of its limits.
    #[serde(default)]
    pub limits: Vec<LimitState>,
    /// What is left of its quota.
    #[serde(default)]
    pub quota: Option<QuotaState>,
    /// The state that was answered by.
    #[serde(default)]
    pub revision: Option<String>,
    /// Whether the node is in contact with its store.
    #[serde(default)]
    pub current: Option<bool>,
    /// Since how long it is not.
    #[serde(default)]
    pub age_ms: Option<u64>,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Who owns a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRef {
    /// The principal.
    pub id: String,
    /// The installation's users' own name for it.
    #[serde(default)]
    pub external_id: Option<String>,
}

/// What is left of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitState {
    /// Which.
    pub name: String,
    /// How many at most.
    pub max: u64,
    /// How many are left.
    pub remaining: u64,
    /// When it is full again.
    #[serde(default)]
    pub reset_ms: Option<u64>,
    /// Who counts it, when it is not all nodes together: `node`, `uncounted`, `unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is left of a quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuotaState {
    /// How many at most.
    pub max: u64,
    /// How many are left.
    pub remaining: u64,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Client {
    /// Asks one question. A denial is an answer, not an error. It is never asked twice, since it consumes limits.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verdict, Error> {
        self.0.ask(&["verify"], Body::json(request)?).await
    }

    /// Asks up to 1,000 questions, answered in their order.
    pub async fn verify_batch(&self, requests: &[VerifyRequest]) -> Result<Vec<Verdict>, Error> {
        self.0.ask(&["verify", "batch"], Body::json(&requests)?).await
    }
}

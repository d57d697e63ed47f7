//! Keys as the API shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::secret::Secret;

/// A key. Times are RFC 3339 texts in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its identifier.
    pub id: String,
    /// Counts per organization.
    pub number: u32,
    /// Whose it is.
    pub org: String,
    /// Where it is valid.
    pub keyspace: String,
    /// `api` or `management`.
    pub kind: String,
    /// The public half of a key that signs requests.
    pub access_id: Option<String>,
    /// What people read.
    pub name: String,
    /// More of that.
    pub description: Option<String>,
    /// The caller's own name for it.
    pub external_id: Option<String>,
    /// The principal that owns it.
    pub owner: Option<String>,
    /// Roles of its own.
    pub roles: Vec<String>,
    /// The resources within which its roles count; `None` is all.
    pub scope: Option<Vec<String>>,
    /// Switched off, it does not verify.
    pub enabled: bool,
    /// Before this it does not verify.
    pub not_before: Option<String>,
    /// From this on it does not verify.
    pub expires_at: Option<String>,
    /// From where it verifies; `None` is anywhere.
    pub ip_allowlist: Option<Vec<String>>,
    /// An API key's own grants.
    #[serde(default, skip_serializing_if = "OwnGrants::is_absent")]
    pub grants: OwnGrants,
    /// A management key's rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminRights>,
    /// The ceiling of what a management key may hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantable: Option<Vec<Grant>>,
    /// Its own limits.
    pub limits: Vec<Limit>,
    /// Its own quota.
    pub quota: Option<Quota>,
    /// The plans that it is bound to.
    pub plans: Vec<String>,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// `active`, `disabled`, `scheduled`, `expired` or `revoked`.
    pub state: String,
    /// Its secrets, without the secrets; oldest first.
    pub secrets: Vec<KeySecret>,
    /// When it was ended,
    pub revoked_at: Option<String>,
    /// by whom,
    pub revoked_by: Option<String>,
    /// and why.
    pub revocation_reason: Option<String>,
    /// When it was used last.
    pub last_used_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When its writable state changed last.
    pub updated_at: String,
    /// By whom.
    pub updated_by: String,
    /// 1 at creation, one more with each change.
    pub version: u64,
    /// The same as an entity tag.
    pub etag: String,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An API key's own grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnGrants {
    /// It has none to have: a management key.
    #[default]
    Absent,
    /// `null`: what its owner's roles give.
    OfOwner,
    /// These.
    Listed(Vec<Grant>),
}

impl OwnGrants {
    fn is_absent(&self) -> bool {
        *self == Self::Absent
    }

    /// The grants that are listed; none otherwise.
    pub fn listed(&self) -> &[Grant] {
        match self {
            Self::Listed(grants) => grants,
            Self::Absent | Self::OfOwner => &[],
        }
    }
}

impl Serialize for OwnGrants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Listed(grants) => grants.serialize(serializer),
            Self::Absent | Self::OfOwner => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for OwnGrants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::OfOwner, Self::Listed))
    }
}

/// One line of permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `allow` or `deny`.
    pub effect: String,
    /// Each of these actions,
    pub actions: Vec<String>,
    /// on each of these resources.
    pub resources: Vec<String>,
}

/// A management key's rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRights {
    /// What it may do,
    pub actions: Vec<String>,
    /// in which organizations,
    pub orgs: Vec<String>,
    /// in which of their keyspaces.
    pub keyspaces: Vec<String>,
}

/// At most `max` in `per_seconds` seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Names it in answers.
    pub name: String,
    /// How many.
    pub max: u64,
    /// In how many seconds.
    pub per_seconds: u64,
}

/// At most `max` in each period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// How many.
    pub max: u64,
    /// `none`, `day`, `week` or `month`.
    pub period: String,
    /// The zone whose midnights count.
    #[serde(default)]
    pub time_zone: String,
}

/// One secret of a key, without the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySecret {
    /// Its identifier.
    pub id: String,
    /// The prefix and the last four characters; `None` for a custom one.
    pub hint: Option<String>,
    /// `current`, `overlapping` or `ended`.
    pub status: Option<String>,
    /// Whether it can be shown again.
    pub recoverable: bool,
    /// When it was made.
    pub created_at: String,
    /// From when on it counts as rotated out.
    pub expires_at: Option<String>,
    /// When it was used last.
    pub last_used_at: Option<String>,
    /// What a newer server says besides.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A key and its new secret: of creations and rotations.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyWithSecret {
    /// The key.
    pub key: Key,
    /// Its secret, shown this once; `None` when a replay came too late for it.
    #[serde(default)]
    pub secret: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_documentation_reads_back_unchanged_with_what_is_unknown() {
        let json = serde_json::json!({"id":"key_01JD","number":3245,"org":"default","keyspace":"default","kind":"api",
            "access_id":null,"name":"gps uploader","description":null,"external_id":null,"owner":"prn_1","roles":[],
            "scope":null,"enabled":true,"not_before":null,"expires_at":"2027-01-01T00:00:00Z",
            "ip_allowlist":["172.16.0.0/12"],"grants":[{"effect":"allow","actions":["get"],"resources":["a/**"]}],
            "limits":[{"name":"burst","max":100,"per_seconds":1}],"quota":null,"plans":[],"labels":{"team":"fleet"},
            "metadata":{},"state":"active","secrets":[{"id":"sec_1","hint":"kw_…x7Qa","status":"current",
            "recoverable":false,"created_at":"2026-01-01T00:00:00Z","expires_at":null,"last_used_at":null}],
            "revoked_at":null,"revoked_by":null,"revocation_reason":null,"last_used_at":null,
            "created_at":"2026-01-01T00:00:00Z","created_by":"root","updated_at":"2026-01-01T00:00:00Z",
            "updated_by":"root","version":1,"etag":"\"1\"","of_tomorrow":{"a":1}});
        let key: Key = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&key).unwrap(), json);
        let mut owners = json;
        owners["grants"] = Value::Null;
        let key: Key = serde_json::from_value(owners.clone()).unwrap();
        assert_eq!((&key.grants, serde_json::to_value(&key).unwrap()), (&OwnGrants::OfOwner, owners.clone()));
        owners.as_object_mut().unwrap().shift_remove("grants");
        let key: Key = serde_json::from_value(owners.clone()).unwrap();
        assert_eq!((&key.grants, serde_json::to_value(&key).unwrap()), (&OwnGrants::Absent, owners));
    }
}

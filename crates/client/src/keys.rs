//! Every call about keys.

use std::sync::Arc;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::http::{Body, Transport};
use crate::key::{Key, KeyWithSecret};
use crate::pages::Pages;
use crate::secret::Secret;
use crate::write::{Answer, WriteOptions};

const MERGE: &str = "application/merge-patch+json";
const EDIT: &str = "application/json-patch+json";

/// The calls about keys; see [`crate::Client::keys`].
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(pub(crate) &'a Arc<Transport>);

impl Keys<'_> {
    /// Makes a key. The body has its writable fields, and `keyspace`, `kind`, `access_id`, `external_id`, `secret`.
    pub async fn create(
        &self,
        body: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Answer<KeyWithSecret>, Error> {
        self.0.write(Method::POST, &["keys"], Some(Body::json(body)?), options).await
    }

    /// One key, by id.
    pub async fn get(&self, id: &str) -> Result<Key, Error> {
        self.0.get(&["keys", id], &[]).await
    }

    /// Keys, newest first.
    pub fn list(&self, filter: &KeyFilter) -> Pages<Key> {
        Pages::new(Arc::clone(self.0), "keys", filter.query())
    }

    /// Replaces every writable field; needs `if_match`.
    pub async fn replace(
        &self,
        id: &str,
        body: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::PUT, &["keys", id], Some(Body::json(body)?), options).await
    }

    /// Changes the fields that are named (RFC 7396): `null` clears, lists are replaced whole.
    pub async fn merge(
        &self,
        id: &str,
        body: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::PATCH, &["keys", id], Some(Body::of(MERGE, body)?), options).await
    }

    /// Applies operations (RFC 6902), all or none.
    pub async fn edit(
        &self,
        id: &str,
        operations: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::PATCH, &["keys", id], Some(Body::of(EDIT, operations)?), options).await
    }

    /// Gives the key a new secret. The older ones go on for `overlap_seconds`; 0 ends them now.
    pub async fn rotate(
        &self,
        id: &str,
        overlap_seconds: u64,
        custom: Option<&Secret>,
        options: &WriteOptions,
    ) -> Result<Answer<KeyWithSecret>, Error> {
        #[derive(Serialize)]
        struct Rotation<'a> {
            overlap_seconds: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            secret: Option<&'a Secret>,
        }
        let body = Body::json(&Rotation { overlap_seconds, secret: custom })?;
        self.0.write(Method::POST, &["keys", id, "rotate"], Some(body), options).await
    }

    /// Ends one secret of a key now.
    pub async fn expire_secret(
        &self,
        id: &str,
        secret: &str,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", id, "secrets", secret, "expire"], None, options).await
    }

    /// Shows a recoverable secret again. The audit keeps who asked.
    pub async fn reveal_secret(&self, id: &str, secret: &str) -> Result<Secret, Error> {
        #[derive(serde::Deserialize)]
        struct Revealed {
            secret: Secret,
        }
        let body = Body::json(&json!({}))?;
        let revealed: Revealed = self.0.ask(&["keys", id, "secrets", secret, "reveal"], body).await?;
        Ok(revealed.secret)
    }

    /// Ends a key for ever.
    pub async fn revoke(
        &self,
        id: &str,
        reason: Option<&str>,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", id, "revoke"], reason_body(reason)?, options).await
    }

    /// Switches a key on.
    pub async fn enable(&self, id: &str, options: &WriteOptions) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", id, "enable"], None, options).await
    }

    /// Switches a key off.
    pub async fn disable(&self, id: &str, options: &WriteOptions) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", id, "disable"], None, options).await
    }

    /// Ends a key and hides it.
    pub async fn delete(&self, id: &str, options: &WriteOptions) -> Result<Answer<()>, Error> {
        self.0.write(Method::DELETE, &["keys", id], None, options).await
    }

    /// Brings the record of a deleted key back, revoked.
    pub async fn undelete(&self, id: &str, options: &WriteOptions) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", id, "undelete"], None, options).await
    }

    /// The key that a secret belongs to.
    pub async fn lookup(&self, secret: &Secret) -> Result<Key, Error> {
        #[derive(Serialize)]
        struct Lookup<'a> {
            secret: &'a Secret,
        }
        self.0.ask(&["keys", "lookup"], Body::json(&Lookup { secret })?).await
    }

    /// Ends the key that this client calls with, of whatever kind it is.
    pub async fn revoke_self(
        &self,
        reason: Option<&str>,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::POST, &["keys", "self", "revoke"], reason_body(reason)?, options).await
    }
}

fn reason_body(reason: Option<&str>) -> Result<Option<Body>, Error> {
    reason.map(|reason| Body::json(&json!({"reason": reason}))).transpose()
}

/// Which keys. Every filter that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// In this keyspace, by name or id.
    pub keyspace: Option<String>,
    /// `active`, `disabled`, `scheduled`, `expired` or `revoked`.
    pub state: Option<String>,
    /// `api` or `management`.
    pub kind: Option<String>,
    /// Owned by this principal.
    pub owner: Option<String>,
    /// With this role of its own.
    pub role: Option<String>,
    /// Bound to this plan.
    pub plan: Option<String>,
    /// With this number.
    pub number: Option<u32>,
    /// With this access id.
    pub access_id: Option<String>,
    /// With this external id.
    pub external_id: Option<String>,
    /// Whose name begins so, whose id is this, or with this in a hint.
    pub q: Option<String>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With an expiry before this time.
    pub expires_before: Option<String>,
    /// Used last before this time, or never.
    pub last_used_before: Option<String>,
    /// Changed at or after this time.
    pub updated_since: Option<String>,
    /// Made by this key, `root` or `system`.
    pub created_by: Option<String>,
    /// That can do this now.
    pub can_action: Option<String>,
    /// On this resource.
    pub can_resource: Option<String>,
    /// From this address.
    pub can_ip: Option<String>,
    /// How many on a page: 1 to 200.
    pub page_size: Option<u32>,
}

impl KeyFilter {
    fn query(&self) -> Vec<(String, String)> {
        let texts = [
            ("keyspace", &self.keyspace),
            ("state", &self.state),
            ("kind", &self.kind),
            ("owner", &self.owner),
            ("role", &self.role),
            ("plan", &self.plan),
            ("access_id", &self.access_id),
            ("external_id", &self.external_id),
            ("q", &self.q),
            ("expires_before", &self.expires_before),
            ("last_used_before", &self.last_used_before),
            ("updated_since", &self.updated_since),
            ("created_by", &self.created_by),
            ("can_action", &self.can_action),
            ("can_resource", &self.can_resource),
            ("can_ip", &self.can_ip),
        ];
        let pair = |(name, value): (&str, String)| (name.to_owned(), value);
        let texts = texts.into_iter().filter_map(|(name, value)| Some(pair((name, value.clone()?))));
        let labels = self.labels.iter().map(|(name, value)| (format!("label.{name}"), value.clone()));
        let numbers = [("number", self.number), ("limit", self.page_size)];
        let numbers = numbers.into_iter().filter_map(|(name, value)| Some(pair((name, value?.to_string()))));
        texts.chain(labels).chain(numbers).collect()
    }
}

/// Whether a document is a list of operations (RFC 6902) rather than fields to merge (RFC 7396).
pub(crate) fn is_edit(document: &Value) -> bool {
    document.is_array()
}

/// The two ways to change some fields, by the document's shape.
pub(crate) fn patch_body(document: &Value) -> Result<Body, Error> {
    Body::of(if is_edit(document) { EDIT } else { MERGE }, document)
}

impl Keys<'_> {
    /// [`Self::edit`] for a list of operations, [`Self::merge`] for an object.
    pub async fn patch(
        &self,
        id: &str,
        document: &Value,
        options: &WriteOptions,
    ) -> Result<Answer<Key>, Error> {
        self.0.write(Method::PATCH, &["keys", id], Some(patch_body(document)?), options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_filters_that_are_set_are_sent() {
        assert!(KeyFilter::default().query().is_empty());
        let filter = KeyFilter {
            state: Some("active".to_owned()),
            labels: vec![("team".to_owned(), "fleet".to_owned())],
            number: Some(7),
            page_size: Some(200),
            ..KeyFilter::default()
        };
        let query = filter.query();
        let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(query, [("state", "active"), ("label.team", "fleet"), ("number", "7"), ("limit", "200")]);
    }
}

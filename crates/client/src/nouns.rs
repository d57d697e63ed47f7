//! Every noun but the key: organizations, keyspaces, principals, roles and plans.

use std::marker::PhantomData;
use std::sync::Arc;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::http::{Body, Transport};
use crate::key::{Grant, Limit, Quota};
use crate::keys::patch_body;
use crate::pages::Pages;
use crate::write::{Answer, WriteOptions};

/// A kind of noun.
pub trait Noun: DeserializeOwned + Serialize + Send {
    /// Its place in the API's paths.
    const PATH: &'static str;

    /// Its identifier.
    fn id(&self) -> &str;

    /// Its entity tag.
    fn etag(&self) -> &str;
}

macro_rules! nouns {
    ($($(#[$doc:meta])* $name:ident at $path:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// Its identifier.
            pub id: String,
            $($(#[$field_doc])* pub $field: $kind,)*
            /// When it was made.
            pub created_at: String,
            /// By whom.
            pub created_by: String,
            /// When it changed last.
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

        impl Noun for $name {
            const PATH: &'static str = $path;

            fn id(&self) -> &str {
                &self.id
            }

            fn etag(&self) -> &str {
                &self.etag
            }
        }
    )*};
}

nouns! {
    /// A tenant.
    Org at "orgs" {
        /// Its name.
        name: String,
    }
    /// One API or environment of an organization.
    Keyspace at "keyspaces" {
        /// Its name.
        name: String,
        /// What its secrets begin with.
        secret_prefix: String,
        /// Whether secrets can be shown again.
        recoverable_secrets: bool,
        /// Whether callers may choose secrets.
        allow_custom_secrets: bool,
        /// Whether every write needs `If-Match`.
        require_if_match: bool,
        /// When nodes that cannot reach the store stop answering for it.
        max_staleness_seconds: Option<u64>,
        /// What its keys must be like.
        key_policy: Map<String, Value>,
    }
    /// A person or program that owns keys.
    Principal at "principals" {
        /// The installation's users' own name for it.
        external_id: Option<String>,
        /// `user` or `bot`.
        kind: String,
        /// What people read.
        name: Option<String>,
        /// The ceiling of what its keys may do.
        roles: Vec<String>,
        /// Disabled, none of its keys verifies.
        enabled: bool,
        /// Shared by all of its keys.
        limits: Vec<Limit>,
        /// Shared by all of its keys.
        quota: Option<Quota>,
        /// The caller's own notes.
        metadata: Map<String, Value>,
    }
    /// Grants with a name.
    Role at "roles" {
        /// Counts per organization.
        number: u32,
        /// Its name.
        name: String,
        /// What it gives and denies.
        grants: Vec<Grant>,
    }
    /// Limits with a name.
    Plan at "plans" {
        /// Its name.
        name: String,
        /// Counted for each key apart.
        limits: Vec<Limit>,
        /// Counted for each key apart.
        quota: Option<Quota>,
    }
}

/// The calls about one kind of noun; see [`crate::Client::nouns`].
#[derive(Debug)]
pub struct Nouns<'a, N> {
    transport: &'a Arc<Transport>,
    kind: PhantomData<N>,
}

impl<'a, N: Noun> Nouns<'a, N> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport, kind: PhantomData }
    }

    /// Makes one.
    pub async fn create(&self, body: &impl Serialize, options: &WriteOptions) -> Result<Answer<N>, Error> {
        self.transport.write(Method::POST, &[N::PATH], Some(Body::json(body)?), options).await
    }

    /// One, by id or name.
    pub async fn get(&self, id: &str) -> Result<N, Error> {
        self.transport.get(&[N::PATH, id], &[]).await
    }

    /// All of them, oldest first, so many on a page.
    pub fn list(&self, page_size: Option<u32>) -> Pages<N> {
        let query = page_size.map(|size| ("limit".to_owned(), size.to_string())).into_iter().collect();
        Pages::new(Arc::clone(self.transport), N::PATH, query)
    }

    /// Replaces every writable field; needs `if_match`.
    pub async fn replace(
        &self,
        id: &str,
        body: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Answer<N>, Error> {
        self.transport.write(Method::PUT, &[N::PATH, id], Some(Body::json(body)?), options).await
    }

    /// Changes some fields: a list of operations (RFC 6902) or an object to merge (RFC 7396).
    pub async fn patch(
        &self,
        id: &str,
        document: &Value,
        options: &WriteOptions,
    ) -> Result<Answer<N>, Error> {
        self.transport.write(Method::PATCH, &[N::PATH, id], Some(patch_body(document)?), options).await
    }

    /// Deletes one that nothing refers to.
    pub async fn delete(&self, id: &str, options: &WriteOptions) -> Result<Answer<()>, Error> {
        self.transport.write(Method::DELETE, &[N::PATH, id], None, options).await
    }
}

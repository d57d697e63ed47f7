//! One call, with everything that its handler may look at.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use keywright_control::keys::KeyRef;
use keywright_control::{Caller, Control, Idempotency, NounKind, Origin, REST, WriteOptions};
use keywright_model::document::{Edit, Fields};
use keywright_model::fault::Faults;
use keywright_model::revision::Version;
use keywright_model::secret::Secret;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::body::PatchType;
use super::headers::{self, IfMatch};
use super::json;
use super::problem::{NOT_FOUND, PRECONDITION_FAILED, PRECONDITION_REQUIRED, Problem};
use super::query::Query;
use super::request_id::RequestId;
use crate::routes::Route;
use crate::state::ServerState;

/// What a handler is, boxed.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// What was asked, read and bounded.
#[derive(Debug)]
pub struct Asked {
    /// The route.
    pub route: &'static Route,
    /// Where to, as it was sent.
    pub uri: Uri,
    /// With which headers.
    pub headers: HeaderMap,
    /// The decoded segments of the path, by name.
    pub path: Vec<(String, String)>,
    /// The query, tested.
    pub query: Query,
    /// The body, whole.
    pub body: Bytes,
    /// How a change is spelled.
    pub patch: Option<PatchType>,
    /// The request's identifier.
    pub id: RequestId,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// A call without a credential.
#[derive(Debug)]
pub struct OpenCall {
    /// What was asked.
    pub asked: Asked,
    /// The server.
    pub state: ServerState,
}

/// A call of a management key.
#[derive(Debug)]
pub struct Call {
    /// What was asked.
    pub asked: Asked,
    /// The use cases.
    pub control: Control,
    /// Who asks.
    pub caller: Caller,
}

/// A call of the key that it is about.
#[derive(Debug)]
pub struct SelfCall {
    /// What was asked.
    pub asked: Asked,
    /// The use cases.
    pub control: Control,
    /// The key's secret.
    pub presented: Secret,
}

/// The noun whose version `If-Match` speaks of.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// One that does not exist yet.
    New,
    /// A key.
    Key(&'a KeyRef),
    /// Another noun.
    Noun(NounKind, &'a str),
}

impl Asked {
    /// A segment of the path.
    pub fn segment(&self, name: &str) -> Result<&str, Problem> {
        let found = self.path.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
        found.ok_or_else(|| Problem::new(NOT_FOUND))
    }

    /// The body as an object; nothing at all is an empty one, where that is allowed.
    pub fn object(&self) -> Result<Map<String, Value>, Problem> {
        if self.body.is_empty() && matches!(self.route.body, crate::routes::Body::Optional(_)) {
            return Ok(Map::new());
        }
        json::read_object(&self.body)
    }

    /// The body's fields, all of which must be known.
    pub fn fields<T>(&self, known: &[&str], read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, Problem> {
        let object = self.object()?;
        let mut faults = Faults::new();
        let value = read(&mut Fields::new(&object, "", known, &mut faults));
        faults.into_result().map_err(|faults| Problem::invalid_body(&faults))?;
        Ok(value)
    }

    /// The change that the body spells.
    pub fn edit(&self) -> Result<Edit, Problem> {
        match self.patch {
            None => Ok(Edit::Replace(self.object()?)),
            Some(PatchType::Merge) => Ok(Edit::Merge(json::read_object(&self.body)?)),
            Some(PatchType::Operations) => operations(json::read(&self.body)?).map(Edit::Patch),
        }
    }

    /// Through which wire and from where it comes.
    pub fn origin(&self) -> Origin {
        Origin { wire: REST, address: self.address, request_id: Some(self.id.as_str().to_owned()) }
    }

    /// What a write is asked for besides, but for `If-Match`.
    pub fn write_options(&self) -> Result<WriteOptions, Problem> {
        Ok(WriteOptions {
            if_match: None,
            idempotency: headers::idempotency_key(&self.headers)?.map(|key| self.idempotency(key)),
            dry_run: self.query.flag("dry_run")?,
            wait: headers::preferred_wait(&self.headers),
        })
    }

    fn idempotency(&self, key: &str) -> Idempotency {
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let content_type =
            self.headers.get(http::header::CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes());
        let if_match =
            self.headers.get(http::header::IF_MATCH).map_or(b"".as_slice(), |value| value.as_bytes());
        let mut hash = Sha256::new();
        for part in
            [self.route.verb.as_str().as_bytes(), target.as_bytes(), content_type, if_match, &self.body]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let route = format!("{} {}", self.route.verb.as_str(), self.uri.path());
        Idempotency { key: key.to_owned(), route, request: hash.finalize().into() }
    }
}

fn operations(body: Value) -> Result<json_patch::Patch, Problem> {
    let Value::Array(items) = body else {
        return Err(Problem::invalid_body(&Faults::one("", "invalid_type", "must be a list of operations")));
    };
    if items.len() > keywright_model::document::OPERATIONS_MAX {
        let detail = format!("at most {} operations", keywright_model::document::OPERATIONS_MAX);
        return Err(Problem::invalid_body(&Faults::one("", "too_many_operations", detail)));
    }
    let (mut operations, mut faults) = (Vec::new(), Faults::new());
    for (index, item) in items.into_iter().enumerate() {
        match serde_json::from_value(item) {
            Ok(operation) => operations.push(operation),
            // The reader's own words would repeat what was sent.
            Err(_) => faults.add(format!("/{index}"), "invalid_patch", "not an operation of RFC 6902"),
        }
    }
    faults.into_result().map_err(|faults| Problem::invalid_body(&faults))?;
    Ok(json_patch::Patch(operations))
}

impl Call {
    /// The key that the path names.
    pub fn key(&self) -> Result<KeyRef, Problem> {
        self.asked.segment("id").map(|id| KeyRef::Text(id.to_owned()))
    }

    /// What a write is asked for besides.
    pub async fn options(&self, subject: Subject<'_>) -> Result<WriteOptions, Problem> {
        let options = self.asked.write_options()?;
        let Some(wanted) = headers::if_match(&self.asked.headers)? else { return Ok(options) };
        let if_match = self.wanted_version(wanted, subject).await?;
        Ok(WriteOptions { if_match: Some(if_match), ..options })
    }

    /// The same, where `If-Match` must be given.
    pub async fn replace_options(&self, subject: Subject<'_>) -> Result<WriteOptions, Problem> {
        let options = self.options(subject).await?;
        if options.if_match.is_none() {
            return Err(Problem::new(PRECONDITION_REQUIRED)
                .detail("PUT needs If-Match with the version that it replaces"));
        }
        Ok(options)
    }

    /// The one version that the write is tied to: of several, or of any, the one that is there now.
    async fn wanted_version(&self, wanted: IfMatch, subject: Subject<'_>) -> Result<Version, Problem> {
        // No noun has this version, so that a tag that cannot match is tested where the others are.
        let never = Version(0);
        match (wanted, subject) {
            (_, Subject::New) => {
                Err(Problem::new(PRECONDITION_FAILED).detail("there is no version of it yet"))
            }
            (IfMatch::OneOf(versions), _) if versions.len() < 2 => {
                Ok(versions.first().copied().unwrap_or(never))
            }
            (IfMatch::Any, subject) => self.version_of(subject).await,
            (IfMatch::OneOf(versions), subject) => {
                let current = self.version_of(subject).await?;
                Ok(if versions.contains(&current) { current } else { never })
            }
        }
    }

    async fn version_of(&self, subject: Subject<'_>) -> Result<Version, Problem> {
        match subject {
            Subject::New => Ok(Version(0)),
            Subject::Key(key) => Ok(self.control.key(&self.caller, key).await?.key.meta.version),
            Subject::Noun(kind, id) => Ok(self.control.noun(&self.caller, kind, id).await?.noun.version()),
        }
    }
}
